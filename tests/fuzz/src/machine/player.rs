//! Plays a script: the machine's, the hypervisor's and the user's ends of a session, none of which ever blocks.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _, pipe};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;

use boot_protocol::console::{Answer, AnswerParser, Decoder, Event, Frame, Window};
use hermit_wasm_vm::{Interrupt, fuzzing};
use rustix::fs::{MemfdFlags, OFlags};

use super::model::lies_in_memory;
use super::script::{BASE, End, Script, Step};
use super::stores::Stores;

/// Most bytes that the machine sends in a session.
const MOST_SENT: usize = 100 * 1024;

/// Bytes that the line holds: more than the session reads at once, as a hypervisor may arrange it.
const LINE: usize = 256 * 1024;

/// Bytes of a standard input that is a file.
const FILE: usize = 100_000;

/// Turns after the script's end in which the readers read what there is. A window can be named as output for ever.
const PATIENT_TURNS: usize = 3000;

/// The other ends of a session's descriptors. `None` once closed.
#[derive(Debug)]
pub(super) struct Ends {
    console_out: Option<File>,
    /// The session's end of what the machine sends, to see what was not read.
    console_rest: File,
    console_in: Option<File>,
    hypervisor: Option<File>,
    process: Option<File>,
    stdin: Option<File>,
    stdin_is_file: bool,
    /// The session's end of standard input, to see what is left in it.
    stdin_rest: File,
    stdout: Option<File>,
    stdout_is_file: bool,
    stderr: Option<File>,
    stderr_is_file: bool,
}

/// A pipe whose reading end is the player's, and never blocks it. What the session does to its own end is its own
/// affair: standard streams may well block.
fn pipe_from_session() -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = pipe()?;
    Ok((unblocked(reader)?, writer.into()))
}

/// The same, where the writing end is the player's.
fn pipe_to_session() -> io::Result<(OwnedFd, File)> {
    let (reader, writer) = pipe()?;
    Ok((reader.into(), unblocked(writer)?))
}

fn unblocked(end: impl AsFd + Into<OwnedFd>) -> io::Result<File> {
    let flags = rustix::fs::fcntl_getfl(&end)?;
    rustix::fs::fcntl_setfl(&end, flags | OFlags::NONBLOCK)?;
    Ok(end.into().into())
}

fn file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create("fuzz", MemfdFlags::CLOEXEC)?.into())
}

impl Ends {
    /// `kinds` says which streams are files: bit 0 input, 1 output, 2 error.
    pub(super) fn new(kinds: u8) -> io::Result<(Self, fuzzing::Ends)> {
        let (console_out, console_out_machine) = pipe_to_session()?;
        // Refused where this user has many pipes already.
        let _ = rustix::pipe::fcntl_setpipe_size(&console_out, LINE);
        let (console_in_machine, console_in) = pipe_from_session()?;
        let (hypervisor, hypervisor_machine) = pipe_to_session()?;
        let (end, process) = pipe_to_session()?;
        let (stdin, stdin_user): (OwnedFd, _) = if kinds & 1 != 0 {
            let mut file = file()?;
            let bytes: Vec<u8> = (0..FILE).map(|at| at.to_le_bytes()[0]).collect();
            file.write_all(&bytes)?;
            file.rewind()?;
            (file.into(), None)
        } else {
            let (reader, writer) = pipe_to_session()?;
            (reader, Some(writer))
        };
        let output = |is_file: bool| {
            if is_file {
                let file = file()?;
                io::Result::Ok((file.try_clone()?, file.into()))
            } else {
                pipe_from_session()
            }
        };
        let (stdout_user, stdout) = output(kinds & 2 != 0)?;
        let (stderr_user, stderr) = output(kinds & 4 != 0)?;
        let stdin_rest = stdin.try_clone()?.into();
        let console_rest = console_out.try_clone()?.into();
        let launchers = fuzzing::Ends {
            console_out,
            console_in,
            hypervisor,
            end,
            stdin,
            stdout,
            stderr,
        };
        let ends = Self {
            console_out: Some(console_out_machine),
            console_rest,
            console_in: Some(console_in_machine),
            hypervisor: Some(hypervisor_machine),
            process: Some(process),
            stdin: stdin_user,
            stdin_is_file: kinds & 1 != 0,
            stdin_rest,
            stdout: Some(stdout_user),
            stdout_is_file: kinds & 2 != 0,
            stderr: Some(stderr_user),
            stderr_is_file: kinds & 4 != 0,
        };
        Ok((ends, launchers))
    }
}

