//! Messages on standard error, which never panic and never wait for long.

use std::io::Write as _;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a message may wait for a reader of standard error that does not read.
const PATIENCE: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// What is always free in a pipe that reports to be writable.
pub(crate) const PIPE_BUF: usize = 4096;

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
