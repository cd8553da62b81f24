//! The bootable images that this program carries: loader, Hermit kernel, interpreter and a module that greets.

use crate::arch::Arch;

/// The image of an architecture, made or found by `build.rs`.
pub(crate) const fn of(arch: Arch) -> &'static [u8] {
    match arch {
        Arch::X86_64 => include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-x86_64.img")),
        Arch::Aarch64 => include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-aarch64.img")),
        Arch::Riscv64 => include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-riscv64.img")),
    }
}

/// The application alone, for uhyve, which loads it itself.
pub(crate) const X86_64_APPLICATION: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-x86_64.elf"));

/// A name for exactly this image, for files that are kept of it or about it: FNV-1a, 64 bits. It is no protection
/// against anyone; it tells one build from another.
pub(crate) fn fingerprint(image: &[u8]) -> u64 {
    image.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_fnv_1a() {
        // From the algorithm's published test vectors.
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn there_is_an_image_of_each_architecture() {
        // ELF, "ARM\x64" in the header of Linux's image, ELF; and whose it is.
        let at = |arch, range: std::ops::Range<usize>| of(arch).get(range).unwrap();
        assert_eq!(at(Arch::X86_64, 0..4), b"\x7fELF");
        assert_eq!(at(Arch::X86_64, 18..20), [62, 0]);
        assert_eq!(at(Arch::Aarch64, 56..60), b"ARM\x64");
        assert_eq!(at(Arch::Riscv64, 0..4), b"\x7fELF");
        assert_eq!(at(Arch::Riscv64, 18..20), [243, 0]);
    }
}
