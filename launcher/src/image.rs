//! The bootable images that this program carries: loader, Hermit kernel, interpreter and a module that greets.
//!
//! `build.rs` takes those that were there when this program was built; a slot without one is empty.

use crate::arch::Arch;

/// The image of an architecture; empty if this program carries none.
pub(crate) const fn of(arch: Arch) -> &'static [u8] {
    match arch {
        Arch::X86_64 => include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-x86_64.img")),
        Arch::Aarch64 => include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-aarch64.img")),
        Arch::Riscv64 => include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-riscv64.img")),
    }
}

/// The application alone, for uhyve, which loads it itself; empty if this program carries none.
pub(crate) const X86_64_APPLICATION: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-x86_64.elf"));

/// Why nothing can be run on `arch`, if this program carries no image for it.
pub(crate) fn missing(arch: Arch) -> Option<String> {
    of(arch).is_empty().then(|| {
        let arch = arch.name();
        format!(
            "this hermit-wasm was built without an image for {arch}. In its source, `scripts/run --arch {arch}` builds one \
             and runs with it; `cargo xtask image --arch {arch}` builds one for the next `cargo install` or `cargo build`"
        )
    })
}

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
    fn an_image_is_of_its_architecture_or_said_to_be_missing() {
        // Of each: a byte's place, and the bytes from there. ELF, "ARM\x64" in the header of Linux's image, ELF; for whom.
        for (arch, at, bytes) in [
            (Arch::X86_64, 0, b"\x7fELF".as_slice()),
            (Arch::X86_64, 18, &[62, 0]),
            (Arch::Aarch64, 56, b"ARM\x64"),
            (Arch::Riscv64, 0, b"\x7fELF"),
            (Arch::Riscv64, 18, &[243, 0]),
        ] {
            if let Some(why) = missing(arch) {
                let advice = format!("cargo xtask image --arch {}", arch.name());
                assert!(why.contains(&advice), "{why}");
            } else {
                assert_eq!(of(arch).get(at..at + bytes.len()), Some(bytes), "{arch:?}");
            }
        }
    }
}
