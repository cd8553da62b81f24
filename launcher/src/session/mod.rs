//! A session with a running machine: everything between the hypervisor's start and the guest's end, in one loop around
//! `poll`.
//!
//! One thread, no blocking call but `poll` itself: a reader that does not read, a guest that does not answer and a
//! signal can all be waited for together, so that `--timeout` and Ctrl-C work whatever else is stuck. Guest output
//! is written before more is read, so a slow reader slows the guest down and nothing piles up here.
//!
//! - [`frames`]: what the guest wants, frame by frame.
//! - [`output`]: the guest's bytes to standard output and standard error.
//! - [`input`]: standard input, read only when the guest asks for it.
//! - [`streams`]: where the guest's standard streams go.
//! - [`transcript`]: text that is not the guest's.
//! - `sources`: what it waits for.
//! - `outcome`: how a session ended.
//! - `retained`: how much is kept, for the fuzzer.

mod frames;
mod input;
mod outcome;
mod output;
#[cfg(feature = "fuzzing")]
pub(crate) mod retained;
mod sources;
pub(crate) mod streams;
mod transcript;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use boot_protocol::console::{Decoder, Ending, Event, Reply, Span};
use rustix::io::Errno;

use crate::host::files::HostFile;
use crate::host::interrupt::{self, Interrupt};
use crate::host::memory::{GuestMemory, SharedWindow};
use crate::host::virtiofsd::Daemon;
use crate::recording::Tape;
use crate::relay::Relay;
use crate::vmm::Machine;
use crate::vmm::process::Process;
use input::{Input, Request};
pub(crate) use outcome::{ExitReason, SessionReport};
use output::{Output, Stream, Written};
use sources::Source;
use streams::Streams;
use transcript::Transcript;

/// What a session is to watch for.
#[derive(Clone, Debug)]
pub(crate) struct SessionConfig {
    /// When the run must be over, for `--timeout`.
    pub(crate) deadline: Option<Instant>,
    /// When the application must have said HELLO.
    pub(crate) boot_deadline: Instant,
    /// Whether HELLO is all that is wanted, to try an accelerator out.
    pub(crate) only_boot: bool,
    /// Whether to show what the machine prints, as it comes.
    pub(crate) show_text: bool,
    /// Whether to show what the hypervisor prints, as it comes.
    pub(crate) show_hypervisor: bool,
    /// What becomes of the application's own messages.
    pub(crate) diagnostics: Diagnostics,
    /// Where the recording goes, if the run is recorded.
    pub(crate) recording: Option<Tape>,
}

/// What becomes of the application's own messages, which say why it cannot run a module or how a guest trapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Diagnostics {
    /// They are kept for the result, and mixed with nothing.
    #[default]
    Keep,
    /// They are also written to the guest's standard error, in their order with what the guest writes there.
    Stderr,
}

/// Longest message of the application that is kept, in bytes.
const MOST_DIAGNOSTIC: usize = 64 * 1024;

/// Unanswered requests for standard input. The protocol allows two; more is a guest gone wrong.
const MOST_REQUESTS: usize = 16;

/// Answers that the guest has not taken. It is not listened to until it takes some.
const MOST_ANSWERS: usize = 128 * 1024;

/// How long the machine may still print after EXIT, if someone wants to see it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes of the hypervisor's words that are read in one turn: more than a pipe usually holds.
const MOST_WORDS: usize = 128 * 1024;

/// What KVM's failure looks like in QEMU's words.
const KVM_FAILURES: [&str; 2] = ["KVM internal error", "KVM: entry failed"];

/// Something that the guest wants done, in the order in which it wants it.
#[derive(Debug)]
enum Action {
    Write(Stream, Vec<u8>),
    /// Bytes that are still in the window: a guest that does not wait for SYNC's answer must not fill this queue.
    WriteSpan(Stream, Span),
    /// The next bytes of the recording.
    Record(Vec<u8>),
    /// The same, still in the window.
    RecordSpan(Span),
    Ask(Request),
    /// To know that all spans before this have been read.
    Sync,
    /// To take so many bytes of input back.
    Unread(u32),
    Exit(Ending),
}

/// The loop's state.
pub(crate) struct Session<'a> {
    config: &'a SessionConfig,
    decoder: Decoder,
    actions: VecDeque<Action>,
    output: Output,
    input: Input,
    /// The machine's memory, if the launcher owns it, and the guest's window in it.
    memory: Option<&'a GuestMemory>,
    window: Option<SharedWindow<'a>>,
    /// What the machine reads before the application starts, until then.
    payload: Option<HostFile>,
    /// The machine, whose daemons serve its mounted directories.
    daemons: &'a mut [Daemon],
    /// The host's end of the guest's network, if it has one.
    relay: Option<&'a mut Relay>,
    diagnostic: String,
    /// Bytes for the guest that its end of the line has not taken yet.
    answers: Vec<u8>,
    started: bool,
    hello: Option<Instant>,
    /// The version that the guest's HELLO has named.
    version: u8,
    /// The guest has said EXIT.
    exiting: bool,
    /// The guest has written something, or has asked for input.
    exchanged: bool,
    reason: Option<ExitReason>,
    text: Transcript,
    hypervisor: Transcript,
    /// Whether the hypervisor's standard output and standard error may have more to read.
    console_open: bool,
    stderr_open: bool,
    /// The hypervisor is gone: what is still in the pipes is all that there is.
    ended: bool,
    /// Until when to read on after EXIT.
    farewell: Option<(Instant, Ending)>,
}

