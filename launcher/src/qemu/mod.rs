//! QEMU: where it is, how it is called, and how it is started and ended.
//!
//! - [`machine`]: the command line, one pure function a machine.
//! - [`discover`]: the program.
//! - [`process`]: the running VM and the launcher's ends of its pipes.

pub(crate) mod discover;
pub(crate) mod machine;
pub(crate) mod process;
