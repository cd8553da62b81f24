//! Does at build time what loading would do at each boot: copies the segments apart and relocates them.
//!
//! The result is an executable for a fixed address whose file is its own memory image, so an embedded application
//! runs where the hypervisor has put it. Used by the build script.

use super::load::zero_part;
use super::{ElfError, Image, Source, Target, read};

const ET_EXEC: u16 = 2;
const PT_NULL: u32 = 0;
const PT_DYNAMIC: u32 = 2;

const E_TYPE: usize = 16;
const E_ENTRY: usize = 24;
const E_SHOFF: usize = 40;
const E_SHNUM: usize = 60;

const UNEXPECTED: ElfError = ElfError::Damaged("its headers are not in its first segment");

/// How many bytes [`prelink`] needs for `file`.
pub fn memory_size(file: &[u8], target: Target) -> Result<usize, ElfError> {
    let size = Image::parse(file, target)?.size;
    usize::try_from(size).map_err(|_| ElfError::Unsupported("a size beyond this machine's memory"))
}

/// Lays `file` out in `memory` for `base` and returns how much of it is the new file; the rest is zero.
///
/// # Errors
/// As for loading; it must not have a fixed address yet, and its headers must be in its first segment.
pub fn prelink(file: &[u8], memory: &mut [u8], target: Target, base: u64) -> Result<usize, ElfError> {
    let image = Image::parse(file, target)?;
    if image.fixed.is_some() {
        return Err(ElfError::Unsupported("a fixed address already"));
    }
    memory.fill(0);
    image.load(memory, Source::File(file))?;
    image.relocate(memory, base)?;
    // What loading makes zero has no place in the file, so what a relocation stored there would be lost.
    for part in image.segments().iter().filter_map(zero_part) {
        let bytes = read::bytes(memory, part.start, part.len()).ok_or(UNEXPECTED)?;
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(ElfError::Unsupported(
                "a relocation of memory that starts as zeros",
            ));
        }
    }

    // The headers, in the copy that is part of the image.
    let headers = read::u64(file, 32).zip(read::u16(file, 56)).ok_or(UNEXPECTED)?;
    let (table, count) = (
        usize::try_from(headers.0).map_err(|_| UNEXPECTED)?,
        usize::from(headers.1),
    );
    let first = image.segments().first().ok_or(UNEXPECTED)?;
    if first.file.start != 0 || first.file.end < (table + count * 56) as u64 {
        return Err(UNEXPECTED);
    }
    for at in (table..).step_by(56).take(count) {
        let address = read::u64(memory, at as u64 + 16).ok_or(UNEXPECTED)?;
        let kind = read::u32(memory, at as u64).ok_or(UNEXPECTED)?;
        if kind == PT_DYNAMIC {
            // All it says has been done.
            put(memory, at, &PT_NULL.to_le_bytes())?;
        }
        put(memory, at + 8, &address.to_le_bytes())?;
        put(memory, at + 16, &address.wrapping_add(base).to_le_bytes())?;
        put(memory, at + 24, &address.wrapping_add(base).to_le_bytes())?;
    }
    put(memory, E_TYPE, &ET_EXEC.to_le_bytes())?;
    put(memory, E_ENTRY, &image.entry.wrapping_add(base).to_le_bytes())?;
    put(memory, E_SHOFF, &[0; 8])?;
    put(memory, E_SHNUM, &[0; 4])?;

    let last = image.segments().last().ok_or(UNEXPECTED)?;
    usize::try_from(last.memory.start + last.file.len()).map_err(|_| UNEXPECTED)
}

fn put(memory: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), ElfError> {
    memory
        .get_mut(at..at + bytes.len())
        .ok_or(UNEXPECTED)?
        .copy_from_slice(bytes);
    Ok(())
}
