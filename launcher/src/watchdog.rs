//! Ends the program when a run must be over and does not end: whoever runs it waits in the kernel, for a file of a
//! machine that is gone, a directory served by a program that does not answer, a process that cannot be killed.
//!
//! All that waits elsewhere ends at the deadline by itself, and cleans up. This is for the rest. Children end with the
//! program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hermit_wasm_vm::host::interrupt::leave_signals_to_other_threads;
use hermit_wasm_vm::{Deadline, Error, Interrupt, StartError};

use crate::stderr;

/// How long a run may take to its end once it must be over. A message may wait for its reader for a part of that.
const GRACE: Duration = Duration::from_secs(3);

/// Somebody ends the program: whoever comes second lets the first one do it.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Lets signals end what has this deadline.
///
/// # Errors
/// They cannot be watched for.
pub(crate) fn on_signals(deadline: Deadline) -> Result<Deadline, Error> {
    let interrupt = Interrupt::on_signals().map_err(|source| StartError::File {
        attempt: "watch for signals",
        source,
    })?;
    Ok(deadline.interrupt(interrupt))
}

/// Does some work until a deadline, or a signal, and watches that it ends then.
///
/// # Errors
/// The work's; signals cannot be watched for.
pub(crate) fn watch<T>(
    deadline: Deadline,
    work: impl FnOnce(&Deadline) -> Result<T, Error>,
) -> Result<T, Error> {
    let deadline = on_signals(deadline)?;
    begin(&deadline, |_| {});
    let result = work(&deadline);
    call_off();
    result
}

/// Begins to watch a run, on a thread that also takes the signals. `report` is told why the program is ended, if it is.
pub(crate) fn begin(deadline: &Deadline, report: impl Fn(&Error) + Send + 'static) {
    let deadline = deadline.clone();
    let watch = move || {
        let error = deadline.over();
        thread::sleep(GRACE);
        if !ENDING.swap(true, Ordering::SeqCst) {
            report(&error);
            stderr::say(
                "it waited in the kernel, for a file or a process, and was ended without cleaning up",
            );
            crate::end(&error);
        }
    };
    let thread = thread::Builder::new().name("hermit-wasm watch".to_string());
    let watched = thread.spawn(watch).and_then(|_| leave_signals_to_other_threads());
    if let Err(error) = watched {
        log::info!("nobody watches whether the run ends in time: {error}");
    }
}

/// The run is over. Returns only if the program is not being ended already.
pub(crate) fn call_off() {
    while ENDING.swap(true, Ordering::SeqCst) {
        thread::park();
    }
}
