//! The guest's frames: each becomes something to do, after a look at whether it may be wanted.

use std::time::{SystemTime, UNIX_EPOCH};

use boot_protocol::console::{Frame, Reply, Span, VERSION, VERSION_SHARED, Window};

use super::input::Request;
use super::output::Stream;
use super::{Action, Ending, Session};
use crate::say::say;

impl Session<'_> {
    /// One frame of the guest.
    pub(super) fn frame(&mut self, frame: Frame<'_>) {
        if self.terms.verbose > 1 {
            say(&describe(&frame));
        }
        if self.farewell.is_some()
            || self
                .actions
                .iter()
                .any(|action| matches!(action, Action::Exit(_)))
        {
            // EXIT is the last frame.
            return;
        }
        let action = match frame {
            Frame::Stdout(bytes) => Action::Write(Stream::Output, bytes.to_vec()),
            Frame::Stderr(bytes) | Frame::Diagnostic(bytes) => Action::Write(Stream::Error, bytes.to_vec()),
            Frame::StdoutWindow(span) => return self.span(Stream::Output, span),
            Frame::StderrWindow(span) => return self.span(Stream::Error, span),
            Frame::Sync => Action::Sync,
            Frame::Read { max } => Action::Ask(Request::Read { max }),
            Frame::Poll => Action::Ask(Request::Poll),
            Frame::Unread { count } => Action::Unread(count),
            Frame::Exit { code } => Action::Exit(code),
            Frame::Hello { version } => return self.hello(version),
            Frame::Window(window) => return self.window(window),
            // At once, not behind a READ that waits for a person to type.
            Frame::Time => return Reply::Time(now()).append_to(&mut self.answers),
            // The same: who asks is waiting for a directory, not for a person.
            Frame::Share { index } => return self.share(index),
        };
        self.actions.push_back(action);
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
                    "it asks about a shared directory {index}, which it has not"
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
        } else if self.terms.only_boot {
            self.end(Ending::Started);
        }
        self.started = true;
        self.version = version;
    }

    /// WINDOW: the only place where what the guest says about its memory is checked against the memory.
    fn window(&mut self, window: Window) {
        match self.memory.filter(|_| self.version == VERSION_SHARED) {
            None => self.protocol("it names a window, which this session has not"),
            Some(_) if self.window.is_some() => self.protocol("it names its window twice"),
            Some(memory) => match memory.window(window) {
                Ok(window) => self.window = Some(window),
                Err(refused) => self.protocol(refused.to_string()),
            },
        }
    }

    /// Output that lies in the window.
    fn span(&mut self, stream: Stream, span: Span) {
        match &self.window {
            Some(window) if window.holds(span) => self.actions.push_back(Action::WriteSpan(stream, span)),
            Some(_) => self.protocol(format!(
                "it names {} bytes at {} as output, which lie outside of its window",
                span.length, span.offset
            )),
            None => self.protocol("it writes through a window and has named none"),
        }
    }
}

/// Nanoseconds since 1970-01-01 UTC; 0 on a host whose clock stands before that.
fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

/// A frame's name and size, for -vv.
fn describe(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Stdout(bytes) => format!("frame STDOUT, {} bytes", bytes.len()),
        Frame::Stderr(bytes) => format!("frame STDERR, {} bytes", bytes.len()),
        Frame::Diagnostic(bytes) => format!("frame DIAGNOSTIC, {} bytes", bytes.len()),
        Frame::Read { max } => format!("frame READ, at most {max} bytes"),
        Frame::Poll => "frame POLL".to_string(),
        Frame::Exit { code } => format!("frame EXIT, code {code}"),
        Frame::Hello { version } => format!("frame HELLO, version {version}"),
        Frame::Time => "frame TIME".to_string(),
        Frame::Window(window) => format!(
            "frame WINDOW, {} and {} bytes at {:#x}",
            window.output, window.input, window.address
        ),
        Frame::StdoutWindow(span) => format!("frame STDOUT_WINDOW, {} bytes at {}", span.length, span.offset),
        Frame::StderrWindow(span) => format!("frame STDERR_WINDOW, {} bytes at {}", span.length, span.offset),
        Frame::Sync => "frame SYNC".to_string(),
        Frame::Unread { count } => format!("frame UNREAD, {count} bytes"),
        Frame::Share { index } => format!("frame SHARE, {index}"),
    }
}
