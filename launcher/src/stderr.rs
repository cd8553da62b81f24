//! Messages on standard error, which never panic and never wait for long: the launcher's own, and the log's.

use std::io::Write as _;
use std::time::Instant;

use log::{Level, LevelFilter, Log, Metadata, Record};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a message may wait for a reader of standard error that does not read.
const PATIENCE: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// What is always free in a pipe that reports to be writable.
const PIPE_BUF: usize = 4096;

/// Writes a message of the launcher's own.
pub(crate) fn say(message: &str) {
    write(format!("hermit-wasm: {message}\n").as_bytes());
}

/// Writes bytes to standard error. What its reader does not take, or has closed, is lost: there is no other place to
/// complain, and whoever ends a run by `--timeout` must not wait for the same pipe that the guest waited for.
pub(crate) fn write(bytes: &[u8]) {
    let mut stderr = std::io::stderr();
    for chunk in bytes.chunks(PIPE_BUF) {
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
