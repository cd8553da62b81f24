//! What the host's launcher and the virtual machine agree on, so that neither side keeps a copy of its own.
//!
//! Layer: below both `launcher` (host) and `kernel-app` (VM); depends on nothing, allocates little, contains no
//! unsafe code. The protocol in prose: `docs/console.md`; the exit codes: `docs/exit-codes.md`.
//!
//! - [`console`]: frames on the serial line, guest to host, and the host's answers.
//! - [`boot_line`]: quoting and putting together the kernel's command line.
//! - [`bundle`]: the boot file that carries directories besides the module.
//! - [`exit_code`]: what a run's exit code means.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod boot_line;
pub mod bundle;
pub mod console;
pub mod exit_code;
