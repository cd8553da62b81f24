//! What a session waits for, and the one place where it does.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{MOST_ANSWERS, Session};
use crate::host::interrupt::Interrupt;
use crate::vmm::process::Process;

/// What a descriptor in the list for `poll` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Interrupt,
    /// The hypervisor's end.
    End,
    /// The relay's end.
    Relay,
    Console,
    Stderr,
    Answers,
    Input,
    Output,
}

impl Session<'_> {
    /// Waits until something can be done, and says what.
    pub(super) fn wait(
        &self,
        process: &Process,
        interrupts: &[Interrupt],
        patience: Option<Duration>,
    ) -> io::Result<Vec<Source>> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = interrupts
            .iter()
            .map(|interrupt| (Source::Interrupt, interrupt.as_fd(), PollFlags::IN))
            .collect();
        if !self.ended {
            sources.push((Source::End, process.end(), PollFlags::IN));
        }
        if let Some(end) = self.relay.as_ref().and_then(|relay| relay.end()) {
            sources.push((Source::Relay, end, PollFlags::IN));
        }
        if self.console_open && self.output.is_idle() && self.answers.len() < MOST_ANSWERS {
            sources.push((Source::Console, process.console_out.as_fd(), PollFlags::IN));
        }
        if self.stderr_open && (!self.config.show_hypervisor || self.output.is_idle()) {
            sources.push((Source::Stderr, process.stderr.as_fd(), PollFlags::IN));
        }
        if !self.answers.is_empty() {
            sources.push((Source::Answers, process.console_in.as_fd(), PollFlags::OUT));
        } else if self.input.waiting() > 0 {
            let (descriptor, flags) = self.input.interest();
            sources.push((Source::Input, descriptor, flags));
        }
        if let Some((descriptor, flags)) = self.output.waiting() {
            sources.push((Source::Output, descriptor, flags));
        }
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags))
            .collect();
        // A time that is too long for the system is forever; it is looked at again after each event.
        let patience = patience.and_then(|duration| Timespec::try_from(duration).ok());
        match poll(&mut fds, patience.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Errors and hang-ups are reported unasked; the call that follows finds out what they are.
        let ready = sources
            .iter()
            .zip(&fds)
            .filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|((source, ..), _)| *source).collect())
    }
}
