//! Signals as something to poll, and dying of one as shells expect it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level;

/// Signals that arrive from now on, instead of ending the process.
#[derive(Debug)]
pub(crate) struct Signals {
    /// The signal that asks to end, once one has come.
    last: Arc<AtomicUsize>,
    /// Readable when a signal has come, QEMU's end included.
    wake: UnixStream,
}

impl Signals {
    /// Catches what asks a process to end, and a child's end.
    ///
    /// A signal that is ignored stays ignored: that is how `nohup`, and a shell for a background job, protect a
    /// program from the terminal.
    pub(crate) fn catch() -> io::Result<Self> {
        let (wake, notify) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let last = Arc::new(AtomicUsize::new(0));
        let ignored = ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if ignored >> (signal - 1) & 1 == 1 {
                continue;
            }
            // The number first: handlers run in the order of registration.
            let number = usize::try_from(signal).map_err(io::Error::other)?;
            signal_hook::flag::register_usize(signal, Arc::clone(&last), number)?;
            low_level::pipe::register(signal, notify.try_clone()?)?;
        }
        low_level::pipe::register(SIGCHLD, notify)?;
        Ok(Self { last, wake })
    }

    /// The signal that asks to end, if one has come. Clears the readiness.
    pub(crate) fn take(&self) -> Option<i32> {
        let mut buffer = [0; 64];
        while rustix::io::read(&self.wake, &mut buffer).is_ok_and(|length| length > 0) {}
        match self.last.swap(0, Ordering::SeqCst) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
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
pub(crate) fn die_of(signal: i32) -> ! {
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
}
