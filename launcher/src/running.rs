//! A run on a thread of its own: its streams, its end, and the way to end it early.

use std::io::{PipeReader, PipeWriter};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, StartError};
use crate::host::interrupt::Interrupt;
use crate::result::RunResult;
use crate::session::streams::OtherEnds;

/// A run that may still be running. Dropping it ends its virtual machine.
#[derive(Debug)]
pub struct Running {
    /// The writing end of the guest's standard input, with [`Input::Pipe`](crate::Input::Pipe). Drop it to end the
    /// input.
    pub stdin: Option<PipeWriter>,
    /// The reading end of the guest's standard output, with [`Output::Pipe`](crate::Output::Pipe).
    pub stdout: Option<PipeReader>,
    /// The reading end of the guest's standard error, with [`Output::Pipe`](crate::Output::Pipe).
    pub stderr: Option<PipeReader>,
    /// Of this run alone.
    interrupt: Interrupt,
    result: Receiver<Result<RunResult, Error>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(
        interrupt: Interrupt,
        mut ends: OtherEnds,
        run: impl FnOnce(OtherEnds) -> Result<RunResult, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let (stdin, stdout, stderr) = (ends.stdin.take(), ends.stdout.take(), ends.stderr.take());
        let (sender, result) = channel();
        let thread = std::thread::Builder::new()
            .name("hermit-wasm run".to_string())
            .spawn(move || {
                // Nobody listens any more if the run was dropped.
                let _ = sender.send(run(ends));
            })
            .map_err(StartError::file("start a thread for the run"))?;
        Ok(Self {
            stdin,
            stdout,
            stderr,
            interrupt,
            result,
            thread: Some(thread),
        })
    }

    /// Ends the virtual machine. The result is then [`Error::Stopped`], unless the guest had ended before. Other runs
    /// go on, those that have the same [`Interrupt`] too.
    pub fn kill(&self) {
        self.interrupt.stop();
    }

    /// Waits for the end. The guest's standard input is closed first, if it is a pipe that was not taken.
    ///
    /// # Errors
    /// [`Error`], where the guest did not come to its own end.
    pub fn wait(mut self) -> Result<RunResult, Error> {
        self.stdin = None;
        self.result.recv().unwrap_or_else(|_| Err(lost()))
    }

    /// Waits for the end, but not longer than `patience`: then the run is given back, and goes on.
    ///
    /// # Errors
    /// [`Error`], where the guest did not come to its own end.
    pub fn wait_timeout(self, patience: Duration) -> Result<Result<RunResult, Self>, Error> {
        match self.result.recv_timeout(patience) {
            Ok(result) => result.map(Ok),
            Err(RecvTimeoutError::Timeout) => Ok(Err(self)),
            Err(RecvTimeoutError::Disconnected) => Err(lost()),
        }
    }
}

/// The thread has ended without a result: it panicked.
fn lost() -> Error {
    StartError::file("follow the run")(std::io::Error::other("its thread panicked"))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.interrupt.stop();
        // A guest that waits for its input or for a reader must not keep its own end from being seen.
        (self.stdin, self.stdout, self.stderr) = (None, None, None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
