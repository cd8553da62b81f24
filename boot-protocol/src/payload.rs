//! The payload: the tar archive that the hypervisor hands to the machine (QEMU's `-initrd`), by its members' names.
//!
//! Layer: names and nothing else. `kernel-app/src/payload.rs` reads it, the launcher writes it, and so can `tar`:
//!
//! ```text
//! digest          of what was packed, and first: the BLAKE3 digest of all that follows its two blocks
//! Hermitfile      what was packed, for people
//! run.spec        what to run and with what: see [`crate::run_spec`]
//! module.wasm     the module, for the interpreter
//! padding         zeros, so that what follows is aligned
//! module.cwasm    instead of the module: its native code, aligned to [`ALIGNMENT`]
//! dir-N.tar       the content of the directory N, for a mount that copies it
//! preload-N.wasm  the module N that others import from; its native code: preload-N.cwasm
//! recording       what the calls of an earlier run answered
//! ```
//!
//! The machine finds the payload at the start of a page, so that native code which is aligned in the payload is made
//! executable where it lies. Code that is not is copied.
//!
//! A payload that begins with a digest is sealed. It runs if it is what was packed, to the byte; and its description is
//! a ceiling, beneath which the kernel command line stays ([`crate::run_spec::RunSpec::narrowed`]).

use alloc::format;
use alloc::string::String;

/// The member that seals a payload, its first: see [`seal`].
pub const DIGEST: &str = "digest";

/// The member that says what was packed. Only a sealed payload has it.
pub const MANIFEST: &str = "Hermitfile";

/// The member that describes the run.
pub const RUN_SPEC: &str = "run.spec";

/// The member that is the module.
pub const MODULE: &str = "module.wasm";

/// The member that is native code.
pub const CODE: &str = "module.cwasm";

/// What the data of [`CODE`] is aligned to, from the start of the payload, by a member called [`PADDING`].
pub const ALIGNMENT: u64 = 4096;

/// The member that aligns the next one's data: zeros, for nobody to read.
pub const PADDING: &str = "padding";

/// The member that holds the content of the directory `index`, counted from 0.
#[must_use]
pub fn directory(index: usize) -> String {
    format!("dir-{index}.tar")
}

/// The member that holds what the calls of an earlier run answered.
pub const RECORDING: &str = "recording";

/// The member that is the module `index` of those that others import from, counted from 0.
#[must_use]
pub fn preload(index: usize, is_native: bool) -> String {
    format!("preload-{index}.{}", if is_native { "cwasm" } else { "wasm" })
}

/// A block of a tar archive.
const BLOCK: usize = 512;

/// The member [`DIGEST`]: its header and its data.
pub const SEAL: usize = 2 * BLOCK;

/// Hexadecimal digits.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The first bytes of a sealed payload, where `digest` is the BLAKE3 digest of the others: a member of a tar archive
/// whose data are its 64 hexadecimal digits. One byte of it that is different, and it is no seal.
#[must_use]
pub fn seal(digest: &[u8; 32]) -> [u8; SEAL] {
    let mut seal = [0; SEAL];
    let mut put = |at: usize, bytes: &[u8]| {
        let place = seal.iter_mut().skip(at);
        place.zip(bytes).for_each(|(place, byte)| *place = *byte);
    };
    put(0, DIGEST.as_bytes());
    for (at, field) in [
        (100, "0000644"),     // mode
        (108, "0000000"),     // owner
        (116, "0000000"),     // group
        (124, "00000000100"), // size
        (136, "00000000000"), // time
        (148, "        "),    // checksum, which counts itself as spaces
        (156, "0"),           // a regular file
        (257, "ustar"),
        (263, "00"),
    ] {
        put(at, field.as_bytes());
    }
    for (index, byte) in digest.iter().enumerate() {
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
        let at = index.saturating_mul(2).saturating_add(BLOCK);
        put(at, &[digit(byte >> 4), digit(byte & 15)]);
    }
    let sum = seal
        .iter()
        .take(BLOCK)
        .map(|byte| usize::from(*byte))
        .sum::<usize>();
    let mut put = |at: usize, byte: u8| seal.get_mut(at).into_iter().for_each(|place| *place = byte);
    for (index, shift) in [15, 12, 9, 6, 3, 0].into_iter().enumerate() {
        let digit = DIGITS.get(sum >> shift & 7).copied().unwrap_or_default();
        put(index.saturating_add(148), digit);
    }
    put(154, 0);
    seal
}

/// Whether a payload begins with the member [`DIGEST`]; a damaged one counts.
#[must_use]
pub fn is_sealed(payload: &[u8]) -> bool {
    payload
        .strip_prefix(DIGEST.as_bytes())
        .is_some_and(|rest| rest.first() == Some(&0))
}

/// Whether a sealed payload is what was sealed; `hash` makes BLAKE3 digests.
///
/// ```
/// use boot_protocol::payload::{is_intact, seal};
/// // Stands for BLAKE3 here.
/// let hash = |bytes: &[u8]| [bytes.len() as u8; 32];
/// let mut payload = seal(&[3; 32]).to_vec();
/// payload.extend(b"abc");
/// assert!(is_intact(&payload, hash));
/// payload.push(b'd');
/// assert!(!is_intact(&payload, hash));
/// ```
#[must_use]
pub fn is_intact(payload: &[u8], hash: impl FnOnce(&[u8]) -> [u8; 32]) -> bool {
    payload
        .split_first_chunk::<SEAL>()
        .is_some_and(|(first, rest)| *first == seal(&hash(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of a seal's header.
    fn field(seal: &[u8], at: usize, len: usize) -> &str {
        str::from_utf8(&seal[at..at + len]).unwrap()
    }

    #[test]
    fn the_seal_is_a_member_of_a_tar_archive() {
        let seal = seal(&core::array::from_fn(|index| 255 - u8::try_from(index).unwrap()));
        for (at, expected) in [
            (0, "digest\0\0\0"),
            (100, "0000644\0"),
            (108, "0000000\0"),
            (116, "0000000\0"),
            (124, "00000000100\0"),
            (136, "00000000000\0"),
            (156, "0\0"),
            (257, "ustar\x0000"),
        ] {
            assert_eq!(field(&seal, at, expected.len()), expected, "at {at}");
        }
        let mut unsigned = 0;
        for (at, byte) in seal[..BLOCK].iter().enumerate() {
            unsigned += u32::from(if (148..156).contains(&at) { b' ' } else { *byte });
        }
        assert_eq!(field(&seal, 148, 8), format!("{unsigned:06o}\0 "));
        assert_eq!(field(&seal, BLOCK, 8), "fffefdfc");
        assert_eq!(field(&seal, BLOCK + 60, 5), "e1e0\0");
    }

    #[test]
    fn what_begins_otherwise_is_not_sealed() {
        let seal = seal(&[0; 32]);
        assert!(is_sealed(&seal));
        for other in [&b""[..], b"digest", b"digests\0", b"Digest\0", b"./digest\0"] {
            assert!(!is_sealed(other));
        }
        assert!(!is_intact(&seal[..SEAL - 1], |_| [0; 32]));
    }
}
