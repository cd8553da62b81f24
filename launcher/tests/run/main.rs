//! Runs the launcher, as a program, against a QEMU that is none: this very test program, told by an environment
//! variable to speak the console protocol in some good or bad way. So input and output, time limits, signals and
//! exit codes are tested without a virtual machine, on any host.
//!
//! No time limit here decides whether something is correct; one generous watchdog ends what hangs.

mod accel;
mod check;
mod deadline;
mod ends;
mod errors;
mod fake_qemu;
mod harness;
mod jail;
mod library;
mod secrets;
mod shared_buffer;
mod shared_streams;
mod shares;
mod shown;
mod status;
mod status_links;
mod streams;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(fake_qemu::PLAY) {
        fake_qemu::play(&words.next().unwrap_or_default());
    }
    if let Some(scenario) = fake_qemu::scenario() {
        fake_qemu::play(&scenario);
    }
    let groups: [fn() -> Vec<Trial>; _] = [
        streams::tests,
        shared_buffer::tests,
        shared_streams::tests,
        deadline::tests,
        ends::tests,
        errors::tests,
        accel::tests,
        library::tests,
        shares::tests,
        check::tests,
        jail::tests,
        shown::tests,
        secrets::tests,
        status::tests,
        status_links::tests,
    ];
    let tests = groups.iter().flat_map(|group| group()).collect();
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}
