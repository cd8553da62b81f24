//! The guest's side of the protocol: frames out, answers in, over any line that can write and read.
//!
//! Layer: the protocol's rules, without a device: the application speaks it over its serial port, and tests over
//! whatever they have. In prose: `docs/console.md`.

use alloc::vec::Vec;

use super::{
    Answer, AnswerError, AnswerParser, Ending, FrameKind, Halves, MAX_PAYLOAD, Span, VERSION, VERSION_SHARED,
    Window, chunks, header,
};

/// How many bytes are asked of the host at least: a guest that reads byte by byte would otherwise wait for a
/// message to the host and back each time. The host answers with what there is and does not wait for more. It is
/// little at first, since what a guest leaves unread of a pipe is lost, and doubles with each answer that is full.
pub const FIRST_READ_AHEAD: usize = 4 << 10;

/// Where the doubling ends if input comes over the line, which more at a time would not make quicker.
pub const MOST_READ_AHEAD_INLINE: usize = 16 << 10;

/// The shortest output that goes through the shared buffer. At 16 bytes both ways took the same time
/// (`docs/console.md`).
pub const LEAST_SHARED: usize = 32;

/// Nanoseconds between two looks at input that cannot be waited for with a time-out.
const LOOK_INTERVAL: u64 = 1_000_000;

/// What came from a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// So many bytes; at least 1.
    Bytes(usize),
    /// Nothing before the time was over.
    Nothing,
    /// The line has no input, or none any more.
    NoInput,
}

/// A serial line, and the time.
pub trait Line {
    /// Writes all of `bytes`.
    fn write(&mut self, bytes: &[u8]);
    /// Writes all of a frame's header and content. A line whose owner may be interrupted for good writes them as one.
    fn write_both(&mut self, head: &[u8], body: &[u8]) {
        self.write(head);
        self.write(body);
    }
    /// Called behind a message that the host has to see now.
    fn end_message(&mut self) {}
    /// Reads at most `buf.len()` bytes; waits for the first at most `timeout` nanoseconds (`None`: for ever).
    fn read(&mut self, buf: &mut [u8], timeout: Option<u64>) -> Received;
    /// Whether [`read`](Self::read) heeds its time-out. One that does not waits until something comes.
    fn has_timeout(&self) -> bool {
        true
    }
    /// Nanoseconds by a clock that never goes back.
    fn now(&mut self) -> u64;
    /// Lets some nanoseconds pass.
    fn sleep(&mut self, nanoseconds: u64);
    /// Told why nothing can be read any more, if the host sent what is no answer.
    fn broken(&mut self, _: AnswerError) {}
}

/// Memory that the host sees too.
pub trait SharedMemory {
    /// Where it is, and how much.
    fn window(&self) -> Window;
    /// Writes the beginning of `bytes` that has room in `span`, a piece of the output. The host reads it when it is told.
    fn put(&mut self, span: Span, bytes: &[u8]);
    /// Reads the beginning of the input.
    fn get(&mut self, buf: &mut [u8]);
}

/// No shared memory.
#[derive(Clone, Copy, Debug)]
pub enum NoMemory {}

impl SharedMemory for NoMemory {
    fn window(&self) -> Window {
        match *self {}
    }

    fn put(&mut self, _: Span, _: &[u8]) {
        match *self {}
    }

    fn get(&mut self, _: &mut [u8]) {
        match *self {}
    }
}

/// Where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The run's recording.
    Recording,
}

/// Whether standard input can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Not before the time was over.
    NotReady,
    /// It can.
    Ready {
        /// So many bytes are there; may be an estimate.
        bytes: u64,
        /// Its writer has gone, and nothing is left to read.
        hangup: bool,
    },
}

/// The line has sent what is no answer: nothing can be read from it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// A console that speaks the protocol.
#[derive(Debug)]
pub struct Client<L, M> {
    line: L,
    version: u8,
    /// Memory that the host sees, and which of it is free.
    shared: Option<(M, Halves)>,
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
    ready: Option<Input>,
    /// Whether the line has sent what is no answer.
    broken: bool,
}

impl<L: Line> Client<L, NoMemory> {
    /// Begins to speak version 1.
    pub fn framed(line: L) -> Self {
        Self::speaking(line, VERSION, None)
    }
}

impl<L: Line, M: SharedMemory> Client<L, M> {
    /// Begins to speak version 2, with memory that the host sees if there is some.
    pub fn shared(line: L, memory: Option<M>) -> Self {
        Self::speaking(line, VERSION_SHARED, memory)
    }

