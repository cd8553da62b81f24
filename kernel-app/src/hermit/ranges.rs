//! Ranges of virtual memory, reserved at once and backed page by page.
//!
//! Layer: device. What is reserved and not backed faults. Nothing is backed before it is asked for, and what is asked
//! for is there or refused.

use core::ptr::NonNull;

use super::syscalls::{
    sys_commit, sys_commit_as_it_is, sys_decommit, sys_free_memory, sys_release, sys_reserve,
};

/// The kernel's number for a page 0 that is mapped.
const EPERM: i32 = 1;
/// And for a lack of memory.
const ENOMEM: i32 = 12;

/// The kernel's page. Sizes and offsets here are multiples of it.
pub(crate) const PAGE: usize = 4096;

/// Why the kernel does not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is too little memory.
    NoMemory,
    /// The pages are not such as that can be done with.
    Invalid,
    /// Page 0 is mapped: code that follows a null pointer would not fault.
    PageZero,
}

impl Refused {
    /// The result of a system call.
    pub(super) fn check(status: i32) -> Result<(), Self> {
        match status {
            0 => Ok(()),
            status if status == -ENOMEM => Err(Self::NoMemory),
            status if status == -EPERM => Err(Self::PageZero),
            _ => Err(Self::Invalid),
        }
    }
}

/// A reserved range. It is given back with what backs it when the value goes.
#[derive(Debug)]
pub(crate) struct Range {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: it is a number of pages; whoever makes references into them says why that is sound.
unsafe impl Send for Range {}
// SAFETY: as above; the kernel's calls are its own to order.
unsafe impl Sync for Range {}

impl Range {
    /// Reserves `len` bytes at a multiple of `align`, a power of two; [`None`] if there is no such range.
    pub(crate) fn reserve(len: usize, align: usize) -> Option<Self> {
        // SAFETY: takes any numbers.
        let start = NonNull::new(unsafe { sys_reserve(len, align) })?;
        Some(Self { start, len })
    }

    /// Where it begins.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Backs `len` bytes from `offset` on, none of them backed, with zeros; or changes nothing.
    pub(crate) fn commit(&self, offset: usize, len: usize) -> Result<(), Refused> {
        let start = self.part(offset, len)?;
        // SAFETY: the pages belong to this range. Those that are backed are not touched: the kernel refuses them.
        Refused::check(unsafe { sys_commit(start, len) })
    }

    /// The same with what happens to be in memory, for what is written before it is read: stacks.
    pub(crate) fn commit_as_it_is(&self, offset: usize, len: usize) -> Result<(), Refused> {
        let start = self.part(offset, len)?;
        // SAFETY: as above.
        Refused::check(unsafe { sys_commit_as_it_is(start, len) })
    }

    /// Takes back what backs `len` bytes from `offset` on.
    ///
    /// # Safety
    /// Nobody has a reference to these bytes, nor will use a pointer to them before they are backed again.
    pub(crate) unsafe fn decommit(&self, offset: usize, len: usize) -> Result<(), Refused> {
        let start = self.part(offset, len)?;
        // SAFETY: the pages belong to this range; as the caller promises.
        Refused::check(unsafe { sys_decommit(start, len) })
    }

    /// A pointer to a part of it.
    fn part(&self, offset: usize, len: usize) -> Result<*mut u8, Refused> {
        let end = offset.checked_add(len).ok_or(Refused::Invalid)?;
        if end > self.len {
            return Err(Refused::Invalid);
        }
        Ok(self.start.as_ptr().wrapping_add(offset))
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: as it was reserved, and nobody can use it any more. The kernel refuses if it contains code, which
        // then stays.
        unsafe { sys_release(self.start.as_ptr(), self.len) };
    }
}

/// How many bytes could still be backed.
pub(crate) fn free_memory() -> usize {
    // SAFETY: takes nothing.
    unsafe { sys_free_memory() }
}
