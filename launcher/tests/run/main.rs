//! Runs the launcher, as a program, against a QEMU that is none: this very test program, told by an environment
//! variable to speak the console protocol in some good or bad way. So input and output, time limits, signals and
//! exit codes are tested without a virtual machine, on any host.
//!
//! No time limit here decides whether something is correct; one generous watchdog ends what hangs.

mod accel;
mod check;
mod compile;
mod deadline;
mod ends;
mod engines;
mod errors;
mod fake_compiler;
mod fake_qemu;
mod fake_relay;
mod fallbacks;
mod harness;
mod hermitfile;
mod jail;
mod library;
mod network;
mod network_flags;
mod oci;
mod secrets;
mod shared_buffer;
mod shared_streams;
mod shares;
mod shown;
mod status;
mod status_links;
mod streams;

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use libtest_mimic::{Arguments, Trial};
use rustix::process::Signal;

fn main() {
    fake_compiler::play();
    fake_relay::play();
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(fake_qemu::PLAY) {
        fake_qemu::play(&words.next().unwrap_or_default());
    }
    if let Some(scenario) = fake_qemu::scenario() {
        fake_qemu::play(&scenario);
    }
    listen_to_signals();
    let groups: [fn() -> Vec<Trial>; _] = [
        streams::tests,
        shared_buffer::tests,
        shared_streams::tests,
        deadline::tests,
        ends::tests,
        errors::tests,
        accel::tests,
        engines::tests,
        fallbacks::tests,
        hermitfile::tests,
        library::tests,
        network::tests,
        network_flags::tests,
        oci::tests,
        shares::tests,
        check::tests,
        compile::tests,
        jail::tests,
        shown::tests,
        secrets::tests,
        status::tests,
        status_links::tests,
    ];
    let tests = groups.iter().flat_map(|group| group()).collect();
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}

/// Begins anew with the usual actions of signals, as in a shell's foreground, if it has been told to ignore some, as a
/// job in the background has: the launchers of these tests would ignore them too, and rightly.
fn listen_to_signals() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    let tested = [Signal::HUP, Signal::INT, Signal::TERM];
    let is_ignored = |signal: &Signal| ignored.unwrap_or(0) >> (signal.as_raw() - 1) & 1 == 1;
    if tested.iter().any(is_ignored) {
        let error = Command::new("env")
            .arg("--default-signal=HUP,INT,TERM")
            .arg(std::env::current_exe().expect("this program has a name"))
            .args(std::env::args_os().skip(1))
            .exec();
        panic!("env: {error}");
    }
}
