//! How a run ended, as the exit code that leaves the machine and the message that goes with it.
//!
//! Layer: pure. The numbers are `boot_protocol::exit_code`'s, explained in `docs/exit-codes.md`.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use boot_protocol::console::{Cause, Ending};
use boot_protocol::exit_code;
use boot_protocol::run_spec::Reached;
use boot_protocol::shown::{self, Layout};
use wasi_p1::linker::trace::ReplayStop;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest returned from `_start`, or the function that was called (0), or called `proc_exit`.
    Exit(u32),
    /// The guest did what WebAssembly forbids; the text names it.
    Trap(String),
    /// The guest ended badly, in this way, after it had been refused memory that the machine did not have.
    Starved(Box<Outcome>),
    /// The guest has reached a limit of what it may use up; the text says where, if that is known.
    LimitReached(Reached, String),
    /// The guest is replayed, and goes on where its recording does not.
    ReplayStopped(ReplayStop),
    /// The module cannot be run; the text says why and what to do.
    Refused(String),
    /// Native code cannot be loaded here, and nothing of it has run: the host can have the module interpreted. The text
    /// says why.
    CodeRefused(String),
    /// The machine has too little memory, or too few addresses, for native code and what it declares, and nothing of it
    /// has run: the interpreter may have room for the module. The text says so.
    CodeDoesNotFit(String),
    /// The module needs a proposal that the interpreter does not have; the text names it.
    ProposalMissing(String),
    /// The module cannot be found or read; the text says why.
    Unreadable(String),
    /// The machine has too little memory for the guest; the text says for what.
    MachineFailed(String),
    /// The machine has not the network that the run is to have; the text says why.
    NetworkFailed(String),
    /// The run's description, or the kernel command line, cannot be used; the text says what is wrong.
    Usage(String),
}

/// What leaves the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// The exit code.
    pub code: u8,
    /// Whose it is.
    pub cause: Cause,
    /// Whether memory was wanted that the machine does not have.
    pub memory_refused: bool,
    /// The limit that has ended the guest, if one has.
    pub reached: Option<Reached>,
    /// A message for standard error, without a final newline; `None` where the guest has said it all.
    pub message: Option<String>,
}

/// What is added to the end of a guest that was refused memory.
///
/// What it wanted memory for is open: a linear memory, or objects of garbage collection, of which it may have had
/// enough in the end.
const STARVED: &str = "the virtual machine had too little memory for the guest: a growth failed before it ended; \
                       raise it with --memory SIZE";

/// Longest name of a preload in a message, in bytes.
const LONGEST_NAME: usize = 200;

impl Outcome {
    /// This end, of a guest that was `refused` memory: where it ended badly, that is worth a word.
    #[must_use]
    pub fn of_refused_memory(self, refused: bool) -> Self {
        match self {
            Self::Trap(_) | Self::Exit(1..) if refused => Self::Starved(Box::new(self)),
            outcome => outcome,
        }
    }

    /// This end, which the module that others import by `name` has come to.
    #[must_use]
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub fn of_preload(mut self, name: &str) -> Self {
        let name = shown::bounded(name.as_bytes(), Layout::Line, LONGEST_NAME);
        match &mut self {
            Self::Trap(text) => {
                let (first, rest) = first_line(text);
                *text = format!("{first}, in the preload `{name}`{rest}");
            }
            Self::Refused(text)
            | Self::CodeRefused(text)
            | Self::CodeDoesNotFit(text)
            | Self::ProposalMissing(text)
            | Self::Unreadable(text)
            | Self::MachineFailed(text) => *text = format!("preload `{name}`: {text}"),
            Self::Starved(_)
            | Self::Exit(_)
            | Self::NetworkFailed(_)
            | Self::Usage(_)
            | Self::LimitReached(..)
            | Self::ReplayStopped(_) => {}
        }
        self
    }

    /// Exit code and message of this end of a run of the module called `name`.
    #[must_use]
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub fn exit_status(&self, name: &str) -> ExitStatus {
        // Names and reasons quote the guest, which must not speak to the terminal, nor for long.
        let status = self.status_of(&shown::piece(name));
        ExitStatus {
            message: status.message.map(shown::message),
            ..status
        }
    }

