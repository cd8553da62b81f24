//! What differs by architecture: entry, console, exit, page tables, what the firmware or hypervisor hands over.
//!
//! Every architecture has the same files. Those that only compute are built everywhere, for their tests; those that
//! touch the machine only on bare metal.

pub mod aarch64;
pub mod riscv64;
pub mod x86_64;

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
pub use aarch64 as current;
#[cfg(all(target_os = "none", target_arch = "riscv64"))]
pub use riscv64 as current;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub use x86_64 as current;
