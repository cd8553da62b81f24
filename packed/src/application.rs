//! An application with a payload inside: one more segment of its ELF file.

use payload_slot::Slot;

use crate::elf::{self, Elf, GNU_STACK};
use crate::find::slot;
use crate::{PAGE, PackError};

/// Puts a payload into a Hermit application, for any loader of Hermit's and for uhyve.
///
/// # Errors
/// [`PackError`] if the file is no application of ours, or has a payload already.
pub fn application(file: &[u8], payload: &[u8]) -> Result<Vec<u8>, PackError> {
    if payload.is_empty() {
        return Err(PackError::EmptyPayload);
    }
    let elf = Elf::new(file)?;
    let (at, old) = slot(file, Slot::APPLICATION).ok_or(PackError::NoSlot)?;
    if old.payload().is_some() {
        return Err(PackError::Taken);
    }
    let segments = elf.segments()?;
    // Linkers write this header for Linux. It is behind those of the segments that are loaded, as the new one has to be.
    let last = segments.iter().rev().find(|segment| segment.kind == elf::LOAD);
    let header = segments
        .iter()
        .find(|segment| segment.kind == GNU_STACK && last.is_some_and(|last| last.at < segment.at))
        .ok_or(PackError::NoRoom)?
        .at;
    let address = elf
        .end()?
        .checked_next_multiple_of(PAGE as u64)
        .ok_or(PackError::TooLarge)?;
    let own = elf.address_of(at).ok_or(PackError::NoSlot)?;
    let distance = address.checked_sub(own).ok_or(PackError::NoSlot)?;
    let len = payload.len() as u64;

    let mut packed = file.to_vec();
    elf::pad(&mut packed);
    let offset = packed.len() as u64;
    packed.extend(payload);
    elf::move_sections_to_end(&mut packed)?;
    elf::put(&mut packed, header, &elf::read_only(offset, address, len))?;
    let slot = Slot::filled(Slot::APPLICATION, distance, len);
    elf::put(&mut packed, at, &slot.to_bytes())?;
    Ok(packed)
}