    /// Begins to speak the protocol, with HELLO.
    pub fn speaking(mut line: L, version: u8, memory: Option<M>) -> Self {
        send(&mut line, FrameKind::Hello, &[version]);
        if let Some(memory) = &memory {
            send(&mut line, FrameKind::Window, &memory.window().to_bytes());
        }
        Self {
            line,
            version,
            shared: memory.map(|memory| {
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
        }
    }

    /// The line.
    pub fn line(&mut self) -> &mut L {
        &mut self.line
    }

    /// Sends a message as it is.
    pub fn send(&mut self, kind: FrameKind, payload: &[u8]) {
        send(&mut self.line, kind, payload);
    }

    /// Writes all of `buf` to a standard stream, or to the recording.
    pub fn write(&mut self, stream: Output, buf: &[u8]) {
        let (inline, spans) = match stream {
            Output::Stdout => (FrameKind::Stdout, FrameKind::StdoutWindow),
            Output::Stderr => (FrameKind::Stderr, FrameKind::StderrWindow),
            Output::Recording => (FrameKind::Recording, FrameKind::RecordingWindow),
        };
        let mut rest = buf;
        while let Some((memory, halves)) = self.shared.as_mut().filter(|_| rest.len() >= LEAST_SHARED) {
            if let Some(span) = halves.place(rest.len()) {
                memory.put(span, rest);
                send(&mut self.line, spans, &span.to_bytes());
                let taken = usize::try_from(span.length).unwrap_or(usize::MAX);
                rest = rest.get(taken..).unwrap_or_default();
            } else {
                send(&mut self.line, FrameKind::Sync, &[]);
                halves.turn();
                if self.wait_for_half().is_err() {
                    // Without answers nobody knows what may be written over.
                    self.shared = None;
                }
            }
        }
        if !rest.is_empty() || buf.is_empty() {
            self.send(inline, rest);
        }
    }

    /// Waits until the half in use has been read by the host.
    fn wait_for_half(&mut self) -> Result<(), Broken> {
        while self.shared.as_ref().is_some_and(|(_, halves)| halves.must_wait()) {
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

    /// Announces the end, after what was read ahead in vain.
    pub fn exit(&mut self, ending: Ending) {
        if let Ok(count @ 1..) = u32::try_from(self.unread().len())
            && self.version >= VERSION_SHARED
        {
            // The host can give a file's bytes to the next reader.
            self.send(FrameKind::Unread, &count.to_le_bytes());
            self.input.clear();
        }
        let (bytes, length) = ending.to_bytes();
        self.send(FrameKind::Exit, bytes.get(..length).unwrap_or_default());
    }

    /// Blocks until standard input has a byte or has ended (0).
    ///
    /// # Errors
    /// [`Broken`].
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize, Broken> {
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

    /// Asks the host for input; 0 at its end.
    fn fetch(&mut self, buf: &mut [u8]) -> Result<usize, Broken> {
        let (most, most_ahead) = match &self.shared {
            Some((memory, _)) => {
                let room = usize::try_from(memory.window().input).unwrap_or(MAX_PAYLOAD);
                (room, room.max(FIRST_READ_AHEAD))
            }
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
    fn ask(&mut self, buf: &mut [u8], max: usize) -> Result<usize, Broken> {
        let buf = buf.get_mut(..max).unwrap_or_default();
        self.ready = None;
        self.send(
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
                    return match (place, &mut self.shared) {
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

    /// Waits until standard input is readable or `timeout` nanoseconds have passed.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn poll(&mut self, timeout: Option<u64>) -> Result<Input, Broken> {
        if let Ok(bytes @ 1..) = u64::try_from(self.unread().len()) {
            return Ok(Input::Ready { bytes, hangup: false });
        }
        if let Some(state) = self.ready {
            return Ok(state);
        }
        if !self.poll_pending {
            self.send(FrameKind::Poll, &[]);
            self.poll_pending = true;
        }
        let deadline = timeout.map(|timeout| self.line.now().saturating_add(timeout));
        if let (Some(deadline), false) = (deadline, self.line.has_timeout()) {
            return self.look_until(deadline);
        }
        loop {
            match self.answer(&mut [], deadline)? {
                None => return Ok(Input::NotReady),
                Some(Answer::Ready { eof, available }) => return Ok(self.is_ready(eof, available)),
                Some(Answer::Synced) => {}
                Some(_) => return Err(self.give_up()),
            }
        }
    }

    /// Waits for POLL's answer on a line that can only be waited for without a time-out: each look asks for the time,
    /// which is answered at once.
    fn look_until(&mut self, deadline: u64) -> Result<Input, Broken> {
        loop {
            self.host_time().ok_or(Broken)?;
            if let Some(state) = self.ready {
                return Ok(state);
            }
            let left = deadline.saturating_sub(self.line.now());
            if left == 0 {
                return Ok(Input::NotReady);
            }
            self.line.sleep(left.min(LOOK_INTERVAL));
        }
    }

    /// Notes POLL's answer.
    fn is_ready(&mut self, eof: bool, available: u32) -> Input {
        self.poll_pending = false;
        *self.ready.insert(Input::Ready {
            bytes: available.into(),
            // A writer that has gone matters to a reader only when nothing is left to read.
            hangup: eof && available == 0,
        })
    }

    /// Nanoseconds since 1970 by the host's clock; `None` if the line is broken.
    pub fn host_time(&mut self) -> Option<u64> {
        self.send(FrameKind::Time, &[]);
        self.ask_for(|answer| match answer {
            Answer::Time(nanoseconds) => Some(nanoseconds),
            _ => None,
        })
    }

    /// Whether the host still serves the shared directory `share`, counted from 0 in the run's order; `None` in version
    /// 1, and if the line is broken.
    pub fn is_served(&mut self, share: u32) -> Option<bool> {
        if self.version < VERSION_SHARED {
            return None;
        }
        self.send(FrameKind::Share, &share.to_le_bytes());
        self.ask_for(|answer| match answer {
            Answer::Share(served) => Some(served),
            _ => None,
        })
    }

    /// Waits for the answer that `is` knows.
    fn ask_for<T>(&mut self, is: impl Fn(Answer) -> Option<T>) -> Option<T> {
        loop {
            let answer = self.answer(&mut [], None).ok()??;
            match (is(answer), answer) {
                (Some(value), _) => return Some(value),
                (None, Answer::Ready { eof, available }) => {
                    self.is_ready(eof, available);
                }
                (None, Answer::Synced) => {}
                (None, _) => {
                    self.give_up();
                    return None;
                }
            }
        }
    }

    /// The next answer; `None` if it has not arrived whole at `deadline`. One to SYNC has been taken note of.
    fn answer(&mut self, data: &mut [u8], deadline: Option<u64>) -> Result<Option<Answer>, Broken> {
        if self.broken {
            return Err(Broken);
        }
        let mut piece = [0; 2048];
        loop {
            let left = deadline.map(|deadline| deadline.saturating_sub(self.line.now()));
            let wanted = self.parser.wanted().min(piece.len());
            let Some(space) = piece.get_mut(..wanted) else {
                return Err(self.give_up());
            };
            match self.line.read(space, left) {
                Received::Bytes(count) => {
                    let arrived = space.get(..count).unwrap_or_default();
                    let progress = match self.parser.feed(arrived, data) {
                        Ok(progress) => progress,
                        Err(error) => {
                            self.line.broken(error);
                            return Err(self.give_up());
                        }
                    };
                    if progress.answer == Some(Answer::Synced) && !self.synced() {
                        return Err(self.give_up());
                    }
                    if progress.answer.is_some() {
                        return Ok(progress.answer);
                    }
                }
                // An answer that has begun arrives whole, at once: the time-out is for the wait before it.
                Received::Nothing if left == Some(0) => return Ok(None),
                Received::Nothing => {}
                Received::NoInput => return Err(self.give_up()),
            }
        }
    }

    /// Notes SYNC's answer; `false` if there was no SYNC.
    fn synced(&mut self) -> bool {
        self.shared.as_mut().is_some_and(|(_, halves)| halves.synced())
    }

    /// Marks the line as unusable for input.
    fn give_up(&mut self) -> Broken {
        self.broken = true;
        Broken
    }
}

/// Sends `payload` in as many frames as it takes, at least one.
pub fn send(line: &mut impl Line, kind: FrameKind, payload: &[u8]) {
    // Header and payload of a short frame leave together: each write waits for the line.
    let mut short = [0; 64];
    let empty = payload.is_empty().then_some((header(kind, 0), payload));
    for (head, piece) in empty.into_iter().chain(chunks(kind, payload)) {
        let length = head.len().saturating_add(piece.len());
        if let Some(frame) = short.get_mut(..length) {
            let (front, back) = frame.split_at_mut(head.len());
            front.copy_from_slice(&head);
            back.copy_from_slice(piece);
            line.write(frame);
        } else {
            line.write_both(&head, piece);
        }
    }
    line.end_message();
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
