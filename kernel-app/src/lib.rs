//! The parts of the unikernel application that do not touch the machine: they are tested on the host.
//!
//! Layer: between the boot (`main.rs`, `hermit/`: the only unsafe code) and `wasi-shim/`.
//! Order of a run: [`command_line`] splits the kernel command line; [`app`] finds out what is to run, from the
//! [`payload`], from a file that [`uhyve`] maps, or from the kernel command line; [`mounts`] gives the guest its
//! directories, those of [`virtio_fs`] devices among them; [`engine`] runs it, and [`origin`] says in words why it
//! cannot; before the interpreter `limits` looks at a module, and `preflight` knows why it is refused; [`exit_status`]
//! turns the outcome into exit code and message.

#![no_std]
#![forbid(unsafe_code)]
// What a run does once, or what waits for a hypervisor anyway, is compiled for size in the image: `optimize(size)`.
#![cfg_attr(target_os = "hermit", feature(optimize_attribute))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod app;
pub mod blocks;
pub mod command_line;
pub mod engine;
pub mod exit_status;
#[cfg(feature = "interp")]
pub mod limits;
pub mod mounts;
pub mod origin;
pub mod payload;
#[cfg(feature = "interp")]
pub mod preflight;
pub mod uhyve;
pub mod virtio_fs;
