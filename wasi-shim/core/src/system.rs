//! What WASI needs of the machine: clocks, entropy, console, sleep, and somebody who keeps a recording.
//!
//! Layer: seam. Slices go in, values come out, failures are [`Errno`]. In the VM Hermit implements it; on the
//! host a scripted machine (`testing::TestSystem`) does, so the same calls run in both places.

use crate::{
    Errno,
    network::{Network, SocketId},
    types::Timestamp,
};

/// What WASI needs of the machine. Times in nanoseconds.
///
/// Every method may be called at any time the guest chooses, with lengths it chose.
pub trait System {
    /// Time of `clock`. [`Clock::Realtime`] counts from 1970-01-01T00:00:00Z; [`Clock::Monotonic`] never goes
    /// back.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if there is no such clock (the specification's number for it).
    fn clock_time(&mut self, clock: Clock) -> Result<u64, Errno>;

    /// Smallest step of `clock`; never 0.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if there is no such clock.
    fn clock_resolution(&mut self, clock: Clock) -> Result<u64, Errno>;

    /// Fills `buf` from a real entropy source or fails; never weak bytes. `buf` is never empty.
    ///
    /// # Errors
    /// [`Errno::NOSYS`] without a source: whoever implements this tells the user how to provide one, since the
    /// guest only sees the number. After an error the guest may find `buf` changed.
    fn fill_random(&mut self, buf: &mut [u8]) -> Result<(), Errno>;

    /// Writes to standard output or error; returns how many bytes were taken (all, for a console).
    /// `buf` is never empty. Fewer bytes than given end the guest's write there; the guest sees a partial write.
    ///
    /// # Errors
    /// Why no byte could be written.
    fn console_write(&mut self, stream: Stream, buf: &[u8]) -> Result<usize, Errno>;

    /// Blocks until at least one byte or end of file (`Ok(0)`); `buf` is never empty.
    ///
    /// # Errors
    /// Why no byte could be read.
    fn console_read(&mut self, buf: &mut [u8]) -> Result<usize, Errno>;

    /// Waits until one of `on` is ready or has failed, or until `timeout` nanoseconds have passed on
    /// [`Clock::Monotonic`] (`None`: forever), and tells of each in [`Wait::answer`] how it stands. With nothing in
    /// `on` it lets time pass; then `None` is for ever, which ends with the run.
    ///
    /// It may return early with nothing ready; the caller waits again. `Some(0)` asks without waiting: it comes before
    /// every further buffer of a scattered read, so an implementation answers it from its own buffers where it can.
    fn wait(&mut self, on: &mut [Wait], timeout: Option<u64>);

    /// The guest's network, if it has one.
    fn network(&mut self) -> Option<&mut dyn Network> {
        None
    }

    /// Lets others run, if there are any.
    fn yield_now(&mut self);

    /// Takes the next bytes of the run's recording. Called only in a run that is recorded.
    fn record(&mut self, bytes: &[u8]);

    /// Told behind each whole event of the recording. `now`: all of it is to be with whoever keeps the recording before
    /// this returns; else soon enough.
    fn recorded(&mut self, now: bool);
}

/// A clock; `clockid` of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Wall-clock time since 1970-01-01T00:00:00Z (`realtime`).
    Realtime,
    /// Time since an unnamed point; never goes back (`monotonic`).
    Monotonic,
    /// CPU time of the process (`process_cputime_id`).
    ProcessCpuTime,
    /// CPU time of the calling thread (`thread_cputime_id`).
    ThreadCpuTime,
}

/// A standard stream that a guest writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What a machine can be waited for besides time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A read of standard input.
    Stdin,
    /// A receive of a socket, an accept of a listener, or the end of a lookup.
    Readable(SocketId),
    /// A send of a socket, or the end of a connection's making.
    Writable(SocketId),
}

/// One thing that [`System::wait`] waits for, and how it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for.
    pub source: Source,
    /// How it stands, told by [`System::wait`]; an error says why it cannot be waited for.
    pub answer: Result<Readiness, Errno>,
}

impl Readiness {
    /// Nothing more will come, or go: a call will not block, and says so.
    pub const ENDED: Self = Self::Ready {
        bytes: 0,
        hangup: true,
    };
}

impl Wait {
    /// A wait for `source`, of which nothing is known yet.
    pub const fn new(source: Source) -> Self {
        Self {
            source,
            answer: Ok(Readiness::NotReady),
        }
    }
}

/// How something stands that can be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing to do there yet.
    NotReady,
    /// A call will not block.
    Ready {
        /// Bytes that can be read or written; may be an estimate, but is at least 1 unless `hangup`.
        bytes: u64,
        /// Standard input is at its end. Of a socket: nothing comes and nothing goes any more, as it has ended in both
        /// directions or broken. Whose peer only sends no more is ready to read, with `bytes` 1.
        hangup: bool,
    },
}

/// How one source stands, without waiting for it.
pub(crate) fn readiness<S: System>(system: &mut S, source: Source) -> Result<Readiness, Errno> {
    let mut wait = [Wait::new(source)];
    system.wait(&mut wait, Some(0));
    let [Wait { answer, .. }] = wait;
    answer
}

/// The wall clock as file systems ask it for the times that they record; 1970 on a machine that does not know it.
pub(crate) fn wall_clock<S: System>(system: &mut S) -> impl FnMut() -> Timestamp {
    move || system.clock_time(Clock::Realtime).unwrap_or(0)
}
