//! A scripted machine for tests on the host: clocks that pass only when told, recorded output, scripted input.
//!
//! Layer: tests. Deterministic; also used by the host tests of crates that embed this one.

mod network;

use alloc::{collections::VecDeque, vec::Vec};

pub use self::network::{Happening, TestNetwork};
use crate::{
    Errno, Network,
    system::{Clock, Readiness, Source, Stream, System, Wait},
};

/// Time of [`Clock::Monotonic`] at the start, in nanoseconds.
const START: u64 = 5_000_000_000;

/// One step of standard input; after the last comes the end of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdin {
    /// Bytes that are there at once.
    Bytes(Vec<u8>),
    /// Nothing comes for so many nanoseconds.
    Pause(u64),
    /// Reading and polling fail; once.
    Fail(Errno),
}

/// A machine under a test's control. Nothing happens in it by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestSystem {
    /// Time of [`Clock::Realtime`], in nanoseconds since 1970.
    pub realtime: u64,
    /// Time of [`Clock::Monotonic`], in nanoseconds.
    pub monotonic: u64,
    /// Time of both CPU-time clocks in nanoseconds; `None`: there are none.
    pub cpu_time: Option<u64>,
    /// Resolution of all clocks in nanoseconds.
    pub resolution: u64,
    /// For how long [`System::wait`] was asked to wait for nothing but time, in order.
    pub sleeps: Vec<u64>,
    /// Nanoseconds by which each sleep returns too early.
    pub sleep_short: u64,
    /// How often the guest yielded.
    pub yields: usize,
    /// What comes on standard input.
    pub stdin: VecDeque<Stdin>,
    /// For how long [`System::wait`] was asked to wait for standard input, in order.
    pub polls: Vec<Option<u64>>,
    /// What the guest wrote to standard output.
    pub stdout: Vec<u8>,
    /// What the guest wrote to standard error.
    pub stderr: Vec<u8>,
    /// Lengths of the writes, in order.
    pub writes: Vec<usize>,
    /// The most that the console still takes; then it fails with IO.
    pub write_room: usize,
    /// The next random byte; each is one more than the one before. `None`: no source of entropy.
    pub random: Option<u8>,
    /// The network, if there is one.
    pub network: Option<TestNetwork>,
    /// What was recorded.
    pub recording: Vec<u8>,
    /// How much of it was with whoever keeps it, each time that it had to be.
    pub kept: Vec<usize>,
}

