//! Finds slots in files, and the payloads that they name.

use std::ops::Range;

use boot_protocol::arch::Arch;
use payload_slot::Slot;

use crate::elf::Elf;
use crate::image::is_flat;

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
    /// What it runs on.
    pub arch: Arch,
    /// Where the payload is in it.
    pub payload: Range<u64>,
}

/// How much of a file [`find`] wants: loader and application are shorter.
pub const HEAD: usize = 16 << 20;

/// Whether a file that begins so may have a payload inside: [`find`] says whether it has.
#[must_use]
pub fn may_boot(start: &[u8]) -> bool {
    Elf::is(start) || is_flat(start)
}

/// Finds the payload in a file of `len` bytes that [`application`](crate::application) or [`image`](crate::image) has
/// made; `head` is its first [`HEAD`] bytes.
#[must_use]
pub fn find(head: &[u8], len: u64) -> Option<Found> {
    let arch = match is_flat(head) {
        true => Arch::Aarch64,
        false => Elf::new(head).ok()?.arch()?,
    };
    // A payload may have slots inside. They lie behind that of the file.
    let slots = [
        (Kind::Image, Slot::LOADER),
        (Kind::Application, Slot::APPLICATION),
    ];
    let slots = slots
        .into_iter()
        .filter_map(|(kind, name)| Some((slot(head, name)?, kind)));
    let ((at, slot), kind) = slots.min_by_key(|((at, _), _)| *at)?;
    let payload = place(head, at, slot).filter(|payload| payload.end <= len)?;
    Some(Found { kind, arch, payload })
}

/// Where in the file the payload is that its slot, at `at`, is filled in for.
fn place(head: &[u8], at: usize, slot: Slot) -> Option<Range<u64>> {
    let (distance, len) = slot.payload()?;
    let start = if Elf::is(head) {
        let elf = Elf::new(head).ok()?;
        elf.offset_of(elf.address_of(at)?.checked_add(distance)?, len)?
    } else {
        // A flat file is what is in memory.
        u64::try_from(at).ok()?.checked_add(distance)?
    };
    Some(start..start.checked_add(len)?)
}

/// The first slot with this name, and where it is. Payloads lie behind it, whatever they have inside.
pub(crate) fn slot(file: &[u8], name: [u8; 16]) -> Option<(usize, Slot)> {
    let mut places = file.iter().enumerate().filter(|(_, byte)| **byte == name[0]);
    places.find_map(|(at, _)| Some((at, Slot::read(name, file.get(at..)?)?)))
}
