//! A split virtqueue in which descriptor n always names buffer n. See 2.7.
//!
//! The device's part of it, the used ring, is believed nothing: what is with the device is remembered here.

use crate::rings::{Broken, MOST, Rings, WRITE};
use crate::{Memory, PAGE};

/// Bytes of a buffer, two of which lie in a page.
pub(crate) const BUFFER: usize = PAGE / 2;

/// The queue. Its memory is given to each call.
#[derive(Debug)]
pub(crate) struct Queue {
    rings: Rings,
    /// Where its buffers are.
    buffers: usize,
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
        let queue = Self {
            rings: Rings::new(memory, start, most)?,
            buffers: start.checked_add(PAGE)?,
            away: 0,
        };
        for id in 0..queue.size() {
            let address = memory.address(queue.buffer(id));
            let flags = if write { WRITE } else { 0 };
            queue.rings.describe(memory, id, (address, len), flags, 0);
        }
        Some(queue)
    }

    /// How many buffers there are.
    pub(crate) fn size(&self) -> u16 {
        self.rings.size()
    }

    /// Where a buffer is in the memory.
    pub(crate) fn buffer(&self, id: u16) -> usize {
        self.buffers + BUFFER * usize::from(id % self.size())
    }

    /// Where the device finds descriptors, available ring and used ring.
    pub(crate) fn addresses(&self, memory: &impl Memory) -> [u64; 3] {
        self.rings.addresses(memory)
    }

    /// The length that a buffer's descriptor names from now on. The buffer is not with the device.
    pub(crate) fn set_length(&self, memory: &mut impl Memory, id: u16, len: u32) {
        self.rings.set_length(memory, id, len);
    }

    /// Lends a buffer to the device. Returns whether that wants to be told.
    pub(crate) fn lend(&mut self, memory: &mut impl Memory, id: u16) -> bool {
        let id = id % self.size();
        let bit = 1 << id;
        debug_assert!(self.away & bit == 0, "a buffer is lent once");
        self.away |= bit;
        self.rings.lend(memory, id)
    }

    /// Whether the device has given a buffer back, or has broken the rules.
    pub(crate) fn has_returned(&self, memory: &impl Memory) -> bool {
        self.rings.has_returned(memory)
    }

    /// The next buffer that the device has given back, and how many bytes it says that it wrote.
    pub(crate) fn take(&mut self, memory: &impl Memory) -> Result<Option<(u16, u32)>, Broken> {
        let Some((id, len)) = self.rings.take(memory) else {
            return Ok(None);
        };
        let id = u16::try_from(id)
            .ok()
            .filter(|id| *id < self.size())
            .ok_or(Broken)?;
        let bit = 1 << id;
        if self.away & bit == 0 {
            return Err(Broken);
        }
        self.away &= !bit;
        Ok(Some((id, len)))
    }

    /// Says whether the device shall interrupt when it gives a buffer back. After a yes [`Self::has_returned`] has to
    /// be asked once more.
    pub(crate) fn interrupt(&self, memory: &mut impl Memory, wanted: bool) {
        self.rings.interrupt(memory, wanted);
    }
}
