//! From the hypervisor's first instruction into Rust, and from Rust into the kernel.
//!
//! Layer: the machine. Spec: x86/HVM direct boot ABI (PVH): 32-bit protected mode, flat segments, no paging, `ebx`
//! holds the address of `hvm_start_info`. To the kernel: hermit-entry's `Entry`, hermit-kernel 0.11.0
//! `src/arch/x86_64/kernel/start.rs`: `rdi` the boot information, `esi` 0 for the first processor, `rsp` the *lowest*
//! address of a stack of 32 KiB.

#![expect(unsafe_code, reason = "assembly and linker symbols")]

use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::arch::{asm, global_asm};
use core::fmt::Write;

use firmware_tables::acpi;
use hermit_entry::boot_info::RawBootInfo;

use super::console::Console;
use super::exit;
use super::firmware;
use super::paging::AddressSpace;
use crate::boot;
use crate::failure::Failure;
use crate::memory::Physical;
use crate::symbols;

// The note that makes this a PVH kernel: XEN_ELFNOTE_PHYS32_ENTRY, with an address of the ELF class's size.
global_asm!(
    ".section .note.pvh, \"a\", @note",
    ".balign 4",
    ".long 4, 8, 18",
    ".asciz \"Xen\"",
    ".quad pvh_entry",
    ".previous",
);

// To long mode with one large page mapped, the one we are in; Rust does the rest. The tables are zero: they are .bss.
global_asm!(
    ".section .text.entry, \"ax\"",
    ".code32",
    ".global pvh_entry",
    "pvh_entry:",
    "cli",
    "cld",
    "mov esp, offset loader_stack_top",
    "mov ebp, ebx",
    // Long mode and no-execute pages, or a message.
    "mov eax, 0x80000000",
    "cpuid",
    "cmp eax, 0x80000001",
    "jb no_long_mode",
    "mov eax, 0x80000001",
    "cpuid",
    "and edx, {features}",
    "cmp edx, {features}",
    "jne no_long_mode",
    // Root, second level, third level: the first 2 MiB.
    "mov eax, offset entry_tables",
    "mov cr3, eax",
    "lea edx, [eax + 0x1003]",
    "mov [eax], edx",
    "lea edx, [eax + 0x2003]",
    "mov [eax + 0x1000], edx",
    "mov dword ptr [eax + 0x2000], 0x83",
    // Physical address extension.
    "mov eax, cr4",
    "or eax, 1 << 5",
    "mov cr4, eax",
    // EFER: long mode and no-execute.
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 1 << 8 | 1 << 11",
    "wrmsr",
    // Paging, and read-only pages are read-only for us too.
    "mov eax, cr0",
    "or eax, 1 << 31 | 1 << 16",
    "mov cr0, eax",
    "lgdt [segments]",
    "push 8",
    "mov eax, offset long_mode",
    "push eax",
    "retf",
    ".code64",
    "long_mode:",
    "mov eax, 16",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "xor eax, eax",
    "mov fs, eax",
    "mov gs, eax",
    "mov edi, ebp",
    "xor ebp, ebp",
    "call {start}",
    "ud2",
    // No Rust without long mode: the message, byte by byte, then as `exit::fail`.
    ".code32",
    "no_long_mode:",
    "mov esi, offset no_long_mode_message",
    "mov edx, 0x3f8",
    "2:",
    "lodsb",
    "test al, al",
    "jz 3f",
    "out dx, al",
    "jmp 2b",
    "3:",
    "out 0xf4, al",
    "lidt [no_gates]",
    "int3",
    ".code64",
    ".previous",
    ".section .rodata.entry, \"a\"",
    ".balign 8",
    "segment_table: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "segments: .word 23",
    ".long segment_table",
    "no_gates: .word 0",
    ".long 0",
    "no_long_mode_message: .ascii \"hermit-loader: cannot boot: the CPU lacks 64-bit mode or no-execute pages; \"",
    ".asciz \"use another one (QEMU: -cpu max, or -cpu host with KVM)\\n\"",
    ".previous",
    features = const LONG_MODE_AND_NO_EXECUTE,
    start = sym start,
);

/// CPUID 0x80000001, `edx`: LM and NX.
const LONG_MODE_AND_NO_EXECUTE: u32 = 1 << 29 | 1 << 20;

/// Rust's first function. `start_info` is what the hypervisor left in `ebx`.
extern "C" fn start(start_info: u32) -> ! {
    let loader = symbols::loader();
    // SAFETY: this function runs once. They are not in use yet.
    let mut space = AddressSpace::new(unsafe { symbols::tables() }, loader.text.start);
    // SAFETY: they map all that the first ones do, with the same rights.
    unsafe { use_tables(space.root()) };
    // SAFETY: the low 4 GiB are mapped now. All of the program lies between the linker's symbols; the embedded
    // application is no Rust object. This function runs once.
    let mut memory = unsafe { Physical::new(loader.whole) };

    let firmware = firmware::read(u64::from(start_info), |span| memory.bytes(span));
    let rsdp = firmware.as_ref().ok().and_then(|firmware| firmware.rsdp);
    let handover = firmware.and_then(|firmware| {
        check_processor()?;
        boot::boot(&mut memory, &firmware, &loader, &mut space)
    });
    match handover {
        // SAFETY: `boot` has completed the tables in use, loaded a kernel and described the machine to it as it wants.
        Ok(handover) => unsafe {
            use_tables(space.root());
            enter(handover.entry, &handover.boot_info, symbols::stack().start)
        },
        Err(failure) => {
            // The console takes everything.
            let _ = writeln!(Console, "hermit-loader: {failure}");
            exit::end(rsdp.and_then(|rsdp| acpi::power_off(rsdp, |span| memory.bytes(span))))
        }
    }
}

/// Checks that the processor has what the kernel is built for (its feature `fsgsbase`).
fn check_processor() -> Result<(), Failure> {
    /// CPUID 7, `ebx`.
    const FSGSBASE: u32 = 1 << 0;
    if __cpuid(0).eax < 7 || __cpuid_count(7, 0).ebx & FSGSBASE == 0 {
        return Err(Failure::Processor("the instructions FSGSBASE"));
    }
    Ok(())
}

/// Has the CPU use other page tables, and forget what it knows of any.
///
/// # Safety
/// `root` is the root of page tables that map all that this program uses.
unsafe fn use_tables(root: u64) {
    // SAFETY: as the caller promises. An access to memory for the compiler, so that tables are written before it.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Enters the kernel.
///
/// # Safety
/// Memory is mapped as the kernel expects; `entry` is the kernel's entry; `stack` is the lowest address of its first
/// stack.
unsafe fn enter(entry: u64, boot_info: &RawBootInfo, stack: u64) -> ! {
    // SAFETY: as the caller promises. The boot information lies on our stack, which nobody reuses: we do not return.
    unsafe {
        asm!(
            "mov rsp, {stack}",
            "xor ebp, ebp",
            "jmp {entry}",
            stack = in(reg) stack,
            entry = in(reg) entry,
            in("rdi") boot_info,
            in("esi") 0,
            options(noreturn),
        )
    }
}
