//! The console protocol: frames from guest to host and answers from host to guest, over one serial line.
//!
//! Layer: wire format, no input or output of its own. In prose, with the rules for both sides: `docs/console.md`.
//!
//! - [`ending`]: how the guest's last frame says how the run ended.
//! - [`frame`]: what the guest sends. Encoding allocates nothing; [`Decoder`] is the host's side.
//! - [`answer`]: what the host sends back. [`AnswerParser`] is the guest's side and allocates nothing.
//! - [`client`]: the guest's side of the conversation, over any line.
//! - [`window`]: memory that both sides see, for bulk data, in version 2.

pub mod answer;
pub mod client;
pub mod ending;
pub mod frame;
pub mod window;

pub use answer::{Answer, AnswerError, AnswerParser, Progress, Reply};
pub use ending::{Cause, Ending};
pub use frame::{CutOff, Decoder, Event, Frame, FrameKind, chunks, header};
pub use window::{Halves, MAX_INLINE_INPUT, Span, Window};

/// The protocol's version, sent in HELLO: everything goes over the line.
pub const VERSION: u8 = 1;

/// The version with a window and with UNREAD, spoken only if the kernel command line asks for it.
pub const VERSION_SHARED: u8 = 2;

/// Begins each frame. It occurs nowhere in UTF-8, so text outside of frames never looks like a frame.
pub const MARK: u8 = 0xFF;

/// Length of a frame's header: mark, kind, length of the payload as u16, little-endian.
pub const FRAME_HEADER: usize = 4;

/// Length of an answer's header: kind, length of the payload as u16, little-endian.
pub const ANSWER_HEADER: usize = 3;

/// The longest payload of a frame or an answer: what a u16 can say.
pub const MAX_PAYLOAD: usize = 0xFFFF;
