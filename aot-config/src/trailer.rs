//! The trailer: what stands behind wasmtime's ELF file in a `.cwasm` file of ours.
//!
//! Layout, little-endian, [`SIZE`] bytes at the end of the file:
//!
//! | offset | bytes | |
//! |---|---|---|
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 4 | version of this layout, [`VERSION`] |
//! | 12 | 2 | architecture and processor level |
//! | 14 | 2 | [`Options`] |
//! | 16 | 8 | length of the ELF file before it |
//! | 24 | 16 | version of wasmtime, filled up with zeros |
//! | 40 | 32 | digest of the module that was compiled: BLAKE3 |
//! | 72 | 32 | keyed digest of all bytes before this one: BLAKE3 with a key that only the launcher has |
//!
//! Native code is trusted as no module is: it can do in the machine whatever the machine can do. So the launcher hands
//! over only what bears its own keyed digest. The machine has no key: it reads what the code was made for, to say so
//! where that does not fit.

use core::fmt;

use crate::WASMTIME_VERSION;
use crate::cpu::CpuLevel;

/// Bytes of a trailer.
pub const SIZE: usize = 104;
/// What a trailer begins with.
pub const MAGIC: [u8; 8] = *b"hwcwasm\x1a";
/// The version of the layout.
pub const VERSION: u32 = 1;
/// Bytes of a digest.
pub const DIGEST: usize = 32;

const VERSION_AT: usize = 8;
const CPU_AT: usize = 12;
const OPTIONS_AT: usize = 14;
const LENGTH_AT: usize = 16;
const WASMTIME_AT: usize = 24;
const SOURCE_AT: usize = 40;
const SEAL_AT: usize = 72;
const _: () = assert!(SEAL_AT + DIGEST == SIZE && SOURCE_AT + DIGEST == SEAL_AT);
const _: () = assert!(WASMTIME_VERSION.len() <= SOURCE_AT - WASMTIME_AT);

/// What the compiler was asked for that the runtime must know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// The code counts what it does, so that it can be given so much and no more.
    pub fuel: bool,
    /// The same bits on every processor: NaNs in one form, relaxed SIMD in its deterministic form.
    pub deterministic: bool,
}

impl Options {
    const FUEL: u16 = 1;
    const DETERMINISTIC: u16 = 2;

    const fn to_bits(self) -> u16 {
        (if self.fuel { Self::FUEL } else { 0 })
            | (if self.deterministic {
                Self::DETERMINISTIC
            } else {
                0
            })
    }

    const fn from_bits(bits: u16) -> Option<Self> {
        if bits & !(Self::FUEL | Self::DETERMINISTIC) != 0 {
            return None;
        }
        Some(Self {
            fuel: bits & Self::FUEL != 0,
            deterministic: bits & Self::DETERMINISTIC != 0,
        })
    }
}

/// What a trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// What the code needs of the processor.
    pub level: CpuLevel,
    /// What the compiler was asked for.
    pub options: Options,
    /// The digest of the module that was compiled.
    pub source: [u8; DIGEST],
}

/// Why a file's trailer cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailerError {
    /// There is none: another program compiled the file, or it is cut off.
    Missing,
    /// Another version of this project wrote it, in another layout or for another version of wasmtime.
    OtherVersion,
    /// Its fields contradict each other or the file.
    Damaged,
    /// The keyed digest is not that of the file: it was damaged, or compiled with another key.
    NotOurs,
}

impl fmt::Display for TrailerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => {
                "it does not end as a file of hermit-wasm's compiler does: another program made it, or it is cut off"
            }
            Self::OtherVersion => "another version of hermit-wasm compiled it",
            Self::Damaged => "its trailer is damaged",
            Self::NotOurs => "it is damaged, or it was compiled for another cache: its keyed digest does not match",
        })
    }
}

impl core::error::Error for TrailerError {}

