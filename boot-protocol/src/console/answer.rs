//! Answers: what the host sends to the guest, `kind:u8 len:u16le payload[len]`, only ever because it was asked.
//!
//! Layer: wire format. The host's half is [`Reply`]; the guest's half, [`AnswerParser`], allocates nothing and
//! never takes a byte of the next answer.

use super::{ANSWER_HEADER, MAX_PAYLOAD};
use alloc::vec::Vec;
use core::fmt;

/// READ's answer: bytes of standard input; none means end of file.
const DATA: u8 = 0x81;
/// POLL's answer: `flags:u8 bytes:u32le`.
const READY: u8 = 0x82;
/// TIME's answer: `nanoseconds:u64le`.
const TIME: u8 = 0x83;
/// READ's other answer: `length:u32le`; the bytes of standard input lie in the window.
const DATA_WINDOW: u8 = 0x84;
/// SYNC's answer.
const SYNCED: u8 = 0x85;
/// SHARE's answer: `served:u8`, 1 or 0.
const SHARE: u8 = 0x86;

/// READY's flag for end of file.
const READY_EOF: u8 = 1;

const READY_LENGTH: usize = 5;
const TIME_LENGTH: usize = 8;
const DATA_WINDOW_LENGTH: usize = 4;
const SHARE_LENGTH: usize = 1;

/// An answer for the host to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Bytes of standard input, no more than were asked for; none at the end of file.
    Data(&'a [u8]),
    /// Standard input is readable.
    Ready {
        /// Whether it is at its end, or its writer is gone.
        eof: bool,
        /// How many bytes may be read at once: at least 1 unless at the end; may be an estimate.
        available: u32,
    },
    /// Nanoseconds since 1970-01-01 UTC.
    Time(u64),
    /// So many bytes of standard input lie in the window, no more than were asked for; none at the end of file.
    DataWindow(u32),
    /// All spans before the SYNC have been read.
    Synced,
    /// Whether the shared directory is still served.
    Share(bool),
}

impl Reply<'_> {
    /// Appends the answer to `line`. Bytes beyond [`MAX_PAYLOAD`], which no guest can have asked for, are left out.
    pub fn append_to(&self, line: &mut Vec<u8>) {
        let mut put = |kind: u8, payload: &[u8]| {
            let payload = payload.get(..MAX_PAYLOAD).unwrap_or(payload);
            // At most MAX_PAYLOAD, which fits.
            let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            line.push(kind);
            line.extend_from_slice(&length.to_le_bytes());
            line.extend_from_slice(payload);
        };
        match self {
            Self::Data(bytes) => put(DATA, bytes),
            Self::Ready { eof, available } => {
                let [a, b, c, d] = available.to_le_bytes();
                put(READY, &[if *eof { READY_EOF } else { 0 }, a, b, c, d]);
            }
            Self::Time(nanoseconds) => put(TIME, &nanoseconds.to_le_bytes()),
            Self::DataWindow(length) => put(DATA_WINDOW, &length.to_le_bytes()),
            Self::Synced => put(SYNCED, &[]),
            Self::Share(served) => put(SHARE, &[u8::from(*served)]),
        }
    }
}

/// An answer that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many bytes of standard input lie at the front of the parser's buffer; 0 means end of file.
    Data {
        /// Number of bytes.
        length: usize,
    },
    /// Standard input is readable.
    Ready {
        /// Whether it is at its end.
        eof: bool,
        /// How many bytes may be read; an estimate.
        available: u32,
    },
    /// Nanoseconds since 1970-01-01 UTC.
    Time(u64),
    /// Bytes of standard input lie in the window.
    DataWindow {
        /// Number of bytes. Not checked: it may be more than were asked for, or than the window holds.
        length: u32,
    },
    /// All spans before the SYNC have been read.
    Synced,
    /// Whether the shared directory is still served.
    Share(bool),
}

/// What [`AnswerParser::feed`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes of the input were taken. The rest belongs to the next answer.
    pub used: usize,
    /// The answer, once it is complete. The parser is then ready for the next one.
    pub answer: Option<Answer>,
}

/// Bytes that are no answer: the two ends have lost each other, and the line cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerError {
    /// No answer begins with this byte.
    UnknownKind(u8),
    /// An answer of this kind never has this length, or it is longer than the buffer for data.
    WrongLength {
        /// The answer's first byte.
        kind: u8,
        /// The length its header says.
        length: u16,
    },
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "the host sent an answer of the unknown kind {kind:#04x}"),
            Self::WrongLength { kind, length } => {
                write!(
                    f,
                    "the host sent an answer of kind {kind:#04x} with an impossible length of {length} bytes"
                )
            }
        }
    }
}

impl core::error::Error for AnswerError {}

