//! How a run ended and what it took, in one form for programs: `--status-file`'s JSON.
//!
//! The schema, and what of it a guest or a fallen machine can make up: `docs/status.md`.

use std::time::{Duration, Instant};

use boot_protocol::run_spec;
use boot_protocol::shown::message;

use crate::error::{Error, MachineError, MachineFailure};
use crate::host::interrupt::Stop;
use crate::host::json::{or_null, string};
use crate::result::{ExitStatus, RunResult};
use crate::spec::engine::Engine;
use crate::vmm::capabilities::Accelerator;

/// The schema's version. It changes where a program that reads the old one would be wrong; new members do not change
/// it.
const VERSION: u32 = 1;

/// What was measured of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    begun: Instant,
    /// How long it took, by this host's clock.
    pub wall: Duration,
    /// How long it took to the application's first sign of life.
    pub start: Option<Duration>,
    /// The machine's memory in bytes: the limit.
    pub memory: Option<u64>,
    /// Bytes of it that the machine touched; known if this program owns it.
    pub machine_memory: Option<u64>,
    /// The most memory that the hypervisor's process had at once, in bytes; known if it was there to be asked.
    pub hypervisor_memory: Option<u64>,
    /// Whether the guest, or the application for it, was refused memory that the machine did not have.
    pub memory_refused: bool,
    /// Whether a directory would have grown by more than its quota.
    pub quota_met: bool,
    /// The hypervisor, once it was started.
    pub hypervisor: Option<&'static str>,
    /// What executed the machine's instructions.
    pub accelerator: Option<Accelerator>,
    /// What executed the guest's code in it.
    pub engine: Option<Engine>,
}

impl Figures {
    /// Of a run that begins now.
    #[must_use]
    pub fn begin() -> Self {
        Self::since(Instant::now())
    }

    /// Of a run that has begun at that moment.
    #[must_use]
    pub fn since(begun: Instant) -> Self {
        Self {
            begun,
            wall: Duration::ZERO,
            start: None,
            memory: None,
            machine_memory: None,
            hypervisor_memory: None,
            memory_refused: false,
            quota_met: false,
            hypervisor: None,
            accelerator: None,
            engine: None,
        }
    }

    /// The application has given its first sign of life.
    pub(crate) fn started(&mut self, at: Option<Instant>) {
        self.start = at.map(|at| at.saturating_duration_since(self.begun));
    }

    /// The run is over, for those who prepare or follow it themselves; [`Run::run_measured`](crate::Run::run_measured)
    /// does it too.
    pub fn finish(&mut self) {
        self.wall = self.begun.elapsed();
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The guest returned from `_start`, or called `proc_exit`.
    Exit,
    /// The guest trapped.
    Trap,
    /// The module cannot be run.
    Refused,
    /// The guest was replayed, and did something else than it had done, or went on where its recording ends.
    ReplayStopped,
    /// The machine, or its hypervisor, had too little memory to go on.
    MemoryLimit,
    /// The guest reached a limit of what it may use up.
    LimitReached,
    /// `--timeout` ran out.
    Timeout,
    /// A signal, or this program's own user, stopped it.
    Interrupted,
    /// The reader of the guest's output has gone.
    OutputClosed,
    /// The machine failed, or does not keep to the protocol.
    MachineFailed,
    /// The run's description makes no sense, or asks for what cannot be had.
    UsageError,
    /// This program could not do its part.
    LauncherError,
}

impl End {
    /// Its name in the schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Trap => "trap",
            Self::Refused => "refused",
            Self::ReplayStopped => "replay_stopped",
            Self::MemoryLimit => "memory_limit",
            Self::LimitReached => "limit_reached",
            Self::Timeout => "timeout",
            Self::Interrupted => "interrupted",
            Self::OutputClosed => "output_closed",
            Self::MachineFailed => "machine_failed",
            Self::UsageError => "usage_error",
            Self::LauncherError => "launcher_error",
        }
    }

    /// Of a run that has an exit status.
    const fn of_status(status: ExitStatus, memory_refused: bool) -> Self {
        match status {
            ExitStatus::Exited(_) => Self::Exit,
            ExitStatus::Trapped => Self::Trap,
            ExitStatus::Refused(_) => Self::Refused,
            ExitStatus::LimitReached(_) => Self::LimitReached,
            ExitStatus::Failed(_) if memory_refused => Self::MemoryLimit,
            ExitStatus::Failed(_) => Self::MachineFailed,
            ExitStatus::ReplayStopped(_) => Self::ReplayStopped,
        }
    }

    /// Of a run that has none.
    fn of_error(error: &Error) -> Self {
        match error {
            Error::Machine(error) if is_host_memory(error) => Self::MemoryLimit,
            Error::Timeout { .. } => Self::Timeout,
            Error::Stopped(_) => Self::Interrupted,
            Error::OutputClosed => Self::OutputClosed,
            Error::Machine(_) => Self::MachineFailed,
            Error::Compile(error) if error.refuses_the_module() => Self::Refused,
            Error::Module(_) | Error::Foreign(_) | Error::Recording(_) => Self::Refused,
            Error::Mount(_) | Error::Invalid(_) | Error::Unsupported(_) => Self::UsageError,
            Error::Compile(_) | Error::Start(_) | Error::Output { .. } => Self::LauncherError,
        }
    }
}

