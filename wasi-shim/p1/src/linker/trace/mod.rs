//! Recording what the calls answer, and answering them from a recording.
//!
//! Layer: linker, above the calls, for any engine. A binder that traces puts a function around each of its own: it tells
//! [`Host::before`] what is asked, makes the call where that says so, and tells [`Host::after`] how the call ended. A
//! run that is not traced has none of this. The format is [`event`]'s; in prose, `docs/replay.md`.
//!
//! A replayed guest has the same code and begins with the same memory, so it asks the same as long as it gets the same
//! answers: those are in the recording, with every byte that a call has written to memory, and each growth of a memory
//! that the system had no room for. What the guest prints is made again of its own memory.

pub mod event;
mod player;
mod recorder;
mod touched;

use alloc::{borrow::Cow, boxed::Box, string::String, vec::Vec};
use core::fmt;

use wasi_core::System;

use super::{Host, Stop, table::Function};
use crate::memory::GuestMemory;

use player::Player;
use recorder::{Pending, Recorder};

/// What is done with what the calls answer.
#[derive(Debug)]
pub(super) enum Trace {
    /// It is recorded.
    Record(Recorder),
    /// It comes from a recording.
    Replay(Player),
}

/// Why a replay went no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayStop {
    /// The recording ends here, after so many calls, and the guest goes on.
    Over {
        /// The calls that it answered.
        calls: u64,
        /// What the guest asks for next.
        next: String,
    },
    /// The guest does something else than it did when it was recorded.
    Diverged(String),
    /// The recording is damaged.
    Damaged(String),
}

impl fmt::Display for ReplayStop {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over { calls, next } => {
                write!(
                    f,
                    "the recording ends here, after {calls} calls; the guest goes on with {next}"
                )
            }
            Self::Diverged(how) => write!(f, "the guest does something else than was recorded: {how}"),
            Self::Damaged(how) => write!(f, "the recording is damaged: {how}"),
        }
    }
}

impl core::error::Error for ReplayStop {}

/// The most parameters that a function has: `path_open`'s.
const MOST_ARGUMENTS: usize = 9;

/// A call's arguments as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    values: [u64; MOST_ARGUMENTS],
    count: usize,
}

impl Arguments {
    /// The arguments that are these numbers; what no function has is left out.
    pub(super) fn new(values: impl Iterator<Item = u64>) -> Self {
        let mut this = Self::default();
        for (slot, value) in this.values.iter_mut().zip(values) {
            *slot = value;
            this.count = this.count.saturating_add(1);
        }
        this
    }

    /// All of them.
    fn all(&self) -> &[u64] {
        self.values.get(..self.count).unwrap_or_default()
    }

    /// One of them, of which the table says that there is one.
    fn long(&self, index: usize) -> u64 {
        self.all().get(index).copied().unwrap_or_default()
    }

    /// One that is an i32.
    fn int(&self, index: usize) -> u32 {
        u32::try_from(self.long(index)).unwrap_or(u32::MAX)
    }
}

/// A call as messages name it.
struct Shown<'a>(Function, &'a [u64]);

impl fmt::Display for Shown<'_> {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(function, arguments) = self;
        write!(f, "{}(", function.name())?;
        for (index, argument) in arguments.iter().enumerate() {
            write!(f, "{}{argument}", if index > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}

/// What becomes of a call.
pub(super) enum Step {
    /// It is to be made, and [`Host::after`] to be told.
    Make(Pending),
    /// It is answered.
    Answered(Result<u32, Stop>),
}

impl<S: System, M> Host<S, M> {
    /// The same, recorded: what the calls answer goes to [`System::record`].
    #[must_use]
    pub fn recorded(mut self) -> Self {
        self.growth.trace = Some(Box::new(Trace::Record(Recorder::default())));
        self
    }

    /// The same, whose calls are answered by `recording`, the events of a recording.
    #[must_use]
    pub fn replayed(mut self, recording: impl Into<Cow<'static, [u8]>>) -> Self {
        self.growth.trace = Some(Box::new(Trace::Replay(Player::new(recording.into()))));
        self
    }

    /// Notes that the guest has come to its end, or, in a replay, whether it should have gone on.
    ///
    /// # Errors
    /// [`ReplayStop`] if the recorded guest did not end here.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub fn finish(&mut self) -> Result<(), ReplayStop> {
        match self.growth.trace.as_deref_mut() {
            None => Ok(()),
            Some(Trace::Record(recorder)) => {
                recorder.end(&mut self.context.core.system);
                Ok(())
            }
            Some(Trace::Replay(player)) => player.end(),
        }
    }

    /// Whether calls are recorded or replayed.
    pub(super) const fn is_traced(&self) -> bool {
        self.growth.trace.is_some()
    }

    /// A call is about to be made.
    #[cold]
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn before(
        &mut self,
        mem: &mut GuestMemory<'_>,
        function: Function,
        arguments: Arguments,
    ) -> Step {
        match self.growth.trace.as_deref_mut() {
            Some(Trace::Replay(player)) => {
                let answer = player.answer(&mut self.context.core, mem, function, &arguments);
                if let Err(Stop::Limit(limit)) = answer {
                    self.context.core.exceed(limit);
                }
                Step::Answered(answer)
            }
            Some(Trace::Record(recorder)) => {
                Step::Make(recorder.before(&mut self.context, mem, function, arguments))
            }
            // Whoever asks is traced.
            None => Step::Make(Pending::default()),
        }
    }

    /// A call was made, and has ended.
    #[cold]
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn after(&mut self, mem: &GuestMemory<'_>, pending: &Pending, end: Result<u32, &Stop>) {
        if let Some(Trace::Record(recorder)) = self.growth.trace.as_deref_mut() {
            recorder.after(&mut self.context, mem, pending, end);
        }
    }
}

impl Trace {
    /// A memory or table is about to grow: whether the system has room, as far as the recording knows.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn growing(&mut self) -> bool {
        match self {
            Self::Record(recorder) => {
                recorder.growing();
                true
            }
            Self::Replay(player) => player.growing(),
        }
    }

    /// The system had no room for it.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn growth_refused(&mut self) {
        match self {
            Self::Record(recorder) => recorder.growth_refused(),
            Self::Replay(player) => player.growth_refused(),
        }
    }
}

/// A number as the format has it: seven bits a byte, the lowest first, the eighth bit on all but the last.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// How many bytes that takes.
fn number_length(number: u64) -> u64 {
    let bits = u64::BITS.saturating_sub(number.leading_zeros()).max(1);
    u64::from(bits.div_ceil(7))
}

#[cfg(test)]
mod tests;
