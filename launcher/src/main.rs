//! `hermit-wasm`: the library's command line.
//!
//! [`cli`] understands the words and describes a run; this file runs it and ends as the run did.

mod cli;
mod stderr;

use std::process::ExitCode;

use hermit_wasm_vm::host::interrupt::die_of;
use hermit_wasm_vm::{Error, Stop};
use signal_hook::consts::SIGPIPE;

fn main() -> ExitCode {
    stderr::report_panics();
    let outcome = cli::perform(std::env::args_os());
    let error = match outcome {
        Ok(code) => return ExitCode::from(code),
        Err(error) => error,
    };
    match error {
        Error::Stopped(Stop::Signal(signal)) => die_of(signal),
        Error::OutputClosed => die_of(SIGPIPE),
        error => {
            stderr::show(error.transcript());
            stderr::say(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}
