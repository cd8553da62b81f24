//! What ends an executable with a payload: where the payload lies in it, and for what machine it is.
//!
//! ```text
//!  0  16  MAGIC
//! 16   1  version, 2
//! 17   1  architecture: the place in Arch::ALL
//! 18   6  zero
//! 24   8  where the payload starts, in bytes of the file
//! 32   8  its length: it ends where this begins
//! 40   8  the machine's memory in bytes
//! 48  32  BLAKE3 of these 48 bytes and of the payload's seal
//! ```
//!
//! The seal bears the payload's digest, so that one byte that is different, in trailer or payload, is found.

use boot_protocol::arch::Arch;
use boot_protocol::payload::SEAL;

/// What a trailer begins with.
const MAGIC: &[u8; 16] = b"hermit-wasm pack";
const VERSION: u8 = 2;

/// The length of what its digest is about.
const FIELDS: usize = 48;

/// Its length.
pub(super) const SIZE: usize = FIELDS + 32;

/// What ends an executable with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) arch: Arch,
    /// Where the payload starts, and its length.
    pub(super) payload: (u64, u64),
    /// The machine's memory in bytes.
    pub(super) memory: u64,
}

/// What the last bytes of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No trailer.
    Nothing,
    /// What was one, or is one of another version.
    Damaged,
    /// A trailer, as far as it can be seen without the payload.
    Trailer(Trailer),
}

impl Trailer {
    fn fields(&self) -> [u8; FIELDS] {
        let mut bytes = [0; FIELDS];
        let mut fields = bytes.iter_mut();
        let mut put = |field: &[u8]| {
            for (byte, place) in field.iter().zip(fields.by_ref()) {
                *place = *byte;
            }
        };
        put(MAGIC);
        let place = (0u8..).zip(Arch::ALL).find(|(_, arch)| *arch == self.arch);
        put(&[VERSION, place.map_or(u8::MAX, |(place, _)| place)]);
        put(&[0; 6]);
        put(&self.payload.0.to_le_bytes());
        put(&self.payload.1.to_le_bytes());
        put(&self.memory.to_le_bytes());
        bytes
    }

    /// The bytes that end a file in which the payload has this seal.
    pub(super) fn encode(&self, seal: &[u8; SEAL]) -> Vec<u8> {
        let fields = self.fields();
        [&fields[..], digest(&fields, seal).as_bytes()].concat()
    }

    /// Reads the last bytes of a file of `length` bytes.
    pub(super) fn parse(bytes: &[u8; SIZE], length: u64) -> Found {
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            return Found::Nothing;
        };
        let trailer = Self::parse_fields(rest).filter(|trailer| {
            let (start, size) = trailer.payload;
            let end = start.checked_add(size);
            size >= SEAL as u64 && end.is_some() && end == length.checked_sub(SIZE as u64)
        });
        trailer.map_or(Found::Damaged, Found::Trailer)
    }

    fn parse_fields(rest: &[u8]) -> Option<Self> {
        let (&[VERSION, arch, 0, 0, 0, 0, 0, 0], rest) = rest.split_first_chunk()? else {
            return None;
        };
        let number = |at: usize| Some(u64::from_le_bytes(rest.get(at..)?.first_chunk().copied()?));
        Some(Self {
            arch: *Arch::ALL.get(usize::from(arch))?,
            payload: (number(0)?, number(8)?),
            memory: number(16)?,
        })
    }

    /// Whether `bytes`, of which it was read, bear the digest of it and of the payload with this seal.
    pub(super) fn is_intact(bytes: &[u8; SIZE], seal: &[u8; SEAL]) -> bool {
        let (fields, rest) = bytes.split_at(FIELDS);
        rest == digest(fields, seal).as_bytes()
    }
}

fn digest(fields: &[u8], seal: &[u8; SEAL]) -> blake3::Hash {
    blake3::Hasher::new().update(fields).update(seal).finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALED: [u8; SEAL] = [7; SEAL];

    fn trailer(arch: Arch) -> Trailer {
        Trailer {
            arch,
            payload: (4096, 2048),
            memory: 1 << 28,
        }
    }

    fn bytes(trailer: &Trailer) -> [u8; SIZE] {
        trailer.encode(&SEALED).try_into().unwrap()
    }

    const LENGTH: u64 = 4096 + 2048 + SIZE as u64;

    #[test]
    fn what_is_written_is_read() {
        for arch in Arch::ALL {
            let bytes = bytes(&trailer(arch));
            assert_eq!(Trailer::parse(&bytes, LENGTH), Found::Trailer(trailer(arch)));
            assert!(Trailer::is_intact(&bytes, &SEALED));
            // Of a file that was cut or made longer.
            for length in [LENGTH - 1, LENGTH + 1, 0] {
                assert_eq!(Trailer::parse(&bytes, length), Found::Damaged);
            }
        }
    }

    #[test]
    fn each_bit_counts() {
        let good = bytes(&trailer(Arch::X86_64));
        for bit in 0..SIZE * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            let is_trailer = matches!(Trailer::parse(&bad, LENGTH), Found::Trailer(_));
            assert!(!is_trailer || !Trailer::is_intact(&bad, &SEALED), "bit {bit}");
        }
        let mut seal = SEALED;
        seal[SEAL - 1] ^= 1;
        assert!(!Trailer::is_intact(&good, &seal), "another payload");
    }

    #[test]
    fn what_is_no_trailer_is_none() {
        assert_eq!(Trailer::parse(&[0; SIZE], LENGTH), Found::Nothing);
        for payload in [(u64::MAX, 2), (0, 0), (LENGTH - SIZE as u64, 0)] {
            let bad = Trailer {
                payload,
                ..trailer(Arch::X86_64)
            };
            assert_eq!(Trailer::parse(&bytes(&bad), LENGTH), Found::Damaged);
        }
    }
}
