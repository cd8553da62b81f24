//! What WASI needs of the machine: clocks, entropy, console, sleep.
//!
//! Layer: seam. Slices go in, values come out, failures are [`Errno`]. In the VM Hermit implements it; on the
//! host a scripted machine (`testing::TestSystem`) does, so the same calls run in both places.

use crate::abi::{
    Errno,
    types::{Param, Timestamp},
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

    /// Waits until standard input is readable or `timeout` nanoseconds have passed (`None`: forever).
    /// `Some(0)` asks without waiting: it comes before every further buffer of a scattered read, so an
    /// implementation answers it from its own buffer where it can. It may return [`StdinState::NotReady`] early.
    ///
    /// # Errors
    /// Why standard input cannot be waited for.
    fn poll_stdin(&mut self, timeout: Option<u64>) -> Result<StdinState, Errno>;

    /// Lets at least `nanoseconds` pass on [`Clock::Monotonic`]. If it returns early, the caller sleeps again.
    fn sleep(&mut self, nanoseconds: u64);

    /// Lets others run, if there are any.
    fn yield_now(&mut self);
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

impl Param for Clock {
    type Raw = u32;
    fn from_raw(raw: u32) -> Result<Self, Errno> {
        match raw {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            2 => Ok(Self::ProcessCpuTime),
            3 => Ok(Self::ThreadCpuTime),
            _ => Err(Errno::INVAL),
        }
    }
}

/// A standard stream that a guest writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What [`System::poll_stdin`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdinState {
    /// Nothing to read yet.
    NotReady,
    /// A read will not block.
    Ready {
        /// Bytes available; may be an estimate, but is at least 1 unless the stream is at its end.
        bytes: u64,
        /// The stream is at its end or its peer has gone.
        hangup: bool,
    },
}

/// Time of the monotonic clock, for durations.
pub(crate) fn now<S: System>(system: &mut S) -> Result<Timestamp, Errno> {
    system.clock_time(Clock::Monotonic)
}

/// Time of the wall clock, for what is recorded with a file; 1970 on a machine that does not know it.
pub(crate) fn realtime<S: System>(system: &mut S) -> Timestamp {
    system.clock_time(Clock::Realtime).unwrap_or(0)
}
