//! Little-endian numbers out of a byte slice, at offsets that the file itself names.

/// `len` bytes at `offset`, if the slice has them.
pub(super) fn bytes(data: &[u8], offset: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(usize::try_from(len).ok()?)?;
    data.get(start..end)
}

fn array<const N: usize>(data: &[u8], offset: u64) -> Option<[u8; N]> {
    let start = usize::try_from(offset).ok()?;
    data.get(start..)?.first_chunk().copied()
}

/// A 16-bit number.
pub(super) fn u16(data: &[u8], offset: u64) -> Option<u16> {
    array(data, offset).map(u16::from_le_bytes)
}

/// A 32-bit number.
pub(super) fn u32(data: &[u8], offset: u64) -> Option<u32> {
    array(data, offset).map(u32::from_le_bytes)
}

/// A 64-bit number.
pub(super) fn u64(data: &[u8], offset: u64) -> Option<u64> {
    array(data, offset).map(u64::from_le_bytes)
}