    /// The same, with reasons as they are; `name` can be shown.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn status_of(&self, name: &str) -> ExitStatus {
        let (cause, code, message) = match self {
            Self::Starved(outcome) => {
                let status = outcome.status_of(name);
                let message = match status.message.as_deref().map(first_line) {
                    // Before the backtrace, if there is one.
                    Some((first, rest)) => format!("{first}; {STARVED}{rest}"),
                    None => format!("hermit-wasm: {STARVED}"),
                };
                return ExitStatus {
                    memory_refused: true,
                    message: Some(message),
                    ..status
                };
            }
            Self::Exit(code) => match u8::try_from(*code) {
                Ok(code) => (Cause::Guest, code, None),
                Err(_) => {
                    let text = format!("`{name}` called proc_exit({code}), but an exit code is 0 to 255");
                    (Cause::Guest, exit_code::OUT_OF_RANGE, Some(text))
                }
            },
            Self::Trap(text) => (
                Cause::Trap,
                exit_code::TRAP,
                Some(format!("failed to run `{name}`: wasm trap: {text}")),
            ),
            Self::LimitReached(reached, text) => {
                let (first, rest) = first_line(text);
                let colon = if first.is_empty() { "" } else { ": " };
                (
                    Cause::Limit,
                    exit_code::of_limit(reached.limit),
                    Some(format!("`{name}` reached its {reached}{colon}{first}{rest}")),
                )
            }
            Self::ReplayStopped(stop) => {
                let (cause, code) = match stop {
                    ReplayStop::Over { .. } => (Cause::RecordingOver, exit_code::RECORDING_OVER),
                    ReplayStop::Diverged(_) => (Cause::Diverged, exit_code::DIVERGED),
                    ReplayStop::Damaged(_) => (Cause::Refused, exit_code::USAGE),
                };
                (cause, code, Some(format!("replay of `{name}`: {stop}")))
            }
            Self::Refused(text) => (
                Cause::Refused,
                exit_code::MODULE_REFUSED,
                Some(format!("cannot run `{name}`: {text}")),
            ),
            Self::CodeDoesNotFit(text) | Self::ProposalMissing(text) => (
                match self {
                    Self::CodeDoesNotFit(_) => Cause::CodeDoesNotFit,
                    _ => Cause::ProposalMissing,
                },
                exit_code::MODULE_REFUSED,
                Some(format!("cannot run `{name}`: {text}")),
            ),
            Self::CodeRefused(text) => (
                Cause::CodeRefused,
                exit_code::MODULE_REFUSED,
                Some(format!("cannot load the native code of `{name}`: {text}")),
            ),
            Self::Unreadable(text) => (
                Cause::Refused,
                exit_code::MODULE_NOT_FOUND,
                Some(format!("cannot read `{name}`: {text}")),
            ),
            Self::MachineFailed(text) => (
                Cause::Failed,
                exit_code::VM_FAILED,
                Some(format!("failed to run `{name}`: {text}")),
            ),
            Self::NetworkFailed(text) => (
                Cause::Failed,
                exit_code::VM_FAILED,
                Some(format!("cannot give `{name}` its network: {text}")),
            ),
            Self::Usage(text) => (Cause::Refused, exit_code::USAGE, Some(text.clone())),
        };
        ExitStatus {
            code,
            cause,
            memory_refused: matches!(self, Self::MachineFailed(_)),
            reached: match self {
                Self::LimitReached(reached, _) => Some(*reached),
                _ => None,
            },
            message: message.map(|text| format!("hermit-wasm: {text}")),
        }
    }
}

