//! A split virtqueue's three rings in one page. See 2.7.
//!
//! What may lie in them is the business of who lends: a buffer a descriptor ([`crate::queue`]), or one chain of them
//! ([`crate::chain`]).

use core::fmt;
use core::sync::atomic::{Ordering, fence};

use crate::{Memory, PAGE};

/// The most descriptors. The rings of so many lie in one page.
pub(crate) const MOST: u16 = 128;

/// Where the rings lie in their page: descriptors of 16 bytes first.
const DESCRIPTOR: usize = 16;
const AVAILABLE: usize = DESCRIPTOR * MOST as usize;
/// Behind flags, index, entries and an event field, aligned to 4.
const USED: usize = (AVAILABLE + 6 + 2 * MOST as usize).next_multiple_of(4);
const _: () = assert!(USED + 6 + 8 * MOST as usize <= PAGE);

/// A descriptor's flag: the chain goes on with the descriptor that it names.
pub(crate) const NEXT: u16 = 1;
/// A descriptor's flag: the device writes to the memory.
pub(crate) const WRITE: u16 = 2;
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

/// The rings. Their memory is given to each call.
#[derive(Debug)]
pub(crate) struct Rings {
    /// Where their page is.
    start: usize,
    /// A power of two.
    size: u16,
    /// How often a descriptor has been lent, and how many of these have been seen to be back, as the rings count.
    lent: u16,
    returned: u16,
}

impl Rings {
    /// Rings in the page at `start`, a multiple of [`PAGE`], with at most `most` descriptors. No interrupt is wanted.
    pub(crate) fn new(memory: &mut impl Memory, start: usize, most: u16) -> Option<Self> {
        let rings = Self {
            start,
            size: 1_u16.checked_shl(most.min(MOST).checked_ilog2()?)?,
            lent: 0,
            returned: 0,
        };
        rings.interrupt(memory, false);
        Some(rings)
    }

    /// How many descriptors there are.
    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    /// Where the device finds descriptors, available ring and used ring.
    pub(crate) fn addresses(&self, memory: &impl Memory) -> [u64; 3] {
        [0, AVAILABLE, USED].map(|offset| memory.address(self.start + offset))
    }

    /// Writes a descriptor that is not with the device: memory's address and length, flags, and the next descriptor.
    pub(crate) fn describe(
        &self,
        memory: &mut impl Memory,
        id: u16,
        (address, len): (u64, u32),
        flags: u16,
        next: u16,
    ) {
        let value =
            u128::from(address) | u128::from(len) << 64 | u128::from(flags) << 96 | u128::from(next) << 112;
        // At once: nobody looks before it is lent.
        let place = memory.bytes(self.descriptor(id), DESCRIPTOR);
        if let Some(place) = place.first_chunk_mut() {
            *place = value.to_le_bytes();
        }
    }

    /// The length that a descriptor names from now on. It is not with the device.
    pub(crate) fn set_length(&self, memory: &mut impl Memory, id: u16, len: u32) {
        memory.write32(self.descriptor(id) + 8, len);
    }

    /// Lends what begins with a descriptor to the device. Returns whether that wants to be told.
    pub(crate) fn lend(&mut self, memory: &mut impl Memory, id: u16) -> bool {
        memory.write16(self.entry(AVAILABLE, 2, self.lent), id);
        // The device sees the entry before the index that counts it.
        fence(Ordering::SeqCst);
        self.lent = self.lent.wrapping_add(1);
        memory.write16(self.start + AVAILABLE + 2, self.lent);
        // It sees the index before we see whether it looks.
        fence(Ordering::SeqCst);
        memory.read16(self.start + USED) & NO_NOTIFICATION == 0
    }

    /// Whether the device has given something back, or has broken the rules.
    pub(crate) fn has_returned(&self, memory: &impl Memory) -> bool {
        memory.read16(self.start + USED + 2) != self.returned
    }

    /// What the device says of the next thing that it has given back: the descriptor with which that began, and how
    /// many bytes it wrote.
    pub(crate) fn take(&mut self, memory: &impl Memory) -> Option<(u32, u32)> {
        if !self.has_returned(memory) {
            return None;
        }
        // We see the element after the index that counts it.
        fence(Ordering::SeqCst);
        let element = self.entry(USED, 8, self.returned);
        self.returned = self.returned.wrapping_add(1);
        Some((memory.read32(element), memory.read32(element + 4)))
    }

    /// Says whether the device shall interrupt when it gives something back. After a yes [`Self::has_returned`] has to
    /// be asked once more.
    pub(crate) fn interrupt(&self, memory: &mut impl Memory, wanted: bool) {
        memory.write16(self.start + AVAILABLE, if wanted { 0 } else { NO_INTERRUPT });
        fence(Ordering::SeqCst);
    }

    /// Where a descriptor is.
    fn descriptor(&self, id: u16) -> usize {
        self.start + DESCRIPTOR * usize::from(id % self.size)
    }

    /// Where the entry of a ring is that `count` stands for; entries have `width` bytes.
    fn entry(&self, ring: usize, width: usize, count: u16) -> usize {
        self.start + ring + 4 + width * usize::from(count % self.size)
    }
}
