//! Lets linear memories and tables grow where they are, and no further than there is memory.
//!
//! Layer: pure; the addresses are the allocator's. The interpreter keeps each memory and each table in a `Vec`, which
//! asks for twice its size whenever it is full, and copies. So a large one gets a range of addresses in which it never
//! has to move, of which only what the guest has is backed. What a guest wants next is announced by the interpreter's
//! resource limiter ([`Blocks::announce`]), right before the `Vec` grows: there it is backed, or refused.
//!
//! wasmi_core 2.0.0 asks its limiter, and then neither allocates nor frees anything before the `Vec` does, nor touches
//! what is behind the `Vec`'s length. That version is pinned.

/// What gives and takes memory.
pub trait Pages {
    /// Reserves `len` addresses: [`None`] if there are none.
    fn reserve(&mut self, len: usize) -> Option<usize>;
    /// Backs a part of what is reserved with zeros, or changes nothing.
    fn commit(&mut self, start: usize, len: usize) -> bool;
    /// Takes back what [`Pages::reserve`] gave, with all that backs it.
    fn release(&mut self, start: usize, len: usize);
    /// Bytes that could still be backed.
    fn free(&mut self) -> usize;
}

/// What is backed comes in units of this many bytes.
pub const PAGE: usize = 4096;
/// From this size in bytes on a block has a range of its own. Those below are not worth one.
pub const RANGED: usize = 256 << 10;
/// From this size in bytes on a block is known at all: it may become large.
pub const KNOWN: usize = 32 << 10;
/// How many blocks are known at once. What comes on top is as any other block.
const MAX_BLOCKS: usize = 16;

/// A memory or a table.
#[derive(Clone, Copy, Debug, Default)]
struct Block {
    start: usize,
    /// As the `Vec` knows it.
    capacity: usize,
    /// Bytes of its range; none if it lies in the heap, all of it backed.
    reserved: usize,
    /// Bytes that are backed, from the start on. The `Vec` has no more.
    backed: usize,
    /// Bytes that the `Vec` has at least: what it had when it last asked for more.
    least: usize,
}

/// A size that something is about to get, and the present one, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Growth {
    current: usize,
    desired: usize,
}

/// Where a block is after it changed its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resized {
    /// Where it was.
    InPlace,
    /// At another address, where nothing has been copied to, and where these bytes must come from the old one. The old
    /// one is then given back: to the heap if it was there, else by [`Pages::release`].
    Moved {
        /// The new address.
        to: usize,
        /// How many bytes.
        copy: usize,
        /// What of the old one is given back by [`Pages::release`]: nothing if it was in the heap.
        old: Option<(usize, usize)>,
    },
    /// There is too little memory. Nothing has changed.
    Refused,
    /// It stays in the heap, or is none of these blocks.
    Heap,
}

/// The memories and tables.
#[derive(Debug, Default)]
pub struct Blocks {
    blocks: [Option<Block>; MAX_BLOCKS],
    announced: Option<Growth>,
}

