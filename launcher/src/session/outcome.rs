//! How a session ended, and what was seen of it.

use std::io;
use std::time::Instant;

use boot_protocol::console::Ending;

use super::transcript::Transcript;
use crate::host::interrupt::Stop;

/// How a session ended.
#[derive(Debug)]
pub(crate) enum ExitReason {
    /// The application has said how the run ended.
    Exit(Ending),
    /// The application has started; only with [`SessionConfig::only_boot`](super::SessionConfig::only_boot).
    Started,
    /// The hypervisor ended, or closed the console, without an exit code.
    Ended,
    /// KVM gave up; QEMU waits for a debugger then.
    KvmFailed,
    /// No HELLO in time.
    NeverStarted,
    /// [`SessionConfig::deadline`](super::SessionConfig::deadline) has passed.
    Timeout,
    /// The run was asked to stop.
    Stopped(Stop),
    /// The reader of standard output or standard error has gone.
    OutputClosed,
    /// Standard output or standard error cannot be written.
    OutputFailed(&'static str, io::Error),
    /// The host's end of the guest's network has gone, for this reason.
    RelayFailed(String),
    /// The guest's side does not keep to the protocol.
    Protocol(String),
    /// The loop itself cannot go on.
    Failed(io::Error),
}

/// A session that has ended.
#[derive(Debug)]
pub(crate) struct SessionReport {
    /// How.
    pub(crate) reason: ExitReason,
    /// Whether the application had started.
    pub(crate) started: bool,
    /// Whether the guest has written something, or has asked for input.
    pub(crate) exchanged: bool,
    /// When it said HELLO.
    pub(crate) hello: Option<Instant>,
    /// The most memory that the hypervisor was seen to have had at once, in bytes.
    pub(crate) hypervisor_memory: Option<u64>,
    /// The application's own messages.
    pub(crate) diagnostic: String,
    /// What the machine printed outside of frames.
    pub(crate) text: Transcript,
    /// What the hypervisor printed.
    pub(crate) hypervisor: Transcript,
}
