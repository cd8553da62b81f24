//! Servers in a machine, and clients of them here: each guest of `guests/network/` does for its clients what it says it
//! does, under the launcher and under QEMU alone, with the network that QEMU has itself and on a tap. Each test with a
//! tap has a host of its own.
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

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use vm_tests::server::{Setting, Starter, TAP};
use vm_tests::{environment, namespace};

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

/// All of them.
fn tests() -> impl Iterator<Item = &'static Test> {
    let all = talk::TESTS.iter().chain(waits::TESTS).chain(echo::TESTS);
    let all = all.chain(store::TESTS).chain(programs::TESTS);
    all.chain(wasmedge::TESTS)
}

fn main() -> ExitCode {
    if let Some(words) = namespace::words() {
        return match on_a_tap(&words) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
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
    let taps = settings
        .iter()
        .any(|setting| matches!(setting.starter, Starter::Tap));
    let way = taps.then(|| namespace::way(TAP)).transpose();
    for setting in &settings {
        let by_tap = matches!(setting.starter, Starter::Tap);
        for test in tests() {
            let name = format!("network/{}/{}", setting.name(), test.name);
            let reason = (test.not_by)(&setting.starter).map(String::from);
            let reason = reason.or_else(test.missing);
            let no_tap = way.as_ref().err().filter(|_| by_tap);
            let reason = reason.or_else(|| no_tap.map(|why| format!("no tap can be had here: {why}")));
            if let Some(reason) = &reason {
                eprintln!("SKIP {name}: {reason}");
            }
            let (setting, way) = (setting.clone(), way.clone().ok().flatten());
            let run = move || {
                let done = match way {
                    Some(way) if by_tap => namespace::start(way, &[OsStr::new(test.name)]),
                    _ => (test.run)(&setting),
                };
                done.map_err(|error| Failed::from(format!("{error:#}")))
            };
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
        vec![
            Starter::Launcher(environment::flags()?),
            Starter::Plain,
            Starter::Tap,
        ]
    } else {
        vec![Starter::Reference(words)]
    };
    starters.into_iter().map(Setting::from_environment).collect()
}

/// On a host of its own: makes the tap, and runs the test of this name.
fn on_a_tap(words: &[OsString]) -> Result<()> {
    let test = tests().find(|test| words.first().is_some_and(|name| name == test.name));
    let test = test.with_context(|| format!("there is no test {words:?}"))?;
    namespace::make(TAP)?;
    let setting = Setting::from_environment(Starter::Tap)?;
    let done = (test.run)(&setting);
    let _ = std::fs::remove_dir_all(&setting.scratch);
    done
}