/// The first line, and the rest with its line break.
fn first_line(text: &str) -> (&str, &str) {
    let end = text.find('\n').unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

impl ExitStatus {
    /// What the host is told, besides the message.
    #[must_use]
    pub const fn ending(&self) -> Ending {
        match self.reached {
            Some(reached) => Ending::of_limit(reached),
            None => Ending::new(self.cause, self.code).with_memory_refused(self.memory_refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot_protocol::run_spec::Limit;

    #[test]
    fn the_guests_codes_come_out_as_they_are_and_silently() {
        for code in 0..=255 {
            let status = Outcome::Exit(code).exit_status("m");
            assert_eq!(status.ending().cause(), Some(Cause::Guest));
            assert_eq!((u32::from(status.code), status.message), (code, None));
        }
    }

    #[test]
    fn a_code_that_does_not_fit_is_a_failure_with_a_message() {
        for code in [256, 512, u32::MAX] {
            let status = Outcome::Exit(code).exit_status("m");
            assert_eq!(status.code, 1);
            assert!(status.message.unwrap().contains(&format!("proc_exit({code})")));
        }
    }

    #[test]
    fn a_bad_end_after_memory_was_refused_names_the_flag() {
        let status = Outcome::Exit(3).of_refused_memory(true).exit_status("m");
        let message = status.message.unwrap();
        assert_eq!(
            (status.code, status.cause, status.memory_refused),
            (3, Cause::Guest, true)
        );
        assert!(
            message.starts_with("hermit-wasm: ") && message.contains("--memory"),
            "{message}"
        );
        let status = Outcome::Trap("unreachable".into())
            .of_refused_memory(true)
            .exit_status("m");
        let message = status.message.unwrap();
        assert_eq!((status.code, message.lines().count()), (134, 1));
        assert!(
            message.contains("wasm trap: unreachable; the virtual machine had too little memory"),
            "{message}"
        );
        assert!(!message.contains("memory.grow"), "{message}");
        for (outcome, refused) in [(Outcome::Exit(0), true), (Outcome::Exit(3), false)] {
            assert_eq!(outcome.clone().of_refused_memory(refused), outcome);
        }
    }

    #[test]
    fn each_failure_has_a_code_of_its_own_and_names_the_module() {
        let text = || String::from("because");
        let ends = [
            (Outcome::Trap(text()), Cause::Trap, 134),
            (Outcome::Refused(text()), Cause::Refused, 126),
            (Outcome::CodeRefused(text()), Cause::CodeRefused, 126),
            (Outcome::CodeDoesNotFit(text()), Cause::CodeDoesNotFit, 126),
            (Outcome::ProposalMissing(text()), Cause::ProposalMissing, 126),
            (Outcome::Unreadable(text()), Cause::Refused, 127),
            (Outcome::MachineFailed(text()), Cause::Failed, 125),
            (Outcome::NetworkFailed(text()), Cause::Failed, 125),
        ];
        for (outcome, cause, code) in ends {
            let status = outcome.exit_status("m.wasm");
            let ending = status.ending();
            // The host finds no contradiction in it.
            assert_eq!((ending.code, ending.cause()), (code, Some(cause)));
            assert_eq!(
                ending.memory_refused(),
                matches!(outcome, Outcome::MachineFailed(_))
            );
            let message = status.message.unwrap();
            assert!(
                message.contains("`m.wasm`") && message.contains("because"),
                "{message}"
            );
        }
        let usage = Outcome::Usage(text()).exit_status("m").ending();
        assert_eq!((usage.code, usage.cause()), (2, Some(Cause::Refused)));
    }

    #[test]
    fn whatever_a_guest_is_called_and_said_the_message_is_text_and_short() {
        let evil = "\u{1b}]0;title\u{7}\u{202e}".repeat(100_000);
        for outcome in [
            Outcome::Trap(evil.clone()),
            Outcome::Refused(evil.clone()),
            Outcome::CodeRefused(evil.clone()),
            Outcome::CodeDoesNotFit(evil.clone()),
            Outcome::ProposalMissing(evil.clone()),
            Outcome::Unreadable(evil.clone()),
            Outcome::MachineFailed(evil.clone()),
            Outcome::NetworkFailed(evil.clone()),
            Outcome::Usage(evil.clone()),
            Outcome::Exit(256),
            Outcome::Starved(Box::new(Outcome::Trap(evil.clone()))),
        ] {
            let message = outcome.exit_status(&evil).message.unwrap();
            assert!(message.starts_with("hermit-wasm: "), "{message}");
            assert!(!message.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{message:?}");
            assert!(message.len() <= shown::LONGEST_MESSAGE, "{}", message.len());
        }
    }

    #[test]
    fn the_end_of_a_preload_names_it() {
        let text = || String::from("because");
        for outcome in [
            Outcome::Refused(text()),
            Outcome::CodeRefused(text()),
            Outcome::CodeDoesNotFit(text()),
            Outcome::ProposalMissing(text()),
            Outcome::Unreadable(text()),
            Outcome::MachineFailed(text()),
        ] {
            let (own, of) = (
                outcome.exit_status("m"),
                outcome.of_preload("a\u{1b}").exit_status("m"),
            );
            assert_eq!((own.code, own.cause), (of.code, of.cause));
            let message = of.message.unwrap();
            assert!(message.contains("`m`: preload `a\\u{1b}`: because"), "{message}");
        }
        let trap = Outcome::Trap("unreachable\nwasm backtrace:\n    0: a!b".into()).of_preload("a");
        assert_eq!(
            trap,
            Outcome::Trap("unreachable, in the preload `a`\nwasm backtrace:\n    0: a!b".into())
        );
        assert_eq!(Outcome::Exit(3).of_preload("a"), Outcome::Exit(3));
    }

    #[test]
    fn a_limit_is_named_with_its_value_and_told_to_the_host() {
        for limit in Limit::ALL {
            let reached = limit.of(7_000_000_000);
            let text = "all fuel consumed\nwasm backtrace:\n    0: a!b";
            let status = Outcome::LimitReached(reached, text.into()).exit_status("m");
            assert_eq!(status.ending().reached(), Some(reached));
            let message = status.message.unwrap();
            let (first, rest) = message.split_once('\n').unwrap();
            assert_eq!(
                first,
                format!("hermit-wasm: `m` reached its {reached}: all fuel consumed")
            );
            assert_eq!(rest, "wasm backtrace:\n    0: a!b");
        }
        let silent = Outcome::LimitReached(Limit::OutputBytes.of(3), String::new()).exit_status("m");
        assert_eq!(
            silent.message.as_deref(),
            Some("hermit-wasm: `m` reached its output limit (3 bytes)")
        );
    }

    #[test]
    fn a_lack_of_memory_is_named_before_the_backtrace() {
        let trap = Outcome::Trap("out of bounds memory access\nwasm backtrace:\n    0: a!b".into());
        let message = trap.of_refused_memory(true).exit_status("m").message.unwrap();
        let (first, rest) = message.split_once('\n').unwrap();
        assert!(
            first.contains("out of bounds memory access; the virtual machine had too little memory"),
            "{first}"
        );
        assert_eq!(rest, "wasm backtrace:\n    0: a!b");
    }
}
