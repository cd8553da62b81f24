//! The guest's bytes to standard output and standard error, without ever blocking in a write.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::host::nonblocking::NonBlocking;

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// What a write did.
#[derive(Debug)]
pub(super) enum Written {
    /// Some or all of it is written, or nothing for now.
    Progress,
    /// The reader has gone.
    Closed,
    /// The stream of this name cannot be written.
    Failed(&'static str, io::Error),
}

/// At most one piece of output that is being written.
#[derive(Debug)]
pub(super) struct Output {
    stdout: NonBlocking,
    stderr: NonBlocking,
    stream: Stream,
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    pub(super) fn new(stdout: OwnedFd, stderr: OwnedFd) -> Self {
        Self {
            stdout: NonBlocking::writer(stdout),
            stderr: NonBlocking::writer(stderr),
            stream: Stream::Output,
            bytes: Vec::new(),
            written: 0,
        }
    }

    /// Whether all is written.
    pub(super) fn is_idle(&self) -> bool {
        self.written >= self.bytes.len()
    }

    /// Bytes that are kept.
    #[cfg(feature = "fuzzing")]
    pub(super) fn retained(&self) -> usize {
        self.bytes.capacity()
    }

    /// Begins with a new piece; the last one must have been written.
    pub(super) fn begin(&mut self, stream: Stream, bytes: Vec<u8>) {
        debug_assert!(
            self.is_idle(),
            "a piece of output is replaced before it is written"
        );
        self.stream = stream;
        self.bytes = bytes;
        self.written = 0;
    }

    /// What must be waited for, for the piece to go on.
    pub(super) fn waiting(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let target = match self.stream {
            Stream::Output => &self.stdout,
            Stream::Error => &self.stderr,
        };
        (!self.is_idle()).then(|| target.interest())
    }

    /// Writes some of the piece. Call it when what [`Self::waiting`] names has come.
    pub(super) fn write(&mut self) -> Written {
        let (target, name) = match self.stream {
            Stream::Output => (&mut self.stdout, "standard output"),
            Stream::Error => (&mut self.stderr, "standard error"),
        };
        let rest = self.bytes.get(self.written..).unwrap_or_default();
        let part = rest.get(..target.chunk()).unwrap_or(rest);
        match target.write(part) {
            Ok(length) => {
                self.written = self.written.saturating_add(length);
                Written::Progress
            }
            // Somebody who shares the stream was quicker.
            Err(Errno::INTR | Errno::AGAIN) => Written::Progress,
            Err(Errno::PIPE) => Written::Closed,
            Err(error) => Written::Failed(name, error.into()),
        }
    }
}
