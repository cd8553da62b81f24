//! riscv64: entered by the firmware (SBI) on QEMU's `virt`.

pub mod firmware;
pub mod paging;

#[cfg(all(target_os = "none", target_arch = "riscv64"))]
pub mod console;
#[cfg(all(target_os = "none", target_arch = "riscv64"))]
pub mod entry;
#[cfg(all(target_os = "none", target_arch = "riscv64"))]
pub mod exit;

use hermit_loader_core::elf::Target;

/// The applications that this loader boots.
pub const TARGET: Target = Target::RISCV64;

/// `compatible` of a device tree's root, where the loader makes one: the hypervisor always has one here.
pub const COMPATIBLE: &str = "hermit,virt";

/// The devices that kernel and application want to know of, by `compatible` in the hypervisor's device tree.
pub const DEVICES: &[&str] = &[
    "sifive,plic-1.0.0",
    firmware::UART,
    "google,goldfish-rtc",
    firmware::TEST_DEVICE,
];
