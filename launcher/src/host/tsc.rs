//! The frequency of the host's time stamp counter, which saves the kernel a measurement of 40 ms in the VM.
//!
//! It is the guest's frequency too, under KVM (`-cpu host`) as under TCG (whose `rdtsc` reads the host's counter), as
//! long as the host is x86_64 and its counter runs at one rate in all states. Where one of that is in doubt there
//! is no answer, and the kernel measures for itself.

use std::time::{Duration, Instant};

/// How long to count at least. Reading counter and clock together is good to some 100 ns, so this is good to 50
/// parts per million, finer than the kernel's unit, a whole MHz.
const SHORTEST: Duration = Duration::from_millis(4);

/// A measurement that has begun. What the launcher does anyway until QEMU starts is part of its time.
#[derive(Debug)]
pub(crate) struct Measurement {
    start: Option<Sample>,
}

/// The counter and the clock at the same moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    ticks: u64,
    time: Instant,
}

impl Measurement {
    /// Begins, where the counter can be trusted.
    pub(crate) fn begin() -> Self {
        Self {
            start: counter::is_invariant().then(Sample::take).flatten(),
        }
    }

    /// Ends, waiting if it has just begun. The frequency in MHz, rounded.
    pub(crate) fn finish(&self) -> Option<u32> {
        let start = self.start?;
        if let Some(rest) = SHORTEST.checked_sub(start.time.elapsed()) {
            std::thread::sleep(rest);
        }
        let end = Sample::take()?;
        let elapsed = end.time.checked_duration_since(start.time)?;
        megahertz(end.ticks.checked_sub(start.ticks)?, elapsed)
    }
}

impl Sample {
    /// Takes the closest of a few samples: an interrupt between the two readings would spoil one.
    fn take() -> Option<Self> {
        let mut best: Option<(Duration, Self)> = None;
        for _ in 0..5 {
            let before = Instant::now();
            let ticks = counter::read()?;
            let width = before.elapsed();
            if best.is_none_or(|(narrowest, _)| width < narrowest) {
                best = Some((
                    width,
                    Self {
                        ticks,
                        time: before + width / 2,
                    },
                ));
            }
        }
        best.map(|(_, sample)| sample)
    }
}

/// The frequency of so many ticks in so much time, if it is one that a processor can have.
fn megahertz(ticks: u64, elapsed: Duration) -> Option<u32> {
    let nanoseconds = elapsed.as_nanos();
    let rounded = u128::from(ticks)
        .checked_mul(1000)?
        .checked_add(nanoseconds / 2)?
        .checked_div(nanoseconds)?;
    u32::try_from(rounded)
        .ok()
        .filter(|mhz| (200..=20_000).contains(mhz))
}

#[cfg(target_arch = "x86_64")]
mod counter {
    use core::arch::x86_64::{__cpuid, _rdtsc};

    /// Whether the counter runs at one rate whatever the processor does: CPUID 8000_0007h, EDX bit 8.
    pub(super) fn is_invariant() -> bool {
        const LEAF: u32 = 0x8000_0007;
        __cpuid(0x8000_0000).eax >= LEAF && __cpuid(LEAF).edx & (1 << 8) != 0
    }

    /// The counter's value.
    pub(super) fn read() -> Option<u64> {
        // SAFETY: RDTSC is part of every x86_64 processor and touches no memory. A system may forbid it to programs
        // (PR_SET_TSC), which ends the process but is not undefined behaviour.
        Some(unsafe { _rdtsc() })
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod counter {
    /// There is no time stamp counter here, and QEMU makes one up at a rate of its own.
    pub(super) fn is_invariant() -> bool {
        false
    }

    /// Never asked for.
    pub(super) fn read() -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_time_make_megahertz() {
        assert_eq!(megahertz(12_980_610, Duration::from_millis(5)), Some(2596));
        assert_eq!(megahertz(2_000_499_999, Duration::from_secs(1)), Some(2000));
        assert_eq!(megahertz(2_000_500_000, Duration::from_secs(1)), Some(2001));
    }

    #[test]
    fn what_no_processor_has_is_no_answer() {
        assert_eq!(megahertz(0, Duration::from_millis(5)), None);
        assert_eq!(megahertz(1, Duration::ZERO), None);
        assert_eq!(megahertz(u64::MAX, Duration::from_nanos(1)), None);
        assert_eq!(megahertz(1_000_000, Duration::from_secs(1)), None);
    }

    #[test]
    fn two_measurements_agree() {
        let first = Measurement::begin().finish();
        let second = Measurement::begin().finish();
        assert_eq!(first.is_some(), counter::is_invariant());
        if let (Some(first), Some(second)) = (first, second) {
            assert!(first.abs_diff(second) <= first / 100, "{first} and {second}");
        }
    }
}
