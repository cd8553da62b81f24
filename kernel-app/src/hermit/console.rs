//! The console: the guest's standard streams over the serial line, plain or in frames.
//!
//! Layer: device. The protocol is `boot_protocol::console`, in prose `docs/console.md`. uhyve's
//! console has no input: there it is read from uhyve's own standard input.

use alloc::format;
use alloc::vec::Vec;

use boot_protocol::console::{
    Answer, AnswerParser, FrameKind, Halves, MAX_PAYLOAD, VERSION, VERSION_SHARED, chunks, header,
};
use wasi_shim::Stream;
use wasi_shim::abi::Errno;
use wasi_shim::system::StdinState;

use super::plain::Plain;
use super::syscalls::{sys_console_read, sys_console_write, sys_usleep};
use super::uhyve::{self, Uhyve};
use super::window::{INPUT, SharedMemory};

/// The console.
pub(crate) struct Console(Kind);

enum Kind {
    Plain(Plain),
    Framed(Framed),
}

/// How many bytes are asked of the host at least: a guest that reads byte by byte would otherwise wait for a
/// message to the host and back each time. The host answers with what there is and does not wait for more. It is
/// little at first, since what a guest leaves unread of a pipe is lost, and doubles with each answer that is full.
const FIRST_READ_AHEAD: usize = 4 << 10;

/// Microseconds between two looks at input that cannot be waited for with a time-out.
const LOOK_INTERVAL: u64 = 1000;

/// Where the doubling ends if input comes over the line, which more at a time would not make quicker.
const MOST_READ_AHEAD_INLINE: usize = 16 << 10;

/// The shortest output that goes through the window. At 16 bytes both ways took the same time (`docs/console.md`).
const LEAST_WINDOW: usize = 32;

/// A console that speaks the protocol.
struct Framed {
    version: u8,
    /// uhyve, whose standard input brings the answers if it is there.
    uhyve: Option<Uhyve>,
    /// Memory that the host sees, and which of it is free.
    window: Option<(SharedMemory, Halves)>,
    /// Input that has arrived.
    input: Vec<u8>,
    /// How much of it has been read.
    used: usize,
    /// How much to ask for at least.
    ahead: usize,
    parser: AnswerParser,
    /// Whether a POLL waits for its READY.
    poll_pending: bool,
    /// What the last READY said; until the next read.
    ready: Option<StdinState>,
    /// Whether the line has sent what is no answer. Nothing can be read from it then.
    broken: bool,
}

impl Console {
    /// A console without a protocol.
    pub(crate) fn plain() -> Self {
        Self(Kind::Plain(Plain::new()))
    }

    /// A console that speaks the protocol, beginning with HELLO.
    pub(crate) fn framed() -> Self {
        Self::speaking(VERSION, None)
    }

    /// The same with a host that sees this machine's memory.
    pub(crate) fn shared() -> Self {
        Self::speaking(VERSION_SHARED, SharedMemory::take())
    }

    fn speaking(version: u8, memory: Option<SharedMemory>) -> Self {
        let uhyve = Uhyve::find();
        send(FrameKind::Hello, &[version]);
        super::panic::console_is_framed();
        if let Some(memory) = &memory {
            send(FrameKind::Window, &memory.window().to_bytes());
        }
        Self(Kind::Framed(Framed {
            version,
            uhyve,
            window: memory.map(|memory| {
                let halves = Halves::new(memory.window().output);
                (memory, halves)
            }),
            input: Vec::new(),
            used: 0,
            ahead: FIRST_READ_AHEAD,
            parser: AnswerParser::new(),
            poll_pending: false,
            ready: None,
            broken: false,
        }))
    }

    /// Writes all of `buf` to a standard stream.
    pub(crate) fn write(&mut self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        match &mut self.0 {
            Kind::Plain(_) => write_line(buf),
            Kind::Framed(framed) => framed.write(stream, buf),
        }
        Ok(buf.len())
    }

    /// Shows a message of the application itself, one line or more without the last line's end.
    pub(crate) fn diagnostic(&mut self, message: &str) {
        match &self.0 {
            Kind::Plain(_) => write_line(format!("{message}\n").as_bytes()),
            Kind::Framed(_) => send(FrameKind::Diagnostic, format!("{message}\n").as_bytes()),
        }
    }