impl Blocks {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            blocks: [None; MAX_BLOCKS],
            announced: None,
        }
    }

    /// A memory or table of `current` bytes is about to get `desired`. Backs what of that lies in a range already;
    /// whether there was enough for it.
    ///
    /// Which of them it is is not said. It is one that may have `current` bytes: no less than it had when its `Vec`
    /// last asked for more, and no more than are backed. All of these are backed, and if there is not enough for one of
    /// them, the growth is refused: two of similar sizes may take from each other what neither has used yet.
    pub fn announce(&mut self, pages: &mut impl Pages, current: usize, desired: usize) -> bool {
        self.announced = Some(Growth { current, desired });
        self.blocks
            .iter_mut()
            .flatten()
            .filter(|block| block.reserved > 0 && current > 0 && block.capacity >= desired)
            .filter(|block| (block.least..=block.backed).contains(&current))
            .all(|block| block.back(pages, desired))
    }

    /// What was announced does not happen.
    pub fn cancel(&mut self) {
        self.announced = None;
    }

    /// Whether something has been announced, and nothing allocated since.
    #[must_use]
    pub fn expects(&self) -> bool {
        self.announced.is_some()
    }

    /// A new block of `size` bytes: where it is, if it gets a range, else nothing; then [`Blocks::note`] is told of
    /// where it is in the heap.
    pub fn allocate(&mut self, pages: &mut impl Pages, size: usize) -> Resized {
        let is_new = self.announced
            == Some(Growth {
                current: 0,
                desired: size,
            });
        if !is_new || size < RANGED || !self.blocks.iter().any(Option::is_none) {
            return Resized::Heap;
        }
        self.announced = None;
        match Block::new(pages, size, size) {
            Some(block) => {
                self.add(block);
                Resized::Moved {
                    to: block.start,
                    copy: 0,
                    old: None,
                }
            }
            None => Resized::Refused,
        }
    }

    /// A new block of `size` bytes is at `start` in the heap, or nowhere: at zero.
    pub fn note(&mut self, start: usize, size: usize) {
        let announced = self.announced.take();
        if announced
            == Some(Growth {
                current: 0,
                desired: size,
            })
            && size >= KNOWN
        {
            self.add(Block {
                start,
                capacity: size,
                reserved: 0,
                backed: size,
                least: 0,
            });
        }
    }

    /// The block at `start` shall have `size` bytes.
    pub fn resize(&mut self, pages: &mut impl Pages, start: usize, size: usize) -> Resized {
        let announced = self.announced.take();
        let Some(block) = self
            .blocks
            .iter_mut()
            .flatten()
            .find(|block| block.start == start)
        else {
            return Resized::Heap;
        };
        // A `Vec` that is full asks for twice as much, and needs what was announced.
        let (needed, least) = match announced {
            Some(Growth { current, desired })
                if current <= block.backed
                    && desired > block.capacity
                    && size == desired.max(block.capacity.saturating_mul(2)) =>
            {
                (desired, current)
            }
            _ => (size, 0),
        };
        if block.reserved == 0 && size < RANGED {
            return Resized::Heap;
        }
        if size <= block.reserved {
            if !block.back(pages, needed) {
                return Resized::Refused;
            }
            block.capacity = size;
            block.least = least;
            return Resized::InPlace;
        }
        let Some(new) = Block::new(pages, size, needed) else {
            return Resized::Refused;
        };
        let new = Block { least, ..new };
        let old = core::mem::replace(block, new);
        Resized::Moved {
            to: new.start,
            copy: old.backed.min(old.capacity).min(new.backed),
            old: (old.reserved > 0).then_some((old.start, old.reserved)),
        }
    }

    /// The block in the heap at `start` is now at `to`, and has `size` bytes.
    pub fn moved(&mut self, start: usize, to: usize, size: usize) {
        if let Some(block) = self
            .blocks
            .iter_mut()
            .flatten()
            .find(|block| block.start == start)
        {
            block.start = to;
            block.capacity = size;
            block.backed = size;
            block.least = 0;
        }
    }

    /// The block at `start` is given back. Returns whether it had a range, which is given back too.
    pub fn free(&mut self, pages: &mut impl Pages, start: usize) -> bool {
        let is_it = |block: &Option<Block>| block.is_some_and(|block| block.start == start);
        let Some(block) = self
            .blocks
            .iter_mut()
            .find(|block| is_it(block))
            .and_then(Option::take)
        else {
            return false;
        };
        if block.reserved > 0 {
            pages.release(block.start, block.reserved);
        }
        block.reserved > 0
    }

    fn add(&mut self, block: Block) {
        if let Some(free) = self.blocks.iter_mut().find(|block| block.is_none()) {
            *free = Some(block);
        }
    }
}

impl Block {
    /// A block of `capacity` bytes in a range in which it can grow to all the memory there is; `needed` of them are
    /// backed.
    fn new(pages: &mut impl Pages, capacity: usize, needed: usize) -> Option<Self> {
        // A `Vec` asks for less than twice of what it needs.
        let most = pages
            .free()
            .saturating_add(needed)
            .saturating_mul(2)
            .max(capacity);
        let reserved = most.checked_next_multiple_of(PAGE)?;
        let mut block = Self {
            start: pages.reserve(reserved)?,
            capacity,
            reserved,
            backed: 0,
            least: 0,
        };
        if block.back(pages, needed) {
            return Some(block);
        }
        pages.release(block.start, block.reserved);
        None
    }

    /// Backs the first `len` bytes; whether they are.
    fn back(&mut self, pages: &mut impl Pages, len: usize) -> bool {
        let Some(len) = len.checked_next_multiple_of(PAGE) else {
            return false;
        };
        if len <= self.backed {
            return true;
        }
        let is_backed = pages.commit(self.start + self.backed, len - self.backed);
        if is_backed {
            self.backed = len;
        }
        is_backed
    }
}

#[cfg(test)]
#[path = "blocks/tests.rs"]
mod tests;
