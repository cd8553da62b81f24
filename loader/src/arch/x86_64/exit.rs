//! Ends the machine when booting has failed.
//!
//! Layer: the machine. Spec: QEMU's isa-debug-exit: a byte `v` written to its port ends QEMU with status `2v + 1`.

#![expect(unsafe_code, reason = "port output, and a deliberate triple fault")]

use core::arch::asm;

const DEBUG_EXIT_PORT: u16 = 0xf4;

/// Ends QEMU with status 1, or else resets the machine by a triple fault (QEMU: use `-no-reboot`).
pub fn fail() -> ! {
    // No gates: the next interrupt or exception is a triple fault.
    let no_gates = [0_u16; 5];
    // SAFETY: where the device is not, nobody listens at the port. The operand of `lidt` is ten readable bytes. After
    // it nothing of this program runs any more.
    unsafe {
        asm!(
            "out dx, al",
            "lidt [{no_gates}]",
            "int3",
            "2: hlt",
            "jmp 2b",
            no_gates = in(reg) &raw const no_gates,
            in("al") 0_u8,
            in("dx") DEBUG_EXIT_PORT,
            options(noreturn),
        )
    }
}
