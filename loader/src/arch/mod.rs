//! What differs by architecture: entry, console, exit, page tables, what the firmware or hypervisor hands over.
//!
//! Every architecture has the same files. Those that only compute are built everywhere, for their tests; those that
//! touch the machine only on bare metal.

pub mod x86_64;

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub use x86_64 as current;
