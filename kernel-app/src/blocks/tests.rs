//! Memories as wasmi grows them, on pages that are only counted.

use alloc::vec::Vec;

use super::*;

const STEP: usize = 64 << 10;

/// Counts pages, and knows which are backed.
#[derive(Default)]
struct Counted {
    /// Pages that there are, and those in use.
    all: usize,
    used: usize,
    /// Start, length, and backed bytes of each range.
    ranges: Vec<(usize, usize, usize)>,
    next: usize,
}

impl Counted {
    fn new(bytes: usize) -> Self {
        Self {
            all: bytes / PAGE,
            next: 1 << 40,
            ..Self::default()
        }
    }
}

impl Pages for Counted {
    fn reserve(&mut self, len: usize) -> Option<usize> {
        assert_eq!(len % PAGE, 0);
        let start = self.next;
        self.next += len + PAGE;
        self.ranges.push((start, len, 0));
        Some(start)
    }

    fn commit(&mut self, start: usize, len: usize) -> bool {
        assert!(start.is_multiple_of(PAGE) && len.is_multiple_of(PAGE) && len > 0);
        let (first, reserved, backed) = self
            .ranges
            .iter_mut()
            .find(|(first, reserved, _)| (*first..first + reserved).contains(&start))
            .expect("it is reserved");
        assert_eq!(
            start,
            *first + *backed,
            "nothing is backed twice, and there is no gap"
        );
        assert!(*backed + len <= *reserved);
        if self.used + len / PAGE > self.all {
            return false;
        }
        self.used += len / PAGE;
        *backed += len;
        true
    }

    fn release(&mut self, start: usize, len: usize) {
        let at = self
            .ranges
            .iter()
            .position(|range| (range.0, range.1) == (start, len));
        let (_, _, backed) = self.ranges.remove(at.expect("it is reserved"));
        self.used -= backed / PAGE;
    }

    fn free(&mut self) -> usize {
        (self.all - self.used) * PAGE
    }
}

/// A `Vec` of bytes as wasmi's memories are, on a heap whose blocks lie at invented addresses.
#[derive(Default)]
struct Memory {
    start: usize,
    len: usize,
    capacity: usize,
    moves: usize,
}

/// The machine: blocks, pages, and where the heap's next block lies.
struct Machine {
    blocks: Blocks,
    pages: Counted,
    heap: usize,
}

impl Machine {
    fn new(bytes: usize) -> Self {
        Self {
            blocks: Blocks::new(),
            pages: Counted::new(bytes),
            heap: 16,
        }
    }

    fn heap(&mut self, size: usize) -> usize {
        self.heap += size.next_multiple_of(16);
        self.heap - size.next_multiple_of(16)
    }

    /// What `memory.grow` does; whether it has grown. All that the guest may touch is backed.
    fn grow(&mut self, memory: &mut Memory, by: usize) -> bool {
        let desired = memory.len + by;
        if !self.blocks.announce(&mut self.pages, memory.len, desired) {
            return false;
        }
        if desired > memory.capacity {
            let capacity = desired.max(2 * memory.capacity);
            let is_new = memory.capacity == 0;
            let resized = if is_new {
                self.blocks.allocate(&mut self.pages, capacity)
            } else {
                self.blocks.resize(&mut self.pages, memory.start, capacity)
            };
            match resized {
                Resized::InPlace => {}
                Resized::Refused => {
                    self.blocks.cancel();
                    return false;
                }
                Resized::Moved { to, copy, old } => {
                    assert!(copy >= memory.len);
                    if let Some((start, len)) = old {
                        self.pages.release(start, len);
                    }
                    memory.start = to;
                    memory.moves += 1;
                }
                Resized::Heap => {
                    let to = self.heap(capacity);
                    if is_new {
                        self.blocks.note(to, capacity);
                    } else {
                        self.blocks.moved(memory.start, to, capacity);
                    }
                    memory.start = to;
                    memory.moves += 1;
                }
            }
            memory.capacity = capacity;
        }
        memory.len = desired;
        self.check(memory);
        true
    }

    fn check(&self, memory: &Memory) {
        if let Some((start, _, backed)) = self.pages.ranges.iter().find(|range| range.0 == memory.start) {
            assert!(memory.len <= *backed, "{start:#x}: {} of {backed}", memory.len);
        }
    }
}

#[test]
fn a_memory_grows_in_place_to_the_last_page_and_then_no_further() {
    for first in [STEP, 17 * STEP, 100 * STEP] {
        let mut machine = Machine::new(64 << 20);
        let mut memory = Memory::default();
        assert!(machine.grow(&mut memory, first));
        while machine.grow(&mut memory, STEP) {}
        assert_eq!(memory.len, 64 << 20, "no page more than the guest has is backed");
        assert!(
            memory.moves <= 3,
            "it moves while it is small, not {} times",
            memory.moves
        );
        assert!(machine.blocks.free(&mut machine.pages, memory.start));
        assert_eq!((machine.pages.used, machine.pages.ranges.len()), (0, 0));
    }
}

