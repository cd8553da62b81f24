//! WASI apart from any of its interfaces: what a guest has, and what can be done with it.
//!
//! `no_std`, safe Rust; knows no engine and no guest pointer. Slices and typed values go in, values and [`Errno`] come
//! out. From the bottom: [`system`] is what the machine has to provide, [`fs`] what a file system has to, with some of
//! our own; [`path`] is the sandbox; [`descriptor`] knows what can be done with what is open; [`context`] holds what
//! one guest has, and [`mod@file`], [`tree`], [`socket`] and [`poll`] are the operations on it. Crate `wasi-p1` makes
//! preview1 of them; docs/wasi-core.md of the repository says how the interfaces of WASI 0.2 would.
//!
//! An operation does what it is asked to. What has to be checked before (the descriptor's kind, with its own functions;
//! rights and memory, which are an interface's) is for the caller to check, so that a call happens whole or leaves no
//! trace.

#![no_std]
#![forbid(unsafe_code)]
// As in the application: what only some runs do, and what a run does once, is compiled for size in its image.
#![cfg_attr(target_os = "hermit", feature(optimize_attribute))]
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

pub mod context;
pub mod descriptor;
pub mod deterministic;
pub mod errno;
pub mod file;
pub mod fs;
pub mod limits;
mod mounts;
pub mod network;
pub mod path;
pub mod poll;
pub mod random;
pub mod socket;
pub mod system;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tree;
pub mod types;

pub use context::{WasiCtx, WasiCtxBuilder};
pub use descriptor::Terminals;
pub use errno::Errno;
pub use network::{Network, SocketId};
pub use system::{Clock, Readiness, Source, Stream, System, Wait};
