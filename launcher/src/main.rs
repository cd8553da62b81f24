//! `hermit-wasm`: runs WASI programs in a Hermit microVM on the host it is called on.
//!
//! The way of a run: [`cli`] understands the command line, [`module`] looks at the module, [`accel`] chooses KVM or
//! TCG, [`qemu`] starts the machine (or [`uhyve`] does) with the [`image`] that this program carries and [`memory`] of its own, [`session`] connects it until the
//! guest ends, [`outcome`] makes an exit code of that. [`run`] holds them together.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "the launcher needs Linux: it hands files to QEMU through /proc and ends it by a parent-death signal"
);

mod accel;
mod arch;
mod bundle;
mod capabilities;
mod child;
mod cli;
mod directories;
mod failure;
mod files;
mod find_virtiofsd;
mod habits;
mod image;
mod memory;
mod module;
mod outcome;
mod qemu;
mod run;
mod say;
mod session;
mod signals;
mod tsc;
mod uhyve;
mod units;
mod virtiofsd;

use std::process::ExitCode;

use crate::cli::Command;
use crate::habits::Refusal;
use crate::outcome::Outcome;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let done = match habits::parse(&words) {
        Ok(Command::Run(run)) => run::run(&run),
        Ok(Command::Completions { shell }) => cli::complete(shell),
        Err(Refusal::Ours(failure)) => Err(failure),
        Err(Refusal::Claps(error)) => error.exit(),
    };
    match done {
        Ok(Outcome::Exit(code)) => ExitCode::from(code),
        Ok(Outcome::Signal(signal)) => signals::die_of(signal),
        Err(failure) => {
            say::say(&failure.message);
            ExitCode::from(failure.code)
        }
    }
}