    /// Announces the exit code, if someone listens for it.
    pub(crate) fn exit(&mut self, code: u8) {
        if let Kind::Framed(framed) = &mut self.0 {
            framed.give_back();
            send(FrameKind::Exit, &[code]);
        }
    }

    /// Blocks until standard input has a byte or has ended (0).
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        match &mut self.0 {
            Kind::Plain(plain) => plain.read(buf),
            Kind::Framed(framed) => framed.read(buf),
        }
    }

    /// Waits until standard input is readable or `timeout` nanoseconds have passed.
    pub(crate) fn poll(&mut self, timeout: Option<u64>) -> Result<StdinState, Errno> {
        match &mut self.0 {
            Kind::Plain(plain) => plain.poll(timeout),
            Kind::Framed(framed) => framed.poll(timeout),
        }
    }

    /// Nanoseconds since 1970 by the host's clock, if there is a host to ask.
    pub(crate) fn host_time(&mut self) -> Option<u64> {
        match &mut self.0 {
            Kind::Plain(_) => None,
            Kind::Framed(framed) => framed.host_time(),
        }
    }

    /// Whether the host still serves the shared directory `share`, counted from 0 on the boot line; `None` if there is
    /// nobody to ask.
    pub(crate) fn is_served(&mut self, share: u32) -> Option<bool> {
        match &mut self.0 {
            Kind::Plain(_) => None,
            Kind::Framed(framed) => framed.is_served(share),
        }
    }
}

impl Framed {
    fn write(&mut self, stream: Stream, buf: &[u8]) {
        let (inline, spans) = match stream {
            Stream::Stdout => (FrameKind::Stdout, FrameKind::StdoutWindow),
            Stream::Stderr => (FrameKind::Stderr, FrameKind::StderrWindow),
        };
        let mut rest = buf;
        while let Some((memory, halves)) = self.window.as_mut().filter(|_| rest.len() >= LEAST_WINDOW) {
            if let Some(span) = halves.place(rest.len()) {
                memory.put(span, rest);
                send(spans, &span.to_bytes());
                let taken = usize::try_from(span.length).unwrap_or(usize::MAX);
                rest = rest.get(taken..).unwrap_or_default();
            } else {
                send(FrameKind::Sync, &[]);
                halves.turn();
                if self.wait_for_half().is_err() {
                    // Without answers nobody knows what may be written over.
                    self.window = None;
                }
            }
        }
        if !rest.is_empty() || buf.is_empty() {
            send(inline, rest);
        }
    }

