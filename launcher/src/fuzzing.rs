//! What `tests/fuzz` drives: a session whose machine is played by the caller, and readers of files.
//!
//! The session is the very one of a run. Only the process behind its line is missing: the caller has the other ends, and is
//! asked before each turn what the machine does next.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::host::interrupt::{Interrupt, Stop};
use crate::host::memory::{GuestMemory, Ram};
use crate::host::virtiofsd::greet;
#[cfg(feature = "oci")]
pub use crate::oci::fuzzing::{Made, container};
pub use crate::pack::fuzzing::{executable_of, payload_of};
pub use crate::recording::fuzzing::{read_recording, recording_of};
pub use crate::session::retained::Retained;
use crate::session::streams::Streams;
use crate::session::{self, Diagnostics, ExitReason, SessionConfig};
use crate::vmm::Machine;
use crate::vmm::capabilities::Accelerator;
use crate::vmm::process::Process;

/// The launcher's ends of what connects it to the machine and to whoever runs it.
#[derive(Debug)]
pub struct Ends {
    /// What the machine sends.
    pub console_out: OwnedFd,
    /// What the machine receives.
    pub console_in: OwnedFd,
    /// What the hypervisor says.
    pub hypervisor: OwnedFd,
    /// Readable once the hypervisor has ended.
    pub end: OwnedFd,
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// Where the machine's memory lies, and how much there is.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Bytes.
    pub size: u64,
    /// The address of the first byte.
    pub base: u64,
    /// Where a window may begin.
    pub first: u64,
    /// The end of the addresses that are memory.
    pub end: u64,
}

/// What the session is told.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether the run's time is over before it begins.
    pub late: bool,
    /// Whether only the start is of interest.
    pub only_boot: bool,
    /// Whether to show what the machine prints.
    pub show_text: bool,
    /// Whether to show what the hypervisor prints.
    pub show_hypervisor: bool,
    /// Whether the application's messages go to standard error.
    pub show_diagnostics: bool,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With the guest's exit code.
    Exit(u8),
    /// With the application's start, which was all that was wanted.
    Started,
    /// The machine is gone without an exit code.
    Gone,
    /// KVM's failure, in the hypervisor's words.
    KvmFailed,
    /// The run's time was over, or the start's.
    Late,
    /// It was asked to stop.
    Stopped,
    /// The reader of standard output or standard error has gone, or the stream is broken.
    Output,
    /// The machine broke the protocol in this way.
    Protocol(String),
    /// The loop could not go on.
    Failed(String),
}

/// A session that has ended.
#[derive(Debug)]
pub struct Report {
    /// How.
    pub ended: Ended,
    /// Whether the application had started.
    pub started: bool,
    /// The application's messages.
    pub diagnostic: String,
    /// What is shown of the machine's and the hypervisor's text at the end of a run that failed.
    pub transcript: Vec<u8>,
    /// A line that becomes part of a message.
    pub lines: Vec<String>,
}

/// Runs a session. `play` is called before each turn with the machine's memory, what the session keeps
/// where that may have grown, and what stops it; no turn waits.
///
/// # Errors
/// The system's, when it has no descriptors or no memory left.
pub fn session(
    ends: Ends,
    memory: Option<Memory>,
    settings: Settings,
    mut play: impl FnMut(Option<&File>, Option<Retained>, &Interrupt),
) -> io::Result<Report> {
    let memory = memory
        .map(|memory| {
            GuestMemory::new(
                memory.size,
                Ram {
                    base: memory.base,
                    first: memory.first,
                    end: memory.end,
                },
            )
        })
        .transpose()?;
    let file = memory
        .as_ref()
        .map(|memory| memory.file().try_clone())
        .transpose()?;
    let process = Process::played(ends.end, ends.console_out, ends.console_in, ends.hypervisor)?;
    let mut machine = Machine::of("QEMU", Accelerator::Tcg, process);
    machine.memory = memory;
    let interrupt = Interrupt::new()?;
    let now = Instant::now();
    // Far away: no turn of a fuzzer's run comes so late.
    let later = now + Duration::from_secs(1 << 20);
    let config = SessionConfig {
        deadline: Some(if settings.late { now } else { later }),
        boot_deadline: later,
        only_boot: settings.only_boot,
        show_text: settings.show_text,
        show_hypervisor: settings.show_hypervisor,
        recording: None,
        diagnostics: match settings.show_diagnostics {
            true => Diagnostics::Stderr,
            false => Diagnostics::Keep,
        },
    };
    let streams = Streams {
        stdin: ends.stdin,
        stdout: ends.stdout,
        stderr: ends.stderr,
    };
    let interrupts = [interrupt.clone()];
    let (mut queued, mut turn) = (0, 0u32);
    let mut report = session::run_watched(&mut machine, &interrupts, &config, streams, |session| {
        // Each time would be quadratic.
        let grown = session.queued() > queued || turn % 64 == 0;
        (queued, turn) = (session.queued(), turn.wrapping_add(1));
        play(file.as_ref(), grown.then(|| session.retained()), &interrupt);
        Some(Duration::ZERO)
    });
    let mut lines = Vec::new();
    for transcript in [&report.text, &report.hypervisor] {
        lines.extend(transcript.only_line());
        lines.extend(transcript.first_line());
    }
    let mut transcript = report.text.finish(true);
    transcript.extend(report.hypervisor.finish(true));
    Ok(Report {
        ended: Ended::from(report.reason),
        started: report.started,
        diagnostic: report.diagnostic,
        transcript,
        lines,
    })
}

impl From<ExitReason> for Ended {
    fn from(reason: ExitReason) -> Self {
        match reason {
            ExitReason::Exit(ending) => Self::Exit(ending.code),
            ExitReason::Started => Self::Started,
            ExitReason::Ended => Self::Gone,
            ExitReason::KvmFailed => Self::KvmFailed,
            ExitReason::NeverStarted | ExitReason::Timeout => Self::Late,
            ExitReason::Stopped(_) => Self::Stopped,
            ExitReason::OutputClosed | ExitReason::OutputFailed(..) => Self::Output,
            ExitReason::Protocol(what) => Self::Protocol(what),
            ExitReason::Failed(error) => Self::Failed(error.to_string()),
            ExitReason::RelayFailed(reason) => Self::Failed(reason),
        }
    }
}

/// Greets a virtiofsd that the caller plays, and does not wait: whether it was taken for one.
#[must_use]
pub fn greets(connection: &UnixStream) -> bool {
    let impatient = || Err(Error::Stopped(Stop::Asked));
    greet::greet(connection, &impatient).is_ok()
}