/// The answers that the machine has taken.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The length of each answer to a READ.
    pub(super) data: Vec<usize>,
    pub(super) polls: usize,
    pub(super) times: usize,
    pub(super) syncs: usize,
}

/// Everything about a session that is not the session's.
#[derive(Debug)]
pub(super) struct Player<'a> {
    script: Script<'a>,
    ends: Ends,
    /// The machine's memory.
    pub(super) memory: Option<File>,
    pub(super) stores: Stores,
    /// The window that was named last, right or wrong.
    window: Option<Window>,
    /// What the line has not taken yet, and what the machine sent last.
    pending: Vec<u8>,
    last: Vec<u8>,
    /// What the line has taken.
    pub(super) sent: Vec<u8>,
    /// What the hypervisor has said.
    pub(super) said: Vec<u8>,
    pub(super) answers: Answers,
    parser: AnswerParser,
    buffer: Vec<u8>,
    /// Reads what was sent: how many READs and WINDOWs there are.
    decoder: Decoder,
    asked: usize,
    windows: usize,
    typed: usize,
    /// What the readers have.
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// Whether a reader has gone: then not all output can be seen, and the session may end for it.
    pub(super) readers_left: bool,
    /// Whether output was lost with a reader.
    pub(super) lost: bool,
    pub(super) stopped: bool,
    waiting: u8,
    turns_after: usize,
}

impl<'a> Player<'a> {
    pub(super) fn new(ends: Ends, script: &'a [u8]) -> Self {
        Self {
            script: Script::new(script),
            ends,
            memory: None,
            stores: Stores::default(),
            window: None,
            pending: Vec::new(),
            last: Vec::new(),
            sent: Vec::new(),
            said: Vec::new(),
            answers: Answers::default(),
            parser: AnswerParser::new(),
            buffer: vec![0; 1 << 16],
            decoder: Decoder::new(),
            asked: 0,
            windows: 0,
            typed: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            readers_left: false,
            lost: false,
            stopped: false,
            waiting: 0,
            turns_after: 0,
        }
    }

    /// What happens before the session's next turn.
    pub(super) fn turn(&mut self, memory: Option<&File>, interrupt: &Interrupt) {
        if self.memory.is_none() {
            self.memory = memory.map(|file| file.try_clone().expect("there are descriptors"));
        }
        self.flush();
        if self.waiting > 0 {
            self.waiting -= 1;
            return;
        }
        while let Some((step, turn)) = self.script.step() {
            self.step(step, interrupt);
            if turn || self.waiting > 0 {
                return;
            }
        }
        self.wind_up();
    }

    /// After the script: the machine ends, and the readers read until the session has ended too.
    fn wind_up(&mut self) {
        self.turns_after += 1;
        // A turn for each thing that the machine wanted, of which none is shorter than two bytes.
        let most = PATIENT_TURNS + 100 + self.sent.len() + self.said.len();
        assert!(self.turns_after < most, "the session does not end");
        self.take(usize::MAX);
        if self.turns_after > PATIENT_TURNS {
            self.pending.clear();
            self.close(End::Stdout);
            self.close(End::Stderr);
        }
        self.read(false, usize::MAX);
        self.read(true, usize::MAX);
        if self.pending.is_empty() {
            (self.ends.console_out, self.ends.hypervisor) = (None, None);
            self.ends.process = None;
        }
    }

