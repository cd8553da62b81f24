//! From the firmware into Rust, and from Rust into the kernel.
//!
//! Layer: the machine. Spec: RISC-V Supervisor Binary Interface and Linux's `Documentation/arch/riscv/boot.rst`:
//! supervisor mode, no paging, `a0` holds the number of the processor, `a1` the address of the device tree. To the
//! kernel: hermit-entry's `Entry`, hermit-kernel 0.11.0 `src/arch/riscv64/kernel/start.rs`: `a0` the number of the
//! processor, `a1` the boot information, `sp` the *highest* address of a stack.

#![expect(unsafe_code, reason = "assembly and linker symbols")]

use core::arch::{asm, global_asm};
use core::fmt::Write;

use hermit_entry::boot_info::RawBootInfo;

use super::console::Console;
use super::paging::AddressSpace;
use super::{exit, firmware};
use crate::boot::{self, Handover};
use crate::device_tree;
use crate::failure::Failure;
use crate::memory::Physical;
use crate::symbols;
use hermit_loader_core::ranges::{PAGE, Span};

/// Sv39.
const SATP_MODE: u64 = 8 << 60;

// QEMU has the firmware enter at the file's lowest address, whatever its header says (7.2, `riscv_load_kernel`).
// What .bss must be, the hypervisor has made it: the file is an ELF file.
global_asm!(
    ".section .head, \"ax\"",
    ".global sbi_entry",
    "sbi_entry:",
    "j entry",
    ".previous",
    ".section .text.entry, \"ax\"",
    "entry:",
    "csrw sie, zero",
    "la sp, loader_stack_top",
    "mv ra, zero",
    "mv s0, zero",
    "call {start}",
    "unimp",
    ".previous",
    start = sym start,
);

/// Rust's first function, with what the firmware left in `a0` and `a1`.
extern "C" fn start(processor: u64, tree: u64) -> ! {
    let loader = symbols::loader();
    // SAFETY: there is no paging. All of the program lies between the linker's symbols; the embedded application is no
    // Rust object. This function runs once.
    let mut memory = unsafe { Physical::new(loader.whole) };
    // SAFETY: this function runs once; these tables come into use in `enter` only.
    let mut space = AddressSpace::new(unsafe { symbols::tables() }, loader.text.start);

    if let Some((_, blob)) = device_tree::find(tree, |span| memory.bytes(span))
        && let Some(registers) = device_tree::registers(&blob, firmware::TEST_DEVICE)
        && let Ok(address) = usize::try_from(registers.start)
    {
        // SAFETY: the device tree says so.
        unsafe { exit::use_test_device(address) };
    }
    let handover = firmware::read(tree, |span| memory.bytes(span))
        .and_then(|firmware| boot::boot(&mut memory, &firmware, &loader, &mut space));
    match handover {
        // SAFETY: `boot` has completed the tables, loaded a kernel and described the machine to it as it wants.
        Ok(handover) => unsafe { enter(processor, &handover, space.root(), symbols::stack()) },
        Err(failure) => fail(&failure),
    }
}

/// Enters the kernel with the tables whose root is at `root`.
///
/// # Safety
/// The tables map memory as the kernel expects; the handover names the kernel's entry; `stack` is its first stack.
unsafe fn enter(processor: u64, handover: &Handover, root: u64, stack: Span) -> ! {
    let boot_info: &RawBootInfo = &handover.boot_info;
    // SAFETY: as the caller promises. This code lies at its own address, where the tables let it be executed. The boot
    // information lies on our stack, which nobody reuses: we do not return.
    unsafe {
        asm!(
            "sfence.vma",
            "csrw satp, {satp}",
            "sfence.vma",
            "fence.i",
            "mv sp, {stack}",
            "mv ra, zero",
            "mv s0, zero",
            "jr {entry}",
            satp = in(reg) SATP_MODE | (root / PAGE),
            stack = in(reg) stack.end,
            entry = in(reg) handover.entry,
            in("a0") processor,
            in("a1") boot_info,
            options(noreturn),
        )
    }
}

/// Says why booting ends, and ends it.
fn fail(failure: &Failure) -> ! {
    // The console takes everything.
    let _ = writeln!(Console, "hermit-loader: {failure}");
    exit::fail()
}