impl Trailer {
    /// The trailer's bytes behind an ELF file of `length` bytes, but for the keyed digest, which is zeros.
    #[must_use]
    pub fn to_bytes(&self, length: u64) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let mut put = |at: usize, field: &[u8]| {
            if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..field.len())) {
                place.copy_from_slice(field);
            }
        };
        put(0, &MAGIC);
        put(VERSION_AT, &VERSION.to_le_bytes());
        put(CPU_AT, &self.level.to_bytes());
        put(OPTIONS_AT, &self.options.to_bits().to_le_bytes());
        put(LENGTH_AT, &length.to_le_bytes());
        put(WASMTIME_AT, WASMTIME_VERSION.as_bytes());
        put(SOURCE_AT, &self.source);
        bytes
    }

    /// The trailer at the end of `file`, and the ELF file before it. The keyed digest is not looked at.
    ///
    /// # Errors
    /// [`TrailerError`], but never `NotOurs`.
    pub fn of(file: &[u8]) -> Result<(Self, &[u8]), TrailerError> {
        let (elf, trailer) = file.split_last_chunk::<SIZE>().ok_or(TrailerError::Missing)?;
        let length = u64::try_from(file.len()).map_err(|_| TrailerError::Damaged)?;
        Ok((Self::parse(trailer, length)?, elf))
    }

    /// What the last bytes of a file say that has `length` bytes in all. The keyed digest is not looked at.
    ///
    /// # Errors
    /// [`TrailerError`], but never `NotOurs`.
    pub fn parse(trailer: &[u8; SIZE], length: u64) -> Result<Self, TrailerError> {
        if !trailer.starts_with(&MAGIC) {
            return Err(TrailerError::Missing);
        }
        let damaged = TrailerError::Damaged;
        if u32::from_le_bytes(field(trailer, VERSION_AT)?) != VERSION {
            return Err(TrailerError::OtherVersion);
        }
        let elf = u64::from_le_bytes(field(trailer, LENGTH_AT)?);
        if elf.checked_add(SIZE as u64) != Some(length) {
            return Err(damaged);
        }
        let wasmtime: [u8; SOURCE_AT - WASMTIME_AT] = field(trailer, WASMTIME_AT)?;
        let (version, rest) = wasmtime.split_at(WASMTIME_VERSION.len());
        if version != WASMTIME_VERSION.as_bytes() || rest.iter().any(|byte| *byte != 0) {
            return Err(TrailerError::OtherVersion);
        }
        Ok(Self {
            level: CpuLevel::from_bytes(field(trailer, CPU_AT)?).ok_or(damaged)?,
            options: Options::from_bits(u16::from_le_bytes(field(trailer, OPTIONS_AT)?)).ok_or(damaged)?,
            source: field(trailer, SOURCE_AT)?,
        })
    }
}

/// The `N` bytes at an offset.
fn field<const N: usize>(trailer: &[u8; SIZE], at: usize) -> Result<[u8; N], TrailerError> {
    let bytes = trailer.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().ok_or(TrailerError::Damaged)
}

/// The keyed digest of a file, which is read part by part.
#[cfg(feature = "digest")]
#[derive(Clone, Debug)]
pub struct Sealer(blake3::Hasher);

#[cfg(feature = "digest")]
impl Sealer {
    /// For whoever has the key.
    #[must_use]
    pub fn new(key: &[u8; DIGEST]) -> Self {
        Self(blake3::Hasher::new_keyed(key))
    }

    /// The next bytes of the ELF file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The whole trailer of the ELF file, which has `length` bytes: append it.
    #[must_use]
    pub fn seal(mut self, trailer: &Trailer, length: u64) -> [u8; SIZE] {
        let mut bytes = trailer.to_bytes(length);
        if let Some((before, digest)) = bytes.split_last_chunk_mut::<DIGEST>() {
            *digest = *self.0.update(before).finalize().as_bytes();
        }
        bytes
    }