    /// Waits until the half in use has been read by the host.
    fn wait_for_half(&mut self) -> Result<(), Errno> {
        while self.window.as_ref().is_some_and(|(_, halves)| halves.must_wait()) {
            match self.answer(&mut [], None)? {
                Some(Answer::Synced) => {}
                Some(Answer::Ready { eof, available }) => {
                    self.is_ready(eof, available);
                }
                _ => return Err(self.give_up()),
            }
        }
        Ok(())
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        if self.unread().is_empty() {
            if buf.len() >= self.ahead {
                return self.fetch(buf);
            }
            let mut ahead = core::mem::take(&mut self.input);
            ahead.resize(self.ahead, 0);
            let result = self.fetch(&mut ahead);
            ahead.truncate(*result.as_ref().unwrap_or(&0));
            self.input = ahead;
            self.used = 0;
            result?;
        }
        let unread = self.unread();
        let count = buf.len().min(unread.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), unread.get(..count)) {
            to.copy_from_slice(from);
        }
        self.used = self.used.saturating_add(count);
        Ok(count)
    }

    /// Input that has arrived and has not been read.
    fn unread(&self) -> &[u8] {
        self.input.get(self.used..).unwrap_or_default()
    }

    /// Tells the host how much input was read ahead in vain: it can give a file's bytes to the next reader.
    fn give_back(&mut self) {
        if let Ok(count @ 1..) = u32::try_from(self.unread().len())
            && self.version >= VERSION_SHARED
        {
            send(FrameKind::Unread, &count.to_le_bytes());
            self.input.clear();
        }
    }

    /// Asks the host for input; 0 at its end.
    fn fetch(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        let room = usize::try_from(INPUT).unwrap_or(MAX_PAYLOAD);
        let (most, most_ahead) = match self.window {
            Some(_) => (room, room),
            None => (MAX_PAYLOAD, MOST_READ_AHEAD_INLINE),
        };
        let max = buf.len().min(most);
        let length = self.ask(buf, max)?;
        if length == max {
            self.ahead = max.saturating_mul(2).clamp(FIRST_READ_AHEAD, most_ahead);
        }
        Ok(length)
    }

    /// Sends READ and waits for its answer.
    fn ask(&mut self, buf: &mut [u8], max: usize) -> Result<usize, Errno> {
        let buf = buf.get_mut(..max).unwrap_or_default();
        self.ready = None;
        send(
            FrameKind::Read,
            &u32::try_from(max).unwrap_or(u32::MAX).to_le_bytes(),
        );
        loop {
            match self.answer(buf, None)? {
                Some(Answer::Data { length }) => return Ok(length),
                Some(Answer::DataWindow { length }) => {
                    let place = usize::try_from(length)
                        .ok()
                        .and_then(|length| buf.get_mut(..length));
                    return match (place, &mut self.window) {
                        (Some(place), Some((memory, _))) => {
                            memory.get(place);
                            Ok(place.len())
                        }
                        _ => Err(self.give_up()),
                    };
                }
                // A POLL sent earlier is answered first; reading makes what it said obsolete.
                Some(Answer::Ready { .. }) => self.poll_pending = false,
                Some(Answer::Synced) => {}
                Some(Answer::Time(_) | Answer::Share(_)) | None => return Err(self.give_up()),
            }
        }
    }

    fn poll(&mut self, timeout: Option<u64>) -> Result<StdinState, Errno> {
        if let Ok(bytes @ 1..) = u64::try_from(self.unread().len()) {
            return Ok(StdinState::Ready { bytes, hangup: false });
        }
        if let Some(state) = self.ready {
            return Ok(state);
        }
        if !self.poll_pending {
            send(FrameKind::Poll, &[]);
            self.poll_pending = true;
        }
        let deadline = deadline(timeout);
        if let (Some(deadline), Some(_)) = (deadline, self.uhyve) {
            return self.look_until(deadline);
        }
        loop {
            match self.answer(&mut [], deadline)? {
                None => return Ok(StdinState::NotReady),
                Some(Answer::Ready { eof, available }) => return Ok(self.is_ready(eof, available)),
                Some(Answer::Synced) => {}
                Some(_) => return Err(self.give_up()),
            }
        }
    }

    /// Waits for POLL's answer on uhyve, whose input can only be waited for without a time-out: each look asks for the
    /// time, which is answered at once.
    fn look_until(&mut self, deadline: u64) -> Result<StdinState, Errno> {
        loop {
            self.host_time().ok_or(Errno::IO)?;
            if let Some(state) = self.ready {
                return Ok(state);
            }
            let left = deadline.saturating_sub(super::machine::monotonic());
            if left == 0 {
                return Ok(StdinState::NotReady);
            }
            // SAFETY: takes no pointers.
            unsafe { sys_usleep(left.div_ceil(1000).min(LOOK_INTERVAL)) };
        }
    }

    /// Notes POLL's answer.
    fn is_ready(&mut self, eof: bool, available: u32) -> StdinState {
        self.poll_pending = false;
        *self.ready.insert(StdinState::Ready {
            bytes: available.into(),
            // A writer that has gone matters to a reader only when nothing is left to read.
            hangup: eof && available == 0,
        })
    }

    fn host_time(&mut self) -> Option<u64> {
        send(FrameKind::Time, &[]);
        loop {
            match self.answer(&mut [], None).ok()?? {
                Answer::Time(nanoseconds) => return Some(nanoseconds),
                Answer::Ready { eof, available } => {
                    self.is_ready(eof, available);
                }
                Answer::Synced => {}
                Answer::Data { .. } | Answer::DataWindow { .. } | Answer::Share(_) => {
                    self.give_up();
                    return None;
                }
            }
        }
    }

    fn is_served(&mut self, share: u32) -> Option<bool> {
        if self.version < VERSION_SHARED {
            return None;
        }
        send(FrameKind::Share, &share.to_le_bytes());
        loop {
            match self.answer(&mut [], None).ok()?? {
                Answer::Share(served) => return Some(served),
                Answer::Ready { eof, available } => {
                    self.is_ready(eof, available);
                }
                Answer::Synced => {}
                Answer::Data { .. } | Answer::DataWindow { .. } | Answer::Time(_) => {
                    self.give_up();
                    return None;
                }
            }
        }
    }

    /// The next answer; `None` if it has not arrived whole at `deadline`. One to SYNC has been taken note of.
    fn answer(&mut self, data: &mut [u8], deadline: Option<u64>) -> Result<Option<Answer>, Errno> {
        if self.broken {
            return Err(Errno::IO);
        }
        let mut piece = [0; 2048];
        loop {
            let left = deadline.map(|deadline| deadline.saturating_sub(super::machine::monotonic()));
            let wanted = self.parser.wanted().min(piece.len());
            let Some(space) = piece.get_mut(..wanted) else {
                return Err(self.give_up());
            };
            match self.receive(space, left) {
                Received::Bytes(count) => {
                    let arrived = space.get(..count).unwrap_or_default();
                    match self.parser.feed(arrived, data) {
                        Ok(progress) => {
                            if progress.answer == Some(Answer::Synced) && !self.synced() {
                                return Err(self.give_up());
                            }
                            if progress.answer.is_some() {
                                return Ok(progress.answer);
                            }
                        }
                        Err(error) => {
                            log::error!("{error}");
                            return Err(self.give_up());
                        }
                    }
                }
                // An answer that has begun arrives whole, at once: the time-out is for the wait before it.
                Received::Nothing if left == Some(0) => return Ok(None),
                Received::Nothing => {}
                Received::NoInput => return Err(self.give_up()),
            }
        }
    }

    /// Receives from where the answers come.
    fn receive(&self, buf: &mut [u8], timeout: Option<u64>) -> Received {
        let Some(uhyve) = self.uhyve else {
            return receive(buf, timeout);
        };
        match uhyve.read_stdin(buf) {
            Ok(count @ 1..) => Received::Bytes(count),
            Ok(0) | Err(_) => Received::NoInput,
        }
    }

    /// Notes SYNC's answer; `false` if there was no SYNC.
    fn synced(&mut self) -> bool {
        self.window.as_mut().is_some_and(|(_, halves)| halves.synced())
    }

    /// Marks the line as unusable for input.
    fn give_up(&mut self) -> Errno {
        self.broken = true;
        Errno::IO
    }
}

