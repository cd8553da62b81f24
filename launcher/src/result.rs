//! From how a session ended to the run's result, or to an error that says what went wrong.

use boot_protocol::console::{Cause, Ending};
use boot_protocol::exit_code;
use boot_protocol::run_spec::Reached;
use boot_protocol::shown::piece;
use rustix::process::Resource;

use crate::error::{Error, MachineError, MachineFailure, StartError};
use crate::host::units::MIB;
use crate::report::Figures;
use crate::session::streams::Captured;
use crate::session::{ExitReason, SessionReport};
use crate::spec::request::Request;
use crate::vmm::Machine;
use crate::vmm::capabilities::Accelerator;

/// A guest that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunResult {
    /// How.
    pub status: ExitStatus,
    /// What it wrote to standard output, with [`Output::Capture`](crate::Output::Capture).
    pub stdout: Vec<u8>,
    /// What it wrote to standard error, likewise.
    pub stderr: Vec<u8>,
    /// What the application in the machine said about the run; usually nothing.
    pub diagnostic: String,
    /// What was measured.
    pub figures: Figures,
    /// What the machine printed although the run went well, if it is worth a look.
    pub transcript: String,
}

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitStatus {
    /// It returned from `_start`, or called `proc_exit`.
    Exited(u8),
    /// It trapped. [`RunResult::diagnostic`] says how.
    Trapped,
    /// It did not begin: the module cannot be run, or a directory cannot be mounted. The code says which.
    Refused(u8),
    /// It reached a limit of what it may use up. [`RunResult::diagnostic`] names it too.
    LimitReached(Reached),
    /// The application in the machine could not go on, mostly for a lack of memory. [`RunResult::diagnostic`] says why.
    Failed(u8),
    /// It was replayed, and did something else than it had done, or went on where its recording ends. The code says
    /// which, and [`RunResult::diagnostic`] what it did.
    ReplayStopped(u8),
}

impl ExitStatus {
    /// The exit code, as `docs/exit-codes.md` has it.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Exited(code) | Self::Refused(code) | Self::Failed(code) | Self::ReplayStopped(code) => code,
            Self::Trapped => exit_code::TRAP,
            Self::LimitReached(reached) => exit_code::of_limit(reached.limit),
        }
    }

    /// Whether the guest ended with exit code 0.
    #[must_use]
    pub const fn success(self) -> bool {
        matches!(self, Self::Exited(exit_code::SUCCESS))
    }

    /// What the machine says of the guest's end. The guest has a say in its code and in what it prints, not in the
    /// cause.
    fn new(ending: Ending, diagnostic: bool) -> Self {
        let code = ending.code;
        match ending.cause() {
            Some(Cause::Guest) => Self::Exited(code),
            Some(Cause::Trap) => Self::Trapped,
            Some(Cause::Refused | Cause::CodeRefused | Cause::CodeDoesNotFit | Cause::ProposalMissing) => {
                Self::Refused(code)
            }
            Some(Cause::Limit) if let Some(reached) = ending.reached() => Self::LimitReached(reached),
            Some(Cause::Failed) => Self::Failed(code),
            // A limit that nothing says of is none.
            Some(Cause::Limit) | None => Self::guess(code, diagnostic),
            Some(Cause::Diverged | Cause::RecordingOver) => Self::ReplayStopped(code),
        }
    }

    /// Of an old image, whose own ends come with a message; a guest's code may be any number.
    const fn guess(code: u8, diagnostic: bool) -> Self {
        match code {
            exit_code::TRAP if diagnostic => Self::Trapped,
            exit_code::VM_FAILED if diagnostic => Self::Failed(code),
            exit_code::USAGE | exit_code::MODULE_REFUSED | exit_code::MODULE_NOT_FOUND if diagnostic => {
                Self::Refused(code)
            }
            _ => Self::Exited(code),
        }
    }
}