/// Runs a session until it ends. The hypervisor may still be running then.
pub(crate) fn run(
    machine: &mut Machine,
    interrupts: &[Interrupt],
    config: &SessionConfig,
    streams: Streams,
) -> SessionReport {
    run_watched(machine, interrupts, config, streams, |_| None)
}

/// Runs a session, and lets `watch` look at it before each turn and say how long the turn may wait at most.
pub(crate) fn run_watched(
    machine: &mut Machine,
    interrupts: &[Interrupt],
    config: &SessionConfig,
    streams: Streams,
    mut watch: impl FnMut(&Session<'_>) -> Option<Duration>,
) -> SessionReport {
    let Machine {
        process,
        memory,
        daemons,
        relay,
        payload,
        ..
    } = machine;
    let mut session = Session {
        config,
        decoder: Decoder::new(),
        actions: VecDeque::new(),
        output: Output::new(streams.stdout, streams.stderr),
        input: Input::new(streams.stdin),
        memory: memory.as_ref(),
        window: None,
        payload: payload.take(),
        daemons,
        relay: relay.as_mut(),
        diagnostic: String::new(),
        answers: Vec::new(),
        started: false,
        hello: None,
        version: 0,
        exiting: false,
        exchanged: false,
        reason: None,
        text: Transcript::new("vm", config.show_text),
        hypervisor: Transcript::new(&machine.hypervisor.to_ascii_lowercase(), config.show_hypervisor),
        console_open: true,
        stderr_open: true,
        ended: false,
        farewell: None,
    };
    let reason = loop {
        let limit = watch(&session);
        if let Err(error) = session.turn(process, interrupts, limit) {
            break ExitReason::Failed(error);
        }
        if let Some(reason) = session.reason.take() {
            break reason;
        }
    };
    if matches!(reason, ExitReason::Ended) {
        // The hypervisor closes the console first and may have something to say after that.
        process.end_within(FAREWELL);
        session.ended = true;
        // Without its words, the report of the end is still true.
        let _ = session.read_stderr(&process.stderr);
    }
    if let Some(cut) = session.decoder.finish() {
        // A machine that died while it wrote a frame: its last words may be in there.
        session.text.push(&cut.payload);
    }
    SessionReport {
        reason,
        started: session.started,
        exchanged: session.exchanged,
        hello: session.hello,
        hypervisor_memory: process.peak_memory(),
        diagnostic: session.diagnostic,
        text: session.text,
        hypervisor: session.hypervisor,
    }
}

impl Session<'_> {
    /// One turn of the loop: waits for something, no longer than `limit`, and does it.
    fn turn(
        &mut self,
        process: &mut Process,
        interrupts: &[Interrupt],
        limit: Option<Duration>,
    ) -> io::Result<()> {
        self.act()?;
        if self.reason.is_some() {
            return Ok(());
        }
        let now = Instant::now();
        let Some(patience) = self.patience(now) else {
            return Ok(());
        };

        let patience = patience.into_iter().chain(limit).min();
        let ready = self.wait(process, interrupts, patience)?;
        process.look_at_memory();
        for source in ready {
            match source {
                Source::Interrupt => {
                    if let Some(stop) = interrupt::reason(interrupts) {
                        self.end(ExitReason::Stopped(stop));
                    }
                }
                Source::End => self.ended = process.ended()?.is_some(),
                Source::Relay => {
                    if let Some(reason) = self.relay.as_mut().map_or(Ok(None), |relay| relay.failure())? {
                        self.end(ExitReason::RelayFailed(reason));
                    }
                }
                Source::Console => self.read_console(&process.console_out)?,
                Source::Stderr => self.read_stderr(&process.stderr)?,
                Source::Answers => {}
                Source::Input => {
                    self.input.answer(self.window.as_ref(), &mut self.answers)?;
                }
                Source::Output => self.write_output(),
            }
        }
        self.send_answers(&process.console_in);
        if self.ended {
            // Once more, for what arrived between reading and the end.
            self.read_console(&process.console_out)?;
            self.read_stderr(&process.stderr)?;
        }
        Ok(())
    }

    /// Takes what the guest wants from the queue, up to the first thing that must be waited for.
    fn act(&mut self) -> io::Result<()> {
        while self.output.is_idle() && self.reason.is_none() {
            let Some(action) = self.actions.pop_front() else {
                break;
            };
            match action {
                Action::Write(stream, bytes) => self.output.begin(stream, bytes),
                Action::WriteSpan(stream, span) => {
                    if let Some(window) = &self.window {
                        self.output.begin(stream, window.read(span)?);
                    }
                }
                Action::Record(bytes) => self.record(&bytes),
                Action::RecordSpan(span) => {
                    if let Some(window) = &self.window {
                        let bytes = window.read(span)?;
                        self.record(&bytes);
                    }
                }
                Action::Sync => Reply::Synced.append_to(&mut self.answers),
                Action::Unread(count) => {
                    if !self.input.take_back(count) {
                        self.protocol("it gives back more input than it got");
                        return Ok(());
                    }
                }
                Action::Ask(request) => {
                    if self.input.waiting() >= MOST_REQUESTS {
                        self.protocol("it asks for input without waiting for answers");
                        return Ok(());
                    }
                    self.input.ask(request);
                }
                Action::Exit(ending) => {
                    if self.config.show_text {
                        self.farewell = Some((Instant::now() + FAREWELL, ending));
                    } else {
                        self.end(ExitReason::Exit(ending));
                        return Ok(());
                    }
                }
            }
        }
        if !self.console_open && self.output.is_idle() {
            self.end(match self.farewell {
                Some((_, ending)) => ExitReason::Exit(ending),
                None => ExitReason::Ended,
            });
        }
        Ok(())
    }

    /// How long to wait at most. `None` if a time is over, and with it the session.
    fn patience(&mut self, now: Instant) -> Option<Option<Duration>> {
        let boot = (!self.started).then_some(self.config.boot_deadline);
        let times = [self.config.deadline, boot, self.farewell.map(|(until, _)| until)];
        let next = times.into_iter().flatten().min();
        let Some(next) = next else { return Some(None) };
        if let Some(rest) = next.checked_duration_since(now).filter(|rest| !rest.is_zero()) {
            return Some(Some(rest));
        }
        let over = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        self.end(match self.farewell {
            Some((_, ending)) => ExitReason::Exit(ending),
            None if over(self.config.deadline) => ExitReason::Timeout,
            None => ExitReason::NeverStarted,
        });
        None
    }

    /// Notes how the session ends; the first reason stands.
    fn end(&mut self, reason: ExitReason) {
        self.reason.get_or_insert(reason);
    }

    /// Ends the session because the guest's side does not keep to the protocol.
    fn protocol(&mut self, what: impl Into<String>) {
        self.end(ExitReason::Protocol(what.into()));
    }

    /// Reads from the guest and puts what it wants into the queue.
    fn read_console(&mut self, console: &OwnedFd) -> io::Result<()> {
        // One read at a time, or what a child of a hypervisor that has ended goes on to send would pile up.
        if !self.console_open || !self.output.is_idle() || !self.actions.is_empty() {
            return Ok(());
        }
        let mut buffer = [0; 64 * 1024];
        let length = match rustix::io::read(console, &mut buffer) {
            Ok(length) => length,
            // Nothing more comes from one that has ended, even if a child of it holds the pipe open.
            Err(Errno::AGAIN) if self.ended => 0,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if length == 0 {
            self.console_open = false;
            return Ok(());
        }
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.feed(buffer.get(..length).unwrap_or_default(), |event| match event {
            Event::Text(text) => {
                let shown = self.text.push(text);
                self.show(shown);
            }
            Event::Frame(frame) => self.frame(frame),
        });
        self.decoder = decoder;
        Ok(())
    }

    /// Reads what the hypervisor has to say.
    fn read_stderr(&mut self, stderr: &OwnedFd) -> io::Result<()> {
        let mut buffer = [0; 4096];
        // Bounded, or one that never stops talking would keep the deadline and Ctrl-C from being looked at.
        for _ in 0..MOST_WORDS / buffer.len() {
            if !self.stderr_open {
                break;
            }
            match rustix::io::read(stderr, &mut buffer) {
                Ok(0) => self.stderr_open = false,
                Ok(length) => {
                    let shown = self.hypervisor.push(buffer.get(..length).unwrap_or_default());
                    self.show(shown);
                }
                Err(Errno::AGAIN) if self.ended => self.stderr_open = false,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let text = self.hypervisor.text();
        if KVM_FAILURES.iter().any(|failure| text.contains(failure)) {
            self.end(ExitReason::KvmFailed);
        }
        Ok(())
    }

    /// Shows text that is not the guest's, in its order with what the guest writes.
    fn show(&mut self, text: Vec<u8>) {
        if !text.is_empty() {
            self.actions.push_back(Action::Write(Stream::Error, text));
        }
    }

    fn write_output(&mut self) {
        match self.output.write() {
            Written::Progress => {}
            Written::Closed => self.end(ExitReason::OutputClosed),
            Written::Failed(name, error) => self.end(ExitReason::OutputFailed(name, error)),
        }
    }

    /// Sends what is answered, as far as the line takes it.
    fn send_answers(&mut self, console: &OwnedFd) {
        while !self.answers.is_empty() {
            match rustix::io::write(console, &self.answers) {
                Ok(length) => {
                    self.answers.drain(..length.min(self.answers.len()));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The guest is gone; its end is noticed elsewhere.
                Err(_) => self.answers.clear(),
            }
        }
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
