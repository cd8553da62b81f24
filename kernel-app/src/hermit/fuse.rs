//! The virtio-fs devices as transports of FUSE requests.
//!
//! Layer: device. The device reads and writes the caller's memory.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{OnceCell, RefCell};

use virtio_devices::fs::{Failure, Lender};
use wasi_core::Errno;
use wasi_core::fs::fuse::Transport;

use super::buses::{self, FsDevice};
use super::console::Console;
use super::counter::Counter;
use super::{device_tree, devices};

/// How long a reply is awaited without sleep, in nanoseconds: about as long as a quick one takes. An interrupt would
/// cost more than that, and would have to find its way on each machine.
const SPIN: u64 = 100_000;
/// Pauses of the processor between two looks meanwhile: a look costs more than a pause, and the host may want the
/// processor.
const PAUSES: u32 = 8;
/// The longest sleep between two looks, in nanoseconds.
const LONGEST_SLEEP: u64 = 1_000_000;
/// The number of no device's interrupt.
const NO_INTERRUPT: u32 = 0;

/// How long a reply may take, in nanoseconds, before the host is asked whether there will be one. A server that lives
/// can be slow: writing back to a slow disk takes its time. One that has died does not answer at all, and no device
/// says so.
const PATIENCE: u64 = 1_000_000_000;
/// How often that is waited for where nobody can be asked.
const MOST_WAITS: u32 = 120;

/// Whom to ask about a device's server, and what the host calls it.
type Host = (Rc<RefCell<Console>>, u32);

/// The machine's devices, looked for and started when one is first asked for.
#[derive(Default)]
pub(super) struct Shares(OnceCell<Vec<Rc<RefCell<FsDevice>>>>);

impl Shares {
    /// The device of this name. `host` is who knows about its server.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn find(&self, name: &str, host: Option<Host>) -> Option<Share> {
        let devices = self.0.get_or_init(start_all);
        let device = devices
            .iter()
            .find(|device| device.borrow().name() == name.as_bytes())?;
        Some(Share {
            device: Rc::clone(device),
            waiting: Waiting {
                host,
                counter: Counter::new(),
                since: None,
                waits: 0,
            },
        })
    }
}

/// Starts all devices of the machine.
#[cold]
#[cfg_attr(target_os = "hermit", optimize(size))]
fn start_all() -> Vec<Rc<RefCell<FsDevice>>> {
    let mut devices = Vec::new();
    // uhyve has none, and takes nobody's looking for any.
    if !device_tree::is_uhyves() {
        buses::find_fs(
            device_tree::tree(),
            device_tree::arguments(),
            &mut |started| match started {
                Ok(device) => devices.push(Rc::new(RefCell::new(device))),
                Err(reason) => ::log::error!("virtio-fs: a device cannot be used: {reason}"),
            },
        );
    }
    devices
}

/// A device.
pub(crate) struct Share {
    device: Rc<RefCell<FsDevice>>,
    waiting: Waiting,
}

/// How a reply is waited for.
struct Waiting {
    host: Option<Host>,
    counter: Counter,
    /// Since when; not at all at first.
    since: Option<u64>,
    /// How often [`PATIENCE`] has ended.
    waits: u32,
}

impl Waiting {
    /// A new request.
    fn begin(&mut self) -> &mut Self {
        self.since = None;
        self.waits = 0;
        self
    }

    /// Whether the server may still answer.
    #[cold]
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn may_answer(&mut self) -> bool {
        self.waits = self.waits.saturating_add(1);
        let served = match &self.host {
            Some((console, number)) => console.borrow_mut().is_served(*number),
            None => None,
        };
        let may = served.unwrap_or(self.waits < MOST_WAITS);
        if !may {
            ::log::error!("virtio-fs: the server has died or hangs: its directory is given up");
        }
        may
    }
}

impl Lender for Waiting {
    fn place(&mut self, start: *const u8, len: usize) -> Option<(u64, usize)> {
        devices::piece(start, len)
    }

    /// At first all the time, then in sleeps that grow with the time waited.
    fn wait(&mut self) -> bool {
        let now = self.counter.now();
        let waited = now.saturating_sub(*self.since.get_or_insert(now));
        if waited < SPIN {
            for _ in 0..PAUSES {
                core::hint::spin_loop();
            }
            return true;
        }
        let left = PATIENCE.saturating_sub(waited);
        if left == 0 {
            self.since = None;
            return self.may_answer();
        }
        let sleep = (waited / 2).clamp(SPIN, LONGEST_SLEEP).min(left);
        devices::wait(NO_INTERRUPT, false, sleep.div_ceil(1000));
        true
    }
}

/// A guest has no use for the reason.
fn errno(_: Failure) -> Errno {
    Errno::IO
}

impl Transport for Share {
    fn request(&mut self, request: &[&[u8]], reply: &mut [&mut [u8]]) -> Result<usize, Errno> {
        let mut device = self.device.borrow_mut();
        device
            .request(request, reply, self.waiting.begin())
            .map_err(errno)
    }

    fn notify(&mut self, request: &[&[u8]]) -> Result<(), Errno> {
        let mut device = self.device.borrow_mut();
        device.notify(request, self.waiting.begin()).map_err(errno)
    }
}
