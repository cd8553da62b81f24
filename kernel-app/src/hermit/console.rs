//! The console: the guest's standard streams over the serial line, raw or in frames.
//!
//! Layer: device. The protocol and the guest's side of it are `boot_protocol::console`, in prose `docs/console.md`.
//! uhyve's console has no input: there it is read from uhyve's own standard input.

use alloc::format;

use boot_protocol::command_line;
use boot_protocol::console::client::{Client, Input, Line, Output, Received, send};
use boot_protocol::console::{AnswerError, Ending, FrameKind, VERSION, VERSION_SHARED};
use wasi_core::Errno;
use wasi_core::Stream;
use wasi_core::system::Readiness;

use super::machine::monotonic;
use super::raw::Raw;
use super::shared_buffer::SharedBuffer;
use super::syscalls::{sys_console_read, sys_console_write, sys_console_write_both, sys_usleep};
use super::uhyve::{self, Uhyve};

/// The console.
pub(super) struct Console(Kind);

enum Kind {
    Raw(Raw),
    Framed(Client<Serial, SharedBuffer>),
}

impl Console {
    /// A console of this kind, which begins to speak at once.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn open(kind: command_line::Console) -> Self {
        let (version, memory) = match kind {
            command_line::Console::Raw => return Self(Kind::Raw(Raw::new(Serial::new()))),
            command_line::Console::Framed => (VERSION, None),
            command_line::Console::SharedMemory => (VERSION_SHARED, SharedBuffer::take()),
        };
        let client = Client::speaking(Serial::new(), version, memory);
        super::panic::console_is_framed();
        Self(Kind::Framed(client))
    }

    /// Writes all of `buf` to a standard stream.
    pub(super) fn write(&mut self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        match &mut self.0 {
            Kind::Raw(_) => write_line(buf),
            Kind::Framed(client) => {
                let stream = match stream {
                    Stream::Stdout => Output::Stdout,
                    Stream::Stderr => Output::Stderr,
                };
                client.write(stream, buf);
            }
        }
        Ok(buf.len())
    }

    /// Sends bytes of the recording to the launcher; a plain console has none.
    pub(super) fn record(&mut self, bytes: &[u8]) {
        if let (Kind::Framed(client), false) = (&mut self.0, bytes.is_empty()) {
            client.write(Output::Recording, bytes);
        }
    }

    /// Shows a message of the application itself, one line or more without the last line's end.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn diagnostic(&mut self, message: &str) {
        let message = format!("{message}\n");
        match &mut self.0 {
            Kind::Raw(_) => write_line(message.as_bytes()),
            Kind::Framed(client) => client.send(FrameKind::Diagnostic, message.as_bytes()),
        }
    }

    /// Announces the end, if someone listens for it.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn exit(&mut self, ending: Ending) {
        if let Kind::Framed(client) = &mut self.0 {
            client.exit(ending);
        }
    }

    /// Blocks until standard input has a byte or has ended (0).
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        match &mut self.0 {
            Kind::Raw(raw) => raw.read(buf),
            Kind::Framed(client) => client.read(buf).map_err(|_| Errno::IO),
        }
    }

    /// Waits until standard input is readable or `timeout` nanoseconds have passed.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn poll(&mut self, timeout: Option<u64>) -> Result<Readiness, Errno> {
        match &mut self.0 {
            Kind::Raw(raw) => raw.poll(timeout),
            Kind::Framed(client) => match client.poll(timeout) {
                Ok(Input::NotReady) => Ok(Readiness::NotReady),
                Ok(Input::Ready { bytes, hangup }) => Ok(Readiness::Ready { bytes, hangup }),
                Err(_) => Err(Errno::IO),
            },
        }
    }

    /// Nanoseconds since 1970 by the host's clock, if there is a host to ask.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn host_time(&mut self) -> Option<u64> {
        match &mut self.0 {
            Kind::Raw(_) => None,
            Kind::Framed(client) => client.host_time(),
        }
    }

    /// Whether the host still serves the directory `share`, counted from 0 among the run's; `None` if nobody can be
    /// asked.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn is_served(&mut self, share: u32) -> Option<bool> {
        match &mut self.0 {
            Kind::Raw(_) => None,
            Kind::Framed(client) => client.is_served(share),
        }
    }

    /// Nanoseconds that were spent waiting for the line's other side.
    pub(super) fn waited(&mut self) -> u64 {
        match &mut self.0 {
            Kind::Raw(raw) => raw.line().waited,
            Kind::Framed(client) => client.line().waited,
        }
    }
}

