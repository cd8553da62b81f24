//! What the host's launcher and the virtual machine agree on, so that neither side keeps a copy of its own.
//!
//! Layer: below both `launcher` (host) and `kernel-app` (VM); depends on nothing, allocates little, contains no
//! unsafe code. The protocol in prose: `docs/console.md`; the exit codes: `docs/exit-codes.md`.
//!
//! - [`console`]: frames on the serial line, guest to host, and the host's answers.
//! - [`arch`]: the architectures.
//! - [`run_spec`]: one description of a run, with its encoder and decoder.
//! - [`payload`]: the archive that carries it to the machine, with the module and copies of directories.
//! - [`command_line`]: the kernel command line, as a launcher and as people write it.
//! - [`exit_code`]: what a run's exit code means.
//! - [`file_kind`]: what a file is that somebody wants to run.
//! - [`fingerprint`]: a short name for bytes.
//! - [`memory`]: the least memory of a virtual machine.
//! - [`network`]: grants, published ports, and the addresses of the guest's network.
//! - [`shown`]: what a terminal is shown of what somebody else wrote.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod arch;
pub mod command_line;
pub mod console;
pub mod exit_code;
pub mod file_kind;
pub mod fingerprint;
pub mod memory;
pub mod network;
pub mod payload;
pub mod run_spec;
pub mod shown;
