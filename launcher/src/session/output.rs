//! The guest's bytes to standard output and standard error, without ever blocking in a write.
//!
//! The descriptors are shared with other programs, so they cannot be made non-blocking. Instead they are polled, and
//! a pipe that is writable is given no more than it is certain to take: PIPE_BUF bytes. A terminal promises no such
//! thing: it is opened once more, which gives a descriptor of our own that can be non-blocking.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// What is always free in a pipe that reports to be writable.
const PIPE_BUF: usize = 4096;

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
    stdout: Target,
    stderr: Target,
    stream: Stream,
    bytes: Vec<u8>,
    written: usize,
}

#[derive(Debug)]
struct Target {
    shared: OwnedFd,
    /// The same terminal, opened once more.
    own: Option<OwnedFd>,
    /// Most bytes for one write.
    chunk: usize,
}

impl Target {
    fn new(shared: OwnedFd) -> Self {
        let kind = rustix::fs::fstat(&shared).map(|stat| FileType::from_raw_mode(stat.st_mode));
        // Files never make a writer wait.
        let chunk = if kind == Ok(FileType::RegularFile) {
            usize::MAX
        } else {
            PIPE_BUF
        };
        let own = if kind == Ok(FileType::CharacterDevice) {
            let name = format!("/proc/self/fd/{}", shared.as_fd().as_raw_fd());
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(name, flags, Mode::empty()).ok()
        } else {
            None
        };
        Self { shared, own, chunk }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.own.as_ref().unwrap_or(&self.shared).as_fd()
    }
}

impl Output {
    pub(super) fn new(stdout: OwnedFd, stderr: OwnedFd) -> Self {
        Self {
            stdout: Target::new(stdout),
            stderr: Target::new(stderr),
            stream: Stream::Output,
            bytes: Vec::new(),
            written: 0,
        }
    }

    /// Whether all is written.
    pub(super) fn is_idle(&self) -> bool {
        self.written >= self.bytes.len()
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

    /// The descriptor that must become writable for the piece to go on.
    pub(super) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        (!self.is_idle()).then(|| self.target().0)
    }

    fn target(&self) -> (BorrowedFd<'_>, usize, &'static str) {
        match self.stream {
            Stream::Output => (self.stdout.descriptor(), self.stdout.chunk, "standard output"),
            Stream::Error => (self.stderr.descriptor(), self.stderr.chunk, "standard error"),
        }
    }

    /// Writes some of the piece. Call it when the descriptor is writable.
    pub(super) fn write(&mut self) -> Written {
        let (descriptor, chunk, name) = self.target();
        let rest = self.bytes.get(self.written..).unwrap_or_default();
        let part = rest.get(..chunk).unwrap_or(rest);
        match rustix::io::write(descriptor, part) {
            Ok(length) => {
                self.written = self.written.saturating_add(length);
                Written::Progress
            }
            // Whoever shares the descriptor may have made it non-blocking.
            Err(Errno::INTR | Errno::AGAIN) => Written::Progress,
            Err(Errno::PIPE) => Written::Closed,
            Err(error) => Written::Failed(name, error.into()),
        }
    }
}
