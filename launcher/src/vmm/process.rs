//! A hypervisor as a running process that never outlives the run, and the launcher's ends of its pipes.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::Command;
use crate::jail::{self, Child, Layers, Program};

/// A running hypervisor. Dropping it kills it, as its child is then dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// What its jail is made of.
    pub(crate) jail: Layers,
    /// When its memory was looked at, and the most that was seen.
    looked: Option<Instant>,
    peak: Option<u64>,
    /// What the guest sends on the serial line. None of these three ends ever blocks.
    pub(crate) console_out: OwnedFd,
    /// What the guest receives on the serial line.
    pub(crate) console_in: OwnedFd,
    /// What the hypervisor itself has to say.
    pub(crate) stderr: OwnedFd,
}

impl Process {
    /// Starts `command` in its jail. Call it on the thread that stays until the end.
    pub(crate) fn start(command: &Command<'_>) -> io::Result<Self> {
        let (stdin, console_in) = io::pipe()?;
        let (console_out, stdout) = io::pipe()?;
        let (words, stderr) = io::pipe()?;
        let program = Program {
            path: &command.program,
            name: None,
            arguments: &command.arguments,
            streams: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            descriptors: &command.descriptors,
            asks: None,
        };
        let (child, jail) = jail::start(&program, &command.confinement)?;
        Self::over(child, jail, console_out.into(), console_in.into(), words.into())
    }

    /// A process that is played by whoever has the other ends: it ends when `end` becomes readable.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn played(
        end: OwnedFd,
        console_out: OwnedFd,
        console_in: OwnedFd,
        stderr: OwnedFd,
    ) -> io::Result<Self> {
        let child = Child::played(end);
        Self::over(child, Layers::default(), console_out, console_in, stderr)
    }

    fn over(
        child: Child,
        jail: Layers,
        console_out: OwnedFd,
        console_in: OwnedFd,
        stderr: OwnedFd,
    ) -> io::Result<Self> {
        for end in [&console_out, &console_in, &stderr] {
            // These are the launcher's ends, the hypervisor's are not affected.
            let flags = rustix::fs::fcntl_getfl(end.as_fd())?;
            rustix::fs::fcntl_setfl(end.as_fd(), flags | OFlags::NONBLOCK)?;
        }
        Ok(Self {
            child,
            jail,
            looked: None,
            peak: None,
            console_out,
            console_in,
            stderr,
        })
    }

    /// Becomes readable when the process ends.
    pub(crate) fn end(&self) -> BorrowedFd<'_> {
        self.child.end()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Notes the most memory that it has had at once. Often called; looks now and then.
    pub(crate) fn look_at_memory(&mut self) {
        /// A look costs a hundredth of this.
        const INTERVAL: Duration = Duration::from_millis(5);
        if self.looked.is_none_or(|looked| looked.elapsed() >= INTERVAL) {
            self.looked = Some(Instant::now());
            self.peak = self.resident_peak().or(self.peak);
        }
    }

    /// The most memory that it was seen to have had at once, in bytes.
    pub(crate) fn peak_memory(&mut self) -> Option<u64> {
        self.resident_peak().or(self.peak)
    }

    /// `None` once it has ended.
    fn resident_peak(&mut self) -> Option<u64> {
        let Ok(None) = self.ended() else { return None };
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        kib.checked_mul(1024)
    }

    /// Waits until it has ended by itself, or kills it after `patience`.
    pub(crate) fn end_within(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while let Ok(None) = self.ended() {
            if Instant::now() >= deadline {
                self.kill();
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jail::{Calls, Confinement};

    fn shell(script: &str) -> Process {
        Process::start(&Command {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            descriptors: Vec::new(),
            confinement: Confinement::default().calls(Calls::Script),
        })
        .unwrap()
    }

    fn read_all(end: &OwnedFd) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 100];
        loop {
            match rustix::io::read(end, &mut buffer) {
                Ok(0) => return all,
                Ok(length) => all.extend_from_slice(&buffer[..length]),
                Err(rustix::io::Errno::AGAIN) => std::thread::sleep(Duration::from_millis(1)),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn the_pipes_are_connected_and_do_not_block() {
        let process = shell("read line; echo \"got $line\"; echo bad >&2");
        let mut buffer = [0; 10];
        assert_eq!(
            rustix::io::read(&process.console_out, &mut buffer),
            Err(rustix::io::Errno::AGAIN)
        );
        rustix::io::write(&process.console_in, b"hi\n").unwrap();
        assert_eq!(read_all(&process.console_out), b"got hi\n");
        assert_eq!(read_all(&process.stderr), b"bad\n");
    }

    #[test]
    fn an_end_is_seen() {
        let mut process = shell("exit 3");
        process.end_within(Duration::from_secs(60));
        assert_eq!(process.ended().unwrap().unwrap().code(), Some(3));
    }

    #[test]
    fn its_memory_is_known_while_it_is_there() {
        let mut process = shell("read never");
        assert!(process.peak_memory().unwrap() > 4096);
        let mut looked_at = shell("read never");
        looked_at.look_at_memory();
        for process in [&mut process, &mut looked_at] {
            process.kill();
        }
        assert_eq!(process.peak_memory(), None);
        assert!(looked_at.peak_memory().unwrap() > 4096);
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let process = shell("read never");
        let pid = process.child.pid();
        rustix::process::test_kill_process(pid).unwrap();
        drop(process);
        assert_eq!(
            rustix::process::test_kill_process(pid),
            Err(rustix::io::Errno::SRCH)
        );
    }

    #[test]
    fn one_that_does_not_end_is_killed() {
        let mut process = shell("read never");
        process.end_within(Duration::from_millis(5));
        assert!(process.ended().unwrap().is_some());
    }

    #[test]
    fn a_program_that_is_missing_is_an_error() {
        let error = Process::start(&Command {
            program: "/nonexistent".into(),
            arguments: Vec::new(),
            descriptors: Vec::new(),
            confinement: Confinement::default(),
        })
        .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn no_core_is_dumped() {
        assert_eq!(read_all(&shell("ulimit -c").console_out), b"0\n");
    }
}
