//! Ends the machine when booting has failed.
//!
//! Layer: the machine. Spec: Arm Power State Coordination Interface, SYSTEM_OFF. QEMU's status is 0 then: there is no
//! device on `virt` that would give it another one.

#![expect(unsafe_code, reason = "a call to the hypervisor")]

use core::arch::asm;

const SYSTEM_OFF: u64 = 0x8400_0008;

/// Switches the machine off.
pub fn fail() -> ! {
    let level: u64;
    // SAFETY: reading the exception level changes nothing.
    unsafe { asm!("mrs {}, CurrentEL", out(reg) level, options(nomem, nostack)) };
    // From EL2 on it is the firmware that must be called, not the hypervisor.
    if level >> 2 & 3 == 1 {
        // SAFETY: does not return; if there is nobody to call, the loop below is the end.
        unsafe { asm!("hvc #0", in("x0") SYSTEM_OFF, options(nomem, nostack)) };
    } else {
        // SAFETY: as above.
        unsafe { asm!("smc #0", in("x0") SYSTEM_OFF, options(nomem, nostack)) };
    }
    loop {
        // SAFETY: waits.
        unsafe { asm!("wfe", options(nomem, nostack)) };
    }
}
