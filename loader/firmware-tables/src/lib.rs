//! Tables by which firmware and hypervisors describe a machine: device trees, and what of ACPI ends one.
//!
//! Layer: no machine, no allocation, no unsafe code; tested on the host. The loader reads and writes device trees, the
//! application reads the one that it is handed, and the tables that it names. Whatever the bytes, nothing here panics.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod acpi;
pub mod fdt;
pub mod pc;
mod span;

pub use span::{Span, align_up};
