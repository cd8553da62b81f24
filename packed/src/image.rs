//! An image with a payload inside: loader, application, and behind it, where nothing else will lie, the payload.

use payload_slot::Slot;

use crate::elf::{self, Elf, PROGRAM_HEADER, PROGRAM_HEADER_COUNT};
use crate::find::slot;
use crate::{PAGE, PackError};

/// Where Linux's header of a flat image (`Documentation/arch/arm64/booting.rst`) has its name, and how large it says that
/// the image is in memory.
const FLAT_NAME: usize = 56;
const FLAT_SIZE: usize = 16;
/// More memory than this, which is zero at first, no application has.
const MOST_ZEROS: usize = 16 << 20;

/// Puts a payload into an image of our loader and an application, for what boots that image.
///
/// # Errors
/// [`PackError`] if the file is no image of ours, or has a payload already.
pub fn image(file: &[u8], payload: &[u8]) -> Result<Vec<u8>, PackError> {
    if payload.is_empty() {
        return Err(PackError::EmptyPayload);
    }
    let (at, old) = slot(file, Slot::LOADER).ok_or(PackError::NoSlot)?;
    if old.payload().is_some() {
        return Err(PackError::Taken);
    }
    if Elf::is(file) {
        in_elf(file, payload, at)
    } else {
        in_flat(file, payload, at)
    }
}

/// Whether a file begins as a flat image does.
pub(crate) fn is_flat(file: &[u8]) -> bool {
    file.get(FLAT_NAME..FLAT_NAME + 4) == Some(b"ARM\x64")
}

/// Where in a file an application's file is that lies within, from a page's beginning on.
fn application(file: &[u8]) -> Option<usize> {
    let mut pages = file.chunks(PAGE).enumerate().skip(1);
    pages
        .find(|(_, page)| Elf::is(page))
        .map(|(index, _)| index * PAGE)
}

/// Where an embedded application's memory ends, of which the file is `inner`: the address, a page's.
fn end_of(inner: &[u8]) -> Result<u64, PackError> {
    Elf::new(inner)?
        .end()?
        .checked_next_multiple_of(PAGE as u64)
        .ok_or(PackError::TooLarge)
}

fn in_elf(file: &[u8], payload: &[u8], at: usize) -> Result<Vec<u8>, PackError> {
    let elf = Elf::new(file)?;
    let inner = application(file).ok_or(PackError::NoApplication)?;
    let address = end_of(file.get(inner..).unwrap_or_default())?;
    if address < elf.end()? {
        return Err(PackError::NoApplication);
    }
    let own = elf.address_of(at).ok_or(PackError::NoSlot)?;
    let distance = address.checked_sub(own).ok_or(PackError::NoSlot)?;
    let len = payload.len() as u64;

    // The table is followed by nothing until the first segment's page begins.
    let (table, count) = elf.table().ok_or(PackError::NotElf)?;
    let header = table + count * PROGRAM_HEADER;
    let free = file
        .get(header..header + PROGRAM_HEADER)
        .ok_or(PackError::NoRoom)?;
    let begins_within = |start: u64| start < (header + PROGRAM_HEADER) as u64;
    let is_taken = elf
        .segments()?
        .iter()
        .any(|segment| begins_within(segment.offset) && segment.file_size > 0);
    if is_taken || free.iter().any(|byte| *byte != 0) {
        return Err(PackError::NoRoom);
    }
    let count = u16::try_from(count + 1).map_err(|_| PackError::NoRoom)?;

    let mut packed = file.to_vec();
    elf::pad(&mut packed);
    let offset = packed.len() as u64;
    packed.extend(payload);
    elf::move_sections_to_end(&mut packed)?;
    elf::put(&mut packed, header, &elf::read_only(offset, address, len))?;
    elf::put(&mut packed, PROGRAM_HEADER_COUNT, &count.to_le_bytes())?;
    fill(&mut packed, at, distance, len)?;
    Ok(packed)
}

fn in_flat(file: &[u8], payload: &[u8], at: usize) -> Result<Vec<u8>, PackError> {
    if !is_flat(file) {
        return Err(PackError::NotElf);
    }
    let inner = application(file).ok_or(PackError::NoApplication)?;
    let application = file.get(inner..).unwrap_or_default();
    let first = Elf::new(application)?
        .segments()?
        .iter()
        .filter(|segment| segment.kind == elf::LOAD)
        .map(|segment| segment.address)
        .min()
        .ok_or(PackError::NoApplication)?;
    // The application's own beginning, which may be within its first segment's page.
    let start = first & !(PAGE as u64 - 1);
    let size = end_of(application)?.checked_sub(start).ok_or(PackError::NotElf)?;
    let offset = usize::try_from(size)
        .ok()
        .and_then(|size| inner.checked_add(size))
        .filter(|offset| {
            offset
                .checked_sub(file.len())
                .is_some_and(|zeros| zeros <= MOST_ZEROS)
        })
        .ok_or(PackError::NotElf)?;

    // What the application has of zeroed memory is in the file now: the payload lies behind it.
    let mut packed = file.to_vec();
    packed.resize(offset, 0);
    packed.extend(payload);
    elf::pad(&mut packed);
    let size = packed.len() as u64;
    let said = elf::number(file, FLAT_SIZE).ok_or(PackError::NotElf)?;
    elf::put(&mut packed, FLAT_SIZE, &size.max(said).to_le_bytes())?;
    fill(&mut packed, at, (offset - at) as u64, payload.len() as u64)?;
    Ok(packed)
}

fn fill(file: &mut [u8], at: usize, distance: u64, len: u64) -> Result<(), PackError> {
    elf::put(file, at, &Slot::filled(Slot::LOADER, distance, len).to_bytes())
}
