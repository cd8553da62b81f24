//! Random bytes: from the processor's own generator, else from the seed that the hypervisor gave; there is no weak
//! fallback.
//!
//! Sources: Intel SDM, "RDRAND" and the DRNG implementation guide (up to ten tries, then give up); Arm ARM, "RNDR";
//! the device tree's `/chosen/rng-seed`, which QEMU's `virt` machines fill with 32 bytes of the host's generator and
//! from which Linux seeds its own. It is expanded by ChaCha with 20 rounds.

use wasi_core::random::Generator;

use super::device_tree;

/// How often a busy generator is asked again.
#[cfg(not(target_arch = "riscv64"))]
const TRIES: usize = 10;

/// What would help where there is no source.
pub(super) const ADVICE: &str = if cfg!(target_arch = "x86_64") {
    "give it a processor with RDRAND (QEMU: -cpu max, or -cpu host with KVM)"
} else if cfg!(target_arch = "aarch64") {
    "give it a processor with RNDR (QEMU: -cpu max) or a seed in its device tree (QEMU 7.2 and later: -machine virt)"
} else {
    "give it a seed in its device tree (QEMU 7.2 and later: -machine virt)"
};

/// The machine's source of random bytes.
#[derive(Default)]
pub(super) struct Entropy {
    /// The generator that has grown from the seed. There is one seed in a machine's life, so there must be no second
    /// generator, whose bytes would be the same.
    seeded: Option<Generator>,
}

impl Entropy {
    /// Fills `buf`; `false` if this machine has no source or it stays without an answer.
    pub(super) fn fill(&mut self, buf: &mut [u8]) -> bool {
        if instruction::exists() {
            return buf
                .chunks_mut(8)
                .all(|chunk| instruction::word().is_some_and(|word| put(chunk, word)));
        }
        if self.seeded.is_none() {
            self.seeded = seed().map(Generator::new);
        }
        if let Some(generator) = &mut self.seeded {
            generator.fill(buf);
        }
        self.seeded.is_some()
    }
}

/// Writes the beginning of `word` to `chunk`, which is no longer.
fn put(chunk: &mut [u8], word: u64) -> bool {
    for (to, from) in chunk.iter_mut().zip(word.to_ne_bytes()) {
        *to = from;
    }
    true
}

/// The seed that the hypervisor gave, if it gave a whole one.
fn seed() -> Option<[u8; 32]> {
    let seed = *device_tree::chosen()?.property("rng-seed")?.value.first_chunk()?;
    // All zeros are what a hypervisor leaves behind that has wiped it.
    (seed != [0; 32]).then_some(seed)
}

/// All zeros and all ones are taken for a broken generator, as some processors were after a resume.
#[cfg(not(target_arch = "riscv64"))]
fn sane(word: u64) -> Option<u64> {
    (word != 0 && word != u64::MAX).then_some(word)
}

#[cfg(target_arch = "x86_64")]
mod instruction {
    //! RDRAND.

    use core::arch::x86_64::{__cpuid, __cpuid_count, _rdrand64_step};

    /// CPUID.01H:ECX bit 30.
    pub(super) fn exists() -> bool {
        __cpuid(0).eax >= 1 && __cpuid_count(1, 0).ecx & 1 << 30 != 0
    }

    /// A random word. Call it only where the instruction [exists].
    pub(super) fn word() -> Option<u64> {
        // SAFETY: the processor has RDRAND, as the caller has found out.
        (0..super::TRIES).find_map(|_| unsafe { rdrand() }.and_then(super::sane))
    }

    /// # Safety
    /// The processor has RDRAND.
    #[target_feature(enable = "rdrand")]
    unsafe fn rdrand() -> Option<u64> {
        let mut word = 0;
        (_rdrand64_step(&mut word) == 1).then_some(word)
    }
}

#[cfg(target_arch = "aarch64")]
mod instruction {
    //! RNDR.

    use core::arch::asm;

    /// ID_AA64ISAR0_EL1 bits 60 to 63.
    pub(super) fn exists() -> bool {
        let features: u64;
        // SAFETY: reading an identification register, which the application may: it runs in EL1.
        unsafe {
            asm!("mrs {}, id_aa64isar0_el1", out(reg) features, options(nomem, nostack, preserves_flags));
        };
        features >> 60 != 0
    }

    /// A random word. Call it only where the instruction [exists].
    pub(super) fn word() -> Option<u64> {
        (0..super::TRIES).find_map(|_| {
            let (word, valid): (u64, u64);
            // SAFETY: the processor has RNDR (S3_3_C2_C4_0), as the caller has found out; it changes the flags, and
            // Z says that it has failed.
            unsafe {
                asm!(
                    "mrs {word}, S3_3_C2_C4_0",
                    "cset {valid}, ne",
                    word = out(reg) word,
                    valid = out(reg) valid,
                    options(nomem, nostack),
                );
            }
            (valid == 1).then_some(word).and_then(super::sane)
        })
    }
}

#[cfg(target_arch = "riscv64")]
mod instruction {
    //! None: the seed register of Zkr belongs to machine mode unless the firmware delegates it, which OpenSBI 1.1 does
    //! not.

    pub(super) fn exists() -> bool {
        false
    }

    pub(super) fn word() -> Option<u64> {
        None
    }
}
