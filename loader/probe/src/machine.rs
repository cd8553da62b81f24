//! The probe's entry, console and exit, and its look at the page tables.

#![expect(
    unsafe_code,
    reason = "registers, ports, page tables and addresses from the loader"
)]

use core::arch::{asm, global_asm};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::slice;

use hermit_entry::boot_info::{BootInfo, RawBootInfo};

use crate::checks;

hermit_entry::define_entry_version!();

// As the kernel's `_start`: `rsp` is the lowest address of the stack.
global_asm!(
    ".global _start",
    "_start:",
    "mov rdx, rsp",
    "add rsp, {top}",
    "call {start}",
    "ud2",
    // Thread-local storage: 8 bytes with a value, 16 bytes without.
    ".section .tdata.probe, \"awTR\", @progbits",
    ".quad 0x1122334455667788",
    ".section .tbss.probe, \"awTR\", @nobits",
    ".zero 16",
    ".previous",
    top = const KERNEL_STACK_SIZE - 16,
    start = sym start,
);

/// As in kernel 0.11.
pub(crate) const KERNEL_STACK_SIZE: u64 = 0x8000;

extern "C" fn start(boot_info: &'static RawBootInfo, cpu: u32, stack: u64) -> ! {
    let info = BootInfo::from(*boot_info);
    let verdict = checks::run(&info, cpu, stack);
    let _ = match verdict {
        Ok(()) => writeln!(Console, "probe: ok"),
        Err(what) => writeln!(Console, "probe: FAILED: {what}"),
    };
    exit(verdict.is_ok())
}

/// COM1.
pub(crate) struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: writing to COM1's data register has no effect on memory. The hypervisors we test with take
            // bytes at any rate.
            unsafe { asm!("out dx, al", in("dx") 0x3f8_u16, in("al") byte, options(nomem, nostack)) };
        }
        Ok(())
    }
}

fn exit(success: bool) -> ! {
    // SAFETY: ends QEMU.
    unsafe {
        asm!("out dx, al", "2: hlt", "jmp 2b", in("dx") 0xf4_u16, in("al") u8::from(success), options(noreturn))
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Console, "probe: PANIC: {info}");
    exit(false)
}

/// The bytes at an address that the loader named.
pub(crate) fn bytes(start: u64, len: u64) -> &'static [u8] {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    // SAFETY: for a test: if the loader is wrong about it, the VM dies and the test fails.
    unsafe { slice::from_raw_parts(start as *const u8, len) }
}

/// The device tree at an address that the loader named.
pub(crate) fn device_tree(address: u64) -> Option<fdt::Fdt<'static>> {
    // SAFETY: as in `bytes`.
    unsafe { fdt::Fdt::from_ptr(address as *const u8) }.ok()
}

/// CR0, CR3, CR4 and EFER.
pub(crate) fn control_registers() -> [u64; 4] {
    let (cr0, cr3, cr4, low, high): (u64, u64, u64, u32, u32);
    // SAFETY: reading them changes nothing; we are in ring 0.
    unsafe {
        asm!("mov {}, cr0", "mov {}, cr3", "mov {}, cr4", out(reg) cr0, out(reg) cr3, out(reg) cr4, options(nostack));
        asm!("rdmsr", in("ecx") 0xc000_0080_u32, out("eax") low, out("edx") high, options(nostack));
    }
    [cr0, cr3, cr4, u64::from(high) << 32 | u64::from(low)]
}

/// The entries of a page table.
pub(crate) fn table(address: u64) -> &'static [u64; 512] {
    // SAFETY: memory is mapped to its own address, and the CPU uses this table.
    unsafe { &*(address as *const [u64; 512]) }
}
