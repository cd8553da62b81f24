//! WASI preview1 over `wasi-core`, for an embedder without an operating system of its own.
//!
//! `no_std`, safe Rust. From the bottom: [`abi`] is the wire format; [`memory`] checks the guest's pointers;
//! [`context`] holds what one guest has, with [`fd_table`], the numbers and rights of what it has open; [`calls`] are
//! the 46 functions, free of any engine; [`linker`] hands them to wasmi (feature `wasmi`) or wasmtime (feature
//! `wasmtime`). What they do to files, streams and clocks is `wasi-core`'s. docs/wasi.md of the repository says what
//! each function does and why.
//!
//! ```
//! # use wasi_core::{context::WasiCtxBuilder, testing::TestSystem, fs::{Permission, mem::{Limits, MemFs}}};
//! # use wasi_p1::linker::wasmi::{Host, resolve};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let limits = Limits { bytes: 64 << 20, entries: 10_000 };
//! let context = WasiCtxBuilder::new()
//!     .arg("hello.wasm")?
//!     .env("PWD", "/")?
//!     .preopen(MemFs::new(limits, 0), "/", Permission::ReadWrite)?
//!     .build(TestSystem::default());
//! let engine = wasmi::Engine::default();
//! let mut store = wasmi::Store::new(&engine, Host::new(context));
//! // For every import of the module, in order:
//! let ty = wasmi::FuncType::new([], [wasmi::ValType::I32]);
//! let func = resolve(&mut store, "wasi_snapshot_preview1", "sched_yield", &ty)?;
//! assert!(func.is_some());
//! # Ok(())
//! # }
//! ```

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

pub mod abi;
pub mod calls;
pub mod context;
pub mod error;
pub mod fd_table;
#[cfg(any(feature = "wasmi", feature = "wasmtime"))]
pub mod linker;
pub mod memory;

pub use context::WasiP1Ctx;
pub use error::{Error, Trap};
pub use memory::GuestMemory;
pub use wasi_core::Errno;
