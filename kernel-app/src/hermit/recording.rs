//! A recording on its way to the launcher: its events, gathered to pieces.
//!
//! Layer: device. Each piece that leaves costs some microseconds, so that a call which follows soon after another waits
//! for company. What a person may have seen is sent at once.

use alloc::vec::Vec;

use super::console::Console;

/// The most bytes that wait: half of what the shared buffer takes without an answer.
const MOST: usize = 32 << 10;

/// Nanoseconds after a piece has left in which events wait for others.
const PAUSE: u64 = 1_000_000;

/// What waits.
#[derive(Default)]
pub(super) struct Recording {
    waiting: Vec<u8>,
    /// When the last piece left.
    sent: u64,
}

impl Recording {
    /// Takes bytes of an event.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn add(&mut self, console: &mut Console, bytes: &[u8]) {
        if self.waiting.len().saturating_add(bytes.len()) <= MOST {
            self.waiting.extend_from_slice(bytes);
            return;
        }
        self.send(console);
        console.record(bytes);
    }

    /// An event is complete, at this time.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn event(&mut self, console: &mut Console, now: u64, at_once: bool) {
        if at_once || now.saturating_sub(self.sent) >= PAUSE {
            self.send(console);
            self.sent = now;
        }
    }

    fn send(&mut self, console: &mut Console) {
        console.record(&self.waiting);
        self.waiting.clear();
    }
}
