//! Ends the machine in the best way that there is, with the exit code if somebody takes it.
//!
//! Layer: device. The kernel calls this when it shuts down, be it for the application or after a fault, and has its
//! own last resort should it return: a triple fault on x86_64, the firmware's call elsewhere. Under uhyve it does not
//! call it. Nothing here needs a heap.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering};

/// Whether the machine is being ended already: what ends it may itself fail.
static ENDING: AtomicBool = AtomicBool::new(false);

/// What the kernel calls (`hermit-kernel/patches/0027-end-of-machine.patch`).
#[unsafe(no_mangle)]
extern "C" fn end_machine(status: c_int) {
    if !ENDING.swap(true, Ordering::Relaxed) {
        current::end(status);
    }
}

#[cfg(target_arch = "x86_64")]
mod current {
    //! A PC, in the order of `firmware_tables::pc`.

    use core::arch::asm;
    use core::arch::x86_64::_rdtsc;
    use core::fmt::{self, Write as _};
    use core::ptr;

    use firmware_tables::acpi;
    use firmware_tables::pc::{PATIENCE, RESET, Write, debug_exit};

    use crate::hermit::device_tree::{firmware_table, tree};
    use crate::hermit::panic::is_console_framed;

    const SERIAL: u16 = 0x3f8;

    pub(super) fn end(status: i32) {
        // SAFETY: each ends the machine; where a device is not, nobody listens at its port.
        let perform = |write| unsafe { perform(write) };
        // Where this device is, nobody comes further.
        perform(debug_exit(status == 0));

        if status != 0 && !is_console_framed() {
            // `Serial` never fails.
            let _ = writeln!(
                Serial,
                "hermit-wasm: exit code {status} is lost, for this machine has no isa-debug-exit; QEMU: add \
                 -device isa-debug-exit,iobase=0xf4,iosize=0x04"
            );
        }
        let rsdp = tree().and_then(|tree| tree.child("hermit,rsdp")?.registers());
        if let Some(power_off) = rsdp.and_then(|rsdp| acpi::power_off(rsdp.start, firmware_table)) {
            perform(power_off);
            wait();
        }
        perform(RESET);
        wait();
    }

    /// # Safety
    /// What is written to may be told this.
    unsafe fn perform(write: Write) {
        match write {
            // SAFETY: as the caller promises.
            Write::PortByte(port, value) => unsafe { out(port, value) },
            // SAFETY: as the caller promises.
            Write::PortWord(port, value) => unsafe {
                asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags));
            },
            Write::Memory(address, value) => {
                let Ok(address) = usize::try_from(address) else {
                    return;
                };
                // SAFETY: as the caller promises. Where it is not mapped, the fault ends the machine otherwise.
                unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(value) };
            }
        }
    }

    /// Lets the hypervisor come to what it was told.
    fn wait() {
        // SAFETY: reads the time stamp counter, which the kernel does too.
        let now = || unsafe { _rdtsc() };
        let start = now();
        while now().wrapping_sub(start) < PATIENCE {
            core::hint::spin_loop();
        }
    }

    /// # Safety
    /// What listens at the port may be told this.
    unsafe fn out(port: u16, value: u8) {
        // SAFETY: as the caller promises.
        unsafe {
            asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags));
        }
    }

    /// The serial line, past the kernel, whose lock a fault may have left taken.
    struct Serial;

    impl fmt::Write for Serial {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            /// How often it is looked whether the queue has room: a line that does not move must not keep us.
            const LOOKS: usize = 100_000;
            for &byte in text.as_bytes() {
                for _ in 0..LOOKS {
                    let state: u8;
                    // SAFETY: reading the line's state changes nothing.
                    unsafe {
                        asm!("in al, dx", in("dx") SERIAL + 5, out("al") state, options(nomem, nostack, preserves_flags));
                    };
                    if state & 0x20 != 0 {
                        break;
                    }
                }
                // SAFETY: sends a byte.
                unsafe { out(SERIAL, byte) };
            }
            Ok(())
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod current {
    //! Semihosting, if the host offers it (QEMU: `-semihosting-config enable=on`): its status is the exit code.
    //!
    //! Spec: Arm's "Semihosting for AArch32 and AArch64", SYS_EXIT. Where the host does not, its instruction is
    //! undefined. So it is executed with exception vectors that step over it.

    use core::arch::{asm, global_asm};

    const SYS_EXIT: u64 = 0x18;
    const APPLICATION_EXIT: u64 = 0x2_0026;

    // Sixteen vectors of 128 bytes, each the same: go on behind the instruction.
    global_asm!(
        ".balign 2048",
        "semihosting_vectors:",
        ".rept 16",
        "mrs x2, elr_el1",
        "add x2, x2, #4",
        "msr elr_el1, x2",
        "eret",
        ".balign 128",
        ".endr",
    );

    pub(super) fn end(status: i32) {
        let block = [APPLICATION_EXIT, i64::from(status).cast_unsigned()];
        // SAFETY: interrupts stay masked, so what comes here is the undefined instruction, which is stepped over with
        // the loss of `x2`. The vectors are put back. The host reads the block, which lies on the stack.
        unsafe {
            asm!(
                "mrs {daif}, daif",
                "msr daifset, #0xf",
                "mrs {kernels}, vbar_el1",
                "adrp x2, semihosting_vectors",
                "add x2, x2, :lo12:semihosting_vectors",
                "msr vbar_el1, x2",
                "isb",
                "hlt #0xf000",
                "msr vbar_el1, {kernels}",
                "isb",
                "msr daif, {daif}",
                daif = out(reg) _,
                kernels = out(reg) _,
                inout("x0") SYS_EXIT => _,
                in("x1") block.as_ptr(),
                out("x2") _,
                options(nostack),
            );
        }
    }
}

#[cfg(target_arch = "riscv64")]
mod current {
    //! SiFive's test device, by which QEMU's `virt` ends with any status.

    use core::ptr;

    use crate::hermit::device_tree::tree;

    const PASS: u32 = 0x5555;
    const FAIL: u32 = 0x3333;

    pub(super) fn end(status: i32) {
        let value = match status & 0xff {
            0 => PASS,
            code => code.cast_unsigned() << 16 | FAIL,
        };
        let device = tree().and_then(|tree| tree.compatible("sifive,test0")?.registers());
        let Some(address) = device.and_then(|registers| usize::try_from(registers.start).ok()) else {
            return;
        };
        // SAFETY: the device's register, as the device tree says; the kernel or the loader has mapped it.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(value) };
    }
}
