//! Messages on standard error, which never panic and never wait for long: the launcher's own, and the log's.
//!
//! The only way of the program's own text to standard error, whoever wrote parts of it (a guest, a module, a daemon, a
//! directory's names): everything passes through [`boot_protocol::shown`]. What the guest writes to its standard error
//! goes another way, in the session, as it is.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write as _;
use std::time::Instant;

use boot_protocol::shown::{self, Layout};
use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a message may wait for a reader of standard error that does not read.
const PATIENCE: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// Most of what a machine has printed, in bytes as they are shown.
const LONGEST: usize = 1 << 20;

/// What is always free in a pipe that reports to be writable.
const PIPE_BUF: usize = 4096;

/// Writes a message of the launcher's own.
pub(crate) fn say(message: &str) {
    write(&format!("hermit-wasm: {}\n", shown::message(message)));
}

/// Writes lines that stand for themselves: what a machine has printed, or clap's words.
pub(crate) fn show(lines: &str) {
    write(&shown::bounded(lines.as_bytes(), Layout::Text, LONGEST));
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

/// Writes text to standard error. What its reader does not take, or has closed, is lost: there is no other place to
/// complain, and whoever ends a run by `--timeout` must not wait for the same pipe that the guest waited for.
fn write(text: &str) {
    let mut stderr = std::io::stderr();
    for chunk in text.as_bytes().chunks(PIPE_BUF) {
        let writable = {
            let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
            poll(&mut fds, Some(&PATIENCE)).is_ok_and(|ready| ready > 0)
        };
        if !writable || stderr.write_all(chunk).is_err() {
            return;
        }
    }
}

/// The log on standard error: warnings always, progress with -v, frames with -vv.
struct StderrLog {
    start: Instant,
}

/// Starts the log.
pub(crate) fn init_log(verbose: u8) {
    log::set_max_level(match verbose {
        0 => LevelFilter::Warn,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    });
    let start = Instant::now();
    // Fails only where there is a log already.
    let _ = log::set_boxed_logger(Box::new(StderrLog { start }));
}

impl Log for StderrLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        match record.level() {
            Level::Info => say(&format!(
                "[{:7.3} s] {}",
                self.start.elapsed().as_secs_f64(),
                record.args()
            )),
            _ => say(&record.args().to_string()),
        }
    }

    fn flush(&self) {}
}
