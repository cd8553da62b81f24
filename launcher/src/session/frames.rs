//! The guest's frames: each becomes something to do, after a look at whether it may be wanted.

use std::fmt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use boot_protocol::console::{Frame, Reply, Span, VERSION, VERSION_SHARED, Window};
use boot_protocol::shown::{self, LONGEST_MESSAGE, Layout};

use super::input::Request;
use super::output::Stream;
use super::{Action, Diagnostics, ExitReason, MOST_DIAGNOSTIC, Session};

impl Session<'_> {
    /// One frame of the guest.
    pub(super) fn frame(&mut self, frame: Frame<'_>) {
        log::debug!("{}", Description(&frame));
        if self.exiting {
            // EXIT is the last frame.
            return;
        }
        self.exchanged |= matches!(
            frame,
            Frame::Stdout(_)
                | Frame::Stderr(_)
                | Frame::StdoutWindow(_)
                | Frame::StderrWindow(_)
                | Frame::Read { .. }
        );
        let action = match frame {
            Frame::Stdout(bytes) => Action::Write(Stream::Output, bytes.to_vec()),
            Frame::Stderr(bytes) => Action::Write(Stream::Error, bytes.to_vec()),
            Frame::Diagnostic(bytes) => {
                let text = self.diagnostic(bytes);
                match self.config.diagnostics {
                    Diagnostics::Stderr if !text.is_empty() => {
                        Action::Write(Stream::Error, text.into_bytes())
                    }
                    Diagnostics::Stderr | Diagnostics::Keep => return,
                }
            }
            Frame::StdoutWindow(span) => {
                return self.span(span, |span| Action::WriteSpan(Stream::Output, span));
            }
            Frame::StderrWindow(span) => {
                return self.span(span, |span| Action::WriteSpan(Stream::Error, span));
            }
            Frame::Recording(_) | Frame::RecordingWindow(_) if self.config.recording.is_none() => {
                return self.protocol("it sends a recording that nobody has asked for");
            }
            Frame::Recording(bytes) => Action::Record(bytes.to_vec()),
            Frame::RecordingWindow(span) => return self.span(span, Action::RecordSpan),
            Frame::Sync => Action::Sync,
            Frame::Read { max } => Action::Ask(Request::Read { max }),
            Frame::Poll => Action::Ask(Request::Poll),
            Frame::Unread { count } => Action::Unread(count),
            Frame::Exit(ending) => {
                self.exiting = true;
                Action::Exit(ending)
            }
            Frame::Hello { version } => return self.hello(version),
            Frame::Window(window) => return self.window(window),
            // At once, not behind a READ that waits for a person to type.
            Frame::Time => return Reply::Time(now()).append_to(&mut self.answers),
            // The same: who asks is waiting for a directory, not for a person.
            Frame::Share { index } => return self.share(index),
        };
        self.actions.push_back(action);
    }

    /// DIAGNOSTIC: kept for the result, up to a length. Returns what of it can be shown.
    ///
    /// The application quotes its guest there, and a fallen machine says anything.
    fn diagnostic(&mut self, bytes: &[u8]) -> String {
        let room = MOST_DIAGNOSTIC.saturating_sub(self.diagnostic.len());
        if room == 0 {
            return String::new();
        }
        let text = shown::bounded(bytes, Layout::Text, room.min(LONGEST_MESSAGE));
        self.diagnostic.push_str(&text);
        text
    }

    /// SHARE: a reply from a shared directory is late. If its daemon has ended, none will ever come.
    fn share(&mut self, index: u32) {
        let daemon = usize::try_from(index)
            .ok()
            .and_then(|index| self.daemons.get_mut(index));
        let served = match daemon {
            Some(daemon) => daemon.ended().is_none(),
            None => {
                return self.protocol(format!(
                    "it asks about mounted directory {index}, which does not exist"
                ));
            }
        };
        Reply::Share(served).append_to(&mut self.answers);
    }

    fn hello(&mut self, version: u8) {
        let spoken = if self.memory.is_some() {
            VERSION_SHARED
        } else {
            VERSION
        };
        if !(VERSION..=spoken).contains(&version) {
            self.protocol(format!(
                "it speaks version {version} of the console protocol, this program {spoken}"
            ));
        } else if self.config.only_boot {
            self.end(ExitReason::Started);
        }
        self.started = true;
        self.hello.get_or_insert_with(Instant::now);
        self.version = version;
        if let Some(payload) = self.payload.take() {
            payload.give_back();
        }
    }

    /// WINDOW: the only place where what the guest says about its memory is checked against the memory.
    fn window(&mut self, window: Window) {
        match self.memory.filter(|_| self.version == VERSION_SHARED) {
            None => self.protocol("it names a shared buffer, but shares no memory with this program"),
            Some(_) if self.window.is_some() => self.protocol("it names its shared buffer twice"),
            Some(memory) => match memory.window(window) {
                Ok(window) => self.window = Some(window),
                Err(refused) => self.protocol(refused.to_string()),
            },
        }
    }

    /// Keeps bytes of the recording. It is a file, for which nothing waits long.
    pub(super) fn record(&mut self, bytes: &[u8]) {
        let kept = self.config.recording.as_ref().map(|tape| tape.events(bytes));
        if let Some(Err(error)) = kept {
            self.end(ExitReason::OutputFailed("the recording", error));
        }
    }

    /// Output that lies in the window.
    fn span(&mut self, span: Span, action: impl FnOnce(Span) -> Action) {
        match &self.window {
            Some(window) if window.holds(span) => self.actions.push_back(action(span)),
            Some(_) => self.protocol(format!(
                "it names {} bytes at {} as output, outside of its shared buffer",
                span.length, span.offset
            )),
            None => self.protocol("it writes through a shared buffer before it has named one"),
        }
    }
}

