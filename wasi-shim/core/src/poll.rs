//! Waiting: for times and for whatever a machine can be waited for, in one wait.
//!
//! Layer: core. An interface goes through what its guest waits for and adds each to a [`WaitSet`]; waits once; and goes
//! through it again to tell what has happened. The set holds each source once, so it needs no memory for a long list.

use alloc::vec::Vec;

use crate::{
    Errno,
    context::WasiCtx,
    system::{Clock, Readiness, Source, System, Wait},
    types::Timestamp,
};

/// When a guest wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The clock.
    pub clock: Clock,
    /// The time on it, or after the start of the wait, in nanoseconds.
    pub timeout: Timestamp,
    /// Whether `timeout` is a time on the clock.
    pub absolute: bool,
}

/// What to wait for at once.
#[derive(Clone, Debug, Default)]
pub struct WaitSet {
    /// Nanoseconds until the first alarm; 0 if something can be told at once; `None`: no such end.
    timeout: Option<u64>,
    stdin: Option<Wait>,
    /// In the order of their sources.
    sockets: Vec<Wait>,
}

impl WaitSet {
    /// Adds something that happens in `nanoseconds`; 0: it has happened.
    pub fn add_time(&mut self, nanoseconds: u64) {
        self.timeout = Some(self.timeout.map_or(nanoseconds, |least| least.min(nanoseconds)));
    }

    /// Adds something that the machine can be waited for.
    pub fn add_source(&mut self, source: Source) {
        match source {
            Source::Stdin => self.stdin = Some(Wait::new(source)),
            Source::Readable(_) | Source::Writable(_) => {
                if let Err(place) = self.place(source) {
                    self.sockets.insert(place, Wait::new(source));
                }
            }
        }
    }

    /// Where a socket's wait is, or would be.
    fn place(&self, source: Source) -> Result<usize, usize> {
        self.sockets.binary_search_by_key(&source, |wait| wait.source)
    }

    /// How a source stood after the wait. A socket that has failed is ready: what is done with it next tells why.
    ///
    /// # Errors
    /// Why standard input cannot be waited for.
    pub fn readiness(&self, source: Source) -> Result<Readiness, Errno> {
        let socket = match source {
            Source::Stdin => return self.stdin.map_or(Ok(Readiness::NotReady), |wait| wait.answer),
            Source::Readable(_) | Source::Writable(_) => self.place(source).ok(),
        };
        match socket.and_then(|place| self.sockets.get(place)) {
            Some(wait) => Ok(wait.answer.unwrap_or(Readiness::ENDED)),
            None => Ok(Readiness::NotReady),
        }
    }
}

impl<S: System> WasiCtx<S> {
    /// Time of a clock.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if there is no such clock.
    pub fn clock_time(&mut self, clock: Clock) -> Result<Timestamp, Errno> {
        match &self.deterministic {
            Some(world) => Ok(world.time().of(clock)),
            None => self.system.clock_time(clock),
        }
    }

    /// Time of the monotonic clock: the start of a wait.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if there is no such clock.
    pub fn now(&mut self) -> Result<Timestamp, Errno> {
        self.clock_time(Clock::Monotonic)
    }

    /// Nanoseconds until an alarm goes off, in a wait that began at `start`. Relative times pass on the monotonic clock
    /// whatever clock they name.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if there is no such clock, or it is one of CPU time.
    pub fn until(&mut self, alarm: Alarm, start: Result<Timestamp, Errno>) -> Result<u64, Errno> {
        let (clock, deadline) = match alarm.clock {
            Clock::Realtime | Clock::Monotonic if alarm.absolute => (alarm.clock, alarm.timeout),
            // That the wall clock is set does not change how long a second is.
            Clock::Realtime | Clock::Monotonic => (Clock::Monotonic, start?.saturating_add(alarm.timeout)),
            // A waiting guest uses no CPU time, so these would never happen.
            Clock::ProcessCpuTime | Clock::ThreadCpuTime => return Err(Errno::INVAL),
        };
        Ok(deadline.saturating_sub(self.clock_time(clock)?))
    }

    /// Waits for what is in the set, or less; the caller looks what has happened, and waits again if nothing has.
    ///
    /// Of a run that is the same each time, standard input is waited for until it is ready, whatever the time; and time
    /// is not waited for.
    pub fn wait(&mut self, set: &mut WaitSet) {
        if let Some(world) = &mut self.deterministic {
            match (&mut set.stdin, set.timeout) {
                (Some(wait), _) => wait.answer = world.readiness(&mut self.system),
                (None, timeout) => world.sleep(timeout.unwrap_or_default()),
            }
            return;
        }
        if !set.sockets.is_empty() {
            // Standard input goes first for the time of the wait: it is the least source.
            let stdin = set.stdin.take();
            set.sockets.splice(..0, stdin);
            self.system.wait(&mut set.sockets, set.timeout);
            if stdin.is_some() {
                set.stdin = Some(set.sockets.remove(0));
            }
            return;
        }
        match (&mut set.stdin, set.timeout) {
            (Some(wait), timeout) => self.system.wait(core::slice::from_mut(wait), timeout),
            (None, Some(0)) => {}
            // Without a timeout too: a guest may wait for what never comes.
            (None, timeout) => self.system.wait(&mut [], timeout),
        }
    }
}
