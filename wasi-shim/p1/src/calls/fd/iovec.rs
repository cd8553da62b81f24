//! Scatter/gather lists: checked as a whole, then walked without being collected.
//!
//! Layer: calls.

use crate::{
    abi::{Errno, layout::Iovec, types::Size},
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Checks a list and every region it names before anything happens. The list may be as long as the guest's
/// memory holds; nothing is allocated for it. An empty region is valid at any address.
///
/// Returns what the regions add up to; fails with INVAL if that is more than the result, a u32, could tell
/// (POSIX's answer).
#[inline]
pub(in crate::calls) fn check(
    mem: &GuestMemory<'_>,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
) -> Result<Size, Error> {
    mem.check_array(iovs, iovs_len)?;
    let mut total: Size = 0;
    for index in 0..iovs_len {
        let Iovec { buf, buf_len } = mem.read(iovs.element(index)?)?;
        mem.bytes(Ptr::new(buf), buf_len)?;
        total = total.checked_add(buf_len).ok_or(Errno::INVAL)?;
    }
    Ok(total)
}

/// Hands the buffers of a checked list to `fill` until it fills less than all of one, or says that nothing more is
/// there (`None`). Ends early after a buffer that overwrites the part of the list not used yet. Returns what was
/// filled.
#[inline]
pub(in crate::calls) fn scatter(
    mem: &mut GuestMemory<'_>,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    mut fill: impl FnMut(&mut [u8]) -> Result<Option<usize>, Errno>,
) -> Result<Size, Error> {
    let mut total: Size = 0;
    for index in 0..iovs_len {
        let Iovec { buf, buf_len } = mem.read(iovs.element(index)?)?;
        if buf_len == 0 {
            continue;
        }
        let count = match fill(mem.bytes_mut(Ptr::new(buf), buf_len)?) {
            Ok(Some(count)) => Size::try_from(count).unwrap_or(buf_len).min(buf_len),
            Ok(None) => break,
            // What was done before is told; the error comes again if it lasts.
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno.into()),
        };
        // Within u32: `check` has added up all lengths.
        total = total.saturating_add(count);
        let next = index.saturating_add(1);
        if count < buf_len || overwrites(buf, count, iovs, next, iovs_len) {
            break;
        }
    }
    Ok(total)
}

/// Hands the buffers of a checked list to `take` until it takes less than all of one. Returns what it took.
#[inline]
pub(in crate::calls) fn gather(
    mem: &GuestMemory<'_>,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    mut take: impl FnMut(&[u8]) -> Result<usize, Errno>,
) -> Result<Size, Error> {
    let mut total: Size = 0;
    for index in 0..iovs_len {
        let Iovec { buf, buf_len } = mem.read(iovs.element(index)?)?;
        if buf_len == 0 {
            continue;
        }
        let count = match take(mem.bytes(Ptr::new(buf), buf_len)?) {
            Ok(count) => Size::try_from(count).unwrap_or(buf_len).min(buf_len),
            // What was done before is told; the error comes again if it lasts.
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno.into()),
        };
        // Within u32: `check` has added up all lengths.
        total = total.saturating_add(count);
        if count < buf_len {
            break;
        }
    }
    Ok(total)
}

/// Whether `written` bytes at `buf` reach into the elements of the list from `next` on.
fn overwrites(buf: u32, written: Size, iovs: Ptr<Iovec>, next: Size, iovs_len: Size) -> bool {
    let size = 8; // of an element; asserted in abi::layout
    let list = u64::from(iovs.address());
    let rest_start = list.saturating_add(u64::from(next).saturating_mul(size));
    let rest_end = list.saturating_add(u64::from(iovs_len).saturating_mul(size));
    let start = u64::from(buf);
    let end = start.saturating_add(u64::from(written));
    start < rest_end && rest_start < end
}
