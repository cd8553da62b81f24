//! A split virtqueue in which descriptor n always names buffer n. See 2.7.
//!
//! The device's part of it, the used ring, is believed nothing: what is with the device is remembered here.

use core::fmt;
use core::sync::atomic::{Ordering, fence};

use crate::{Memory, PAGE};

/// The most descriptors. The rings of so many lie in one page.
pub(crate) const MOST: u16 = 128;

/// Bytes of a buffer, two of which lie in a page.
pub(crate) const BUFFER: usize = PAGE / 2;

/// Where the rings lie in their page: descriptors of 16 bytes first.
const DESCRIPTOR: usize = 16;
const AVAILABLE: usize = DESCRIPTOR * MOST as usize;
/// Behind flags, index, entries and an event field, aligned to 4.
const USED: usize = (AVAILABLE + 6 + 2 * MOST as usize).next_multiple_of(4);
const _: () = assert!(USED + 6 + 8 * MOST as usize <= PAGE);

/// A descriptor's flag: the device writes to the buffer.
const WRITE: u16 = 2;
/// The available ring's flag: no interrupt is wanted.
const NO_INTERRUPT: u16 = 1;
/// The used ring's flag: no notification is wanted.
const NO_NOTIFICATION: u16 = 1;

/// The device has broken the rules: it gave back what it had not, or more than it was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it has broken the rules of virtio, and was given up")
    }
}

impl core::error::Error for Broken {}

/// The queue. Its memory is given to each call.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Where the page of its rings is.
    rings: usize,
    /// Where its buffers are.
    buffers: usize,
    /// A power of two.
    size: u16,
    /// How many buffers have been lent, and how many of these seen to be back, as the rings count.
    lent: u16,
    returned: u16,
    /// A bit for each buffer that is with the device.
    away: u128,
}

impl Queue {
    /// Bytes of memory that a queue takes: its rings and buffers.
    pub(crate) const MEMORY: usize = PAGE + MOST as usize * BUFFER;

    /// A queue in the [`Self::MEMORY`] bytes from `start` on, a multiple of [`PAGE`], with at most `most` descriptors.
    /// Each buffer has `len` bytes, and the device writes to them if `write`.
    pub(crate) fn new(
        memory: &mut impl Memory,
        start: usize,
        most: u16,
        len: u32,
        write: bool,
    ) -> Option<Self> {
        let size = 1_u16.checked_shl(most.min(MOST).checked_ilog2()?)?;
        let queue = Self {
            rings: start,
            buffers: start.checked_add(PAGE)?,
            size,
            lent: 0,
            returned: 0,
            away: 0,
        };
        for id in 0..size {
            let at = queue.rings + DESCRIPTOR * usize::from(id);
            memory.write64(at, memory.address(queue.buffer(id)));
            memory.write32(at + 8, len);
            memory.write16(at + 12, if write { WRITE } else { 0 });
        }
        queue.interrupt(memory, false);
        Some(queue)
    }

    /// How many buffers there are.
    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    /// Where a buffer is in the memory.
    pub(crate) fn buffer(&self, id: u16) -> usize {
        self.buffers + BUFFER * usize::from(id % self.size)
    }

    /// Where the device finds descriptors, available ring and used ring.
    pub(crate) fn addresses(&self, memory: &impl Memory) -> [u64; 3] {
        [0, AVAILABLE, USED].map(|offset| memory.address(self.rings + offset))
    }

    /// The length that a buffer's descriptor names from now on. The buffer is not with the device.
    pub(crate) fn set_length(&self, memory: &mut impl Memory, id: u16, len: u32) {
        memory.write32(self.rings + DESCRIPTOR * usize::from(id % self.size) + 8, len);
    }

    /// Lends a buffer to the device. Returns whether that wants to be told.
    pub(crate) fn lend(&mut self, memory: &mut impl Memory, id: u16) -> bool {
        let id = id % self.size;
        let bit = 1 << id;
        debug_assert!(self.away & bit == 0, "a buffer is lent once");
        self.away |= bit;
        memory.write16(self.entry(AVAILABLE, 2, self.lent), id);
        // The device sees the entry before the index that counts it.
        fence(Ordering::SeqCst);
        self.lent = self.lent.wrapping_add(1);
        memory.write16(self.rings + AVAILABLE + 2, self.lent);
        // It sees the index before we see whether it looks.
        fence(Ordering::SeqCst);
        memory.read16(self.rings + USED) & NO_NOTIFICATION == 0
    }

    /// Whether the device has given a buffer back, or has broken the rules.
    pub(crate) fn has_returned(&self, memory: &impl Memory) -> bool {
        memory.read16(self.rings + USED + 2) != self.returned
    }

    /// The next buffer that the device has given back, and how many bytes it says that it wrote.
    pub(crate) fn take(&mut self, memory: &impl Memory) -> Result<Option<(u16, u32)>, Broken> {
        if !self.has_returned(memory) {
            return Ok(None);
        }
        // We see the element after the index that counts it.
        fence(Ordering::SeqCst);
        let element = self.entry(USED, 8, self.returned);
        let (id, len) = (memory.read32(element), memory.read32(element + 4));
        let id = u16::try_from(id)
            .ok()
            .filter(|id| *id < self.size)
            .ok_or(Broken)?;
        let bit = 1 << id;
        if self.away & bit == 0 {
            return Err(Broken);
        }
        self.away &= !bit;
        self.returned = self.returned.wrapping_add(1);
        Ok(Some((id, len)))
    }

    /// Says whether the device shall interrupt when it gives a buffer back. After a yes [`Self::has_returned`] has to
    /// be asked once more.
    pub(crate) fn interrupt(&self, memory: &mut impl Memory, wanted: bool) {
        memory.write16(self.rings + AVAILABLE, if wanted { 0 } else { NO_INTERRUPT });
        fence(Ordering::SeqCst);
    }

    /// Where the entry of a ring is that `count` stands for; entries have `width` bytes.
    fn entry(&self, ring: usize, width: usize, count: u16) -> usize {
        self.rings + ring + 4 + width * usize::from(count % self.size)
    }
}
