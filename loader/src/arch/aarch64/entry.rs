//! From the hypervisor's first instruction into Rust, and from Rust into the kernel.
//!
//! Layer: the machine. Spec: Linux's `Documentation/arch/arm64/booting.rst`: the image's header; `x0` holds the address
//! of the device tree, the MMU is off. QEMU takes an ELF file too, but hands no boot module over to one. To the kernel:
//! hermit-entry's `Entry`, hermit-kernel 0.11.0 `src/arch/aarch64/kernel/start.rs`: `x0` the boot information, `w1` 0
//! for the first processor, `sp` the *lowest* address of a stack of 32 KiB. The kernel expects floating-point registers
//! to be usable, and attributes of memory with the numbers that MAIR has here.

#![expect(unsafe_code, reason = "assembly and linker symbols")]

use core::arch::{asm, global_asm};
use core::fmt::Write;

use hermit_entry::boot_info::RawBootInfo;

use super::console::Console;
use super::paging::AddressSpace;
use super::{exit, firmware};
use crate::boot::{self, Handover};
use crate::failure::Failure;
use crate::memory::Physical;
use crate::symbols;
use hermit_loader_core::ranges::Span;

/// Memory attributes by number: device (nGnRnE, nGnRE, GRE), normal (not cached, write-back).
const MAIR: u64 = 0xff << 32 | 0x44 << 24 | 0x0c << 16 | 0x04 << 8;
/// 48 bits of address from TTBR0, none from TTBR1; walks are cached and shared; pages of 4 KiB.
const TCR: u64 = 1 << 23 | 3 << 12 | 1 << 10 | 1 << 8 | 16;
/// Bits that must be set, and MMU and caches. Unaligned accesses are allowed: bit 1 is clear.
const SCTLR: u64 = 0x30d0_0800 | 1 << 12 | 1 << 2 | 1;
/// Nothing that can be written to can be executed, whatever its page's entry says.
const SCTLR_WXN: u64 = 1 << 19;

global_asm!(
    ".section .head, \"ax\"",
    ".global image_header",
    "image_header:",
    "b entry",
    ".long 0",
    // Where it wants to lie, from a multiple of 2 MiB: see linker.ld.
    ".quad 0x180000",
    ".quad image_size",
    // Little-endian, pages of 4 KiB.
    ".quad 2",
    ".quad 0, 0, 0",
    ".ascii \"ARM\\x64\"",
    ".long 0",
    ".previous",
    ".section .text.entry, \"ax\"",
    "entry:",
    "mov x19, x0",
    "adrp x1, bss_start",
    "add x1, x1, :lo12:bss_start",
    "adrp x2, bss_end",
    "add x2, x2, :lo12:bss_end",
    "2: cmp x1, x2",
    "b.hs 3f",
    "stp xzr, xzr, [x1], #16",
    "b 2b",
    "3: adrp x1, loader_stack_top",
    "add x1, x1, :lo12:loader_stack_top",
    "mov sp, x1",
    // In EL1 go on with MMU and caches; elsewhere `start` says that it cannot boot, without.
    "mrs x20, CurrentEL",
    "ubfx x20, x20, #2, #2",
    "cmp x20, #1",
    "b.ne 4f",
    // Floating point does not trap.
    "mov x1, #3 << 20",
    "msr cpacr_el1, x1",
    // Pages of 1 GiB: the first for devices, three for memory, executable: we run there.
    "adrp x1, entry_tables",
    "add x2, x1, #4096",
    "orr x3, x2, #3",
    "str x3, [x1]",
    "movz x3, #0x0701",
    "movk x3, #0x0060, lsl #48",
    "str x3, [x2]",
    "movz x3, #0x0711",
    "movk x3, #0x4000, lsl #16",
    "mov x4, #0x40000000",
    "str x3, [x2, #8]",
    "add x3, x3, x4",
    "str x3, [x2, #16]",
    "add x3, x3, x4",
    "str x3, [x2, #24]",
    "ldr x3, ={mair}",
    "msr mair_el1, x3",
    "ldr x3, ={tcr}",
    // As many bits of physical address as there are, at most 48.
    "mrs x4, id_aa64mmfr0_el1",
    "and x4, x4, #7",
    "mov x5, #5",
    "cmp x4, x5",
    "csel x4, x4, x5, lo",
    "orr x3, x3, x4, lsl #32",
    "msr tcr_el1, x3",
    "msr ttbr0_el1, x1",
    "dsb sy",
    "tlbi vmalle1",
    "ic iallu",
    "dsb sy",
    "isb",
    "ldr x3, ={sctlr}",
    "msr sctlr_el1, x3",
    "isb",
    "4: mov x0, x19",
    "mov x1, x20",
    "mov x29, xzr",
    "mov x30, xzr",
    "bl {start}",
    "brk #1",
    ".previous",
    mair = const MAIR,
    tcr = const TCR,
    sctlr = const SCTLR,
    start = sym start,
);

