//! Scatter/gather lists: checked as a whole, then walked without being collected.
//!
//! Layer: calls.

use crate::{
    abi::{
        Errno,
        layout::Iovec,
        types::{Filesize, Size},
    },
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Checks a list and every region it names before anything happens. The list may be as long as the guest's
/// memory holds; nothing is allocated for it. An empty region is valid at any address.
///
/// Returns what the regions add up to; fails with INVAL if that is more than the result, a u32, could tell
/// (POSIX's answer).
pub(super) fn check(mem: &GuestMemory<'_>, iovs: Ptr<Iovec>, iovs_len: Size) -> Result<Size, Error> {
    mem.check_array(iovs, iovs_len)?;
    let mut total: Size = 0;
    for index in 0..iovs_len {
        let Iovec { buf, buf_len } = mem.read(iovs.element(index)?)?;
        mem.bytes(Ptr::new(buf), buf_len)?;
        total = total.checked_add(buf_len).ok_or(Errno::INVAL)?;
    }
    Ok(total)
}

/// Fails with INVAL if `total` bytes at `offset` reach beyond the largest offset that POSIX has, 2^63 - 1.
/// (wasmtime's answer too; FBIG is for a file system that cannot hold so much.) An empty range is valid at any offset.
pub(super) fn check_end(offset: Filesize, total: Size) -> Result<(), Errno> {
    match offset.checked_add(u64::from(total)).map(i64::try_from) {
        _ if total == 0 => Ok(()),
        Some(Ok(_)) => Ok(()),
        _ => Err(Errno::INVAL),
    }
}

/// Whether `written` bytes at `buf` reach into the elements of the list from `next` on.
pub(super) fn overwrites(buf: u32, written: Size, iovs: Ptr<Iovec>, next: Size, iovs_len: Size) -> bool {
    let size = 8; // of an element; asserted in abi::layout
    let list = u64::from(iovs.address());
    let rest_start = list.saturating_add(u64::from(next).saturating_mul(size));
    let rest_end = list.saturating_add(u64::from(iovs_len).saturating_mul(size));
    let start = u64::from(buf);
    let end = start.saturating_add(u64::from(written));
    start < rest_end && rest_start < end
}
