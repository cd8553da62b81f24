//! The note by which a Hermit application says which boot information its kernel expects.

use super::read;

/// Owner of the note, with its terminator. See `define_entry_version!` in hermit-entry.
const OWNER: &[u8] = b"HERMIT\0";
/// `NT_HERMIT_ENTRY_VERSION` in hermit-entry.
const KIND: u32 = 0x5a00;
/// `HERMIT_ENTRY_VERSION` in hermit-entry 0.10.11, which does not export it.
pub(super) const ENTRY_VERSION: u8 = 4;

const NOTE_HEADER: u64 = 12;

/// The entry version in a note segment, whose notes are aligned to `align`.
pub(super) fn entry_version(notes: &[u8], align: u64) -> Option<u8> {
    let align = if align == 8 { 8 } else { 4 };
    let mut at = 0_u64;
    loop {
        let name_len = u64::from(read::u32(notes, at)?);
        let desc_len = u64::from(read::u32(notes, at + 4)?);
        let kind = read::u32(notes, at + 8)?;
        let name_at = at + NOTE_HEADER;
        let desc_at = (name_at + name_len).next_multiple_of(align);
        if kind == KIND && read::bytes(notes, name_at, name_len) == Some(OWNER) {
            return read::bytes(notes, desc_at, desc_len)?.first().copied();
        }
        at = (desc_at + desc_len).next_multiple_of(align);
    }
}