/// A limit that a run met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// `--timeout`.
    Time,
    /// `--memory`: the guest, or the application for it, was refused memory that the machine did not have.
    Memory,
    /// What the hypervisor may take of the host beside the machine's memory.
    HostMemory,
    /// `quota=` of a directory: something that would have let it grow further failed.
    Disk,
    /// What `-W` limits, which ended the guest.
    Guest(run_spec::Limit),
}

impl Limit {
    /// Its name in the schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Memory => "memory",
            Self::HostMemory => "host_memory",
            Self::Disk => "disk",
            Self::Guest(limit) => limit.word(),
        }
    }
}

fn is_host_memory(error: &MachineError) -> bool {
    matches!(error.failure, MachineFailure::HostMemory { .. })
}

/// How a run ended and what it took.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How.
    pub end: End,
    /// Whether the machine said so, and not this program: see `docs/status.md`.
    pub machines_word: bool,
    /// The exit code, as a shell shows it.
    pub exit_code: u8,
    /// The signal that ended the run, if one did.
    pub signal: Option<i32>,
    /// The limits that it met.
    pub limits: Vec<Limit>,
    /// What was said about it, as it can be shown.
    pub message: Option<String>,
    /// What was measured.
    pub figures: Figures,
}

/// SIGPIPE, which a reader that has gone stands for.
const SIGPIPE: i32 = 13;

impl Report {
    /// Of a run that is over.
    #[must_use]
    pub fn new(result: &Result<RunResult, Error>, figures: &Figures) -> Self {
        match result {
            Ok(result) => {
                let mut report = Self::of(
                    End::of_status(result.status, figures.memory_refused),
                    result.status.code(),
                    // The application speaks as this program does, on the same standard error.
                    result.diagnostic.trim_start_matches("hermit-wasm: ").trim_end(),
                    figures,
                );
                report.machines_word = true;
                if let ExitStatus::LimitReached(reached) = result.status {
                    report.limits.push(Limit::Guest(reached.limit));
                }
                report
            }
            Err(error) => Self::failed(error, figures),
        }
    }

    /// Of a run that did not come to its own end.
    #[must_use]
    pub fn failed(error: &Error, figures: &Figures) -> Self {
        let mut report = Self::of(
            End::of_error(error),
            error.exit_code(),
            &error.to_string(),
            figures,
        );
        if matches!(error, Error::Machine(error) if is_host_memory(error)) {
            report.limits.push(Limit::HostMemory);
        }
        report.signal = match error {
            Error::Stopped(Stop::Signal(number)) => Some(*number),
            Error::OutputClosed => Some(SIGPIPE),
            _ => None,
        };
        report
    }

    fn of(end: End, exit_code: u8, said: &str, figures: &Figures) -> Self {
        let limits = [
            (end == End::Timeout, Limit::Time),
            (figures.memory_refused, Limit::Memory),
            (figures.quota_met, Limit::Disk),
        ];
        Self {
            end,
            machines_word: false,
            exit_code,
            signal: None,
            limits: limits
                .into_iter()
                .filter_map(|(met, limit)| met.then_some(limit))
                .collect(),
            message: (!said.is_empty()).then(|| message(said)),
            figures: figures.clone(),
        }
    }

    /// The report as JSON, with a line break at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let figures = &self.figures;
        let limits: Vec<String> = self.limits.iter().map(|limit| string(limit.name())).collect();
        let members = [
            ("version", VERSION.to_string()),
            ("end", string(self.end.name())),
            (
                "said_by",
                string(if self.machines_word { "machine" } else { "launcher" }),
            ),
            ("exit_code", self.exit_code.to_string()),
            ("signal", or_null(self.signal.map(|signal| signal.to_string()))),
            ("limits", format!("[{}]", limits.join(", "))),
            ("wall_seconds", seconds(figures.wall)),
            ("start_seconds", or_null(figures.start.map(seconds))),
            ("memory_bytes", bytes(figures.memory)),
            ("machine_memory_bytes", bytes(figures.machine_memory)),
            ("hypervisor_memory_bytes", bytes(figures.hypervisor_memory)),
            ("hypervisor", or_null(figures.hypervisor.map(string))),
            (
                "accelerator",
                or_null(figures.accelerator.map(|accelerator| string(accelerator.name()))),
            ),
            (
                "engine",
                or_null(figures.engine.map(|engine| string(engine.name()))),
            ),
            ("message", or_null(self.message.as_deref().map(string))),
        ];
        object(&members)
    }

    /// What stands in the status file while the run lasts, and if this program does not come to its end.
    #[must_use]
    pub fn unfinished_json() -> String {
        object(&[("version", VERSION.to_string()), ("end", string("unfinished"))])
    }
}

/// A JSON object of members whose values are JSON already, a line for each.
fn object(members: &[(&str, String)]) -> String {
    let lines: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("  {}: {value}", string(name)))
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

fn bytes(number: Option<u64>) -> String {
    or_null(number.map(|number| number.to_string()))
}

fn seconds(duration: Duration) -> String {
    format!("{}.{:06}", duration.as_secs(), duration.subsec_micros())
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
