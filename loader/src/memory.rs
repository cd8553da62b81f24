//! Physical memory as byte slices: the one place where an address becomes a reference.
//!
//! Layer: the machine. Memory is mapped to its own address while the loader runs. The borrow checker sees to it that
//! nothing is read and written at once: every slice borrows from [`Physical`], but for what is taken out of it.

#![expect(unsafe_code, reason = "addresses become references here")]

use core::{ptr, slice};

use crate::paging::Table;
use hermit_loader_core::ranges::{Memory, PAGE, Span};

/// What the loader can reach: the low 4 GiB but for the byte at the null pointer and for the loader itself.
#[derive(Debug)]
pub struct Physical {
    reachable: Memory,
}

/// Where the reach ends.
pub const REACH: u64 = 4 << 30;

impl Physical {
    /// The memory around the loader.
    ///
    /// # Safety
    /// The low [`REACH`] bytes are mapped to their own address, readable and writable. All that the loader's program
    /// consists of and uses, stack and page tables included, lies in `loader`. There is no other [`Physical`].
    pub unsafe fn new(loader: Span) -> Self {
        let mut reachable = Memory::new();
        reachable.insert(Span { start: 1, end: REACH });
        reachable.remove(loader);
        Self { reachable }
    }

    /// The bytes of a range, if it can be reached.
    pub fn bytes(&self, span: Span) -> Option<&[u8]> {
        let (start, len) = self.parts(span)?;
        // SAFETY: reachable, so it is mapped and not null, and no Rust object lies there (`new`); `bytes_mut`
        // borrows all of `self`, so nobody writes to it meanwhile. Bytes need no alignment and all are valid.
        // `parts` has made sure that the length is an isize.
        Some(unsafe { slice::from_raw_parts(start, len) })
    }

    /// The bytes of a range, to write to.
    pub fn bytes_mut(&mut self, span: Span) -> Option<&mut [u8]> {
        let (start, len) = self.parts(span)?;
        // SAFETY: as in `bytes`; all of `self` is borrowed, so nobody else uses it meanwhile.
        Some(unsafe { slice::from_raw_parts_mut(start, len) })
    }

    /// The bytes of one range to read and of another to write to, if they do not overlap.
    pub fn bytes_pair(&mut self, from: Span, to: Span) -> Option<(&[u8], &mut [u8])> {
        if from.overlaps(to) {
            return None;
        }
        let (from_start, from_len) = self.parts(from)?;
        let (to_start, to_len) = self.parts(to)?;
        // SAFETY: as in `bytes` and `bytes_mut`; the two have no byte in common.
        Some(unsafe {
            (
                slice::from_raw_parts(from_start, from_len),
                slice::from_raw_parts_mut(to_start, to_len),
            )
        })
    }

    /// Page tables in a page-aligned range, for good: it can no longer be reached.
    pub fn take_tables(&mut self, span: Span) -> Option<&'static mut [Table]> {
        if span.shrink_to(PAGE) != span {
            return None;
        }
        let (start, len) = self.parts(span)?;
        self.reachable.remove(span);
        // SAFETY: as in `bytes_mut`, and from now on nobody else gets it. A table is an array of numbers with a page's
        // size and alignment, for which all bytes are valid.
        Some(unsafe { slice::from_raw_parts_mut(start.cast(), len / size_of::<Table>()) })
    }

    fn parts(&self, span: Span) -> Option<(*mut u8, usize)> {
        if !self.reachable.contains(span) {
            return None;
        }
        let len = isize::try_from(span.len()).ok()?.unsigned_abs();
        // An empty range lies anywhere.
        let start = if len == 0 {
            1
        } else {
            usize::try_from(span.start).ok()?
        };
        Some((ptr::with_exposed_provenance_mut(start), len))
    }
}
