//! Puts a checked application into memory and relocates it.

use super::parse::{RELA, SYMBOL};
use super::{ElfError, Image, Segment, read};
use crate::ranges::Span;

/// Where the application's file is.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Elsewhere.
    File(&'a [u8]),
    /// At the start of the very memory it is loaded to, each segment where it belongs.
    InPlace,
}

const DAMAGED_SEGMENT: ElfError = ElfError::Damaged("a segment lies outside of the image");
const DAMAGED_RELOCATION: ElfError = ElfError::Damaged("a relocation points out of the image");

const SHN_UNDEF: u16 = 0;
const BIND_WEAK: u8 = 2;

impl Image {
    /// Whether every segment lies in the file where it belongs in the image, so that nothing need be copied.
    pub fn loads_in_place(&self) -> bool {
        self.segments()
            .iter()
            .all(|segment| segment.file.start == segment.memory.start)
    }

    /// Fills `memory`, which starts where the image is placed and has at least its size.
    pub fn load(&self, memory: &mut [u8], source: Source<'_>) -> Result<(), ElfError> {
        for segment in self.segments() {
            if let Source::File(file) = source {
                let bytes = read::bytes(file, segment.file.start, segment.file.len());
                let target = file_part(segment).and_then(|part| slice_mut(memory, part));
                target
                    .zip(bytes)
                    .ok_or(DAMAGED_SEGMENT)
                    .map(|(to, from)| to.copy_from_slice(from))?;
            }
            zero_part(segment)
                .and_then(|part| slice_mut(memory, part))
                .ok_or(DAMAGED_SEGMENT)?
                .fill(0);
        }
        Ok(())
    }

    /// Applies the relocations in `memory`, which will run at `base`.
    pub fn relocate(&self, memory: &mut [u8], base: u64) -> Result<(), ElfError> {
        let start = usize::try_from(self.relocations.start).map_err(|_| DAMAGED_RELOCATION)?;
        let end = usize::try_from(self.relocations.end).map_err(|_| DAMAGED_RELOCATION)?;
        let mut at = start;
        while at < end {
            let entry: &[u8; RELA] = memory
                .get(at..)
                .and_then(<[u8]>::first_chunk)
                .ok_or(DAMAGED_RELOCATION)?;
            let (&[offset, info, addend], _) = entry
                .as_chunks()
                .0
                .split_first_chunk()
                .ok_or(DAMAGED_RELOCATION)?;
            let [offset, info, addend] = [offset, info, addend].map(u64::from_le_bytes);
            let value = if info == u64::from(self.target.relative) {
                Some(base.wrapping_add(addend))
            } else {
                self.symbol_value(memory, base, info, addend)?
            };
            if let Some(value) = value {
                let place = usize::try_from(offset).map_err(|_| DAMAGED_RELOCATION)?;
                *memory
                    .get_mut(place..)
                    .and_then(<[u8]>::first_chunk_mut)
                    .ok_or(DAMAGED_RELOCATION)? = value.to_le_bytes();
            }
            at += RELA;
        }
        Ok(())
    }

    /// What a relocation against a symbol stores; nothing for a weak symbol that nobody defines.
    #[cold]
    fn symbol_value(
        &self,
        memory: &[u8],
        base: u64,
        info: u64,
        addend: u64,
    ) -> Result<Option<u64>, ElfError> {
        // The lower half is the type, the upper half the symbol.
        let kind = u32::try_from(info & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        if kind != self.target.absolute && Some(kind) != self.target.glob_dat {
            return Err(ElfError::Relocation(kind));
        }
        let at = (info >> 32)
            .checked_mul(SYMBOL)
            .and_then(|offset| self.symbols.checked_add(offset))
            .ok_or(DAMAGED_RELOCATION)?;
        let symbol = read::bytes(memory, at, SYMBOL).ok_or(DAMAGED_RELOCATION)?;
        let (Some(&binding), Some(section), Some(value)) =
            (symbol.get(4), read::u16(symbol, 6), read::u64(symbol, 8))
        else {
            return Err(DAMAGED_RELOCATION);
        };
        if section == SHN_UNDEF {
            return if binding >> 4 == BIND_WEAK {
                Ok(None)
            } else {
                Err(ElfError::DynamicallyLinked)
            };
        }
        Ok(Some(base.wrapping_add(value).wrapping_add(addend)))
    }
}

/// The part of a segment's memory that comes from the file.
fn file_part(segment: &Segment) -> Option<Span> {
    Span::from_len(segment.memory.start, segment.file.len())
}

/// The part of a segment's memory that is zero.
pub(super) fn zero_part(segment: &Segment) -> Option<Span> {
    Span::new(file_part(segment)?.end, segment.memory.end)
}

fn slice_mut(memory: &mut [u8], span: Span) -> Option<&mut [u8]> {
    memory.get_mut(usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?)
}
