//! A child process as the tests need it: fed and read at the same time, and ended with everything it started.
//!
//! Layer: host tests; what the standard library's `Child` leaves open.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::bytes::Stdin;

/// How often a running child is looked at.
const GLANCE: Duration = Duration::from_millis(5);
/// How long after the child's end its output may stay open before that counts as a failure.
const AFTERWARDS: Duration = Duration::from_secs(5);
/// Longest wait for what only the child's end can stop.
const LONG: Duration = Duration::from_secs(600);

/// Waits for the child's end; kills its whole group at `deadline`. Says whether that was necessary.
pub(crate) fn wait(child: &mut Child, deadline: Instant) -> Result<(ExitStatus, bool)> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, false));
        }
        if Instant::now() >= deadline {
            // The standard library can only kill the child itself, not what it started.
            let group = format!("-{}", child.id());
            let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
            if !killed.is_ok_and(|status| status.success()) {
                child.kill()?;
            }
            return Ok((child.wait()?, true));
        }
        thread::sleep(GLANCE);
    }
}

/// What was read so far, and whether the end was reached.
#[derive(Debug, Default)]
struct Progress {
    bytes: Vec<u8>,
    ended: bool,
}

/// [`Progress`] as threads share it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    progress: Mutex<Progress>,
    changed: Condvar,
}

impl Shared {
    /// Waits until `until` holds or `limit` has passed; gives what there is then.
    fn wait_for<R>(
        &self,
        limit: Duration,
        until: impl Fn(&Progress) -> bool,
        then: impl FnOnce(&Progress) -> R,
    ) -> R {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let (progress, _) = self
            .changed
            .wait_timeout_while(progress, limit, |progress| !until(progress))
            .unwrap_or_else(PoisonError::into_inner);
        then(&progress)
    }
}

/// An output that a thread reads to its end.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) shared: Arc<Shared>,
}

impl Collected {
    /// Begins to read.
    pub(crate) fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::<Shared>::default();
        let writer = Arc::clone(&shared);
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            loop {
                let count = pipe.read(&mut buffer).unwrap_or(0);
                let mut progress = writer.progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress
                    .bytes
                    .extend_from_slice(buffer.get(..count).unwrap_or_default());
                progress.ended = count == 0;
                writer.changed.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self { shared }
    }

    /// Waits until `until` holds of what has been read, the output has ended, or `limit` has passed; gives what there
    /// is then.
    pub(crate) fn wait_for(&self, limit: Duration, until: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        self.shared.wait_for(
            limit,
            |progress| progress.ended || until(&progress.bytes),
            |progress| progress.bytes.clone(),
        )
    }

    /// Whether the other side has closed it, and all is read.
    pub(crate) fn ended(&self) -> bool {
        self.shared
            .wait_for(Duration::ZERO, |_| true, |progress| progress.ended)
    }

    /// Everything, once the other side has closed the output.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        self.shared.wait_for(
            AFTERWARDS,
            |progress| progress.ended,
            |progress| {
                if !progress.ended {
                    bail!("is still open although the launcher has ended: did it leave a process behind?");
                }
                Ok(progress.bytes.clone())
            },
        )
    }
}

/// Writes to standard input in a thread of its own, because the child may not read all of it. While the returned
/// handle lives an open input stays open.
pub(crate) fn feed(
    mut input: impl Write + Send + 'static,
    bytes: Vec<u8>,
    stdin: Stdin,
    stdout: Arc<Shared>,
) -> Feeder {
    let shared = Arc::<Shared>::default();
    let stop = Arc::clone(&shared);
    let thread = thread::spawn(move || {
        // An error means that the child has closed its input or ended, which its own results tell about.
        let _ = input.write_all(&bytes).and_then(|()| input.flush());
        for turn in &stdin.dialogue {
            let its_turn =
                |progress: &Progress| progress.ended || progress.bytes.ends_with(turn.after.as_bytes());
            stdout.wait_for(LONG, its_turn, |_| ());
            let _ = input.write_all(turn.send.as_bytes()).and_then(|()| input.flush());
        }
        if stdin.open {
            stop.wait_for(LONG, |progress| progress.ended, |_| ());
        }
    });
    Feeder {
        shared,
        thread: Some(thread),
    }
}

/// The thread that feeds standard input; ends it when dropped.
pub(crate) struct Feeder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.shared
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