    fn step(&mut self, step: Step, interrupt: &Interrupt) {
        match step {
            Step::Send(bytes) => {
                self.send(&bytes);
                self.last = bytes;
            }
            Step::Again(times) => {
                let last = self.last.repeat(usize::from(times) * 16);
                let most = MOST_SENT.saturating_sub(self.sent.len() + self.pending.len());
                self.send(&last[..last.len().min(most)]);
            }
            Step::Store { at, length, value } => self.store(at, length, value),
            Step::Take(length) => self.take(length),
            Step::Say(words) => self.say(&words),
            Step::Type(length) => self.type_in(length),
            Step::Read { stderr, length } => self.read(stderr, length),
            Step::Wait(turns) => self.waiting = turns,
            Step::Stop => {
                self.stopped = true;
                interrupt.stop();
            }
            Step::Close(end) => self.close(end),
        }
    }

    fn close(&mut self, end: End) {
        match end {
            End::ConsoleOut => {
                self.ends.console_out = None;
                self.pending.clear();
            }
            End::ConsoleIn => self.ends.console_in = None,
            End::Hypervisor => self.ends.hypervisor = None,
            End::Process => self.ends.process = None,
            End::Stdin => self.ends.stdin = None,
            // A file has no reader that could go.
            End::Stdout if !self.ends.stdout_is_file => {
                self.ends.stdout = None;
                (self.readers_left, self.lost) = (true, true);
            }
            End::Stderr if !self.ends.stderr_is_file => {
                self.ends.stderr = None;
                (self.readers_left, self.lost) = (true, true);
            }
            End::Stdout | End::Stderr => {}
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.ends.console_out.is_some() && self.sent.len() + self.pending.len() + bytes.len() <= MOST_SENT
        {
            self.pending.extend_from_slice(bytes);
            self.flush();
        }
    }

    /// Puts on the line what it takes.
    fn flush(&mut self) {
        let Some(console) = &mut self.ends.console_out else {
            return;
        };
        while !self.pending.is_empty() {
            match console.write(&self.pending) {
                Ok(length) => {
                    let (asked, windows, named) = (&mut self.asked, &mut self.windows, &mut self.window);
                    self.decoder.feed(&self.pending[..length], |event| match event {
                        Event::Frame(Frame::Read { .. }) => *asked += 1,
                        Event::Frame(Frame::Window(window)) => {
                            *windows += 1;
                            *named = Some(window);
                        }
                        _ => {}
                    });
                    self.sent.extend_from_slice(&self.pending[..length]);
                    self.pending.drain(..length);
                }
                Err(_) => return,
            }
        }
    }

    fn store(&mut self, at: u64, length: u64, value: u8) {
        let Some(memory) = &self.memory else {
            return;
        };
        let base = self.window.filter(|window| lies_in_memory(*window));
        let at = base.map_or(0, |window| window.address - BASE).saturating_add(at);
        self.stores.store(memory, at, length, value);
    }

    fn say(&mut self, words: &[u8]) {
        if let Some(hypervisor) = &mut self.ends.hypervisor
            && let Ok(length) = hypervisor.write(words)
        {
            self.said.extend(&words[..length]);
        }
    }

    /// Standard input goes on with the next bytes of 0, 1, 2 …
    fn type_in(&mut self, length: usize) {
        if let Some(stdin) = &mut self.ends.stdin {
            let bytes: Vec<u8> = (self.typed..self.typed + length)
                .map(|at| at.to_le_bytes()[0])
                .collect();
            self.typed += stdin.write(&bytes).unwrap_or(0);
        }
    }

    fn read(&mut self, stderr: bool, length: usize) {
        let (end, is_file, kept) = match stderr {
            false => (&mut self.ends.stdout, self.ends.stdout_is_file, &mut self.stdout),
            true => (&mut self.ends.stderr, self.ends.stderr_is_file, &mut self.stderr),
        };
        if let Some(end) = end
            && !is_file
        {
            // Ends with what there is.
            let _ = end.take(length as u64).read_to_end(kept);
        }
    }

    /// Takes answers off the line.
    fn take(&mut self, length: usize) {
        let Some(console) = &mut self.ends.console_in else {
            return;
        };
        let mut bytes = Vec::new();
        let _ = console.take(length as u64).read_to_end(&mut bytes);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let progress = self
                .parser
                .feed(rest, &mut self.buffer)
                .expect("what the launcher sends is an answer");
            rest = &rest[progress.used..];
            match progress.answer {
                None => {}
                Some(Answer::Data { length }) => {
                    self.answers.data.push(length);
                    consecutive(&self.buffer[..length]);
                }
                Some(Answer::DataWindow { length }) => self.in_window(length),
                Some(Answer::Ready { eof, available }) => {
                    assert!(eof || available > 0);
                    self.answers.polls += 1;
                }
                Some(Answer::Time(_)) => self.answers.times += 1,
                Some(Answer::Synced) => self.answers.syncs += 1,
                Some(Answer::Share(_)) => panic!("there are no directories"),
            }
        }
    }

