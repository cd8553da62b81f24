//! Scatter/gather lists: checked as a whole, then walked without being collected.
//!
//! Layer: calls.

use crate::{
    abi::{Errno, layout::Iovec, types::Size},
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Checks a list and every region it names before anything happens. The list may be as long as the guest's
/// memory holds; nothing is allocated for it. A region of no bytes may lie anywhere.
///
/// Fails with INVAL if the regions add up to more than the result, a u32, could tell (POSIX's answer).
pub(super) fn check(mem: &GuestMemory<'_>, iovs: Ptr<Iovec>, iovs_len: Size) -> Result<(), Error> {
    mem.check_array(iovs, iovs_len)?;
    let mut total: Size = 0;
    for index in 0..iovs_len {
        let Iovec { buf, buf_len } = mem.read(iovs.element(index)?)?;
        mem.bytes(Ptr::new(buf), buf_len)?;
        total = total.checked_add(buf_len).ok_or(Errno::INVAL)?;
    }
    Ok(())
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
