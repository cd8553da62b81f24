//! Standard input for the guest: read only when the guest asks, and never more than it asks for.
//!
//! What the guest does not ask for stays in the pipe or terminal for whoever reads there next, as with any program.
//! What it has asked for and not used goes back, if standard input is a file.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use boot_protocol::console::{MAX_INLINE_INPUT, MAX_PAYLOAD, Reply};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, SeekFrom};
use rustix::io::Errno;

use crate::host::memory::SharedWindow;
use crate::host::nonblocking::NonBlocking;

/// What the guest wants of standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Up to so many bytes.
    Read {
        /// As the guest said it: not yet known to be sensible.
        max: u32,
    },
    /// To know when there are some.
    Poll,
}

/// Standard input and the requests for it that are not answered.
#[derive(Debug)]
pub(super) struct Input {
    stdin: NonBlocking,
    requests: VecDeque<Request>,
    /// A failure has been reported; the guest sees the end of file from there on.
    failed: bool,
    /// Bytes that the guest has been given and has not given back.
    given: u64,
    buffer: Vec<u8>,
}

impl Input {
    pub(super) fn new(stdin: OwnedFd) -> Self {
        Self {
            stdin: NonBlocking::reader(stdin),
            requests: VecDeque::new(),
            failed: false,
            given: 0,
            buffer: Vec::new(),
        }
    }

    /// What must be waited for before [`Self::answer`].
    pub(super) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        self.stdin.interest()
    }

    /// Bytes that are kept.
    #[cfg(feature = "fuzzing")]
    pub(super) fn retained(&self) -> usize {
        self.buffer.capacity()
    }

    /// Number of requests that wait.
    pub(super) fn waiting(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.requests.push_back(request);
    }

    /// Answers the first request, through the guest's window if it has one. Call it when what [`Self::interest`] names
    /// has come.
    pub(super) fn answer(
        &mut self,
        window: Option<&SharedWindow<'_>>,
        answers: &mut Vec<u8>,
    ) -> io::Result<()> {
        let answered = match self.requests.front() {
            Some(Request::Read { max }) => self.read(*max, window, answers)?,
            Some(Request::Poll) => self.poll(answers),
            None => return Ok(()),
        };
        if answered {
            self.requests.pop_front();
        }
        Ok(())
    }

    /// READ: whether it could be answered.
    fn read(
        &mut self,
        max: u32,
        window: Option<&SharedWindow<'_>>,
        answers: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let room = window.map_or(0, SharedWindow::input);
        // An answer of no bytes would be the end of file, so at least one is read.
        let max = usize::try_from(max)
            .unwrap_or(usize::MAX)
            .clamp(1, room.max(MAX_PAYLOAD));
        self.buffer.resize(max.max(self.buffer.len()), 0);
        let buffer = self.buffer.get_mut(..max).unwrap_or_default();
        let length = match self.stdin.read(buffer) {
            Ok(length) => length,
            // Somebody else was quicker.
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            Err(error) => {
                self.report(error);
                0
            }
        };
        let bytes = self.buffer.get(..length).unwrap_or_default();
        match (window, u32::try_from(length)) {
            // Room may be less than a payload can be; then the payload must do.
            (Some(window), Ok(count)) if length > MAX_INLINE_INPUT && length <= room => {
                window.write(bytes)?;
                Reply::DataWindow(count).append_to(answers);
            }
            _ => Reply::Data(bytes).append_to(answers),
        }
        self.given = self
            .given
            .saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        Ok(true)
    }

    /// UNREAD: puts the last bytes that the guest got back, if they came from a file. `false` if it never got as many.
    pub(super) fn take_back(&mut self, count: u32) -> bool {
        let Some(given) = self.given.checked_sub(count.into()) else {
            return false;
        };
        self.given = given;
        let kind = rustix::fs::fstat(self.stdin.shared()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if kind == Ok(FileType::RegularFile) {
            // Where it fails, the bytes are as lost as those of a pipe.
            let _ = rustix::fs::seek(self.stdin.shared(), SeekFrom::Current(-i64::from(count)));
        }
        true
    }

    /// POLL: whether it could be answered. Nothing is read.
    fn poll(&mut self, answers: &mut Vec<u8>) -> bool {
        let shared = self.stdin.shared();
        let mut fds = [PollFd::new(&shared, PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if !poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) {
            return false;
        }
        let [stdin] = fds;
        let hangup = stdin
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        let available = match rustix::io::ioctl_fionread(shared) {
            Ok(available) => u32::try_from(available).unwrap_or(u32::MAX),
            // Devices such as /dev/zero do not say how much they have: one byte is no lie.
            Err(_) => 1,
        };
        // Readable, and nothing there: what a read would return is the end of file.
        let eof = available == 0 || hangup;
        Reply::Ready { eof, available }.append_to(answers);
        true
    }

    fn report(&mut self, error: Errno) {
        if !self.failed {
            self.failed = true;
            log::warn!(
                "standard input cannot be read: {}; the guest sees the end of file",
                io::Error::from(error)
            );
        }
    }
}
