//! The loader's messages, on COM1. Only failures are told: otherwise the serial line is the guest's alone.
//!
//! Layer: the machine. Spec: 16550 UART, polled; no hypervisor needs it to be set up.

#![expect(unsafe_code, reason = "port input and output")]

use core::arch::asm;
use core::fmt;

use super::SERIAL_PORT;

const LINE_STATUS: u16 = 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// Tries before a byte is sent regardless: a dead port must not hang us.
const PATIENCE: u32 = 1_000_000;

/// COM1.
#[derive(Debug)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            send(byte);
        }
        Ok(())
    }
}

fn send(byte: u8) {
    for _ in 0..PATIENCE {
        let status: u8;
        // SAFETY: reading COM1's line status has no effect on memory; where no port is, it reads as all ones.
        unsafe {
            asm!("in al, dx", out("al") status, in("dx") SERIAL_PORT + LINE_STATUS, options(nomem, nostack));
        }
        if status & TRANSMITTER_EMPTY != 0 {
            break;
        }
    }
    // SAFETY: writing to COM1's data register sends a byte and has no effect on memory.
    unsafe { asm!("out dx, al", in("al") byte, in("dx") SERIAL_PORT, options(nomem, nostack)) };
}
