//! Shortens a prelinked application: what relocating it needed, and nobody reads again, lies at its front.
//!
//! Linkers place notes, symbols and relocations in front of all constants. Of them only the note is still wanted. So the
//! headers and the notes move up to the constants, and the file starts on the page where they now lie. Used by the
//! build script.

use super::{ElfError, Image, Target, read};
use crate::ranges::PAGE;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: u64 = 64;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PT_PHDR: u32 = 6;

const SHT_STRTAB: u32 = 3;
const SHT_RELA: u32 = 4;
const SHT_HASH: u32 = 5;
const SHT_NOTE: u32 = 7;
const SHT_DYNSYM: u32 = 11;
const SHT_GNU_HASH: u32 = 0x6fff_fff6;
const SHF_ALLOC: u64 = 2;

const E_PHOFF: usize = 32;
const P_OFFSET: usize = 8;
const P_VADDR: usize = 16;
const P_PADDR: usize = 24;
const P_FILESZ: usize = 32;
const P_MEMSZ: usize = 40;

/// Notes are aligned to 4 bytes, and to 8 if one says so: both are right here.
const NOTE_ALIGN: usize = 8;

const DAMAGED: ElfError = ElfError::Damaged("its headers changed while it was prelinked");

/// How many bytes at the front of `file`, once it is prelinked, [`cut`] can leave out; whole pages, and none where the
/// file does not say by its sections that nothing else is among them.
pub fn dispensable(file: &[u8], target: Target) -> Result<usize, ElfError> {
    let image = Image::parse(file, target)?;
    let first = image.segments().first().ok_or(DAMAGED)?;
    if first.file.start != 0 {
        return Ok(0);
    }
    // Behind the symbols and relocations.
    let end = first_kept_section(file).unwrap_or(0).min(first.file.end);
    let end = usize::try_from(end).map_err(|_| DAMAGED)?;
    let front = front(file).ok_or(DAMAGED)?;
    let page = usize::try_from(PAGE).map_err(|_| DAMAGED)?;
    // They must not overlap what they are copied from.
    if front > page {
        return Ok(0);
    }
    Ok(end.saturating_sub(front) & !(page - 1))
}

/// Moves headers and notes of a prelinked file to `at`, which [`dispensable`] has found: there the file begins from now
/// on.
pub fn cut(prelinked: &mut [u8], at: usize) -> Result<(), ElfError> {
    if at == 0 {
        return Ok(());
    }
    let (front, rest) = prelinked.split_at_mut_checked(at).ok_or(DAMAGED)?;
    let table = program_headers(front).ok_or(DAMAGED)?;
    // What the first segment's file offset, zero, corresponds to.
    let is_first = |&header: &usize| {
        read::u32(front, header as u64) == Some(PT_LOAD) && number(front, header + P_OFFSET) == Some(0)
    };
    let first = table.clone().find(is_first).ok_or(DAMAGED)?;
    let at = at as u64;
    copy(rest, 0, front, 0, HEADER)?;
    put(rest, E_PHOFF, HEADER as u64)?;
    let mut notes = (HEADER + table.len() * PROGRAM_HEADER).next_multiple_of(NOTE_ALIGN);
    let base = number(front, first + P_VADDR).ok_or(DAMAGED)?.wrapping_add(at);
    for (index, from) in table.enumerate() {
        let to = HEADER + index * PROGRAM_HEADER;
        copy(rest, to, front, from, PROGRAM_HEADER)?;
        let offset = number(front, from + P_OFFSET).ok_or(DAMAGED)?;
        let len = number(front, from + P_FILESZ).ok_or(DAMAGED)?;
        let place = match read::u32(front, from as u64) {
            Some(PT_PHDR) => HEADER as u64,
            Some(PT_NOTE) => {
                let len = usize::try_from(len).map_err(|_| DAMAGED)?;
                let place = notes;
                copy(
                    rest,
                    place,
                    front,
                    usize::try_from(offset).map_err(|_| DAMAGED)?,
                    len,
                )?;
                notes = (place + len).next_multiple_of(NOTE_ALIGN);
                place as u64
            }
            Some(PT_LOAD) if offset == 0 => {
                let memory = number(front, from + P_MEMSZ).ok_or(DAMAGED)?;
                put(rest, to + P_FILESZ, len.checked_sub(at).ok_or(DAMAGED)?)?;
                put(rest, to + P_MEMSZ, memory.checked_sub(at).ok_or(DAMAGED)?)?;
                0
            }
            _ => {
                put(rest, to + P_OFFSET, offset.saturating_sub(at))?;
                continue;
            }
        };
        put(rest, to + P_OFFSET, place)?;
        put(rest, to + P_VADDR, base.wrapping_add(place))?;
        put(rest, to + P_PADDR, base.wrapping_add(place))?;
    }
    Ok(())
}

/// Where the first section lies that relocating does not use up.
fn first_kept_section(file: &[u8]) -> Option<u64> {
    let start = read::u64(file, 40)?;
    let count = u64::from(read::u16(file, 60)?);
    let mut first: Option<u64> = None;
    for at in (0..count).map(|index| start + index * SECTION_HEADER) {
        let (kind, flags, address) = (
            read::u32(file, at + 4)?,
            read::u64(file, at + 8)?,
            read::u64(file, at + 16)?,
        );
        let is_used_up = matches!(
            kind,
            SHT_STRTAB | SHT_RELA | SHT_HASH | SHT_NOTE | SHT_DYNSYM | SHT_GNU_HASH
        );
        if flags & SHF_ALLOC != 0 && !is_used_up {
            first = Some(first.map_or(address, |first| first.min(address)));
        }
    }
    first
}

/// How many bytes headers and notes take one behind the other.
fn front(file: &[u8]) -> Option<usize> {
    let table = program_headers(file)?;
    let mut size = (HEADER + table.len() * PROGRAM_HEADER).next_multiple_of(NOTE_ALIGN);
    for at in table {
        if read::u32(file, at as u64)? == PT_NOTE {
            let len = usize::try_from(number(file, at + P_FILESZ)?).ok()?;
            size = size.checked_add(len)?.checked_next_multiple_of(NOTE_ALIGN)?;
        }
    }
    Some(size)
}

/// Where the program headers are.
fn program_headers(file: &[u8]) -> Option<core::iter::StepBy<core::ops::Range<usize>>> {
    let start = usize::try_from(read::u64(file, E_PHOFF as u64)?).ok()?;
    let count = usize::from(read::u16(file, 56)?);
    let end = start.checked_add(count * PROGRAM_HEADER)?;
    Some((start..end).step_by(PROGRAM_HEADER))
}

fn number(file: &[u8], at: usize) -> Option<u64> {
    read::u64(file, at as u64)
}

fn put(file: &mut [u8], at: usize, value: u64) -> Result<(), ElfError> {
    *file
        .get_mut(at..)
        .and_then(<[u8]>::first_chunk_mut)
        .ok_or(DAMAGED)? = value.to_le_bytes();
    Ok(())
}

fn copy(to: &mut [u8], at: usize, from: &[u8], start: usize, len: usize) -> Result<(), ElfError> {
    let from = start.checked_add(len).and_then(|end| from.get(start..end));
    let to = at.checked_add(len).and_then(|end| to.get_mut(at..end));
    to.zip(from)
        .ok_or(DAMAGED)
        .map(|(to, from)| to.copy_from_slice(from))
}