#[test]
fn a_growth_that_is_refused_changes_nothing() {
    let mut machine = Machine::new(8 << 20);
    let mut memory = Memory::default();
    assert!(machine.grow(&mut memory, 1 << 20));
    for (by, grows) in [
        (8 << 20, false),
        (1 << 40, false),
        (3 << 20, true),
        (5 << 20, false),
        (4 << 20, true),
    ] {
        assert_eq!(machine.grow(&mut memory, by), grows, "{by}");
        assert_eq!(machine.pages.used * PAGE, memory.len);
    }
    let mut other = Memory::default();
    assert!(!machine.grow(&mut other, 1 << 20));
    assert_eq!(machine.pages.ranges.len(), 1);
}

#[test]
fn several_memories_each_have_what_they_grew_to() {
    let mut machine = Machine::new(256 << 20);
    let mut memories: [Memory; 5] = Default::default();
    // The same number generator in every run.
    let mut state = 1_u32;
    for _ in 0..2_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let by = STEP * (1 + usize::try_from(state >> 28).unwrap() % 3);
        let memory = &mut memories[usize::try_from(state >> 16).unwrap() % 5];
        machine.grow(memory, by);
        for memory in &memories {
            machine.check(memory);
        }
    }
    // Two may have had one size, and then both were backed for it; no more than that.
    let all: usize = memories.iter().map(|memory| memory.len).sum();
    assert!(all > 200 << 20, "{all}");
}

#[test]
fn what_was_not_announced_is_left_to_the_heap() {
    let mut machine = Machine::new(64 << 20);
    let (blocks, pages) = (&mut machine.blocks, &mut machine.pages);
    assert_eq!(blocks.allocate(pages, 1 << 20), Resized::Heap);
    blocks.note(4096, 1 << 20);
    assert_eq!(blocks.resize(pages, 4096, 2 << 20), Resized::Heap);
    // Something else, and then that size: the announcement is over.
    assert!(blocks.announce(pages, 0, 1 << 20));
    assert!(blocks.expects());
    assert_eq!(blocks.allocate(pages, 100), Resized::Heap);
    blocks.note(8192, 100);
    assert!(!blocks.expects());
    assert_eq!(blocks.allocate(pages, 1 << 20), Resized::Heap);
    assert!(blocks.announce(pages, 0, 1 << 20));
    blocks.cancel();
    assert_eq!(blocks.allocate(pages, 1 << 20), Resized::Heap);
    assert!(!blocks.free(pages, 4096));
    assert_eq!((pages.used, pages.ranges.len()), (0, 0));
}

#[test]
fn a_resize_that_nobody_announced_is_backed_whole() {
    let mut machine = Machine::new(64 << 20);
    let mut memory = Memory::default();
    assert!(machine.grow(&mut memory, 1 << 20));
    let (blocks, pages) = (&mut machine.blocks, &mut machine.pages);
    assert_eq!(blocks.resize(pages, memory.start, 8 << 20), Resized::InPlace);
    assert_eq!(pages.used * PAGE, 8 << 20);
    assert_eq!(blocks.resize(pages, memory.start, 1 << 30), Resized::Refused);
    assert!(blocks.announce(pages, 1 << 20, 2 << 20));
    // Not what a full `Vec` asks for.
    assert_eq!(blocks.resize(pages, memory.start, 9 << 20), Resized::InPlace);
    assert_eq!(pages.used * PAGE, 9 << 20);
}

#[test]
fn more_blocks_than_are_known_are_as_any_other() {
    let mut machine = Machine::new(64 << 20);
    let mut memories: Vec<Memory> = (0..20).map(|_| Memory::default()).collect();
    for memory in &mut memories {
        assert!(machine.grow(memory, 1 << 20));
    }
    assert_eq!(machine.pages.ranges.len(), MAX_BLOCKS);
    assert!(machine.blocks.free(&mut machine.pages, memories[3].start));
    let mut another = Memory::default();
    assert!(machine.grow(&mut another, 1 << 20));
    assert_eq!(machine.pages.ranges.len(), MAX_BLOCKS);
}

#[test]
fn a_larger_memory_does_not_take_what_a_smaller_one_wants() {
    let mut machine = Machine::new(28 << 20);
    let [mut small, mut large] = [Memory::default(), Memory::default()];
    assert!(machine.grow(&mut large, 10 << 20));
    // It has room for twice as much, of which this is backed.
    assert!(machine.grow(&mut large, STEP));
    assert!(machine.grow(&mut small, 1 << 20));
    assert!(machine.grow(&mut small, 14 << 20));
    assert_eq!(machine.pages.used * PAGE, small.len + large.len);
    machine.check(&large);
}

/// The interpreter may give up a growth that was announced: then the memory is as large as before.
#[test]
fn what_was_announced_in_vain_may_be_announced_again() {
    let mut machine = Machine::new(64 << 20);
    let mut memory = Memory::default();
    assert!(machine.grow(&mut memory, 1 << 20) && machine.grow(&mut memory, STEP));
    for _ in 0..3 {
        assert!(
            machine
                .blocks
                .announce(&mut machine.pages, memory.len, memory.len + STEP)
        );
        machine.blocks.cancel();
    }
    assert!(machine.grow(&mut memory, 3 * STEP));
}
