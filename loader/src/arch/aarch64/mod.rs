//! aarch64: entered by Linux's boot protocol on QEMU's `virt`.

pub mod firmware;
pub mod paging;

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
pub mod console;
#[cfg(all(target_os = "none", target_arch = "aarch64"))]
pub mod entry;
#[cfg(all(target_os = "none", target_arch = "aarch64"))]
pub mod exit;

use hermit_loader_core::elf::Target;

/// The applications that this loader boots.
pub const TARGET: Target = Target::AARCH64;

/// `compatible` of a device tree's root, where the loader makes one: the hypervisor always has one here.
pub const COMPATIBLE: &str = "hermit,virt";

/// The devices that kernel and application want to know of, by `compatible` in the hypervisor's device tree.
pub const DEVICES: &[&str] = &[
    firmware::GIC,
    "arm,armv8-timer",
    firmware::UART,
    "arm,pl031",
    "pci-host-ecam-generic",
];