    /// Whether the trailer was made by [`Self::seal`] for this file, with this key. In constant time, by `blake3`:
    /// nobody finds a digest byte by byte.
    #[must_use]
    pub fn is_sealed(mut self, trailer: &[u8; SIZE]) -> bool {
        let Some((before, digest)) = trailer.split_last_chunk::<DIGEST>() else {
            return false;
        };
        self.0.update(before).finalize() == *digest
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    const ELF: &[u8] = b"\x7fELF\x02\x01\x01\xc8, and code";
    const TRAILER: Trailer = Trailer {
        level: CpuLevel::X86_64V2,
        options: Options {
            fuel: true,
            deterministic: false,
        },
        source: [7; DIGEST],
    };

    #[test]
    fn the_bytes_are_these() {
        let mut expected = Vec::new();
        expected.extend(b"hwcwasm\x1a");
        expected.extend([1, 0, 0, 0]); // version
        expected.extend([1, 2]); // x86-64, v2
        expected.extend([1, 0]); // fuel
        expected.extend([18, 0, 0, 0, 0, 0, 0, 0]); // length
        expected.extend(b"48.0.8\0\0\0\0\0\0\0\0\0\0");
        expected.extend([7; 32]);
        expected.extend([0; 32]);
        assert_eq!(TRAILER.to_bytes(18), *expected);
    }

    #[test]
    fn what_was_written_is_read() {
        for level in CpuLevel::ALL {
            for bits in 0..4 {
                let trailer = Trailer {
                    level,
                    options: Options::from_bits(bits).unwrap(),
                    ..TRAILER
                };
                let file = [ELF, &trailer.to_bytes(18)].concat();
                assert_eq!(Trailer::of(&file), Ok((trailer, ELF)));
            }
        }
    }

    #[test]
    fn each_field_is_checked() {
        let good = [ELF, &TRAILER.to_bytes(18)].concat();
        let with = |at: usize, value: u8| {
            let mut bad = good.clone();
            bad[ELF.len() + at] = value;
            Trailer::of(&bad).map(|_| ())
        };
        assert_eq!(with(0, b'x'), Err(TrailerError::Missing));
        assert_eq!(with(VERSION_AT, 2), Err(TrailerError::OtherVersion));
        assert_eq!(with(CPU_AT, 9), Err(TrailerError::Damaged));
        assert_eq!(with(CPU_AT + 1, 9), Err(TrailerError::Damaged));
        assert_eq!(with(OPTIONS_AT, 4), Err(TrailerError::Damaged));
        assert_eq!(with(OPTIONS_AT + 1, 1), Err(TrailerError::Damaged));
        assert_eq!(with(LENGTH_AT, 19), Err(TrailerError::Damaged));
        assert_eq!(with(WASMTIME_AT, b'5'), Err(TrailerError::OtherVersion));
        assert_eq!(with(WASMTIME_AT + 15, b'5'), Err(TrailerError::OtherVersion));
        assert_eq!(Trailer::of(&good[1..]), Err(TrailerError::Damaged));
        assert_eq!(Trailer::of(&good[..good.len() - 1]), Err(TrailerError::Missing));
        assert_eq!(Trailer::of(b"\x7fELF"), Err(TrailerError::Missing));
        assert_eq!(Trailer::of(b""), Err(TrailerError::Missing));
    }

    #[cfg(feature = "digest")]
    #[test]
    fn every_byte_of_a_sealed_file_counts() {
        fn check(file: &[u8], key: &[u8; DIGEST]) -> Result<Trailer, TrailerError> {
            let (trailer, elf) = Trailer::of(file)?;
            let mut sealer = Sealer::new(key);
            sealer.update(elf);
            let sealed = file.last_chunk().is_some_and(|last| sealer.is_sealed(last));
            sealed.then_some(trailer).ok_or(TrailerError::NotOurs)
        }
        let key = [1; DIGEST];
        let mut sealer = Sealer::new(&key);
        let (first, second) = ELF.split_at(5);
        sealer.update(first);
        sealer.update(second);
        let sealed = [ELF, &sealer.seal(&TRAILER, 18)].concat();
        assert_eq!(check(&sealed, &key), Ok(TRAILER));
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut bad = sealed.clone();
                bad[at] ^= 1 << bit;
                assert!(check(&bad, &key).is_err(), "byte {at}, bit {bit}");
            }
            assert!(check(&sealed[..at], &key).is_err(), "{at} bytes");
        }
        assert_eq!(check(&sealed, &[2; DIGEST]), Err(TrailerError::NotOurs));
        let longer = [&sealed[..ELF.len()], b"x", &sealed[ELF.len()..]].concat();
        assert_eq!(check(&longer, &key), Err(TrailerError::Damaged));
    }
}
