//! Frames: what the guest sends to the host, `0xFF kind:u8 len:u16le payload[len]`.
//!
//! Layer: wire format. The guest's half ([`header`], [`chunks`]) allocates nothing; the host's half is [`Decoder`].

use super::ending::{self, Ending};
use super::window::{SPAN_LENGTH, Span, WINDOW_LENGTH, Window};
use super::{FRAME_HEADER, MARK, MAX_PAYLOAD};
use alloc::vec::Vec;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// The guest wrote these bytes to its standard output.
    Stdout = 0x01,
    /// The guest wrote these bytes to its standard error.
    Stderr = 0x02,
    /// The application's own message as UTF-8 text: a trap, a refused module.
    Diagnostic = 0x03,
    /// `max:u32le`, 1 to 65535 or the window's size: wants up to so many bytes of standard input.
    Read = 0x04,
    /// No payload: wants to know when standard input has bytes or is at its end.
    Poll = 0x05,
    /// An [`Ending`]: the run's exit code, and whose it is; the last frame.
    Exit = 0x06,
    /// `version:u8`: the application has started; the first frame.
    Hello = 0x07,
    /// No payload: wants to know the wall clock's time.
    Time = 0x08,
    /// A [`Window`]: where bulk data goes. This and what follows is version 2.
    Window = 0x09,
    /// A [`Span`]: the guest wrote these bytes of the window to its standard output.
    StdoutWindow = 0x0a,
    /// A [`Span`]: the guest wrote these bytes of the window to its standard error.
    StderrWindow = 0x0b,
    /// No payload: wants to know when all spans before this have been read.
    Sync = 0x0c,
    /// `count:u32le`: so many bytes of standard input, the last ones, were not used.
    Unread = 0x0d,
    /// `index:u32le`: wants to know whether the host still serves this shared directory.
    Share = 0x0e,
    /// The next bytes of the run's recording, for a host that has asked for one.
    Recording = 0x0f,
    /// A [`Span`]: these bytes of the window are the next of the recording.
    RecordingWindow = 0x10,
}

impl FrameKind {
    /// The kind that a header's second byte names.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Stdout,
            0x02 => Self::Stderr,
            0x03 => Self::Diagnostic,
            0x04 => Self::Read,
            0x05 => Self::Poll,
            0x06 => Self::Exit,
            0x07 => Self::Hello,
            0x08 => Self::Time,
            0x09 => Self::Window,
            0x0a => Self::StdoutWindow,
            0x0b => Self::StderrWindow,
            0x0c => Self::Sync,
            0x0d => Self::Unread,
            0x0e => Self::Share,
            0x0f => Self::Recording,
            0x10 => Self::RecordingWindow,
            _ => return None,
        })
    }

    /// The byte that stands for this kind on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        // The discriminants are the wire values; `from_byte` is tested to be the inverse.
        self as u8
    }

    /// Whether a payload of this kind can have this length.
    #[must_use]
    pub const fn takes(self, length: usize) -> bool {
        match self {
            Self::Stdout | Self::Stderr | Self::Diagnostic | Self::Recording => true,
            Self::Window => length == WINDOW_LENGTH,
            Self::StdoutWindow | Self::StderrWindow | Self::RecordingWindow => length == SPAN_LENGTH,
            Self::Read | Self::Unread | Self::Share => length == 4,
            Self::Exit => matches!(length, ending::OLD_LENGTH | ending::LENGTH | ending::LIMIT_LENGTH),
            Self::Hello => length == 1,
            Self::Poll | Self::Time | Self::Sync => length == 0,
        }
    }
}

/// The header of a frame with a payload of `length` bytes; the payload follows it on the wire.
#[must_use]
pub const fn header(kind: FrameKind, length: u16) -> [u8; FRAME_HEADER] {
    let [low, high] = length.to_le_bytes();
    [MARK, kind.byte(), low, high]
}

/// Cuts bytes that may be too long for one frame into headers and payloads. Yields nothing for no bytes.
///
/// ```
/// use boot_protocol::console::{FrameKind, chunks};
/// let mut line = Vec::new();
/// for (header, payload) in chunks(FrameKind::Stdout, b"hello") {
///     line.extend(header);
///     line.extend(payload);
/// }
/// assert_eq!(line, b"\xff\x01\x05\x00hello");
/// ```
pub fn chunks(kind: FrameKind, bytes: &[u8]) -> impl Iterator<Item = ([u8; FRAME_HEADER], &[u8])> {
    bytes.chunks(MAX_PAYLOAD).map(move |payload| {
        // A chunk is never longer than MAX_PAYLOAD, which fits.
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        (header(kind, length), payload)
    })
}