/// Ends the machine and makes a result of what is known.
pub(crate) fn conclude(
    mut report: SessionReport,
    request: &Request<'_>,
    mut machine: Machine,
    captured: Captured,
    figures: &mut Figures,
) -> Result<RunResult, Error> {
    let status = machine.process.ended().ok().flatten();
    // What is left of it goes with the process that had it.
    machine.memory = None;
    // Whatever it still does, nobody waits for it.
    machine.process.kill();
    if let (ExitReason::Exit(_), Some(relay)) = (&report.reason, machine.relay.take()) {
        relay.finish(request.deadline());
    }
    log::info!("the run is over: {:?}", report.reason);

    let failed = matches!(
        report.reason,
        ExitReason::Ended
            | ExitReason::KvmFailed
            | ExitReason::NeverStarted
            | ExitReason::RelayFailed(_)
            | ExitReason::Protocol(_)
            | ExitReason::Failed(_)
    );
    // A machine that ends with a single line has said why, and the line becomes the message.
    let lines = match report.reason {
        ExitReason::Ended => [report.text.only_line(), report.hypervisor.only_line()],
        _ => [None, None],
    };
    let reason = match lines {
        [Some(line), None] | [None, Some(line)] => Some(line),
        _ => None,
    };
    let panicked = report.text.text().to_ascii_lowercase().contains("panic");
    let mut transcript = report.text.finish((failed && reason.is_none()) || panicked);
    transcript.extend(report.hypervisor.finish(failed && reason.is_none()));
    let transcript = String::from_utf8_lossy(&transcript).into_owned();

    let failure = match report.reason {
        ExitReason::Exit(ending) => {
            figures.memory_refused = ending.memory_refused();
            let (stdout, stderr) = captured
                .take()
                .map_err(StartError::file("read the guest's output back"))?;
            return Ok(RunResult {
                status: ExitStatus::new(ending, !report.diagnostic.is_empty()),
                stdout,
                stderr,
                diagnostic: report.diagnostic,
                transcript,
                figures: figures.clone(),
            });
        }
        ExitReason::Stopped(stop) => return Err(Error::Stopped(stop)),
        ExitReason::OutputClosed => return Err(Error::OutputClosed),
        ExitReason::OutputFailed(stream, source) => return Err(Error::Output { stream, source }),
        ExitReason::Timeout => return Err(request.deadline().error()),
        ExitReason::Ended
            if !report.started
                && let Some(reason) = no_sandbox(&report.hypervisor.text()) =>
        {
            MachineFailure::NoSandbox { reason }
        }
        ExitReason::Ended | ExitReason::NeverStarted
            if !report.started
                && let Some(explain) = machine.explain =>
        {
            explain(&report.hypervisor.text())
        }
        ExitReason::Ended
            if let Some((limit, reason)) =
                limit_met(&machine, request.memory(), &report.hypervisor.text()) =>
        {
            MachineFailure::HostMemory {
                hypervisor: machine.hypervisor,
                limit,
                inherited: has_less(limit, request.memory(), |resource| {
                    rustix::process::getrlimit(resource).current
                }),
                reason,
            }
        }
        ExitReason::Ended if report.started || machine.accelerator == Accelerator::Tcg => {
            MachineFailure::Ended {
                started: report.started,
                status: match status {
                    Some(status) => format!("{}: {status}", machine.hypervisor),
                    None => "it closed the console".to_string(),
                },
                reason,
                memory: request.memory(),
            }
        }
        ExitReason::KvmFailed | ExitReason::Ended | ExitReason::NeverStarted
            if machine.accelerator == Accelerator::Kvm =>
        {
            MachineFailure::Kvm {
                reason: report
                    .hypervisor
                    .first_line()
                    .unwrap_or_else(|| "it gave no sign of life".to_string()),
                demanded: request.accelerator() == Some(Accelerator::Kvm),
            }
        }
        // Only a probe asks for the start alone, and only KVM fails as KVM does.
        ExitReason::NeverStarted | ExitReason::Started | ExitReason::KvmFailed | ExitReason::Ended => {
            MachineFailure::NeverStarted {
                advice: "-v --log debug shows how far it comes",
            }
        }
        ExitReason::RelayFailed(reason) => MachineFailure::Relay { reason },
        ExitReason::Protocol(what) => MachineFailure::Protocol(what),
        ExitReason::Failed(source) => MachineFailure::Connection {
            hypervisor: machine.hypervisor,
            source,
        },
    };
    Err(Error::Machine(Box::new(MachineError { failure, transcript })))
}

/// The limit of the host's memory that has ended a hypervisor, in bytes besides the machine's own, and how that shows.
fn limit_met(machine: &Machine, memory: u64, words: &str) -> Option<(u64, String)> {
    match &machine.cgroup {
        Some(cgroup) if cgroup.has_killed() => {
            let besides = cgroup.most().saturating_sub(memory);
            Some((besides, "the system killed it".to_string()))
        }
        _ => machine.most_data.zip(out_of_memory(words)),
    }
}

/// Whether this process, whose limits a hypervisor inherits, may itself use less than so much private memory, or has
/// less room for addresses than the machine's memory takes with it; `own` are its limits.
fn has_less(private: u64, memory: u64, own: impl Fn(Resource) -> Option<u64>) -> bool {
    let room = private.saturating_add(memory).saturating_add(PROGRAM);
    own(Resource::Data).is_some_and(|own| own < private) || own(Resource::As).is_some_and(|own| own < room)
}

