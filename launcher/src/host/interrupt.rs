//! Asking a run to stop, from another thread or by a signal, and dying of a signal as shells expect it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;

/// Why a run is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// [`Interrupt::stop`] was called.
    Asked,
    /// This signal has come.
    Signal(i32),
}

/// Stops every run that was given it, or a clone of it, now or later: once stopped, it stays so.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Nothing, [`ASKED`], or a signal's number.
    reason: Arc<AtomicUsize>,
    /// Readable once there is a reason. Nobody reads it, so that all runs see it.
    wake: UnixStream,
    notify: UnixStream,
}

/// The signals that ask a program to end.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

const NOTHING: usize = 0;
/// No signal has this number.
const ASKED: usize = usize::MAX;

impl Interrupt {
    /// One that has not been used.
    ///
    /// # Errors
    /// The system's, when it has no descriptors left.
    pub fn new() -> io::Result<Self> {
        let (wake, notify) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        notify.set_nonblocking(true)?;
        Ok(Self(Arc::new(Shared {
            reason: Arc::new(AtomicUsize::new(NOTHING)),
            wake,
            notify,
        })))
    }

    /// One that SIGINT, SIGTERM and SIGHUP use from now on, instead of ending the process.
    ///
    /// A signal that is ignored stays ignored: that is how `nohup`, and a shell for a background job, protect a
    /// program from the terminal.
    ///
    /// # Errors
    /// The system's.
    pub fn on_signals() -> io::Result<Self> {
        let this = Self::new()?;
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        for signal in SIGNALS {
            if ignored >> (signal - 1) & 1 == 1 {
                continue;
            }
            // The number first: handlers run in the order of registration.
            let number = usize::try_from(signal).map_err(io::Error::other)?;
            signal_hook::flag::register_usize(signal, Arc::clone(&this.0.reason), number)?;
            low_level::pipe::register(signal, this.0.notify.try_clone()?)?;
        }
        Ok(this)
    }

    /// Asks the runs to stop. Each ends its virtual machine and reports [`Stop::Asked`], unless a signal came before.
    pub fn stop(&self) {
        let _ = self
            .0
            .reason
            .compare_exchange(NOTHING, ASKED, Ordering::SeqCst, Ordering::SeqCst);
        // A stream that is full has been written to, which is all that is wanted.
        let _ = rustix::io::write(&self.0.notify, &[0]);
    }

    /// Why to stop, if there is a reason.
    pub(crate) fn reason(&self) -> Option<Stop> {
        match self.0.reason.load(Ordering::SeqCst) {
            NOTHING => None,
            ASKED => Some(Stop::Asked),
            signal => i32::try_from(signal).ok().map(Stop::Signal),
        }
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

/// Why a run with these is to stop, if one of them has a reason.
pub(crate) fn reason(interrupts: &[Interrupt]) -> Option<Stop> {
    interrupts.iter().find_map(Interrupt::reason)
}

/// Keeps the signals of [`Interrupt::on_signals`] away from this thread and from those that it starts from now on, so
/// that the system hands them to another one: a thread that waits in the kernel for a file would not notice.
///
/// # Errors
/// The system's.
pub fn leave_signals_to_other_threads() -> io::Result<()> {
    // SAFETY: the set is plain data, which `sigemptyset` fills before it is used; all calls are given pointers to it.
    let result = unsafe {
        let mut signals = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut signals);
        for signal in SIGNALS {
            libc::sigaddset(&raw mut signals, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut())
    };
    match result {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// The bit mask of ignored signals in the text of /proc/self/status.
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Ends this process by `signal`, as if it had not been caught: a shell reports 128 + the number, and one that runs
/// a script sees that it was Ctrl-C and ends the script too.
pub fn die_of(signal: i32) -> ! {
    // The first process of a container, or of another PID namespace, is not ended by a signal that it does not
    // catch. The emulation would then abort, which such a process survives too, up to an invalid instruction.
    if std::process::id() != 1 {
        // Returns only if the system refuses.
        let _ = low_level::emulate_default_handler(signal);
    }
    let number = u8::try_from(signal).unwrap_or(0);
    std::process::exit(i32::from(boot_protocol::exit_code::from_signal(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert_eq!(ignored(status), 0x1001); // SIGPIPE (13) and SIGHUP (1)
        assert_eq!(ignored(""), 0);
        // Rust programs ignore SIGPIPE.
        assert_eq!(
            ignored(&std::fs::read_to_string("/proc/self/status").unwrap()) >> 12 & 1,
            1
        );
    }

    #[test]
    fn a_stop_comes_from_any_clone_and_stays() {
        let interrupt = Interrupt::new().unwrap();
        assert_eq!(interrupt.reason(), None);
        let other = interrupt.clone();
        std::thread::spawn(move || other.stop()).join().unwrap();
        assert_eq!(interrupt.reason(), Some(Stop::Asked));
        // However often it is asked, nothing blocks.
        for _ in 0..100_000 {
            interrupt.stop();
        }
        assert_eq!(interrupt.reason(), Some(Stop::Asked));
    }

    #[test]
    fn a_signal_is_not_forgotten_for_a_later_request() {
        let interrupt = Interrupt::new().unwrap();
        // As the signal's handler does it.
        interrupt.0.reason.store(15, Ordering::SeqCst);
        interrupt.stop();
        assert_eq!(interrupt.reason(), Some(Stop::Signal(15)));
    }
}
