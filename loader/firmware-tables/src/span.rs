//! A range of physical memory.
//!
//! Addresses come from the hypervisor, so nothing here overflows or panics.

/// A range of addresses, `end` excluded. Never inverted: `start <= end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First address.
    pub start: u64,
    /// Address after the last one.
    pub end: u64,
}

impl Span {
    /// The range from `start` to `end`; [`None`] if it would be inverted.
    pub const fn new(start: u64, end: u64) -> Option<Self> {
        if start <= end {
            Some(Self { start, end })
        } else {
            None
        }
    }

    /// The range of `len` bytes from `start`; [`None`] if it leaves the address space.
    pub const fn from_len(start: u64, len: u64) -> Option<Self> {
        match start.checked_add(len) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// How many bytes it has.
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether it has no bytes.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether the two have a byte in common.
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether all of `other` lies within.
    pub const fn contains(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The first `len` bytes and the rest; [`None`] if there are fewer.
    pub const fn split_at(self, len: u64) -> Option<(Self, Self)> {
        match self.start.checked_add(len) {
            Some(middle) if middle <= self.end => Some((
                Self {
                    start: self.start,
                    end: middle,
                },
                Self {
                    start: middle,
                    end: self.end,
                },
            )),
            _ => None,
        }
    }

    /// The same range, `by` bytes further up; [`None`] past the end of the address space.
    pub const fn moved(self, by: u64) -> Option<Self> {
        match self.start.checked_add(by) {
            Some(start) => Self::from_len(start, self.len()),
            None => None,
        }
    }

    /// The whole units of `align` bytes (a power of two) within.
    pub const fn shrink_to(self, align: u64) -> Self {
        let end = self.end & !(align - 1);
        match align_up(self.start, align) {
            Some(start) if start <= end => Self { start, end },
            _ => Self { start: end, end },
        }
    }

    /// The units of `align` bytes (a power of two) that it touches; [`None`] past the end of the address space.
    pub const fn grow_to(self, align: u64) -> Option<Self> {
        match align_up(self.end, align) {
            Some(end) => Some(Self {
                start: self.start & !(align - 1),
                end,
            }),
            None => None,
        }
    }
}

/// `address` rounded up to a multiple of `align`, a power of two; [`None`] past the end of the address space.
pub const fn align_up(address: u64, align: u64) -> Option<u64> {
    match address.checked_add(align - 1) {
        Some(sum) => Some(sum & !(align - 1)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    fn span(start: u64, end: u64) -> Span {
        Span::new(start, end).unwrap()
    }

    #[test]
    fn spans_know_their_limits() {
        assert_eq!(Span::new(2, 1), None);
        assert_eq!(Span::from_len(u64::MAX, 1), None);
        assert_eq!(Span::from_len(u64::MAX, 0), Some(span(u64::MAX, u64::MAX)));
        assert!(span(1, 3).overlaps(span(2, 4)));
        assert!(!span(1, 3).overlaps(span(3, 4)));
        assert!(span(1, 3).contains(span(1, 3)));
        assert!(!span(1, 3).contains(span(1, 4)));
        assert_eq!(span(1, 3).split_at(2), Some((span(1, 3), span(3, 3))));
        assert_eq!(span(1, 3).split_at(3), None);
        assert_eq!(span(1, 3).moved(7), Some(span(8, 10)));
        assert_eq!(span(1, 3).moved(u64::MAX - 2), None);
    }

    #[test]
    fn alignment_never_overflows() {
        assert_eq!(span(1, 0x2fff).shrink_to(PAGE), span(0x1000, 0x2000));
        assert!(span(1, 0xfff).shrink_to(PAGE).is_empty());
        assert!(span(u64::MAX - 1, u64::MAX).shrink_to(PAGE).is_empty());
        assert_eq!(span(1, 0x1001).grow_to(PAGE), Some(span(0, 0x2000)));
        assert_eq!(span(0, u64::MAX).grow_to(PAGE), None);
        assert_eq!(align_up(u64::MAX, PAGE), None);
        assert_eq!(align_up(0x1000, PAGE), Some(0x1000));
    }
}
