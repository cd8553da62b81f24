//! From how a session ended to an exit code and, where something went wrong, a message.

use std::process::ExitStatus;

use signal_hook::consts::SIGPIPE;

use boot_protocol::exit_code;

use crate::cli::Run;
use crate::failure::Failure;
use crate::qemu::machine::Accelerator;
use crate::run::kvm_was_demanded;
use crate::say;
use crate::session::{Ending, Report};
use crate::units;

/// How this program is to end when nothing needs to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With this exit code.
    Exit(u8),
    /// By this signal.
    Signal(i32),
}

/// Shows what the machine has left to say, and says how the run ended.
pub(crate) fn conclude(
    mut report: Report,
    run: &Run,
    accelerator: Accelerator,
    status: Option<ExitStatus>,
) -> Result<Outcome, Failure> {
    let machine_failed = matches!(
        report.ending,
        Ending::Ended | Ending::KvmFailed | Ending::NeverStarted | Ending::Protocol(_) | Ending::Failed(_)
    );
    let panicked = report.text.text().to_ascii_lowercase().contains("panic");
    let words = first_line(&report.qemu.text());
    // A machine that ends with a single line has said why, and the line becomes the message.
    let reason = match report.ending {
        Ending::Ended => [report.text.only_line(), report.qemu.only_line()],
        _ => [None, None],
    };
    let quoted = reason.iter().flatten().count() == 1;
    say::write(&report.text.finish((machine_failed && !quoted) || panicked));
    say::write(&report.qemu.finish(machine_failed && !quoted));

    let kvm_advice = if kvm_was_demanded(run) {
        "KVM does not work on this machine; use --accel tcg, or leave --accel out"
    } else {
        "KVM has worked before and fails now; --accel tcg works without"
    };
    match report.ending {
        Ending::Exit(code) => Ok(Outcome::Exit(code)),
        // Not asked for outside of a trial.
        Ending::Started => Ok(Outcome::Exit(exit_code::SUCCESS)),
        Ending::Signal(signal) => Ok(Outcome::Signal(signal)),
        Ending::OutputClosed => Ok(Outcome::Signal(SIGPIPE)),
        Ending::OutputFailed(stream, error) => Err(Failure::machine(format!(
            "the guest's output to {stream} cannot be written: {error}"
        ))),
        Ending::Timeout => Err(timeout(run)),
        Ending::KvmFailed => {
            let words = words.unwrap_or_else(|| "KVM internal error".to_string());
            Err(Failure::machine(format!(
                "the virtual machine failed ({words}). {kvm_advice}"
            )))
        }
        Ending::Ended if accelerator == Accelerator::Kvm && !report.started => {
            let words = words.unwrap_or_else(|| "QEMU ended before the application had started".to_string());
            Err(Failure::machine(format!(
                "the virtual machine failed ({words}). {kvm_advice}"
            )))
        }
        Ending::Ended => {
            let reason = reason.into_iter().flatten().next().filter(|_| quoted);
            Err(Failure::machine(ended(report.started, reason, run, status)))
        }
        Ending::NeverStarted => {
            let advice = match accelerator {
                Accelerator::Kvm => kvm_advice,
                Accelerator::Tcg => "-v --log debug shows how far it comes",
            };
            Err(Failure::machine(format!(
                "the virtual machine gave no sign of life for too long and was ended. {advice}"
            )))
        }
        Ending::Protocol(what) => Err(Failure::machine(format!(
            "the virtual machine does not keep to the console protocol: {what}"
        ))),
        Ending::Failed(error) => Err(Failure::machine(format!(
            "the connection to QEMU failed: {error}"
        ))),
    }
}

/// A machine that ended without a word of the guest's end; `reason` is what it said, if that is not shown already.
fn ended(started: bool, reason: Option<String>, run: &Run, status: Option<ExitStatus>) -> String {
    let status = match status {
        Some(status) => format!("QEMU: {status}"),
        None => "it closed the console".to_string(),
    };
    let what = if started {
        "ended while the guest was running"
    } else {
        "could not start"
    };
    let why = match reason {
        Some(reason) => format!(": {reason}"),
        None => "; what it said, if anything, stands above".to_string(),
    };
    format!(
        "the virtual machine {what} ({status}){why}. Its memory was {}, which --memory changes; -v --log debug shows \
         more of what it did",
        units::show_size(run.memory)
    )
}

/// The message of a run that took too long.
pub(crate) fn timeout(run: &Run) -> Failure {
    let limit = run.timeout.map(units::show_duration).unwrap_or_default();
    let what = match run.module() {
        Some(path) => format!("'{}'", path.display()),
        None => "the embedded module".to_string(),
    };
    Failure {
        code: exit_code::TIMEOUT,
        message: format!("--timeout: {what} did not end within {limit}; its virtual machine was ended"),
    }
}

/// The first line that says something.
pub(crate) fn first_line(text: &str) -> Option<String> {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_with_something_in_it() {
        assert_eq!(first_line("\n  \n one \ntwo"), Some("one".to_string()));
        assert_eq!(first_line(" \n"), None);
    }
}
