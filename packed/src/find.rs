//! Finds slots in files, and the payloads that they name.

use std::ops::Range;

use boot_protocol::slot::Slot;

use crate::elf::Elf;

/// What a file is that has a payload inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Hermit application.
    Application,
    /// A loader with an application.
    Image,
}

/// A payload in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What the file is.
    pub kind: Kind,
    /// Where the payload is in it.
    pub payload: Range<usize>,
}

/// Finds the payload in a file that [`application`](crate::application) or [`image`](crate::image) has made.
#[must_use]
pub fn find(file: &[u8]) -> Option<Found> {
    // A payload may have slots inside. They lie behind that of the file.
    let slots = [
        (Kind::Image, Slot::LOADER),
        (Kind::Application, Slot::APPLICATION),
    ];
    let slots = slots
        .into_iter()
        .filter_map(|(kind, name)| Some((slot(file, name)?, kind)));
    let ((at, slot), kind) = slots.min_by_key(|((at, _), _)| *at)?;
    let payload = place(file, at, slot)?;
    Some(Found { kind, payload })
}

/// Where in the file the payload is that its slot, at `at`, is filled in for.
fn place(file: &[u8], at: usize, slot: Slot) -> Option<Range<usize>> {
    let (distance, len) = slot.payload()?;
    let start = if Elf::is(file) {
        let elf = Elf::new(file).ok()?;
        elf.offset_of(elf.address_of(at)?.checked_add(distance)?, len)?
    } else {
        // A flat file is what is in memory.
        at.checked_add(usize::try_from(distance).ok()?)?
    };
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    (end <= file.len()).then_some(start..end)
}

/// The first slot with this name, and where it is. Payloads lie behind it, whatever they have inside.
pub(crate) fn slot(file: &[u8], name: [u8; 16]) -> Option<(usize, Slot)> {
    let mut places = file.iter().enumerate().filter(|(_, byte)| **byte == name[0]);
    places.find_map(|(at, _)| Some((at, Slot::read(name, file.get(at..)?)?)))
}
