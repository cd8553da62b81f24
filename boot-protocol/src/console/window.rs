//! The window: a piece of the guest's memory through which bulk data goes, so that the line carries only short frames.
//!
//! Layer: wire format and bookkeeping; nobody's memory is touched here. The guest names the window with a WINDOW
//! frame. [`Halves`] is the guest's account of what the host has read; the host's checks are the launcher's.

/// Length of WINDOW's payload.
pub(super) const WINDOW_LENGTH: usize = 16;

/// Length of a span's payload.
pub(super) const SPAN_LENGTH: usize = 8;

/// The most bytes of standard input that the host sends in the answer itself though there is a window: header and
/// payload then fit into one queue of a 16550 as QEMU fills it, 14 bytes, and arrive together.
pub const MAX_INLINE_INPUT: usize = 11;

/// Where the window lies: `address:u64le output:u32le input:u32le`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The guest-physical address of its first byte.
    pub address: u64,
    /// Size of its first part, in bytes: what the guest writes.
    pub output: u32,
    /// Size of its second part, right behind the first: what the guest reads.
    pub input: u32,
}

impl Window {
    /// WINDOW's payload.
    #[must_use]
    pub fn to_bytes(self) -> [u8; WINDOW_LENGTH] {
        let mut bytes = [0; WINDOW_LENGTH];
        let (address, sizes) = bytes.split_at_mut(8);
        let (output, input) = sizes.split_at_mut(4);
        address.copy_from_slice(&self.address.to_le_bytes());
        output.copy_from_slice(&self.output.to_le_bytes());
        input.copy_from_slice(&self.input.to_le_bytes());
        bytes
    }

    /// The window that a payload describes; `None` if it has another length. Whether there is memory is not known.
    pub(super) fn from_bytes(payload: &[u8]) -> Option<Self> {
        let (address, sizes) = payload.split_first_chunk()?;
        let (output, input) = sizes.split_first_chunk()?;
        Some(Self {
            address: u64::from_le_bytes(*address),
            output: u32::from_le_bytes(*output),
            input: u32::from_le_bytes(input.try_into().ok()?),
        })
    }
}

/// A piece of the window's output: `offset:u32le length:u32le`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first byte, counted from the window's start.
    pub offset: u32,
    /// Number of bytes.
    pub length: u32,
}

impl Span {
    /// The payload of a frame that names the span.
    #[must_use]
    pub fn to_bytes(self) -> [u8; SPAN_LENGTH] {
        let mut bytes = [0; SPAN_LENGTH];
        let (offset, length) = bytes.split_at_mut(4);
        offset.copy_from_slice(&self.offset.to_le_bytes());
        length.copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// The span that a payload names; `None` if it has another length.
    pub(super) fn from_bytes(payload: &[u8]) -> Option<Self> {
        let (offset, length) = payload.split_first_chunk()?;
        Some(Self {
            offset: u32::from_le_bytes(*offset),
            length: u32::from_le_bytes(length.try_into().ok()?),
        })
    }
}

/// The guest's account of the window's output: two halves, used in turn. While the host still reads one, the guest
/// fills the other.
///
/// ```
/// use boot_protocol::console::{Halves, Span};
/// let mut halves = Halves::new(8); // 4 bytes each
/// assert_eq!(halves.place(3), Some(Span { offset: 0, length: 3 }));
/// assert_eq!(halves.place(3), Some(Span { offset: 3, length: 1 }));
/// assert_eq!(halves.place(2), None); // full: send SYNC, and go on with the other half
/// halves.turn();
/// assert!(!halves.must_wait()); // the host may still read the first half, not this one
/// assert_eq!(halves.place(2), Some(Span { offset: 4, length: 2 }));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Halves {
    /// Bytes in a half.
    half: u32,
    /// Whether the second one is in use.
    second: bool,
    /// Bytes of it that are taken.
    used: u32,
    /// SYNCs that are not answered.
    pending: u32,
}

impl Halves {
    /// The account of an output part of `size` bytes, all of them free.
    #[must_use]
    pub const fn new(size: u32) -> Self {
        Self {
            half: size / 2,
            second: false,
            used: 0,
            pending: 0,
        }
    }

