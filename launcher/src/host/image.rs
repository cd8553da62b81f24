//! The bootable images that this program carries: loader, Hermit kernel, interpreter and a module that greets.

use boot_protocol::arch::Arch;
use boot_protocol::fingerprint;

use crate::error::StartError;

/// The image of an architecture.
///
/// # Errors
/// This program was built without it.
pub(crate) fn of(arch: Arch) -> Result<&'static [u8], StartError> {
    present(arch, slot(arch))
}

/// The application of an architecture alone, for uhyve, which loads it itself.
///
/// # Errors
/// This program was built without it.
pub(crate) fn application(arch: Arch) -> Result<&'static [u8], StartError> {
    match arch {
        Arch::X86_64 => present(arch, X86_64_APPLICATION),
        Arch::Aarch64 | Arch::Riscv64 => present(arch, &[]),
    }
}

/// A short name for an image. Each run needs one, and reading an image byte by byte takes milliseconds: so it goes by words,
/// after the manner of FNV. It tells accidents apart and is no protection against somebody who wants two to agree.
pub(crate) fn fingerprint(image: &[u8]) -> u64 {
    let (words, rest) = image.as_chunks::<8>();
    let step = |hash: u64, word: u64| {
        let mixed = (hash ^ word).wrapping_mul(0x0100_0000_01b3);
        // A product carries a difference upwards only.
        mixed ^ (mixed >> 32)
    };
    let start = fingerprint::fingerprint(rest);
    words
        .iter()
        .fold(start, |hash, word| step(hash, u64::from_le_bytes(*word)))
}

fn present(arch: Arch, image: &'static [u8]) -> Result<&'static [u8], StartError> {
    if image.is_empty() {
        let arch = arch.name();
        return Err(StartError::NoImage(format!(
            "this hermit-wasm was built without an image for {arch}. In its source, `scripts/run --arch {arch}` builds one \
             and runs with it; `cargo xtask image --arch {arch}` builds one for the next `cargo install` or `cargo build`"
        )));
    }
    Ok(image)
}

/// What `build.rs` has put in; nothing if there was none.
const fn slot(arch: Arch) -> &'static [u8] {
    match arch {
        Arch::X86_64 => include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-x86_64.img")),
        Arch::Aarch64 => include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-aarch64.img")),
        Arch::Riscv64 => include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-riscv64.img")),
    }
}

/// The application alone.
const X86_64_APPLICATION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hermit-wasm-x86_64.elf"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_an_image_counts() {
        let image = [7; 35];
        let mut seen = std::collections::HashSet::from([fingerprint(&image), fingerprint(&image[..34])]);
        for at in 0..image.len() {
            for bit in 0..8 {
                let mut other = image;
                other[at] ^= 1 << bit;
                assert!(seen.insert(fingerprint(&other)), "{at}, {bit}");
            }
        }
    }

    #[test]
    fn an_image_is_of_its_architecture_or_said_to_be_missing() {
        // ELF, "ARM\x64" in the header of Linux's image, ELF; and whose it is.
        for (arch, marks) in [
            (Arch::X86_64, [(0, b"\x7fELF".as_slice()), (18, &[62, 0])]),
            (Arch::Aarch64, [(56, b"ARM\x64"), (56, b"A")]),
            (Arch::Riscv64, [(0, b"\x7fELF"), (18, &[243, 0])]),
        ] {
            match of(arch) {
                Ok(image) => {
                    for (at, mark) in marks {
                        assert!(image[at..].starts_with(mark), "{arch:?}");
                    }
                }
                Err(error) => assert!(error.to_string().contains(arch.name()), "{error}"),
            }
        }
    }

    #[test]
    fn an_empty_slot_says_how_to_fill_it() {
        let error = present(Arch::Riscv64, &[]).unwrap_err().to_string();
        for part in ["riscv64", "scripts/run --arch riscv64", "cargo xtask image"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
