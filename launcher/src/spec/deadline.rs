//! When a run must be over: at a time, or when it is asked to stop. Whatever may take long asks here, and waits here.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::{Error, StartError};
use crate::host::interrupt::{self, Interrupt};

/// When a run must be over: at a time, or when it is asked to stop.
#[derive(Clone, Debug)]
pub struct Deadline {
    at: Option<Instant>,
    interrupts: Vec<Interrupt>,
    limit: Duration,
    /// What runs, for the message.
    what: String,
}

impl Deadline {
    /// One that never comes.
    #[must_use]
    pub fn never() -> Self {
        Self::since(Instant::now(), Duration::MAX)
    }

    /// One that comes `limit` after `start`: when the program started, so that all it does counts.
    #[must_use]
    pub fn since(start: Instant, limit: Duration) -> Self {
        Self {
            // A time beyond what the clock can say is no limit.
            at: start.checked_add(limit),
            interrupts: Vec::new(),
            limit,
            what: "the run".to_string(),
        }
    }

    /// One that comes with this interrupt too.
    #[must_use]
    pub fn interrupt(mut self, interrupt: Interrupt) -> Self {
        self.interrupts.push(interrupt);
        self
    }

    /// The same, whose messages call what runs `what` until more is known.
    #[must_use]
    pub fn of(mut self, what: String) -> Self {
        self.what = what;
        self
    }

    /// The earlier one of two, with the interrupts of both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        if other.at.is_some_and(|other| self.at.is_none_or(|at| other < at)) {
            (self.at, self.limit) = (other.at, other.limit);
        }
        self.interrupts.extend(other.interrupts);
        self
    }

    /// One that has passed.
    #[cfg(test)]
    pub(crate) fn passed() -> Self {
        Self::since(Instant::now(), Duration::ZERO)
    }

    /// The moment; `None`: never.
    #[must_use]
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// What stops the run before that.
    pub(crate) fn interrupts(&self) -> &[Interrupt] {
        &self.interrupts
    }

    /// Fails when the run must be over. Whatever may take long before the machine starts asks now and then.
    ///
    /// # Errors
    /// [`Error::Timeout`] or [`Error::Stopped`].
    pub fn check(&self) -> Result<(), Error> {
        if let Some(stop) = interrupt::reason(&self.interrupts) {
            return Err(Error::Stopped(stop));
        }
        match self.at {
            Some(at) if at <= Instant::now() => Err(self.error()),
            _ => Ok(()),
        }
    }

    /// Waits until the run must be over; why.
    #[must_use]
    pub fn over(&self) -> Error {
        loop {
            match self.wait(None, None) {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Waits for an event on a descriptor, but not beyond `until`: whether it came.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn wait(
        &self,
        event: Option<(BorrowedFd<'_>, PollFlags)>,
        until: Option<Instant>,
    ) -> Result<bool, Error> {
        loop {
            self.check()?;
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Ok(false);
            }
            let mut fds: Vec<PollFd<'_>> = event
                .iter()
                .map(|(descriptor, flags)| PollFd::from_borrowed_fd(*descriptor, *flags))
                .chain(self.interrupts.iter().map(|one| PollFd::new(one, PollFlags::IN)))
                .collect();
            let next = [self.at, until].into_iter().flatten().min();
            let patience = next.map(|next| next.saturating_duration_since(now));
            let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
            match poll(&mut fds, patience.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(StartError::file("wait")(error.into())),
            }
            let came = |fd: &PollFd<'_>| !fd.revents().is_empty();
            if event.is_some() && fds.first().is_some_and(came) {
                return Ok(true);
            }
        }
    }

    /// Does on another thread what may wait in the kernel for longer than there is time, as files of other machines do.
    /// The thread is left to its call if the run must be over first.
    ///
    /// # Errors
    /// As [`Self::check`], or the system has no thread left.
    pub(crate) fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let cannot = |error: io::Error| StartError::file("start a thread")(error);
        if self.at.is_none() && self.interrupts.is_empty() {
            return Ok(work());
        }
        let (done, notify) = io::pipe().map_err(cannot)?;
        let thread = thread::Builder::new().name("hermit-wasm file".to_string());
        let thread = thread.spawn(move || {
            let result = work();
            drop(notify);
            result
        });
        let thread = thread.map_err(cannot)?;
        self.wait(Some((done.as_fd(), PollFlags::IN)), None)?;
        thread.join().map_err(|_| cannot(io::Error::other("it panicked")))
    }

    /// The error of a run that took too long.
    pub(crate) fn error(&self) -> Error {
        Error::Timeout {
            what: self.what.clone(),
            limit: self.limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stop;

    /// Only what hangs comes here.
    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn the_earlier_of_two_counts_and_both_can_be_stopped() {
        let start = Instant::now();
        let (early, late) = (Deadline::since(start, LONG), Deadline::since(start, LONG * 2));
        for both in [
            early.clone().and(late.clone()),
            late.and(early.clone()),
            early.clone().and(Deadline::never()),
            Deadline::never().and(early.clone()),
        ] {
            assert_eq!((both.at(), both.limit), (early.at(), LONG));
        }
        let (one, two) = (Interrupt::new().unwrap(), Interrupt::new().unwrap());
        let both = Deadline::never()
            .interrupt(one)
            .and(Deadline::never().interrupt(two.clone()));
        both.check().unwrap();
        two.stop();
        assert!(matches!(both.over(), Error::Stopped(Stop::Asked)));
    }

    #[test]
    fn waiting_ends_with_the_event_the_time_or_an_interrupt() {
        let (reader, writer) = io::pipe().unwrap();
        let event = Some((reader.as_fd(), PollFlags::IN));
        let soon = Duration::from_millis(10);
        let deadline = Deadline::since(Instant::now(), soon);
        assert!(matches!(deadline.wait(event, None), Err(Error::Timeout { .. })));
        assert!(
            !Deadline::never()
                .wait(event, Some(Instant::now() + soon))
                .unwrap()
        );
        let interrupt = Interrupt::new().unwrap();
        let deadline = Deadline::since(Instant::now(), LONG).interrupt(interrupt.clone());
        let stopper = thread::spawn(move || {
            thread::sleep(soon);
            interrupt.stop();
        });
        assert!(matches!(deadline.wait(event, None), Err(Error::Stopped(_))));
        stopper.join().unwrap();
        rustix::io::write(&writer, b"x").unwrap();
        assert!(Deadline::since(Instant::now(), LONG).wait(event, None).unwrap());
        assert!(Deadline::passed().wait(event, None).is_err());
    }

    #[test]
    fn what_waits_in_the_kernel_is_left_to_another_thread() {
        let (mut reader, writer) = io::pipe().unwrap();
        let deadline = Deadline::since(Instant::now(), Duration::from_millis(10));
        let silent = move || io::Read::read(&mut reader, &mut [0]).unwrap();
        assert!(matches!(deadline.aside(silent), Err(Error::Timeout { .. })));
        drop(writer);
        assert_eq!(Deadline::since(Instant::now(), LONG).aside(|| 5).unwrap(), 5);
        assert_eq!(Deadline::never().aside(|| 5).unwrap(), 5);
    }
}
