//! Servers in a machine, and clients of them here: each guest of `guests/network/` does for its clients what it says it
//! does, under the launcher and under QEMU alone, with the network that QEMU has itself.
//!
//! Environment: `LAUNCHER`, `IMAGES`, `GUESTS`, `ARCH`, `ENGINE` and `RUN_FLAGS` of `environment.rs`. `REFERENCE`:
//! another runtime, which is tested instead.

mod echo;
mod http;
mod programs;
mod store;
mod talk;
mod waits;
mod wasmedge;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use vm_tests::environment;
use vm_tests::server::{Setting, Starter};

/// As in `boot.rs`: each run keeps a core busy.
const THREADS: usize = 2;

/// A test of a guest.
struct Test {
    name: &'static str,
    run: fn(&Setting) -> Result<()>,
    /// Why it cannot be run here at all.
    missing: fn() -> Option<String>,
    /// Why one who starts guests cannot do what this guest needs.
    not_by: fn(&Starter) -> Option<&'static str>,
}

impl Test {
    /// One that needs nothing but the machine.
    const fn new(name: &'static str, run: fn(&Setting) -> Result<()>) -> Self {
        Self {
            name,
            run,
            missing: || None,
            not_by: |_| None,
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let settings = match settings() {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: the tests of the network cannot begin: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for setting in &settings {
        let all = talk::TESTS.iter().chain(waits::TESTS).chain(echo::TESTS);
        let all = all.chain(store::TESTS).chain(programs::TESTS);
        for test in all.chain(wasmedge::TESTS) {
            let name = format!("network/{}/{}", setting.name(), test.name);
            let reason = (test.not_by)(&setting.starter).map(String::from);
            let reason = reason.or_else(test.missing);
            if let Some(reason) = &reason {
                eprintln!("SKIP {name}: {reason}");
            }
            let (setting, run) = (setting.clone(), test.run);
            let run = move || run(&setting).map_err(|error| Failed::from(format!("{error:#}")));
            trials.push(Trial::test(name, run).with_ignored_flag(reason.is_some()));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    for setting in &settings {
        let _ = std::fs::remove_dir_all(&setting.scratch);
    }
    conclusion.exit_code()
}

/// Who starts machines.
fn settings() -> Result<Vec<Setting>> {
    let words = environment::words(environment::REFERENCE);
    let starters = if words.is_empty() {
        vec![Starter::Launcher(environment::flags()?), Starter::Plain]
    } else {
        vec![Starter::Reference(words)]
    };
    starters.into_iter().map(Setting::from_environment).collect()
}
