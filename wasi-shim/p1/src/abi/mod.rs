//! The wire format of WASI preview1: numbers, sizes and offsets, and nothing that acts.
//!
//! Layer: abi. Implements typenames.witx. The values are compared with crate `wasip1` in `tests/abi.rs`.

pub mod layout;
pub mod snapshot0;
pub mod types;
pub mod wasmedge;

pub use wasi_core::Errno;