/// Rust's first function. `tree` is what the hypervisor left in `x0`, `level` the exception level.
extern "C" fn start(tree: u64, level: u64) -> ! {
    let loader = symbols::loader();
    // SAFETY: the low 4 GiB are mapped, or there is no mapping. All of the program lies between the linker's symbols;
    // the embedded application is no Rust object. This function runs once.
    let mut memory = unsafe { Physical::new(loader.whole) };
    // SAFETY: this function runs once; these tables come into use in `enter` only.
    let mut space = AddressSpace::new(unsafe { symbols::tables() }, loader.text.start);

    let firmware = firmware::read(tree, |span| memory.bytes(span));
    if let Ok(Some(port)) = firmware.as_ref().map(|firmware| firmware.serial_port)
        && let Ok(port) = usize::try_from(port)
    {
        // SAFETY: the device tree says so.
        unsafe { Console::use_port(port) };
    }
    let handover = firmware.and_then(|firmware| {
        if level != 1 {
            return Err(Failure::WrongLevel);
        }
        boot::boot(&mut memory, &firmware, &loader, &mut space)
    });
    match handover {
        // SAFETY: `boot` has completed the tables, loaded a kernel and described the machine to it as it wants.
        Ok(handover) => unsafe { enter(&handover, space.root(), symbols::stack()) },
        Err(failure) => fail(&failure),
    }
}

/// Enters the kernel with the tables whose root is at `root`.
///
/// # Safety
/// The tables map memory as the kernel expects; the handover names the kernel's entry; `stack` is its first stack.
unsafe fn enter(handover: &Handover, root: u64, stack: Span) -> ! {
    let boot_info: &RawBootInfo = &handover.boot_info;
    make_executable(handover.image);
    // The tables differ from those in use in the size of their pages. A processor may fail on meeting both, so the
    // MMU is off in between; no memory is accessed meanwhile.
    // SAFETY: as the caller promises. This code lies at its own address. The boot information lies on our stack,
    // which nobody reuses: we do not return.
    unsafe {
        asm!(
            "dsb sy",
            "msr sctlr_el1, {without_mmu}",
            "isb",
            "msr ttbr0_el1, {root}",
            "isb",
            "tlbi vmalle1",
            "ic iallu",
            "dsb sy",
            "isb",
            "msr sctlr_el1, {sctlr}",
            "isb",
            "mov sp, {stack}",
            "mov x29, xzr",
            "mov x30, xzr",
            "br {entry}",
            without_mmu = in(reg) SCTLR & !1,
            sctlr = in(reg) SCTLR | SCTLR_WXN,
            root = in(reg) root,
            stack = in(reg) stack.start,
            entry = in(reg) handover.entry,
            in("x0") boot_info,
            in("x1") 0_u64,
            options(noreturn),
        )
    }
}

/// Has instructions that were written as data reach memory, from where they are fetched.
fn make_executable(image: Span) {
    let caches: u64;
    // SAFETY: reads a register that describes the caches.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) caches, options(nomem, nostack, preserves_flags)) };
    // DminLine: the shortest line of a data cache, as a power of two of 4-byte words.
    let line = 4_u64 << ((caches >> 16) & 0xf);
    let mut address = image.start & !(line - 1);
    while address < image.end {
        // SAFETY: writes back what the cache holds of mapped memory, and changes nothing.
        unsafe { asm!("dc cvau, {}", in(reg) address, options(nostack, preserves_flags)) };
        address += line;
    }
}

/// Says why booting ends, and ends it.
fn fail(failure: &Failure) -> ! {
    // The console takes everything.
    let _ = writeln!(Console, "hermit-loader: {failure}");
    exit::fail()
}