/// Reads answers, however the line cuts them up. Data goes straight into the buffer that the READ was for.
///
/// ```
/// use boot_protocol::console::{Answer, AnswerParser};
/// let mut buffer = [0; 8];
/// let mut parser = AnswerParser::new();
/// let line = b"\x81\x02\x00hi\x81\x00\x00";
/// let progress = parser.feed(line, &mut buffer).unwrap();
/// assert_eq!(progress.answer, Some(Answer::Data { length: 2 }));
/// assert_eq!(&buffer[..2], b"hi");
/// assert_eq!(progress.used, 5); // the end of file that follows is another answer
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AnswerParser {
    /// Bytes of this answer that have been taken, header included.
    taken: usize,
    header: [u8; ANSWER_HEADER],
    /// The payload of the kinds with a fixed length.
    fixed: [u8; TIME_LENGTH],
}

impl AnswerParser {
    /// A parser before the first byte of an answer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            taken: 0,
            header: [0; ANSWER_HEADER],
            fixed: [0; TIME_LENGTH],
        }
    }

    /// How many bytes the current answer will certainly still need; at least 1. Who reads no more than that from a
    /// device never holds bytes of the next answer.
    #[must_use]
    pub fn wanted(&self) -> usize {
        if self.taken < ANSWER_HEADER {
            return ANSWER_HEADER - self.taken;
        }
        ANSWER_HEADER
            .saturating_add(self.length())
            .saturating_sub(self.taken)
    }

    /// Takes bytes of the line up to the end of the current answer. `data` receives the bytes of standard input; it
    /// must be the same buffer until the answer is complete, at least as long as the READ's maximum. Pass an empty
    /// one when no READ was sent.
    ///
    /// **Errors**: bytes that cannot be an answer; the line is unusable after that.
    pub fn feed(&mut self, input: &[u8], data: &mut [u8]) -> Result<Progress, AnswerError> {
        let mut used = 0usize;
        let mut rest = input;
        while self.taken < ANSWER_HEADER {
            let Some((byte, tail)) = rest.split_first() else {
                return Ok(Progress { used, answer: None });
            };
            if let Some(slot) = self.header.get_mut(self.taken) {
                *slot = *byte;
            }
            self.taken += 1;
            used += 1;
            rest = tail;
            self.check_header(data.len())?;
        }
        let wanted = self.wanted();
        let payload = rest.get(..wanted).unwrap_or(rest);
        let start = self.taken - ANSWER_HEADER;
        let target = if self.kind() == DATA {
            data
        } else {
            self.fixed.as_mut_slice()
        };
        // `check_header` has compared the length with the buffer's. It fails only for a buffer that has shrunk.
        let Some(slots) = start
            .checked_add(payload.len())
            .and_then(|end| target.get_mut(start..end))
        else {
            return Err(self.wrong_length());
        };
        slots.copy_from_slice(payload);
        self.taken += payload.len();
        used += payload.len();
        if payload.len() < wanted {
            return Ok(Progress { used, answer: None });
        }
        let answer = self.answer();
        *self = Self::new();
        Ok(Progress {
            used,
            answer: Some(answer),
        })
    }

    fn kind(&self) -> u8 {
        let [kind, _, _] = self.header;
        kind
    }

    fn length(&self) -> usize {
        let [_, low, high] = self.header;
        usize::from(u16::from_le_bytes([low, high]))
    }

    fn wrong_length(&self) -> AnswerError {
        let [kind, low, high] = self.header;
        AnswerError::WrongLength {
            kind,
            length: u16::from_le_bytes([low, high]),
        }
    }

    /// Rejects what cannot be an answer as soon as it can be seen.
    fn check_header(&self, space: usize) -> Result<(), AnswerError> {
        let right = match self.kind() {
            DATA => self.length() <= space,
            READY => self.length() == READY_LENGTH,
            TIME => self.length() == TIME_LENGTH,
            DATA_WINDOW => self.length() == DATA_WINDOW_LENGTH,
            SYNCED => self.length() == 0,
            SHARE => self.length() == SHARE_LENGTH,
            kind => return Err(AnswerError::UnknownKind(kind)),
        };
        if self.taken == ANSWER_HEADER && !right {
            Err(self.wrong_length())
        } else {
            Ok(())
        }
    }

    fn answer(&self) -> Answer {
        let [flags, a, b, c, d, ..] = self.fixed;
        match self.kind() {
            DATA_WINDOW => Answer::DataWindow {
                length: u32::from_le_bytes([flags, a, b, c]),
            },
            SYNCED => Answer::Synced,
            SHARE => Answer::Share(flags != 0),
            DATA => Answer::Data {
                length: self.length(),
            },
            READY => Answer::Ready {
                eof: flags & READY_EOF != 0,
                available: u32::from_le_bytes([a, b, c, d]),
            },
            // The header was checked: it is the only kind left.
            _ => Answer::Time(u64::from_le_bytes(self.fixed)),
        }
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