/// One frame, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Bytes for standard output.
    Stdout(&'a [u8]),
    /// Bytes for standard error.
    Stderr(&'a [u8]),
    /// The application's message; UTF-8 if the application is sound.
    Diagnostic(&'a [u8]),
    /// Standard input is wanted.
    Read {
        /// Most bytes that the answer may carry. Not checked to be sensible.
        max: u32,
    },
    /// Wants to be told when standard input is readable.
    Poll,
    /// The end.
    Exit(Ending),
    /// The beginning.
    Hello {
        /// The protocol's version that the application speaks.
        version: u8,
    },
    /// The wall clock is wanted.
    Time,
    /// Where bulk data goes. Not checked to be memory.
    Window(Window),
    /// Bytes for standard output. Not checked to be in the window.
    StdoutWindow(Span),
    /// Bytes for standard error. Not checked to be in the window.
    StderrWindow(Span),
    /// Wants to be told when the spans before have been read.
    Sync,
    /// Standard input that was read ahead and not used.
    Unread {
        /// Number of bytes. Not checked to be as many as were read.
        count: u32,
    },
    /// Wants to know whether a shared directory is still served.
    Share {
        /// Which, counted from 0 in the order of the mounts. Not checked to be one.
        index: u32,
    },
    /// Bytes for the recording.
    Recording(&'a [u8]),
    /// Bytes for the recording. Not checked to be in the window.
    RecordingWindow(Span),
}

impl<'a> Frame<'a> {
    /// The frame of a kind and a payload; `None` if the payload has not the length that the kind demands.
    #[must_use]
    pub fn parse(kind: FrameKind, payload: &'a [u8]) -> Option<Self> {
        Some(match kind {
            FrameKind::Stdout => Self::Stdout(payload),
            FrameKind::Stderr => Self::Stderr(payload),
            FrameKind::Diagnostic => Self::Diagnostic(payload),
            FrameKind::Read => Self::Read {
                max: u32::from_le_bytes(payload.try_into().ok()?),
            },
            FrameKind::Poll => payload.is_empty().then_some(Self::Poll)?,
            FrameKind::Exit => Self::Exit(Ending::from_bytes(payload)?),
            FrameKind::Hello => Self::Hello {
                version: only(payload)?,
            },
            FrameKind::Time => payload.is_empty().then_some(Self::Time)?,
            FrameKind::Window => Self::Window(Window::from_bytes(payload)?),
            FrameKind::StdoutWindow => Self::StdoutWindow(Span::from_bytes(payload)?),
            FrameKind::StderrWindow => Self::StderrWindow(Span::from_bytes(payload)?),
            FrameKind::Sync => payload.is_empty().then_some(Self::Sync)?,
            FrameKind::Unread => Self::Unread {
                count: u32::from_le_bytes(payload.try_into().ok()?),
            },
            FrameKind::Share => Self::Share {
                index: u32::from_le_bytes(payload.try_into().ok()?),
            },
            FrameKind::Recording => Self::Recording(payload),
            FrameKind::RecordingWindow => Self::RecordingWindow(Span::from_bytes(payload)?),
        })
    }
}

fn only(payload: &[u8]) -> Option<u8> {
    match payload {
        [byte] => Some(*byte),
        _ => None,
    }
}

/// What [`Decoder::feed`] reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Bytes outside of frames: firmware, loader, a kernel's panic. One run of text may come in several events.
    Text(&'a [u8]),
    /// A complete frame.
    Frame(Frame<'a>),
}

/// A frame that the end of the stream cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// Its kind, if that much of the header arrived.
    pub kind: Option<FrameKind>,
    /// The part of the payload that arrived. A machine that died while it was writing a frame may have left its last
    /// words here.
    pub payload: Vec<u8>,
    /// Number of bytes that are missing; 0 if the header is incomplete.
    pub missing: usize,
}

/// Finds the frames in the guest's byte stream, which may arrive in pieces of any size.
///
/// What looks like a header but is none (an unknown kind, a length that the kind never has) is text: a stream with
/// garbage before the first frame, such as firmware prints, is read on from the next mark.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    header: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Text,
    Header,
    Payload {
        kind: FrameKind,
        missing: usize,
    },
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece of the stream and reports, in order, what it contains or completes.
    pub fn feed(&mut self, mut input: &[u8], mut report: impl FnMut(Event<'_>)) {
        while !input.is_empty() {
            input = match self.state {
                State::Text => self.text(input, &mut report),
                State::Header => self.header(input, &mut report),
                State::Payload { kind, missing } => self.payload(kind, missing, input, &mut report),
            };
        }
    }

    /// Ends the stream: the frame that was not complete, if there is one. The decoder starts anew.
    pub fn finish(&mut self) -> Option<CutOff> {
        let ended = core::mem::take(self);
        match ended.state {
            State::Text => None,
            State::Header => Some(CutOff {
                kind: ended.header.get(1).and_then(|byte| FrameKind::from_byte(*byte)),
                payload: Vec::new(),
                missing: 0,
            }),
            State::Payload { kind, missing } => Some(CutOff {
                kind: Some(kind),
                payload: ended.payload,
                missing,
            }),
        }
    }

    /// Reports everything before the next mark. Each of these three returns the input that is left.
    fn text<'i>(&mut self, input: &'i [u8], report: &mut impl FnMut(Event<'_>)) -> &'i [u8] {
        let end = input.iter().position(|byte| *byte == MARK).unwrap_or(input.len());
        let (text, rest) = input.split_at(end);
        if !text.is_empty() {
            report(Event::Text(text));
        }
        if !rest.is_empty() {
            self.state = State::Header;
        }
        rest
    }

    /// Collects a header, byte by byte; as soon as it cannot be one, its first byte is text and the rest is looked
    /// at again.
    fn header<'i>(&mut self, input: &'i [u8], report: &mut impl FnMut(Event<'_>)) -> &'i [u8] {
        let Some((byte, rest)) = input.split_first() else {
            return input;
        };
        self.header.push(*byte);
        match *self.header.as_slice() {
            [mark, kind] if FrameKind::from_byte(kind).is_none() => self.reject(mark, &[kind], report),
            [mark, kind, low, high] => {
                let length = usize::from(u16::from_le_bytes([low, high]));
                match FrameKind::from_byte(kind) {
                    Some(kind) if kind.takes(length) => {
                        self.header.clear();
                        self.payload.clear();
                        self.state = State::Payload {
                            kind,
                            missing: length,
                        };
                        if length == 0 {
                            self.complete(kind, &[], report);
                        }
                    }
                    _ => self.reject(mark, &[kind, low, high], report),
                }
            }
            _ => {}
        }
        rest
    }

    /// Treats the mark of what was no header as text and reads what followed it once more. Of at most three bytes,
    /// so the recursion is at most three deep.
    fn reject(&mut self, mark: u8, following: &[u8], report: &mut impl FnMut(Event<'_>)) {
        self.header.clear();
        self.state = State::Text;
        report(Event::Text(&[mark]));
        let mut again = following;
        while !again.is_empty() {
            again = match self.state {
                State::Text => self.text(again, report),
                State::Header => self.header(again, report),
                State::Payload { kind, missing } => self.payload(kind, missing, again, report),
            };
        }
    }

    /// Collects the payload; one that lies whole in the input is not copied.
    fn payload<'i>(
        &mut self,
        kind: FrameKind,
        missing: usize,
        input: &'i [u8],
        report: &mut impl FnMut(Event<'_>),
    ) -> &'i [u8] {
        let Some((last, rest)) = input.split_at_checked(missing) else {
            self.payload.extend_from_slice(input);
            self.state = State::Payload {
                kind,
                missing: missing.saturating_sub(input.len()),
            };
            return &[];
        };
        if self.payload.is_empty() {
            self.complete(kind, last, report);
        } else {
            let mut whole = core::mem::take(&mut self.payload);
            whole.extend_from_slice(last);
            self.complete(kind, &whole, report);
            // Keep the allocation for the next frame.
            whole.clear();
            self.payload = whole;
        }
        rest
    }

    fn complete(&mut self, kind: FrameKind, payload: &[u8], report: &mut impl FnMut(Event<'_>)) {
        self.state = State::Text;
        // The header's length was checked against the kind's, so every frame parses.
        if let Some(frame) = Frame::parse(kind, payload) {
            report(Event::Frame(frame));
        }
    }
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
