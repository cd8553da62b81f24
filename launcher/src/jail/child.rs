//! A process that was started: its end, and its death with the run.
//!
//! Layer: system calls, by rustix.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions};

/// A child of this process, in a process group of its own. Dropping it kills it with its group.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    /// Readable when the process has ended (a pidfd).
    end: OwnedFd,
    status: Option<ExitStatus>,
}

impl Child {
    /// One that is no process: it has ended, and whoever has the other end of `end` says when that is seen.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn played(end: OwnedFd) -> Self {
        Self {
            // Of one that has ended, never used.
            pid: rustix::process::getpid(),
            end,
            status: Some(ExitStatus::default()),
        }
    }

    /// The child of that number, and its pidfd.
    pub(super) fn new(pid: Pid, end: OwnedFd) -> Self {
        Self {
            pid,
            end,
            status: None,
        }
    }

    /// Its process id, which is its own until its end was seen.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Becomes readable when the process ends.
    pub(crate) fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// How it ended, if it has.
    pub(crate) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.reap(WaitIdOptions::NOHANG)
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            match self.reap(WaitIdOptions::empty()) {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn reap(&mut self, options: WaitIdOptions) -> io::Result<Option<ExitStatus>> {
        let options = options | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        if self.status.is_none() && rustix::process::waitid(WaitId::Pid(self.pid), options)?.is_some() {
            // What a script has started ends with it. Until the next call, the number is still this group's.
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            if let Some((_, status)) = rustix::process::waitpid(Some(self.pid), WaitOptions::empty())? {
                self.status = Some(ExitStatus::from_raw(status.as_raw()));
            }
        }
        Ok(self.status)
    }

    /// Kills it with its group and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // Until `wait`, its number belongs to no other process, nor to another group.
        if let Ok(None) = self.try_wait() {
            // Fails only if it has not made its group yet, or if all of it has ended.
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        }
        let _ = self.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
