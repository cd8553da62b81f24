//! x86_64: entered by PVH on a PC or a microvm.

pub mod firmware;
pub mod paging;

#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub mod console;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub mod entry;
#[cfg(all(target_os = "none", target_arch = "x86_64"))]
pub mod exit;

use hermit_loader_core::elf::Target;

/// The applications that this loader boots.
pub const TARGET: Target = Target::X86_64;

/// `compatible` of the device tree's root.
pub const COMPATIBLE: &str = "hermit,pvh";

/// Address of the serial port that the kernel uses: COM1's.
pub const SERIAL_PORT: u16 = 0x3f8;

/// The devices that kernel and application want to know of, by `compatible` in the hypervisor's device tree: it has none here.
pub const DEVICES: &[&str] = &[];