/// Addresses that QEMU's program, libraries and other files take: more than was seen.
const PROGRAM: u64 = 512 * MIB;

/// The line in which a hypervisor says that it does not get the memory that it wants: QEMU's words for it, glib's, and
/// the C library's.
fn out_of_memory(words: &str) -> Option<String> {
    let line = words.lines().find(|line| {
        [
            "failed to allocate",
            "Failed to allocate",
            "Cannot allocate memory",
        ]
        .iter()
        .any(|part| line.contains(part))
    })?;
    Some(piece(line.trim()))
}

/// What a QEMU says that knows `-sandbox` and was built without it.
fn no_sandbox(words: &str) -> Option<String> {
    let line = words
        .lines()
        .find(|line| line.contains("-sandbox support is not enabled"))?;
    Some(piece(line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hypervisors_say_when_memory_is_out() {
        for line in [
            "qemu_memalign: failed to allocate 2097152 bytes at alignment 64: Cannot allocate memory",
            "GLib-ERROR **: 17:53:01.000: ../../../glib/gmem.c:136: failed to allocate 16384 bytes",
            "qemu-system-x86_64: qemu_thread_create: Cannot allocate memory",
        ] {
            assert_eq!(
                out_of_memory(&format!("\n(process:7): \n {line}\nmore")).as_deref(),
                Some(line)
            );
        }
        assert_eq!(out_of_memory("qemu-system-x86_64: -m: too much\n"), None);
    }

    #[test]
    fn limits_that_were_there_before_are_told_from_our_own() {
        let with = |data, space| {
            has_less(54 * MIB, 256 * MIB, move |resource| match resource {
                Resource::Data => data,
                Resource::As => space,
                _ => None,
            })
        };
        assert!(!with(None, None));
        assert!(!with(Some(54 * MIB), Some(8192 * MIB)));
        assert!(with(Some(20 * MIB), None));
        assert!(with(None, Some(300 * MIB)));
    }

    #[test]
    fn the_cause_makes_a_code_more_than_a_code() {
        for code in 0..=u8::MAX {
            // Whatever was said besides, and whatever the guest has printed.
            for diagnostic in [false, true] {
                let status = ExitStatus::new(Ending::new(Cause::Guest, code), diagnostic);
                assert_eq!(status, ExitStatus::Exited(code));
            }
        }
        for (cause, code, status) in [
            (Cause::Trap, 134, ExitStatus::Trapped),
            (Cause::Refused, 126, ExitStatus::Refused(126)),
            (Cause::CodeRefused, 126, ExitStatus::Refused(126)),
            (Cause::CodeDoesNotFit, 126, ExitStatus::Refused(126)),
            (Cause::ProposalMissing, 126, ExitStatus::Refused(126)),
            (Cause::Failed, 125, ExitStatus::Failed(125)),
            // A machine that contradicts itself.
            (Cause::Limit, 241, ExitStatus::Exited(241)),
            (Cause::Trap, 0, ExitStatus::Exited(0)),
        ] {
            let ending = Ending::new(cause, code);
            assert_eq!(ExitStatus::new(ending, false), status);
            assert_eq!(status.code(), code);
        }
    }

    #[test]
    fn of_an_old_image_only_a_message_makes_a_code_more_than_a_code() {
        for code in 0..=u8::MAX {
            assert_eq!(
                ExitStatus::new(Ending::old(code), false),
                ExitStatus::Exited(code)
            );
            assert_eq!(ExitStatus::new(Ending::old(code), true).code(), code);
        }
        let with_message = |code| ExitStatus::new(Ending::old(code), true);
        assert_eq!(with_message(exit_code::TRAP), ExitStatus::Trapped);
        assert_eq!(with_message(126), ExitStatus::Refused(126));
        assert_eq!(with_message(125), ExitStatus::Failed(125));
        assert_eq!(with_message(7), ExitStatus::Exited(7));
        assert!(ExitStatus::Exited(0).success() && !ExitStatus::Exited(1).success());
    }

    #[test]
    fn a_qemu_without_seccomp_is_known_by_its_words() {
        let words = "qemu-system-x86_64: -sandbox support is not enabled in this QEMU binary\n";
        let reason = no_sandbox(words).unwrap();
        let message = MachineFailure::NoSandbox { reason }.to_string();
        assert!(
            message.contains("built without seccomp") && message.contains("--jail off"),
            "{message}"
        );
        assert_eq!(
            no_sandbox("qemu-system-x86_64: -sandbox on: something else"),
            None
        );
    }
}
