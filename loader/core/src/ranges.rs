//! Arithmetic on ranges of physical memory.
//!
//! Layer: pure, no allocation. Addresses come from the hypervisor, so nothing here overflows or panics.

/// Size of the smallest page, on every architecture we boot.
pub const PAGE: u64 = 4096;

/// Size of a large page: what the kernel maps its heap with and rounds its image to.
pub const LARGE_PAGE: u64 = 2 << 20;

pub use firmware_tables::{Span, align_up};

/// How many disjoint ranges a [`Memory`] holds. A PC's map has about ten entries.
const CAPACITY: usize = 32;

/// A set of memory: disjoint, non-adjacent ranges in ascending order.
///
/// When it is full, it forgets what does not fit. It therefore describes memory that may be used, never memory
/// that must be kept free.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    spans: [Span; CAPACITY],
    len: usize,
}

impl Memory {
    /// No memory.
    pub const fn new() -> Self {
        Self {
            spans: [Span { start: 0, end: 0 }; CAPACITY],
            len: 0,
        }
    }

    /// The ranges, in ascending order.
    pub fn spans(&self) -> &[Span] {
        self.spans.get(..self.len).unwrap_or(&[])
    }

    /// Adds a range, joining it with those that it touches.
    pub fn insert(&mut self, span: Span) {
        if span.is_empty() {
            return;
        }
        let mut joined = span;
        let mut result = Self::new();
        let mut pending = true;
        for &old in self.spans() {
            if old.end < joined.start {
                result.push(old);
            } else if old.start > joined.end {
                if pending {
                    result.push(joined);
                    pending = false;
                }
                result.push(old);
            } else {
                joined = Span {
                    start: joined.start.min(old.start),
                    end: joined.end.max(old.end),
                };
            }
        }
        if pending {
            result.push(joined);
        }
        *self = result;
    }

    /// Takes a range away.
    pub fn remove(&mut self, span: Span) {
        if span.is_empty() || !self.spans().iter().any(|old| old.overlaps(span)) {
            return;
        }
        let mut result = Self::new();
        for &old in self.spans() {
            if old.overlaps(span) {
                for rest in [Span::new(old.start, span.start), Span::new(span.end, old.end)] {
                    result.push(rest.unwrap_or_default());
                }
            } else {
                result.push(old);
            }
        }
        *self = result;
    }

    /// Shrinks every range to whole units of `align` bytes, a power of two.
    pub fn shrink_to(&mut self, align: u64) {
        let mut result = Self::new();
        for &old in self.spans() {
            result.push(old.shrink_to(align));
        }
        *self = result;
    }

    /// Forgets the smallest ranges until at most `count` are left.
    pub fn keep_largest(&mut self, count: usize) {
        while self.len > count {
            let Some(smallest) = self.spans().iter().copied().min_by_key(|span| span.len()) else {
                return;
            };
            self.remove(smallest);
        }
    }

    /// Whether all of `span` is in the set.
    pub fn contains(&self, span: Span) -> bool {
        span.is_empty() || self.spans().iter().any(|own| own.contains(span))
    }

    /// The lowest range of `size` bytes in the set that starts at or after `min`, at a multiple of `align`.
    pub fn find(&self, size: u64, align: u64, min: u64) -> Option<Span> {
        self.spans().iter().find_map(|own| {
            let start = align_up(own.start.max(min), align)?;
            Span::from_len(start, size).filter(|fit| fit.end <= own.end)
        })
    }

    /// How many bytes it has.
    pub fn total(&self) -> u64 {
        self.spans()
            .iter()
            .map(|span| span.len())
            .fold(0, u64::saturating_add)
    }

    /// Appends a range that lies after all others; drops an empty one, and any once the set is full.
    fn push(&mut self, span: Span) {
        if let Some(free) = self.spans.get_mut(self.len)
            && !span.is_empty()
        {
            *free = span;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64) -> Span {
        Span::new(start, end).unwrap()
    }

    fn memory(spans: &[(u64, u64)]) -> Memory {
        let mut memory = Memory::new();
        for &(start, end) in spans {
            memory.insert(span(start, end));
        }
        memory
    }

    fn list(memory: &Memory) -> Vec<(u64, u64)> {
        memory.spans().iter().map(|span| (span.start, span.end)).collect()
    }

    #[test]
    fn insert_keeps_order_and_joins() {
        assert_eq!(list(&memory(&[(5, 6), (1, 2), (3, 4)])), [(1, 2), (3, 4), (5, 6)]);
        assert_eq!(list(&memory(&[(1, 2), (3, 4), (2, 3)])), [(1, 4)]);
        assert_eq!(list(&memory(&[(1, 2), (5, 9), (0, 7)])), [(0, 9)]);
        assert_eq!(list(&memory(&[(3, 3)])), []);
    }

    #[test]
    fn remove_splits_and_trims() {
        let mut all = memory(&[(0, 10), (20, 30)]);
        all.remove(span(4, 6));
        assert_eq!(list(&all), [(0, 4), (6, 10), (20, 30)]);
        all.remove(span(2, 25));
        assert_eq!(list(&all), [(0, 2), (25, 30)]);
        all.remove(span(0, u64::MAX));
        assert_eq!(list(&all), []);
    }

    #[test]
    fn a_full_set_forgets_and_does_not_panic() {
        let mut many = Memory::new();
        for i in 0..100 {
            many.insert(span(i * 10, i * 10 + 5));
        }
        assert_eq!(many.spans().len(), CAPACITY);
        assert_eq!(many.spans()[0], span(0, 5));
        many.remove(span(1, 2));
        assert_eq!(many.spans().len(), CAPACITY);
        // The last was forgotten, nothing was invented.
        assert_eq!(many.total(), 5 * 32 - 1 - 5);
    }

    #[test]
    fn keep_largest_drops_the_small_ones() {
        let mut all = memory(&[(0, 1), (10, 30), (40, 45), (50, 90)]);
        all.keep_largest(2);
        assert_eq!(list(&all), [(10, 30), (50, 90)]);
    }

    #[test]
    fn find_takes_the_lowest_that_fits() {
        let all = memory(&[(0x1000, 0x3000), (0x5800, 0x9000)]);
        assert_eq!(all.find(0x1000, 0x1000, 0), Some(span(0x1000, 0x2000)));
        assert_eq!(all.find(0x2001, 0x1000, 0), Some(span(0x6000, 0x8001)));
        assert_eq!(all.find(0x1000, 0x1000, 0x2800), Some(span(0x6000, 0x7000)));
        assert_eq!(all.find(0x3001, 0x1000, 0), None);
        assert_eq!(all.find(u64::MAX, 1, 0), None);
    }

    #[test]
    fn shrinking_drops_fragments() {
        let mut all = memory(&[(0x10, 0x20), (0x1800, 0x4800)]);
        all.shrink_to(PAGE);
        assert_eq!(list(&all), [(0x2000, 0x4000)]);
    }
}
