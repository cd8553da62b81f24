//! Ends the machine when booting has failed.
//!
//! Layer: the machine. Spec: the test device of SiFive, by which QEMU's `virt` ends with a status; else RISC-V
//! Supervisor Binary Interface, system reset.

#![expect(unsafe_code, reason = "a device register and calls to the firmware")]

use core::arch::asm;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// "Fail", with status 1.
const FAIL: u32 = 1 << 16 | 0x3333;

const SYSTEM_RESET: usize = 0x5352_5354;
const SHUTDOWN: usize = 0;
const SYSTEM_FAILURE: usize = 1;

/// Where the test device is; 0: nowhere.
static TEST_DEVICE: AtomicUsize = AtomicUsize::new(0);

/// Uses the test device at an address from now on.
///
/// # Safety
/// Such a device has its register there.
pub unsafe fn use_test_device(address: usize) {
    TEST_DEVICE.store(address, Ordering::Relaxed);
}

/// Ends QEMU with status 1, or else shuts the machine down.
pub fn fail() -> ! {
    let device = TEST_DEVICE.load(Ordering::Relaxed);
    if device != 0 {
        // SAFETY: the device's register, as `use_test_device` was promised; it ends the machine.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(device).write_volatile(FAIL) };
    }
    // SAFETY: does not return; if the firmware does not know the call, the loop below is the end.
    unsafe {
        asm!(
            "ecall",
            inout("a0") SHUTDOWN => _,
            inout("a1") SYSTEM_FAILURE => _,
            in("a6") 0,
            in("a7") SYSTEM_RESET,
            options(nostack),
        );
    }
    loop {
        // SAFETY: waits.
        unsafe { asm!("wfi", options(nomem, nostack)) };
    }
}