/// The serial line, or under uhyve its console and its standard input.
pub(super) struct Serial {
    /// uhyve, whose standard input brings what is read if it is there.
    uhyve: Option<Uhyve>,
    /// Nanoseconds that were spent waiting for input.
    waited: u64,
}

impl Serial {
    fn new() -> Self {
        Self {
            uhyve: Uhyve::find(),
            waited: 0,
        }
    }

    /// uhyve, if its standard input is read.
    pub(super) fn uhyve(&self) -> Option<Uhyve> {
        self.uhyve
    }

    /// Counts the time that `wait` takes as waiting.
    pub(super) fn waiting<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        let start = monotonic();
        let result = wait();
        self.waited = self.waited.saturating_add(monotonic().saturating_sub(start));
        result
    }
}

impl Line for Serial {
    fn write(&mut self, bytes: &[u8]) {
        write_line(bytes);
    }

    fn write_both(&mut self, head: &[u8], body: &[u8]) {
        write_both(head, body);
    }

    /// uhyve keeps what it prints until the end of a line, and a question that it keeps is never answered: there, a
    /// line break follows, which is text between frames.
    fn end_message(&mut self) {
        if self.uhyve.is_some() {
            write_line(b"\n");
        }
    }

    fn read(&mut self, buf: &mut [u8], timeout: Option<u64>) -> Received {
        let uhyve = self.uhyve;
        self.waiting(|| match uhyve {
            None => receive(buf, timeout),
            Some(uhyve) => match uhyve.read_stdin(buf) {
                Ok(count @ 1..) => Received::Bytes(count),
                Ok(0) | Err(_) => Received::NoInput,
            },
        })
    }

    fn has_timeout(&self) -> bool {
        self.uhyve.is_none()
    }

    fn now(&mut self) -> u64 {
        monotonic()
    }

    fn sleep(&mut self, nanoseconds: u64) {
        // SAFETY: takes no pointers.
        self.waiting(|| unsafe { sys_usleep(nanoseconds.div_ceil(1000)) });
    }

    fn broken(&mut self, error: AnswerError) {
        log::error!("{error}");
    }
}

/// Receives at most `buf.len()` bytes; waits for the first at most `timeout` nanoseconds (`None`: for ever).
fn receive(buf: &mut [u8], timeout: Option<u64>) -> Received {
    // `u64::MAX` microseconds mean for ever, which 584,000 years might as well be.
    let microseconds = timeout.map_or(u64::MAX, |nanoseconds| nanoseconds.div_ceil(1000));
    // SAFETY: `buf` is valid for writes of its length.
    let count = unsafe { sys_console_read(buf.as_mut_ptr(), buf.len(), microseconds) };
    match usize::try_from(count) {
        Ok(0) => Received::Nothing,
        Ok(count) => Received::Bytes(count.min(buf.len())),
        Err(_) => Received::NoInput,
    }
}

/// The line for those who have no console at hand: it only writes.
struct Emergency;

impl Line for Emergency {
    fn write(&mut self, bytes: &[u8]) {
        write_line(bytes);
    }

    fn write_both(&mut self, head: &[u8], body: &[u8]) {
        write_both(head, body);
    }

    fn end_message(&mut self) {
        if uhyve::is_there() {
            write_line(b"\n");
        }
    }

    fn read(&mut self, _: &mut [u8], _: Option<u64>) -> Received {
        Received::NoInput
    }

    fn now(&mut self) -> u64 {
        0
    }

    fn sleep(&mut self, _: u64) {}
}

/// Sends a frame though no console is at hand.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn send_anyway(kind: FrameKind, payload: &[u8]) {
    send(&mut Emergency, kind, payload);
}

/// Writes a frame's header and content: the deadline's last words do not come between.
fn write_both(head: &[u8], body: &[u8]) {
    // SAFETY: both are valid for reads of their lengths.
    unsafe { sys_console_write_both(head.as_ptr(), head.len(), body.as_ptr(), body.len()) };
}

/// Writes bytes to the serial line as they are.
pub(super) fn write_line(bytes: &[u8]) {
    /// Most bytes of one call, for whose end the deadline waits.
    const MOST: usize = 16 << 10;
    for piece in bytes.chunks(MOST) {
        // SAFETY: `piece` is valid for reads of its length.
        unsafe { sys_console_write(piece.as_ptr(), piece.len()) };
    }
}
