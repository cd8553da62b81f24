//! The loader's messages, on the PL011 that the device tree names. Only failures are told: otherwise the serial line
//! is the guest's alone.
//!
//! Layer: the machine. Spec: PrimeCell UART (PL011), polled; no hypervisor needs it to be set up.

#![expect(unsafe_code, reason = "device registers")]

use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

const DATA: usize = 0x00;
const FLAGS: usize = 0x18;
const TRANSMIT_FULL: u32 = 1 << 5;
/// Tries before a byte is sent regardless: a dead port must not hang us.
const PATIENCE: u32 = 1_000_000;

/// Where the port is: as on QEMU's `virt`, until the device tree has said better.
static PORT: AtomicUsize = AtomicUsize::new(0x0900_0000);

/// The serial port.
#[derive(Debug)]
pub struct Console;

impl Console {
    /// Uses the port at an address from now on.
    ///
    /// # Safety
    /// A PL011 has its registers there.
    pub unsafe fn use_port(address: usize) {
        PORT.store(address, Ordering::Relaxed);
    }
}

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(send);
        Ok(())
    }
}

fn send(byte: u8) {
    let port = PORT.load(Ordering::Relaxed);
    let flags = ptr::with_exposed_provenance::<u32>(port + FLAGS);
    for _ in 0..PATIENCE {
        // SAFETY: a PL011's flag register; reading it has no effect.
        if unsafe { flags.read_volatile() } & TRANSMIT_FULL == 0 {
            break;
        }
    }
    // SAFETY: a PL011's data register; writing to it sends a byte and has no effect on memory.
    unsafe { ptr::with_exposed_provenance_mut::<u32>(port + DATA).write_volatile(byte.into()) };
}
