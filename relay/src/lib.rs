//! The host's end of a guest's network: what was granted, through the host's sockets, and nothing else.
//!
//! A guest has a wire, on which it may say anything. Here is its other end: [`Relay`] takes its frames from a stream
//! socket, in QEMU's framing, and makes of them connections and datagrams of the host's, as far as the [`Policy`] knows
//! them. No frame is ever passed on: the guest's TCP ends here, in a stack of its own, and so does every other
//! protocol.
//!
//! What people write, on a command line or in a manifest, is read by [`boot_protocol::network`].

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

mod checksum;
mod dns;
mod host;
mod outside;
mod packet;
mod policy;
mod port;
mod publish;
mod relay;
mod resolve;
mod table;
mod tcp;
mod udp;
mod wire;

pub use policy::{Policy, permits};
pub use publish::{Published, Socket};
pub use relay::{Relay, Setup};
pub use resolve::{Resolve, system};
