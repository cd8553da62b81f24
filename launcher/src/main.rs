//! `hermit-wasm`: the library's command line.
//!
//! [`cli`] understands the words and describes a run; this file runs it and ends as the run did.

mod cli;
mod stderr;
mod watchdog;

use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use hermit_wasm_vm::host::interrupt::die_of;
use hermit_wasm_vm::{Error, Stop};
use rustix::process::{Resource, Rlimit, setrlimit};
use signal_hook::consts::{SIGPIPE, SIGXFSZ};

fn main() {
    // Before anything else: --timeout is about all of it.
    let start = Instant::now();
    forbid_core_dumps();
    hermit_wasm_vm::relay::serve_if_asked();
    let_long_files_fail();
    stderr::report_panics();
    match cli::perform(std::env::args_os(), start) {
        Ok(code) => exit(code.into()),
        Err(error) => end(&error),
    }
}

/// Ends the program as the error has it.
fn end(error: &Error) -> ! {
    match error {
        Error::Stopped(Stop::Signal(signal)) => die_of(*signal),
        Error::OutputClosed => die_of(SIGPIPE),
        error => {
            stderr::show(error.transcript());
            stderr::say(&error.to_string());
            exit(error.exit_code().into())
        }
    }
}

/// Keeps the guest's environment, arguments and memory, which this process holds, out of dumps of it. Only this
/// program: a program that embeds the library decides for itself.
fn forbid_core_dumps() {
    // One byte rather than none, as for each process that a jail starts: see the library's `jail/limits.rs`.
    let limit = Rlimit {
        current: Some(1),
        maximum: Some(1),
    };
    // Fails only where the limit is 0 already.
    let _ = setrlimit(Resource::Core, limit);
}

/// A file that a limit of this user's makes too long is an error with a message, not the program's silent end. By a
/// handler: children begin with the signal's usual action.
fn let_long_files_fail() {
    // Fails only for signals that cannot be caught.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
}