    /// Input that lies in the window: it is there, unless it was overwritten meanwhile.
    fn in_window(&mut self, length: u32) {
        self.answers
            .data
            .push(usize::try_from(length).expect("it is small"));
        let memory = self.memory.as_ref().expect("a window lies in memory");
        let window = self.window.expect("it was named");
        // Another that was named in vain may have been remembered instead.
        if !lies_in_memory(window) || length > window.input || self.asked > self.answers.data.len() {
            return;
        }
        let at = window.address - BASE + u64::from(window.output);
        if !self.stores.touch(at, u64::from(window.input)) && self.windows == 1 {
            let mut bytes = vec![0; usize::try_from(length).expect("it is small")];
            memory
                .read_exact_at(&mut bytes, at)
                .expect("it is within the file");
            consecutive(&bytes);
        }
    }

    /// Reads what is left after the session's end. What the machine sent and nobody read was never sent.
    pub(super) fn finish(&mut self) {
        self.ends.console_out = None;
        let mut unread = Vec::new();
        let _ = self.ends.console_rest.read_to_end(&mut unread);
        self.sent.truncate(self.sent.len() - unread.len());
        self.take(usize::MAX);
        self.read(false, usize::MAX);
        self.read(true, usize::MAX);
        let files = [
            (self.ends.stdout_is_file, &mut self.ends.stdout, &mut self.stdout),
            (self.ends.stderr_is_file, &mut self.ends.stderr, &mut self.stderr),
        ];
        for (is_file, end, kept) in files {
            if let (true, Some(file)) = (is_file, end) {
                file.rewind().expect("it is a file");
                file.read_to_end(kept).expect("it is a file");
            }
        }
    }

    /// Whether the machine, or its hypervisor, is gone.
    pub(super) const fn gone(&self) -> bool {
        self.ends.console_out.is_none() || self.ends.process.is_none()
    }

    pub(super) const fn is_file(&self) -> bool {
        self.ends.stdin_is_file
    }

    /// How much the session has taken off standard input; of a file, where it stands.
    pub(super) fn taken_input(&self) -> usize {
        let mut rest = &self.ends.stdin_rest;
        if self.is_file() {
            let at = rest.stream_position().expect("it is a file");
            return usize::try_from(at).expect("it is small");
        }
        rustix::fs::fcntl_setfl(rest, OFlags::NONBLOCK).expect("it is a pipe");
        let mut left = Vec::new();
        let _ = rest.read_to_end(&mut left);
        self.typed - left.len()
    }
}

/// Input is what was typed: each byte is one more than the last.
fn consecutive(bytes: &[u8]) {
    assert!(
        bytes.windows(2).all(|pair| pair[0].wrapping_add(1) == pair[1]),
        "{bytes:?}"
    );
}