impl Default for TestSystem {
    fn default() -> Self {
        Self {
            realtime: 1_700_000_000_000_000_000,
            monotonic: START,
            cpu_time: None,
            resolution: 1,
            sleeps: Vec::new(),
            sleep_short: 0,
            yields: 0,
            stdin: VecDeque::new(),
            polls: Vec::new(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            writes: Vec::new(),
            write_room: usize::MAX,
            random: Some(1),
            network: None,
            recording: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl TestSystem {
    /// A machine with `bytes` on its standard input.
    pub fn with_stdin(bytes: &[u8]) -> Self {
        let stdin = if bytes.is_empty() {
            None
        } else {
            Some(Stdin::Bytes(bytes.to_vec()))
        };
        Self {
            stdin: stdin.into_iter().collect(),
            ..Self::default()
        }
    }

    /// How standard input stands once it is ready, or `timeout` has passed.
    fn poll_stdin(&mut self, timeout: Option<u64>) -> Result<Readiness, Errno> {
        loop {
            match self.stdin.front().cloned() {
                None => {
                    return Ok(Readiness::Ready {
                        bytes: 0,
                        hangup: true,
                    });
                }
                Some(Stdin::Fail(errno)) => {
                    self.stdin.pop_front();
                    return Err(errno);
                }
                Some(Stdin::Bytes(bytes)) => {
                    let bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                    return Ok(Readiness::Ready { bytes, hangup: false });
                }
                Some(Stdin::Pause(pause)) => {
                    self.stdin.pop_front();
                    if let Some(timeout) = timeout.filter(|timeout| *timeout < pause) {
                        self.pass(timeout);
                        self.stdin.push_front(Stdin::Pause(pause.saturating_sub(timeout)));
                        return Ok(Readiness::NotReady);
                    }
                    self.pass(pause);
                }
            }
        }
    }

    /// How everything stands once something of it is ready, or `timeout` has passed.
    fn wait_for_all(&mut self, on: &mut [Wait], timeout: Option<u64>) {
        let end = timeout.map(|timeout| self.monotonic.saturating_add(timeout));
        loop {
            for wait in &mut *on {
                wait.answer = self.readiness(wait.source);
            }
            let is_over = end.is_some_and(|end| end <= self.monotonic);
            if is_over || on.iter().any(|wait| wait.answer != Ok(Readiness::NotReady)) {
                return;
            }
            let network = self.network.as_ref().and_then(TestNetwork::next);
            let pause = match self.stdin.front() {
                Some(Stdin::Pause(pause)) => Some(self.monotonic.saturating_add(*pause)),
                _ => None,
            };
            let next = [end, network, pause].into_iter().flatten().min();
            assert!(next.is_some(), "the guest waits for what never comes");
            let passed = next.unwrap_or_default().saturating_sub(self.monotonic);
            self.pass(passed);
            if let Some(Stdin::Pause(pause)) = self.stdin.front_mut() {
                *pause = pause.saturating_sub(passed);
            }
        }
    }

    /// How something stands now.
    fn readiness(&mut self, source: Source) -> Result<Readiness, Errno> {
        match source {
            Source::Stdin => {
                while let Some(Stdin::Pause(0)) = self.stdin.front() {
                    self.stdin.pop_front();
                }
                match self.stdin.front() {
                    Some(Stdin::Pause(_)) => Ok(Readiness::NotReady),
                    _ => self.poll_stdin(Some(0)),
                }
            }
            Source::Readable(_) | Source::Writable(_) => {
                let network = self.network.as_mut().ok_or(Errno::BADF)?;
                network.advance(self.monotonic);
                network.readiness(source)
            }
        }
    }

    /// Lets time pass on both clocks.
    pub fn pass(&mut self, nanoseconds: u64) {
        self.realtime = self.realtime.saturating_add(nanoseconds);
        self.monotonic = self.monotonic.saturating_add(nanoseconds);
    }
}

impl System for TestSystem {
    fn clock_time(&mut self, clock: Clock) -> Result<u64, Errno> {
        match clock {
            Clock::Realtime => Ok(self.realtime),
            Clock::Monotonic => Ok(self.monotonic),
            Clock::ProcessCpuTime | Clock::ThreadCpuTime => self.cpu_time.ok_or(Errno::INVAL),
        }
    }

    fn clock_resolution(&mut self, clock: Clock) -> Result<u64, Errno> {
        self.clock_time(clock)?;
        Ok(self.resolution)
    }

    fn fill_random(&mut self, buf: &mut [u8]) -> Result<(), Errno> {
        let next = self.random.as_mut().ok_or(Errno::NOSYS)?;
        for byte in buf {
            *byte = *next;
            *next = next.wrapping_add(1);
        }
        Ok(())
    }

    fn console_write(&mut self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        if self.write_room == 0 {
            return Err(Errno::IO);
        }
        let taken = buf.get(..self.write_room).unwrap_or(buf);
        self.write_room = self.write_room.saturating_sub(taken.len());
        self.writes.push(taken.len());
        match stream {
            Stream::Stdout => self.stdout.extend_from_slice(taken),
            Stream::Stderr => self.stderr.extend_from_slice(taken),
        }
        Ok(taken.len())
    }

    fn console_read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match self.stdin.pop_front() {
                None => return Ok(0),
                Some(Stdin::Fail(errno)) => return Err(errno),
                Some(Stdin::Pause(nanoseconds)) => self.pass(nanoseconds),
                Some(Stdin::Bytes(mut bytes)) => {
                    let count = bytes.len().min(buf.len());
                    let rest = bytes.split_off(count);
                    buf.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
                    if !rest.is_empty() {
                        self.stdin.push_front(Stdin::Bytes(rest));
                    }
                    return Ok(count);
                }
            }
        }
    }

    fn wait(&mut self, on: &mut [Wait], timeout: Option<u64>) {
        if let [
            Wait {
                source: Source::Stdin,
                answer,
            },
        ] = on
        {
            self.polls.push(timeout);
            *answer = self.poll_stdin(timeout);
        } else if !on.is_empty() {
            self.wait_for_all(on, timeout);
        } else if let Some(nanoseconds) = timeout {
            self.sleeps.push(nanoseconds);
            // At least 1, or a test of early returns would never end.
            self.pass(nanoseconds.saturating_sub(self.sleep_short).max(1));
        }
    }

    fn network(&mut self) -> Option<&mut dyn Network> {
        let network = self.network.as_mut()?;
        network.advance(self.monotonic);
        Some(network)
    }

    fn yield_now(&mut self) {
        self.yields = self.yields.saturating_add(1);
    }

    fn record(&mut self, bytes: &[u8]) {
        self.recording.extend_from_slice(bytes);
    }

    fn recorded(&mut self, now: bool) {
        if now {
            self.kept.push(self.recording.len());
        }
    }
}
