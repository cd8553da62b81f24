//! The parts of the unikernel application that do not touch the machine: they are tested on the host.
//!
//! Layer: between the boot (`main.rs`, `hermit/`: the only unsafe code) and `wasi-shim`.
//! Order of a run: [`config`] parses the boot line, [`module_source`] tells which module is meant, which
//! may lie in a [`boot_file`] with what the guest's [`directories`] hold, or in files that [`uhyve`] maps, [`engine`] runs it, [`exit_status`] turns the outcome into exit code and message.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod boot_file;
pub mod config;
pub mod directories;
pub mod engine;
pub mod exit_status;
pub mod module_source;
pub mod preflight;
pub mod shares;
pub mod uhyve;
