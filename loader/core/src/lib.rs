//! The loader's pure logic: an application's ELF file, memory ranges, who goes where.
//!
//! Layer: no machine, no architecture, no allocation, no unsafe code; tested on the host. The build script uses it
//! too, to do what can be done before booting.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod elf;
pub mod placement;
pub mod ranges;
