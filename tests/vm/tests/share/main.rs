//! Directories of the host, shared with the machine by virtiofsd: what a guest can do there, and what it cannot.
//!
//! Environment: `LAUNCHER`, `GUESTS`, `ARCH`, `RUN_FLAGS` and `VIRTIOFSD` of `environment.rs`. Without a daemon nothing
//! is run, and that is said. `REFERENCE`: another runtime, to which the tutorial is given too.

mod faults;
mod machine;
mod many;
mod programs;
mod tutorial;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

use machine::Machine;

/// As in `boot.rs`: each run keeps a core busy.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let machine = match Machine::from_environment() {
        Ok(machine) => machine,
        Err(error) => {
            eprintln!("error: the tests of shared directories cannot begin: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let reason = vm_tests::virtiofsd::missing();
    if let Some(reason) = &reason {
        eprintln!("SKIP all tests of shared directories: {reason}");
    }
    let trials = tutorial::TESTS
        .iter()
        .chain(faults::TESTS)
        .chain(many::TESTS)
        .chain(programs::TESTS);
    let trials = trials
        .map(|(name, test)| {
            let (machine, test) = (machine.clone(), *test);
            let run = move || test(&machine).map_err(|error| Failed::from(format!("{error:#}")));
            Trial::test(format!("share/{name}"), run).with_ignored_flag(reason.is_some())
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test: its name, and what it does.
type Test = (&'static str, fn(&Machine) -> anyhow::Result<()>);
