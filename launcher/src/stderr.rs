//! Messages on standard error, which never panic and never wait for long: the launcher's own, and the log's.
//!
//! The only way of the program's own text to standard error, whoever wrote parts of it (a guest, a module, a daemon, a
//! directory's names): everything passes through [`boot_protocol::shown`]. What the guest writes to its standard error
//! goes another way, in the session, as it is.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use boot_protocol::shown::{self, Layout};
use hermit_wasm_vm::host::identity;
use hermit_wasm_vm::host::nonblocking::NonBlocking;
use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

/// How long a message may wait for a reader of standard error that does not read.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Most of what a machine has printed, in bytes as they are shown.
const LONGEST: usize = 1 << 20;

/// Writes a message of the launcher's own.
pub(crate) fn say(message: &str) {
    say_within(message, PATIENCE);
}

/// The same for a reader who gets less time.
fn say_within(message: &str, patience: Duration) {
    write(&format!("hermit-wasm: {}\n", shown::message(message)), patience);
}

/// Writes lines that stand for themselves: what a machine has printed, or clap's words.
pub(crate) fn show(lines: &str) {
    write(&shown::bounded(lines.as_bytes(), Layout::Text, LONGEST), PATIENCE);
}

/// Whatever panics, its message is shown like any other.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let trace = Backtrace::capture();
        let trace = match trace.status() {
            BacktraceStatus::Captured => format!("\n{trace}"),
            _ => String::new(),
        };
        say(&format!("internal error, please report it: {panic}{trace}"));
    }));
}

/// Whether the reader of standard error has let a message wait for too long: the next one does not wait.
static STUCK: AtomicBool = AtomicBool::new(false);

/// Writes text to standard error. What its reader does not take, or has closed, is lost: there is no other place to
/// complain, and whoever ends a run by `--timeout` must not wait for the same pipe that the guest waited for.
fn write(text: &str, patience: Duration) {
    let Ok(shared) = io::stderr().as_fd().try_clone_to_owned() else {
        return;
    };
    let patience = match STUCK.load(Ordering::Relaxed) {
        true => Duration::ZERO,
        false => patience,
    };
    let result = write_patiently(shared, text.as_bytes(), patience);
    let stuck = matches!(&result, Err(error) if error.kind() == io::ErrorKind::TimedOut);
    // One that had little time may still read.
    if !stuck || patience == PATIENCE {
        STUCK.store(stuck, Ordering::Relaxed);
    }
}

/// Writes bytes to somebody who may not read them, and waits for no part of them longer than `patience`.
///
/// # Errors
/// The reader has gone, or takes nothing.
pub(crate) fn write_patiently(shared: OwnedFd, bytes: &[u8], patience: Duration) -> io::Result<()> {
    let mut writer = NonBlocking::writer(shared);
    let mut rest = bytes;
    let mut waiting = Instant::now();
    while !rest.is_empty() {
        let writable = {
            let (descriptor, flags) = writer.interest();
            let left = Timespec::try_from(patience.saturating_sub(waiting.elapsed())).ok();
            poll(&mut [PollFd::from_borrowed_fd(descriptor, flags)], left.as_ref())
        };
        match writable {
            Ok(1..) => {}
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let part = rest.get(..writer.chunk()).unwrap_or(rest);
        match writer.write(part) {
            Ok(length) => {
                rest = rest.get(length..).unwrap_or_default();
                waiting = Instant::now();
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The log on standard error: warnings always, progress with -v, frames with -vv; what runs, to the byte, with the
/// machine's own log, too.
struct StderrLog {
    level: LevelFilter,
    identity: bool,
    start: Instant,
    /// When the run must be over: its messages do not keep it any longer.
    deadline: Option<Instant>,
}

/// Starts the log of a run that must be over at `deadline`. `identity` is whether to say what runs, to the byte.
pub(crate) fn init_log(verbose: u8, identity: bool, deadline: Option<Instant>) {
    let level = match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    log::set_max_level(if identity {
        level.max(LevelFilter::Info)
    } else {
        level
    });
    let start = Instant::now();
    // Fails only where there is a log already.
    let _ = log::set_boxed_logger(Box::new(StderrLog {
        level,
        identity,
        start,
        deadline,
    }));
}

impl Log for StderrLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level || (self.identity && metadata.target() == identity::LOG)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let patience = self.deadline.map_or(PATIENCE, left).min(PATIENCE);
        let message = match record.level() {
            Level::Info => format!("[{:7.3} s] {}", self.start.elapsed().as_secs_f64(), record.args()),
            _ => record.args().to_string(),
        };
        say_within(&message, patience);
    }

    fn flush(&self) {}
}
