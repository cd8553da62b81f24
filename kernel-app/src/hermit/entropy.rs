//! Random bytes from the processor's own generator; there is no weak fallback.
//!
//! Sources: Intel SDM, "RDRAND", "RDSEED" and the DRNG implementation guide: up to ten tries, then give up.

use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step};

/// How often a busy generator is asked again.
const TRIES: usize = 10;

/// Fills `buf`; `false` if this processor has no generator or it stays without an answer.
pub(super) fn fill(buf: &mut [u8]) -> bool {
    if !has_rdrand() {
        return false;
    }
    buf.chunks_mut(8).all(|chunk| {
        // SAFETY: the processor has RDRAND, as CPUID just said.
        let Some(word) = (unsafe { rdrand() }) else {
            return false;
        };
        for (to, from) in chunk.iter_mut().zip(word.to_ne_bytes()) {
            *to = from;
        }
        true
    })
}

/// CPUID.01H:ECX bit 30.
fn has_rdrand() -> bool {
    __cpuid(0).eax >= 1 && __cpuid_count(1, 0).ecx & 1 << 30 != 0
}

/// A random word. All zeros and all ones are taken for a broken generator, as some processors were after a resume.
///
/// # Safety
/// The processor has RDRAND.
#[target_feature(enable = "rdrand")]
unsafe fn rdrand() -> Option<u64> {
    (0..TRIES).find_map(|_| {
        let mut word = 0;
        let valid = _rdrand64_step(&mut word) == 1;
        (valid && word != 0 && word != u64::MAX).then_some(word)
    })
}
