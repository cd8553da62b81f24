//! TCP/IP on any device for Ethernet frames: bounded, driven by polling, exact in its errors and its readiness.
//!
//! `no_std`, safe Rust; knows no operating system and no interface of sockets. The protocols are smoltcp's; what is
//! here makes of them a stack for programs that were written for an operating system's: connections that come to a
//! listener while it is busy, half-closed ones, ones that outlive their handle; errors that say which; a fixed bound
//! for each thing that the wire can cause. docs/network.md of the repository says how, and what it costs.
//!
//! The machine provides a [`FrameDevice`], [`Entropy`] and the time; an interface of sockets is built on [`Stack`]:
//!
//! ```text
//! loop {
//!     // The application's operations: `accept`, `receive`, `send` and so on, which never wait.
//!     let next = stack.poll(now());
//!     // Nothing is ready that the application waits for: sleep until `next.at`, the device's interrupt, or whatever
//!     // else the application waits for.
//! }
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod asked;
mod config;
mod device;
#[cfg(feature = "dhcp")]
mod dhcp;
mod error;
mod frame;
mod handle;
mod key;
mod lone;
mod mend;
mod names;
mod net;
mod phy;
mod places;
mod ports;
mod remembered;
mod schedule;
mod slab;
mod stack;
mod tcp;
#[cfg(feature = "udp")]
mod udp;

pub use config::{Config, Ipv4, Network};
pub use device::{Entropy, FrameDevice};
pub use error::Error;
#[cfg(feature = "udp")]
pub use handle::UdpId;
pub use handle::{ListenerId, LookupId, StreamId};
pub use names::Family;
pub use stack::{ConfigError, Next, Stack};
pub use tcp::{Half, Readiness};
#[cfg(feature = "udp")]
pub use udp::Datagram;