/// Nanoseconds since 1970-01-01 UTC; 0 on a host whose clock stands before that.
fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// A frame's name and size, for the log.
struct Description<'a>(&'a Frame<'a>);

impl fmt::Display for Description<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Frame::Stdout(bytes) => write!(f, "frame STDOUT, {} bytes", bytes.len()),
            Frame::Stderr(bytes) => write!(f, "frame STDERR, {} bytes", bytes.len()),
            Frame::Diagnostic(bytes) => write!(f, "frame DIAGNOSTIC, {} bytes", bytes.len()),
            Frame::Read { max } => write!(f, "frame READ, at most {max} bytes"),
            Frame::Poll => f.write_str("frame POLL"),
            Frame::Exit(ending) => match ending.cause() {
                Some(cause) => write!(f, "frame EXIT, code {}, {cause:?}", ending.code),
                None => write!(f, "frame EXIT, code {}", ending.code),
            },
            Frame::Hello { version } => write!(f, "frame HELLO, version {version}"),
            Frame::Time => f.write_str("frame TIME"),
            Frame::Window(window) => write!(
                f,
                "frame WINDOW, {} and {} bytes at {:#x}",
                window.output, window.input, window.address
            ),
            Frame::StdoutWindow(span) => {
                write!(f, "frame STDOUT_WINDOW, {} bytes at {}", span.length, span.offset)
            }
            Frame::StderrWindow(span) => {
                write!(f, "frame STDERR_WINDOW, {} bytes at {}", span.length, span.offset)
            }
            Frame::Sync => f.write_str("frame SYNC"),
            Frame::Unread { count } => write!(f, "frame UNREAD, {count} bytes"),
            Frame::Share { index } => write!(f, "frame SHARE, {index}"),
            Frame::Recording(bytes) => write!(f, "frame RECORDING, {} bytes", bytes.len()),
            Frame::RecordingWindow(span) => {
                write!(
                    f,
                    "frame RECORDING_WINDOW, {} bytes at {}",
                    span.length, span.offset
                )
            }
        }
    }
}
