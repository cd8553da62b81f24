//! The loader's messages, through the firmware. Only failures are told: otherwise the serial line is the guest's
//! alone.
//!
//! Layer: the machine. Spec: RISC-V Supervisor Binary Interface, "Console Putchar" of the legacy extensions, which
//! all firmware has; the debug console came with version 2.0 (OpenSBI 1.2).

#![expect(unsafe_code, reason = "calls to the firmware")]

use core::arch::asm;
use core::fmt;

const CONSOLE_PUTCHAR: usize = 1;

/// The firmware's console.
#[derive(Debug)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(send);
        Ok(())
    }
}

fn send(byte: u8) {
    // SAFETY: the firmware sends a byte and touches nothing of ours but `a0`, as the calling convention says.
    unsafe {
        asm!("ecall", inout("a0") usize::from(byte) => _, in("a7") CONSOLE_PUTCHAR, options(nostack));
    }
}
