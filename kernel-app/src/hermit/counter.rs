//! The monotonic clock as a guest reads it: the processor's own counter where that is quick, else the kernel's clock.
//!
//! A guest that measures itself asks for the time very often, and the kernel's way takes some hundred instructions: a
//! call, two divisions, seconds and nanoseconds apart. Both count from the same zero at the same rate.

/// Reads the clock.
pub(super) struct Counter {
    /// The clock's smallest step, in nanoseconds.
    pub(super) resolution: u64,
    /// Nanoseconds a tick, in units of 2^-32.
    #[cfg(target_arch = "x86_64")]
    scale: u64,
}

#[cfg(target_arch = "x86_64")]
impl Counter {
    pub(super) fn new() -> Self {
        // SAFETY: takes no pointers.
        let megahertz = unsafe { super::syscalls::sys_get_processor_frequency() };
        let megahertz = u64::from(megahertz).max(1);
        Self {
            resolution: 1000_u64.div_ceil(megahertz),
            scale: (1000 << 32) / megahertz,
        }
    }

    /// Nanoseconds since boot.
    pub(super) fn now(&self) -> u64 {
        use core::arch::x86_64::{_mm_lfence, _rdtsc};
        // SAFETY: reads the time stamp counter, which the kernel does too; the fence, which every processor of this
        // architecture has, keeps two readings in their order.
        let ticks = unsafe {
            _mm_lfence();
            _rdtsc()
        };
        let scaled = (u128::from(ticks) * u128::from(self.scale)) >> 32;
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Counter {
    pub(super) fn new() -> Self {
        // The kernel counts in microseconds.
        Self { resolution: 1_000 }
    }

    /// Nanoseconds since boot.
    pub(super) fn now(&self) -> u64 {
        super::machine::monotonic()
    }
}
