//! The format of a recording's events: what the machine sends, and what a replay reads.
//!
//! Layer: wire format. Every byte that is read is an allegation. Numbers are unsigned LEB128.
//!
//! ```text
//! event   length of what follows, kind (1 byte), content
//! kind 0  a call: function (1 byte, its place in the table), its arguments, each a number, as many as it has;
//!         a check of what it read of memory (4 bytes, little-endian); how it ended;
//!         where what it printed went (1 byte: 0 nowhere, 1 standard output, 2 standard error), and how many bytes;
//!         what it wrote to memory, up to the event's end: address, length, bytes, each
//!         ends: 0 errno | 1 exit code | 2 trap, out of bounds: start, length, size of memory
//!               | 3 trap, misaligned: start, alignment | 4 limit: 0 descriptors, 1 bytes of files, 2 bytes of output
//! kind 1  memories or tables did not grow, since the system had no room: number of the first such growth, counted from
//!         1, and how many in a row
//! kind 2  the guest has come to its end
//! ```

use wasi_core::{Stream, limits::Limit};

use crate::{abi::Errno, error::Trap};

/// The kinds.
pub(super) const CALL: u8 = 0;
pub(super) const REFUSED: u8 = 1;
pub(super) const END: u8 = 2;

/// The ends of a call.
pub(super) const ANSWERED: u8 = 0;
pub(super) const EXITED: u8 = 1;
pub(super) const OUT_OF_BOUNDS: u8 = 2;
pub(super) const MISALIGNED: u8 = 3;
pub(super) const LIMITED: u8 = 4;

/// The limits, by their numbers.
pub(super) const LIMITS: [Limit; 3] = [Limit::Descriptors, Limit::FileBytes, Limit::OutputBytes];

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A call.
    Call(Call<'a>),
    /// Growths that the system refused: the first, and how many in a row.
    Refused {
        /// The number of the first, counted from 1.
        first: u64,
        /// How many.
        count: u64,
    },
    /// The guest's end.
    End,
}

/// What a recording tells of a call. The function and its arguments are read first, by whoever knows the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The function's place in the table.
    pub function: u8,
    /// Everything behind it.
    rest: Reader<'a>,
}

/// How a call ended, and what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The check of what it read of memory.
    pub check: u32,
    /// How it ended.
    pub end: Ended,
    /// Where what it printed went, and how many bytes.
    pub output: Option<(Stream, u64)>,
    /// What it wrote to memory.
    pub writes: Writes<'a>,
}

/// How a recorded call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this errno for the guest.
    Errno(u16),
    /// The guest exited.
    Exit(u32),
    /// The guest was stopped.
    Trap(Trap),
    /// The guest wanted more than it may use up, and was stopped.
    Limit(Limit),
}

/// The bytes mean nothing, or end too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The next event of `recording`, and what is behind it; `None` at the end, and where less than an event is left, as of
/// a run that was killed.
///
/// # Errors
/// [`Malformed`].
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn next(recording: &[u8]) -> Result<Option<(Event<'_>, &[u8])>, Malformed> {
    let mut reader = Reader(recording);
    let length = match reader.number() {
        Ok(length) => length,
        // A number that never ends is none; one that is cut off may have been.
        Err(Malformed) if recording.len() < LONGEST_NUMBER => return Ok(None),
        Err(Malformed) => return Err(Malformed),
    };
    let Some((mut content, rest)) = usize::try_from(length)
        .ok()
        .and_then(|length| reader.0.split_at_checked(length))
        .map(|(content, rest)| (Reader(content), rest))
    else {
        return Ok(None);
    };
    let event = match content.byte()? {
        CALL => Event::Call(Call {
            function: content.byte()?,
            rest: content,
        }),
        REFUSED => {
            let (first, count) = (content.number()?, content.number()?);
            content.end().map(|()| Event::Refused { first, count })?
        }
        END => content.end().map(|()| Event::End)?,
        _ => return Err(Malformed),
    };
    Ok(Some((event, rest)))
}

impl<'a> Call<'a> {
    /// Its arguments, into a place for as many as the function has; and the rest.
    ///
    /// # Errors
    /// [`Malformed`].
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub fn read(self, arguments: &mut [u64]) -> Result<Answer<'a>, Malformed> {
        let mut reader = self.rest;
        for argument in arguments {
            *argument = reader.number()?;
        }
        let check = reader.bytes(4)?;
        let check = u32::from_le_bytes(check.try_into().map_err(|_| Malformed)?);
        let end = match reader.byte()? {
            ANSWERED => {
                let errno = u16::try_from(reader.number()?).map_err(|_| Malformed)?;
                // No call answers what is no errno, and a guest need not be prepared for it.
                let known = errno == 0 || Errno::ALL.iter().any(|(known, _)| known.raw() == errno);
                known.then_some(Ended::Errno(errno)).ok_or(Malformed)?
            }
            EXITED => Ended::Exit(reader.short()?),
            OUT_OF_BOUNDS => Ended::Trap(Trap::OutOfBounds {
                start: reader.short()?,
                len: reader.number()?,
                memory: reader.number()?,
            }),
            MISALIGNED => Ended::Trap(Trap::Misaligned {
                start: reader.short()?,
                align: reader.short()?,
            }),
            LIMITED => {
                let limit = LIMITS.get(usize::from(reader.byte()?));
                Ended::Limit(*limit.ok_or(Malformed)?)
            }
            _ => return Err(Malformed),
        };
        let output = match reader.byte()? {
            0 => None,
            1 => Some((Stream::Stdout, reader.number()?)),
            2 => Some((Stream::Stderr, reader.number()?)),
            _ => return Err(Malformed),
        };
        Ok(Answer {
            check,
            end,
            output,
            writes: Writes(reader),
        })
    }
}

/// What a call wrote to memory: addresses and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writes<'a>(Reader<'a>);

impl<'a> Iterator for Writes<'a> {
    type Item = Result<(u32, &'a [u8]), Malformed>;

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let write = self.0.write();
        if write.is_err() {
            self.0 = Reader(&[]);
        }
        Some(write)
    }
}

/// The longest number: 64 bits, seven a byte.
const LONGEST_NUMBER: usize = 10;

/// Bytes that are read from the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*byte)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let placed = bits << shift;
            if placed >> shift != bits {
                return Err(Malformed);
            }
            number |= placed;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    /// A number of 32 bits.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn short(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn write(&mut self) -> Result<(u32, &'a [u8]), Malformed> {
        let address = self.short()?;
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        Ok((address, self.bytes(length)?))
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn end(self) -> Result<(), Malformed> {
        self.0.is_empty().then_some(()).ok_or(Malformed)
    }
}
