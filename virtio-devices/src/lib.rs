//! Virtio devices, driven by safe code: found on PCI or as memory-mapped registers, with split virtqueues.
//!
//! Layer: pure. What touches the machine is behind three small traits, which tests implement as well: [`Registers`],
//! [`Memory`] and [`pci::ConfigSpace`]. A device is believed nothing: whatever it writes into rings, registers and
//! configuration space, nothing panics, loops or reads elsewhere, and a device that breaks the rules is given up.
//!
//! Specification: Virtual I/O Device (VIRTIO) 1.2; section numbers are its own. Only devices of version 1 and later.
//!
//! Crate virtio-drivers does not do for this: see `docs/rationale.md`.

#![no_std]
#![forbid(unsafe_code)]

mod chain;
mod error;
pub mod fs;
mod machine;
pub mod mmio;
pub mod net;
pub mod pci;
pub mod places;
mod queue;
mod rings;
mod transport;

pub use error::Error;
pub use fs::Fs;
pub use machine::{Memory, PAGE, Registers};
pub use net::Net;
pub use rings::Broken;
pub use transport::Transport;
