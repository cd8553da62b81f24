//! What ends an executable with a payload: where the payload lies in it, and for what machine it is.
//!
//! ```text
//!  0  16  MAGIC
//! 16   1  version, 1
//! 17   1  architecture: the place in Arch::ALL
//! 18   1  engine: the place in Engine::ALL
//! 19   5  zero
//! 24   8  where the payload starts, in bytes of the file
//! 32   8  its length
//! 40   8  the machine's memory in bytes
//! ```

use boot_protocol::arch::Arch;

use crate::spec::engine::Engine;

/// What a trailer begins with.
const MAGIC: &[u8; 16] = b"hermit-wasm pack";
const VERSION: u8 = 1;

/// Its length.
pub(super) const SIZE: usize = 48;

/// What ends an executable with a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) arch: Arch,
    pub(super) engine: Engine,
    /// Where the payload starts, and its length.
    pub(super) payload: (u64, u64),
    /// The machine's memory in bytes.
    pub(super) memory: u64,
}

impl Trailer {
    pub(super) fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let place = |is: bool, place: u8| if is { place } else { 0 };
        let mut fields = bytes.iter_mut();
        let mut put = |field: &[u8]| {
            for (byte, place) in field.iter().zip(fields.by_ref()) {
                *place = *byte;
            }
        };
        put(MAGIC);
        put(&[VERSION]);
        put(&[(0u8..)
            .zip(Arch::ALL)
            .map(|(at, arch)| place(arch == self.arch, at))
            .sum()]);
        put(&[(0u8..)
            .zip(Engine::ALL)
            .map(|(at, engine)| place(engine == self.engine, at))
            .sum()]);
        put(&[0; 5]);
        put(&self.payload.0.to_le_bytes());
        put(&self.payload.1.to_le_bytes());
        put(&self.memory.to_le_bytes());
        bytes
    }

    /// Reads the last bytes of a file of `length` bytes; `None` if it was not packed.
    pub(super) fn parse(bytes: &[u8; SIZE], length: u64) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (&[VERSION, arch, engine, 0, 0, 0, 0, 0], rest) = rest.split_first_chunk()? else {
            return None;
        };
        let number = |at: usize| Some(u64::from_le_bytes(rest.get(at..)?.first_chunk().copied()?));
        let payload = (number(0)?, number(8)?);
        let end = payload.0.checked_add(payload.1)?;
        (end <= length.checked_sub(SIZE as u64)?).then_some(())?;
        Some(Self {
            arch: *Arch::ALL.get(usize::from(arch))?,
            engine: *Engine::ALL.get(usize::from(engine))?,
            payload,
            memory: number(16)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for arch in Arch::ALL {
            for engine in Engine::ALL {
                let trailer = Trailer {
                    arch,
                    engine,
                    payload: (4096, 1024),
                    memory: 1 << 28,
                };
                let bytes = trailer.encode();
                let least = 4096 + 1024 + SIZE as u64;
                assert_eq!(Trailer::parse(&bytes, least), Some(trailer));
                assert_eq!(
                    Trailer::parse(&bytes, least - 1),
                    None,
                    "the payload is not in the file"
                );
            }
        }
    }

    #[test]
    fn what_is_no_trailer_is_none() {
        let trailer = Trailer {
            arch: Arch::X86_64,
            engine: Engine::Interp,
            payload: (u64::MAX, 2),
            memory: 0,
        };
        assert_eq!(Trailer::parse(&trailer.encode(), u64::MAX), None);
        let good = Trailer {
            payload: (0, 0),
            ..trailer
        }
        .encode();
        for at in 0..24 {
            let mut bad = good;
            bad[at] ^= 0x40;
            assert_eq!(Trailer::parse(&bad, 1 << 20), None, "byte {at}");
        }
    }
}
