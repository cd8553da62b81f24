//! A split virtqueue with one chain of descriptors, which always begins with the first one. See 2.7.

use crate::rings::{Broken, NEXT, Rings, WRITE};
use crate::{Memory, PAGE};

/// A piece of memory as a descriptor names it: its address, and its length. Longer ones are cut.
type Piece = (u64, u32);
const LONGEST: usize = 1 << 30;

/// A part of what is lent: where it begins, its length, and whether the device writes to it.
pub(crate) type Part = (*const u8, usize, bool);

/// Why a chain was not lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotLent {
    /// It takes more descriptors than there are.
    TooLong,
    /// Somewhere there is no memory, or there is nothing to lend at all.
    NoMemory,
}

/// The queue. Its memory is given to each call.
#[derive(Debug)]
pub(crate) struct Chain {
    rings: Rings,
}

impl Chain {
    /// Bytes of memory that a queue takes.
    pub(crate) const MEMORY: usize = PAGE;

    /// A queue in the [`Self::MEMORY`] bytes from `start` on, a multiple of [`PAGE`], with at most `most` descriptors.
    pub(crate) fn new(memory: &mut impl Memory, start: usize, most: u16) -> Option<Self> {
        let rings = Rings::new(memory, start, most)?;
        Some(Self { rings })
    }

    /// How many descriptors there are.
    pub(crate) fn size(&self) -> u16 {
        self.rings.size()
    }

    /// Where the device finds descriptors, available ring and used ring.
    pub(crate) fn addresses(&self, memory: &impl Memory) -> [u64; 3] {
        self.rings.addresses(memory)
    }

    /// Lends all parts to the device, those first that it only reads. Returns whether that wants to be told. `place`
    /// says where a part's first byte lies, and how many from there on lie in one piece.
    pub(crate) fn lend(
        &mut self,
        memory: &mut impl Memory,
        parts: impl Iterator<Item = Part>,
        mut place: impl FnMut(*const u8, usize) -> Option<(u64, usize)>,
    ) -> Result<bool, NotLent> {
        let mut count = 0;
        // What the next descriptor will name, unless more follows that lies right behind it.
        let mut last: Option<(Piece, u16)> = None;
        for (mut start, mut left, write) in parts {
            let flags = if write { WRITE } else { 0 };
            while left > 0 {
                let (address, len) = place(start, left).ok_or(NotLent::NoMemory)?;
                let len = len.min(left).min(LONGEST);
                let bytes = u32::try_from(len).unwrap_or(0);
                if bytes == 0 {
                    return Err(NotLent::NoMemory);
                }
                match &mut last {
                    Some(((before, so_far), others))
                        if *others == flags && follows(*before, *so_far, address, bytes) =>
                    {
                        *so_far += bytes;
                    }
                    _ => {
                        if let Some((piece, flags)) = last.replace(((address, bytes), flags)) {
                            self.describe(memory, count, piece, flags | NEXT)?;
                            count += 1;
                        }
                    }
                }
                start = start.wrapping_add(len);
                left -= len;
            }
        }
        let (piece, flags) = last.ok_or(NotLent::NoMemory)?;
        self.describe(memory, count, piece, flags)?;
        Ok(self.rings.lend(memory, 0))
    }

    fn describe(&self, memory: &mut impl Memory, id: u16, piece: Piece, flags: u16) -> Result<(), NotLent> {
        if id >= self.size() {
            return Err(NotLent::TooLong);
        }
        self.rings.describe(memory, id, piece, flags, id.wrapping_add(1));
        Ok(())
    }

    /// How many bytes the device says that it wrote, once it has given the chain back.
    pub(crate) fn take(&mut self, memory: &impl Memory) -> Result<Option<u32>, Broken> {
        match self.rings.take(memory) {
            None => Ok(None),
            // There is but one, and it begins with descriptor 0.
            Some((0, len)) if !self.rings.has_returned(memory) => Ok(Some(len)),
            Some(_) => Err(Broken),
        }
    }
}

/// Whether `address` lies right behind the bytes at `before`, and one descriptor can name both.
fn follows(before: u64, so_far: u32, address: u64, bytes: u32) -> bool {
    before.checked_add(so_far.into()) == Some(address) && so_far.checked_add(bytes).is_some()
}
