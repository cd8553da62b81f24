//! The machine as `wasi-core` wants to see it: [`System`] on Hermit.
//!
//! A machine with a network waits for everything in one place, the network's own wait, so that connections are served
//! whatever the guest waits for. One without waits as if there were no networks.

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::cell::RefCell;

use boot_protocol::run_spec;
use guest_network::Sockets;
use wasi_core::Errno;
use wasi_core::network::Network;
use wasi_core::system::{Clock, Source, Stream, System, Wait};

use super::console::Console;
use super::counter::Counter;
use super::entropy::{self, Entropy};
use super::network;
use super::recording::Recording;
use super::syscalls::{CLOCK_MONOTONIC, CLOCK_REALTIME, Timespec, sys_clock_gettime, sys_usleep, sys_yield};

/// The machine.
pub(crate) struct Machine {
    console: Rc<RefCell<Console>>,
    counter: Counter,
    /// What to add to the monotonic clock for the wall clock; asked for when it is first needed.
    wall_clock_offset: Option<u64>,
    /// For how long the guest has slept, in nanoseconds.
    slept: u64,
    entropy: Entropy,
    /// Whether the lack of an entropy source has been reported.
    entropy_reported: bool,
    recording: Recording,
    network: Option<Box<Sockets>>,
}

impl Machine {
    /// The machine with this console.
    pub(crate) fn new(console: Rc<RefCell<Console>>) -> Self {
        Self {
            console,
            counter: Counter::new(),
            wall_clock_offset: None,
            slept: 0,
            entropy: Entropy::default(),
            entropy_reported: false,
            recording: Recording::default(),
            network: None,
        }
    }

    /// Connects it to a network.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn connect(&mut self, network: &run_spec::Network) -> Result<(), String> {
        self.network = Some(Box::new(network::open(network, &mut self.entropy)?));
        Ok(())
    }

    /// The network, if it is connected to one.
    pub(super) fn sockets(&mut self) -> Option<&mut Sockets> {
        self.network.as_deref_mut()
    }

    /// Waits on a machine without a network.
    fn wait_alone(&mut self, on: &mut [Wait], timeout: Option<u64>) {
        match on.first_mut() {
            Some(wait) => match wait.source {
                Source::Stdin => wait.answer = self.console.borrow_mut().poll(timeout),
                Source::Readable(_) | Source::Writable(_) => wait.answer = Err(Errno::BADF),
            },
            None => self.sleep(timeout.unwrap_or(u64::MAX)),
        }
    }

    /// Nanoseconds that the guest has run: nobody else does in this machine, so it is the time since boot, which is
    /// quick, less what the guest waited for time to pass or for input.
    #[inline(never)]
    fn cpu_time(&mut self) -> u64 {
        let waited = self.console.borrow_mut().waited().saturating_add(self.slept);
        let slept = self.sockets().map_or(0, |sockets| sockets.slept());
        self.counter.now().saturating_sub(waited.saturating_add(slept))
    }

    /// Nanoseconds since 1970: by the host's clock, to which a launcher has the better view, else by the real-time
    /// clock, which counts in seconds.
    #[inline]
    fn wall_clock(&mut self) -> u64 {
        let offset = match self.wall_clock_offset {
            Some(offset) => offset,
            None => self.ask_for_wall_clock(),
        };
        offset.saturating_add(self.counter.now())
    }

    /// Finds out what to add to the monotonic clock.
    #[cold]
    #[inline(never)]
    fn ask_for_wall_clock(&mut self) -> u64 {
        let host = self.console.borrow_mut().host_time();
        let now = host.unwrap_or_else(|| clock(CLOCK_REALTIME));
        let offset = now.saturating_sub(self.counter.now());
        self.wall_clock_offset = Some(offset);
        offset
    }

    /// Lets at least so many nanoseconds pass.
    fn sleep(&mut self, nanoseconds: u64) {
        let start = monotonic();
        let deadline = start.saturating_add(nanoseconds);
        loop {
            let now = monotonic();
            let left = deadline.saturating_sub(now);
            if left == 0 {
                self.slept = self.slept.saturating_add(now.saturating_sub(start));
                return;
            }
            // SAFETY: takes no pointers.
            unsafe { sys_usleep(left.div_ceil(1000)) };
        }
    }
}

impl System for Machine {
    /// The two clocks that guests ask often cost a guest's call little more than the call.
    #[inline]
    fn clock_time(&mut self, clock: Clock) -> Result<u64, Errno> {
        match clock {
            Clock::Realtime => Ok(self.wall_clock()),
            Clock::Monotonic => Ok(self.counter.now()),
            Clock::ProcessCpuTime | Clock::ThreadCpuTime => Ok(self.cpu_time()),
        }
    }

    fn clock_resolution(&mut self, _: Clock) -> Result<u64, Errno> {
        Ok(self.counter.resolution)
    }

    fn fill_random(&mut self, buf: &mut [u8]) -> Result<(), Errno> {
        if self.entropy.fill(buf) {
            return Ok(());
        }
        if !self.entropy_reported {
            self.entropy_reported = true;
            self.console.borrow_mut().diagnostic(&format!(
                "hermit-wasm: random_get: this machine has no source of random numbers: {}",
                entropy::ADVICE
            ));
        }
        Err(Errno::NOSYS)
    }

    fn console_write(&mut self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        self.console.borrow_mut().write(stream, buf)
    }

    fn console_read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        if self.network.is_some() {
            // Connections are served until there is something.
            self.wait(&mut [Wait::new(Source::Stdin)], None);
        }
        self.console.borrow_mut().read(buf)
    }

    fn wait(&mut self, on: &mut [Wait], timeout: Option<u64>) {
        let Self { console, network, .. } = self;
        match network {
            Some(sockets) => sockets.wait(on, timeout, &mut || console.borrow_mut().poll(Some(0))),
            None => self.wait_alone(on, timeout),
        }
    }

    fn network(&mut self) -> Option<&mut dyn Network> {
        let sockets = self.network.as_deref_mut()?;
        Some(sockets)
    }

    fn yield_now(&mut self) {
        // SAFETY: takes no pointers.
        unsafe { sys_yield() };
    }

    fn record(&mut self, bytes: &[u8]) {
        self.recording.add(&mut self.console.borrow_mut(), bytes);
    }

    fn recorded(&mut self, now: bool) {
        let time = self.counter.now();
        self.recording.event(&mut self.console.borrow_mut(), time, now);
    }
}

/// Nanoseconds since boot.
pub(super) fn monotonic() -> u64 {
    clock(CLOCK_MONOTONIC)
}

/// A clock of the kernel, in nanoseconds.
fn clock(id: i32) -> u64 {
    let mut time = Timespec::default();
    // SAFETY: `time` is valid for a write.
    let result = unsafe { sys_clock_gettime(id, &raw mut time) };
    debug_assert_eq!(result, 0, "the kernel has both clocks");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