    /// Takes a place for `wanted` bytes, or for as many of them as the half in use still holds. `None` if it is full:
    /// then send SYNC and call [`turn`](Self::turn).
    pub fn place(&mut self, wanted: usize) -> Option<Span> {
        let room = self.half.saturating_sub(self.used);
        let length = u32::try_from(wanted).unwrap_or(u32::MAX).min(room);
        if length == 0 {
            return None;
        }
        let start = if self.second { self.half } else { 0 };
        let offset = start.checked_add(self.used)?;
        self.used = self.used.checked_add(length)?;
        Some(Span { offset, length })
    }

    /// Goes over to the other half; a SYNC has been sent.
    pub const fn turn(&mut self) {
        self.second = !self.second;
        self.used = 0;
        self.pending = self.pending.saturating_add(1);
    }

    /// Whether the host may still read the half in use, which therefore must not be written to.
    #[must_use]
    pub const fn must_wait(&self) -> bool {
        // The last SYNC is about the half before this one, the last but one about this.
        self.pending > 1
    }

    /// A SYNC has been answered; `false` if none was sent.
    pub const fn synced(&mut self) -> bool {
        match self.pending.checked_sub(1) {
            Some(pending) => {
                self.pending = pending;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_spans_on_the_wire() {
        let window = Window {
            address: 0x0807_0605_0403_0201,
            output: 0x0c0b_0a09,
            input: 0x100f_0e0d,
        };
        let bytes: [u8; 16] = core::array::from_fn(|index| u8::try_from(index + 1).unwrap());
        assert_eq!(window.to_bytes(), bytes);
        assert_eq!(Window::from_bytes(&bytes), Some(window));
        let span = Span {
            offset: 0x0403_0201,
            length: 0x0807_0605,
        };
        assert_eq!(span.to_bytes(), bytes[..8]);
        assert_eq!(Span::from_bytes(&bytes[..8]), Some(span));
        for length in (0..=bytes.len()).filter(|length| *length != 8) {
            assert_eq!(Span::from_bytes(&bytes[..length]), None);
        }
        for length in 0..bytes.len() {
            assert_eq!(Window::from_bytes(&bytes[..length]), None);
        }
        assert_eq!(Window::from_bytes(&[0; 17]), None);
    }

    /// Writes of all sizes and a host that answers late: no byte that the host has not read is ever written over.
    #[test]
    #[cfg_attr(miri, ignore = "takes minutes under Miri")]
    fn what_is_not_read_is_not_written_over() {
        const SIZE: u32 = 16;
        for delay in 0..6 {
            let mut halves = Halves::new(SIZE);
            // What the host has been told and has not done: spans, and `None` for SYNC.
            let mut told = alloc::collections::VecDeque::new();
            let mut free = [true; SIZE as usize];
            let mut placed = 0;
            for wanted in (0..=20).cycle().take(1000) {
                let mut rest = wanted;
                while rest > 0 {
                    if let Some(span) = halves.place(rest) {
                        assert!(span.length > 0);
                        for index in span.offset..span.offset + span.length {
                            let slot = &mut free[usize::try_from(index).unwrap()];
                            assert!(*slot, "written over");
                            *slot = false;
                        }
                        rest -= usize::try_from(span.length).unwrap();
                        placed += span.length;
                        told.push_back(Some(span));
                    } else {
                        told.push_back(None);
                        halves.turn();
                    }
                    while told.len() > delay || halves.must_wait() {
                        match told.pop_front().expect("waits for what was never asked") {
                            Some(span) => {
                                for index in span.offset..span.offset + span.length {
                                    free[usize::try_from(index).unwrap()] = true;
                                }
                            }
                            None => assert!(halves.synced()),
                        }
                    }
                }
            }
            assert!(placed > 9000);
        }
    }

    #[test]
    fn odd_and_empty_parts() {
        assert_eq!(Halves::new(0).place(1), None);
        assert_eq!(Halves::new(1).place(1), None);
        let mut halves = Halves::new(5);
        assert_eq!(halves.place(usize::MAX), Some(Span { offset: 0, length: 2 }));
        assert_eq!(halves.place(0), None);
        halves.turn();
        assert_eq!(halves.place(usize::MAX), Some(Span { offset: 2, length: 2 }));
        let mut largest = Halves::new(u32::MAX);
        assert!(largest.place(usize::MAX).is_some());
        largest.turn();
        let span = largest.place(usize::MAX).unwrap();
        assert_eq!(span.offset + span.length, u32::MAX - 1);
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_seen() {
        let mut halves = Halves::new(8);
        assert!(!halves.synced());
        halves.turn();
        assert!(halves.synced());
        assert!(!halves.synced());
    }
}