/// The time, by the monotonic clock, at which `timeout` nanoseconds are over.
fn deadline(timeout: Option<u64>) -> Option<u64> {
    timeout.map(|timeout| super::machine::monotonic().saturating_add(timeout))
}

/// What came from the serial line.
pub(super) enum Received {
    /// So many bytes.
    Bytes(usize),
    /// Nothing before the time was over.
    Nothing,
    /// This machine's console has no input.
    NoInput,
}

/// Receives at most `buf.len()` bytes; waits for the first at most `timeout` nanoseconds (`None`: for ever).
pub(super) fn receive(buf: &mut [u8], timeout: Option<u64>) -> Received {
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

/// Sends `payload` in as many frames as it takes, at least one.
///
/// uhyve keeps what it prints until the end of a line, and a question that it keeps is never answered: there, a line
/// break follows, which is text between frames.
pub(super) fn send(kind: FrameKind, payload: &[u8]) {
    send_frames(kind, payload);
    if uhyve::is_there() {
        write_line(b"\n");
    }
}

fn send_frames(kind: FrameKind, payload: &[u8]) {
    // Header and payload of a short frame leave together: each call waits for the line.
    let mut short = [0; 64];
    let empty = payload.is_empty().then_some((header(kind, 0), payload));
    for (head, piece) in empty.into_iter().chain(chunks(kind, payload)) {
        let length = head.len() + piece.len();
        if let Some(frame) = short.get_mut(..length) {
            let (front, back) = frame.split_at_mut(head.len());
            front.copy_from_slice(&head);
            back.copy_from_slice(piece);
            write_line(frame);
        } else {
            write_line(&head);
            write_line(piece);
        }
    }
}

/// Writes bytes to the serial line as they are.
pub(super) fn write_line(bytes: &[u8]) {
    // SAFETY: `bytes` is valid for reads of its length.
    unsafe { sys_console_write(bytes.as_ptr(), bytes.len()) };
}
