//! How much of what the machine sends is kept, for the fuzzer, which holds it against a bound.

use super::{Action, Session};

/// The most bytes that a session keeps, whatever its machine sends: not an exact sum, but a bound that no machine
/// passes.
///
/// What counts is one read of the line, 64 KiB, as actions: a frame of four bytes becomes an action of up to 40, text
/// grows by its prefixes, and a queue has room for twice its length. Beside that: one frame, one piece of output (a
/// window's part at most), input for one READ, answers, the application's messages and two transcripts.
const MOST_RETAINED: usize = 8 * 1024 * 1024;

/// The most actions in the queue: those of one read of the line. `0xFF` and a line break are two bytes of text, and a
/// line that may have to be shown.
const MOST_ACTIONS: usize = 32 * 1024;

/// What a session keeps.
#[derive(Clone, Copy, Debug)]
pub struct Retained {
    /// In bytes.
    pub bytes: usize,
    /// Actions in the queue.
    pub actions: usize,
}

impl Retained {
    /// Whether it is no more than any machine can make a session keep.
    #[must_use]
    pub const fn is_bounded(self) -> bool {
        self.bytes <= MOST_RETAINED && self.actions <= MOST_ACTIONS
    }
}

impl Session<'_> {
    /// Actions in the queue.
    pub(crate) fn queued(&self) -> usize {
        self.actions.len()
    }

    /// What is kept now. Looks at every action.
    pub(crate) fn retained(&self) -> Retained {
        let actions: usize = self
            .actions
            .iter()
            .map(|action| match action {
                Action::Write(_, bytes) => bytes.capacity(),
                _ => 0,
            })
            .sum();
        let bytes = [
            actions,
            self.actions.capacity().saturating_mul(size_of::<Action>()),
            self.output.retained(),
            self.input.retained(),
            self.diagnostic.capacity(),
            self.answers.capacity(),
            self.text.retained(),
            self.hypervisor.retained(),
        ]
        .into_iter()
        .sum();
        Retained {
            bytes,
            actions: self.actions.len(),
        }
    }
}
