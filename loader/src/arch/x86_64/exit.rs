//! Ends the machine when booting has failed.
//!
//! Layer: the machine. The ways and their order: `firmware_tables::pc`.

#![expect(unsafe_code, reason = "device output, and a deliberate triple fault")]

use core::arch::asm;
use core::arch::x86_64::_rdtsc;
use core::ptr;

use firmware_tables::pc::{PATIENCE, RESET, Write, debug_exit};

/// [`end`] for whoever does not know how this machine is switched off.
pub fn fail() -> ! {
    end(None)
}

/// Ends QEMU with status 1, or else switches the machine off by `power_off`, or else resets it, if need be by a triple
/// fault (QEMU: use `-no-reboot`).
pub fn end(power_off: Option<Write>) -> ! {
    for write in [Some(debug_exit(false)), power_off, Some(RESET)]
        .into_iter()
        .flatten()
    {
        // SAFETY: each ends the machine; where a device is not, nobody listens at its port. The low 4 GiB are mapped.
        unsafe { perform(write) };
        wait();
    }
    // No gates: the next interrupt or exception is a triple fault.
    let no_gates = [0_u16; 5];
    // SAFETY: The operand of `lidt` is ten readable bytes. After it nothing of this program runs any more.
    unsafe {
        asm!(
            "lidt [{no_gates}]",
            "int3",
            "2: hlt",
            "jmp 2b",
            no_gates = in(reg) &raw const no_gates,
            options(noreturn),
        )
    }
}

/// # Safety
/// What is written to may be told this; a place in memory is mapped.
unsafe fn perform(write: Write) {
    match write {
        // SAFETY: as the caller promises.
        Write::PortByte(port, value) => unsafe {
            asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags));
        },
        // SAFETY: as the caller promises.
        Write::PortWord(port, value) => unsafe {
            asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags));
        },
        Write::Memory(address, value) => {
            if let Ok(address) = u32::try_from(address) {
                // SAFETY: as the caller promises.
                unsafe { ptr::with_exposed_provenance_mut::<u8>(address as usize).write_volatile(value) };
            }
        }
    }
}

/// Lets the hypervisor come to what it was told.
fn wait() {
    // SAFETY: reads the time stamp counter, which any processor with 64 bits has.
    let now = || unsafe { _rdtsc() };
    let start = now();
    while now().wrapping_sub(start) < PATIENCE {
        core::hint::spin_loop();
    }
}
