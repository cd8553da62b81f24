//! Why a run has no exit status: one type a cause, and the one table of their exit codes.
//!
//! Each message says what was attempted, on what, why it failed and, where that is known, what to do. Messages name
//! the flags of `hermit-wasm run`, which the builder's methods are called after.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use boot_protocol::exit_code;
use thiserror::Error;

use crate::compile::{CompileError, ForeignError};
use crate::host::interrupt::Stop;
use crate::host::shown;
use crate::host::units::{MIB, show_duration, show_size};
use crate::recording::RecordingError;
use crate::spec::module::{ModuleError, TextError};
use crate::spec::mounts::MountError;
use crate::vmm::capabilities::Unsupported;

/// Why a run has no exit status.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read, or is not a module.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A directory cannot be mounted.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The description of the run makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The chosen hypervisor cannot do what the run needs.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The module cannot be compiled to native code.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Compiled code is not taken.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// A recording cannot be replayed.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// The virtual machine cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The virtual machine was started, and failed.
    #[error(transparent)]
    Machine(#[from] Box<MachineError>),
    /// The run took longer than it may.
    #[error("--timeout: {what} did not end within {} and was stopped", show_duration(*.limit))]
    Timeout {
        /// What ran.
        what: String,
        /// How long it may take.
        limit: Duration,
    },
    /// The run was asked to stop.
    #[error("the run was stopped")]
    Stopped(Stop),
    /// The reader of the guest's standard output or standard error has gone.
    #[error("the reader of the guest's output has gone")]
    OutputClosed,
    /// The guest's output cannot be written.
    #[error("the guest's output to {stream} cannot be written: {source}")]
    Output {
        /// Standard output or standard error.
        stream: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// Why a virtual machine cannot be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The hypervisor, or a daemon that it needs, is not installed. The text says how to install it.
    #[error("{0}")]
    NotInstalled(String),
    /// A program that was named is not there or not executable.
    #[error(
        "--{flag}: '{}' is not there, or is not an executable file",
        shown::path(path)
    )]
    NoProgram {
        /// The flag that names it.
        flag: &'static str,
        /// What it names.
        path: PathBuf,
    },
    /// A program cannot be started.
    #[error("cannot start {name}, '{}': {source}", shown::path(path))]
    Spawn {
        /// The hypervisor.
        name: &'static str,
        /// Its program.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// KVM was asked for and cannot be used.
    #[error("{0}")]
    Kvm(String),
    /// This build has no image for the architecture.
    #[error("{0}")]
    NoImage(String),
    /// virtiofsd cannot serve a directory.
    #[error("{0}")]
    Virtiofsd(String),
    /// The guest's network cannot be made.
    #[error("{0}")]
    Network(String),
    /// A file that the hypervisor is to open cannot be made.
    #[error("cannot {attempt}: {source}")]
    File {
        /// What was attempted, as a verb and its object.
        attempt: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// Whether the machine's memory is too small for what it is to be handed.
    pub(crate) fn is_lack_of_room(&self) -> bool {
        matches!(
            self,
            Self::Module(ModuleError::DoesNotFit { .. } | ModuleError::ArgumentsDoNotFit { .. })
                | Self::Mount(MountError::DoesNotFit { .. })
        )
    }
}

impl StartError {
    /// For `map_err`: a file operation that failed.
    pub(crate) fn file(attempt: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Self::File { attempt, source }.into()
    }
}

/// A virtual machine that failed. What it printed besides the guest's output is kept.
#[derive(Debug, Error)]
#[error("{failure}")]
pub struct MachineError {
    /// How it failed.
    pub failure: MachineFailure,
    /// What machine and hypervisor printed, unless the message quotes it or it was shown already.
    pub transcript: String,
}

/// What a hypervisor did that asked for too much of the host's memory, and why.
fn out_of_host_memory(limit: u64, inherited: bool, reason: &str) -> String {
    if inherited {
        return format!(
            "did not get the memory that it needs and ended ({reason}). This program was started with limits that are too \
             low for that; 'ulimit -v' and 'ulimit -d' show and change them"
        );
    }
    format!(
        "met its limit of this host's memory and ended: {} besides the machine's own ({reason}). Ordinary guests stay far \
         below it, so a guest that drives the machine in a strange way is the likely cause; --jail off removes the limit",
        show_size(limit)
    )
}

/// How a virtual machine failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MachineFailure {
    /// It ended without the guest's exit code.
    #[error(
        "the virtual machine {} ({status}){}. It had {} of memory, which --memory changes; -v --log debug shows more",
        if *.started { "ended while the guest was running" } else { "could not start" },
        match .reason {
            Some(reason) => format!(": {reason}"),
            // The program shows the transcript before the message; a library's user has it from the error.
            None => String::new(),
        },
        show_size(*.memory)
    )]
    Ended {
        /// Whether the application had started.
        started: bool,
        /// How the hypervisor's process ended.
        status: String,
        /// Its only words, if there are just a few.
        reason: Option<String>,
        /// The machine's memory in bytes.
        memory: u64,
    },
    /// The hypervisor has asked for more of the host's memory than a run may use.
    #[error("{hypervisor} {}", out_of_host_memory(*.limit, *.inherited, .reason))]
    HostMemory {
        /// The hypervisor.
        hypervisor: &'static str,
        /// Most private memory that it may use, in bytes.
        limit: u64,
        /// Whether this program was itself started with a limit that may be lower.
        inherited: bool,
        /// Its words.
        reason: String,
    },
    /// KVM does not work, or stopped working.
    #[error(
        "the virtual machine failed ({reason}). {}",
        if *.demanded {
            "KVM does not work on this host; use --accel tcg, or omit --accel"
        } else {
            "KVM worked on this host before and fails now; --accel tcg works without it"
        }
    )]
    Kvm {
        /// What the hypervisor said.
        reason: String,
        /// Whether KVM was asked for by name.
        demanded: bool,
    },
    /// The application gave no sign of life in time.
    #[error("the virtual machine showed no sign of life for too long and was stopped. {advice}")]
    NeverStarted {
        /// What to try.
        advice: &'static str,
    },
    /// A hypervisor that only runs under KVM did not start the machine.
    #[error(
        "{hypervisor} could not start the machine: {reason}. It requires a working KVM; --vmm qemu does not"
    )]
    NeedsKvm {
        /// The hypervisor.
        hypervisor: &'static str,
        /// Its words.
        reason: String,
    },
    /// QEMU was built without its own filter of system calls.
    #[error(
        "QEMU cannot confine itself ({reason}): it was built without seccomp. Install a QEMU that has it, as \
         distributions' have, or use --jail off"
    )]
    NoSandbox {
        /// QEMU's words.
        reason: String,
    },
    /// The host's end of the guest's network has gone.
    #[error("the relay of the guest's network ended ({reason}), and the run with it")]
    Relay {
        /// Its words, or how it ended.
        reason: String,
    },
    /// The machine's side of the console breaks the protocol.
    #[error("the virtual machine violates the console protocol: {0}")]
    Protocol(String),
    /// The pipes to the hypervisor failed.
    #[error("the connection to {hypervisor} failed: {source}")]
    Connection {
        /// The hypervisor.
        hypervisor: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// The exit code that stands for this error: the table of `docs/exit-codes.md`.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Module(ModuleError::Unreadable { .. } | ModuleError::IsDirectory { .. }) => {
                exit_code::MODULE_NOT_FOUND
            }
            Self::Module(ModuleError::Text {
                reason: TextError::NoTranslator(_),
                ..
            }) => exit_code::VM_FAILED,
            Self::Foreign(ForeignError::Unreadable { .. })
            | Self::Recording(RecordingError::Unreadable { .. }) => exit_code::MODULE_NOT_FOUND,
            Self::Compile(error) if error.refuses_the_module() => exit_code::MODULE_REFUSED,
            Self::Module(_)
            | Self::Foreign(_)
            | Self::Recording(_)
            | Self::Mount(MountError::DoesNotFit { .. }) => exit_code::MODULE_REFUSED,
            Self::Mount(MountError::Unreadable { .. } | MountError::Pack { .. }) => exit_code::VM_FAILED,
            Self::Mount(_) | Self::Invalid(_) | Self::Unsupported(_) => exit_code::USAGE,
            Self::Compile(_) | Self::Start(_) | Self::Machine(_) | Self::Output { .. } => {
                exit_code::VM_FAILED
            }
            Self::Timeout { .. } => exit_code::TIMEOUT,
            Self::Stopped(Stop::Asked) => exit_code::from_signal(SIGKILL),
            Self::Stopped(Stop::Signal(number)) => exit_code::from_signal(u8::try_from(*number).unwrap_or(0)),
            Self::OutputClosed => exit_code::OUTPUT_CLOSED,
        }
    }

    /// What machine and hypervisor printed besides the guest's output, where that may explain the error.
    #[must_use]
    pub fn transcript(&self) -> &str {
        match self {
            Self::Machine(error) => &error.transcript,
            _ => "",
        }
    }
}

/// A run that was stopped by its owner counts as killed.
const SIGKILL: u8 = 9;

/// The message about something that does not fit into the machine's memory.
pub(crate) fn does_not_fit(what: &str, memory: u64, least: u64) -> String {
    format!(
        "{what} not fit into the virtual machine's memory of {}; --memory gives it more, and it needs at least {}M",
        show_size(memory),
        least.div_ceil(MIB),
    )
}
