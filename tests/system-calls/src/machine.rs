//! What differs between processors: code that faults, and how it is called and left.

use core::arch::global_asm;
use core::ptr;
use core::sync::atomic::AtomicUsize;

use fdt::Fdt;

use crate::syscalls::sys_device_tree;

/// The file that the machine was booted with.
pub(crate) fn boot_module() -> &'static mut [u8] {
    // SAFETY: takes no pointers.
    let tree = ptr::with_exposed_provenance(unsafe { sys_device_tree() });
    // SAFETY: the kernel reads it too.
    let tree = unsafe { Fdt::from_ptr(tree) }.expect("a device tree");
    let bound = |name| tree.find_node("/chosen")?.property(name)?.as_usize();
    let (Some(start), Some(end)) = (bound("linux,initrd-start"), bound("linux,initrd-end")) else {
        panic!("no boot module");
    };
    // SAFETY: the loader has mapped it, and nobody else uses it.
    unsafe { core::slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(start), end - start) }
}

/// Where [`enter`] left its stack.
#[unsafe(no_mangle)]
pub(crate) static SAVED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    /// Calls the code at an address with an argument; returns what it returns, or `usize::MAX` after [`leave`].
    pub(crate) fn enter(code: usize, argument: usize) -> usize;
    /// Returns from [`enter`].
    pub(crate) fn leave() -> !;
    /// The flags by which the processor takes interrupts, and on x86_64 copies upwards.
    pub(crate) fn flags() -> usize;

    static routines: u8;
    static load: u8;
    static store: u8;
    static illegal: u8;
    static divide: u8;
    static overflow: u8;
    static routines_end: u8;
}

/// One of the routines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routine {
    /// Loads the word at its argument.
    Load,
    /// Stores a word at its argument.
    Store,
    /// Executes what is no instruction.
    Illegal,
    /// Divides by its argument.
    Divide,
    /// Divides so that the result has no place.
    Overflow,
}

impl Routine {
    /// Where in the routines it is.
    pub(crate) fn offset(self) -> usize {
        let place = match self {
            Self::Load => &raw const load,
            Self::Store => &raw const store,
            Self::Illegal => &raw const illegal,
            Self::Divide => &raw const divide,
            Self::Overflow => &raw const overflow,
        };
        place.addr() - (&raw const routines).addr()
    }
}

/// The routines' bytes, which may be executed anywhere.
pub(crate) fn routine_bytes() -> &'static [u8] {
    let len = (&raw const routines_end).addr() - (&raw const routines).addr();
    // SAFETY: code between two of its own labels, which is never written to.
    unsafe { core::slice::from_raw_parts(&raw const routines, len) }
}

#[cfg(target_arch = "x86_64")]
global_asm!(
    ".global enter, leave, flags",
    "enter: push rbp; push rbx; push r12; push r13; push r14; push r15; sub rsp, 8",
    "mov [rip + SAVED], rsp; mov rbp, rsp; mov rax, rdi; mov rdi, rsi; call rax",
    "1: add rsp, 8; pop r15; pop r14; pop r13; pop r12; pop rbx; pop rbp; ret",
    "leave: mov rsp, [rip + SAVED]; mov rax, -1; jmp 1b",
    "flags: pushfq; pop rax; and rax, 0x600; ret",
    ".global routines, load, store, illegal, divide, overflow, routines_end",
    "routines:",
    "load: mov rax, [rdi]; ret",
    "store: mov [rdi], rdi; ret",
    // The handler is a function: it may rely on the direction.
    "illegal: std; ud2",
    "divide: xor edx, edx; mov eax, 6; div edi; ret",
    "overflow: mov eax, 0x80000000; cdq; mov ecx, -1; idiv ecx; ret",
    "routines_end:",
);

#[cfg(target_arch = "aarch64")]
global_asm!(
    ".global enter, leave, flags",
    "enter: stp x29, x30, [sp, #-16]!; stp x27, x28, [sp, #-16]!; stp x25, x26, [sp, #-16]!",
    "stp x23, x24, [sp, #-16]!; stp x21, x22, [sp, #-16]!; stp x19, x20, [sp, #-16]!",
    "stp d14, d15, [sp, #-16]!; stp d12, d13, [sp, #-16]!; stp d10, d11, [sp, #-16]!; stp d8, d9, [sp, #-16]!",
    "adrp x9, SAVED; add x9, x9, :lo12:SAVED; mov x10, sp; str x10, [x9]; mov x29, sp",
    "mov x9, x0; mov x0, x1; blr x9",
    "1: ldp d8, d9, [sp], #16; ldp d10, d11, [sp], #16; ldp d12, d13, [sp], #16; ldp d14, d15, [sp], #16",
    "ldp x19, x20, [sp], #16; ldp x21, x22, [sp], #16; ldp x23, x24, [sp], #16",
    "ldp x25, x26, [sp], #16; ldp x27, x28, [sp], #16; ldp x29, x30, [sp], #16; ret",
    "leave: adrp x9, SAVED; add x9, x9, :lo12:SAVED; ldr x10, [x9]; mov sp, x10; mov x0, #-1; b 1b",
    "flags: mrs x0, daif; ret",
    ".global routines, load, store, illegal, divide, overflow, routines_end",
    "routines:",
    "load: ldr x0, [x0]; ret",
    "store: str x0, [x0]; ret",
    "illegal: udf #0xc11f",
    // The instruction does not fault: compilers check.
    "divide: cbz x0, 2f; mov x1, #6; udiv x0, x1, x0; ret",
    "2: udf #0xc11f",
    "overflow: udf #0xc11f",
    "routines_end:",
);

#[cfg(target_arch = "riscv64")]
global_asm!(
    ".global enter, leave, flags",
    "enter: addi sp, sp, -112",
    "sd ra, 0(sp); sd s0, 8(sp); sd s1, 16(sp); sd s2, 24(sp); sd s3, 32(sp); sd s4, 40(sp); sd s5, 48(sp)",
    "sd s6, 56(sp); sd s7, 64(sp); sd s8, 72(sp); sd s9, 80(sp); sd s10, 88(sp); sd s11, 96(sp)",
    "lla t0, SAVED; sd sp, 0(t0); mv s0, sp; mv t0, a0; mv a0, a1; jalr t0",
    "1: ld ra, 0(sp); ld s0, 8(sp); ld s1, 16(sp); ld s2, 24(sp); ld s3, 32(sp); ld s4, 40(sp); ld s5, 48(sp)",
    "ld s6, 56(sp); ld s7, 64(sp); ld s8, 72(sp); ld s9, 80(sp); ld s10, 88(sp); ld s11, 96(sp)",
    "addi sp, sp, 112; ret",
    "leave: lla t0, SAVED; ld sp, 0(t0); li a0, -1; j 1b",
    // SIE.
    "flags: csrr a0, sstatus; andi a0, a0, 2; ret",
    ".global routines, load, store, illegal, divide, overflow, routines_end",
    "routines:",
    "load: ld a0, 0(a0); ret",
    "store: sd a0, 0(a0); ret",
    "illegal: unimp",
    // The instruction does not fault: compilers check.
    ".option push; .option arch, +m",
    "divide: beqz a0, 2f; li a1, 6; divu a0, a1, a0; ret",
    ".option pop",
    "2: unimp",
    "overflow: unimp",
    "routines_end:",
);
