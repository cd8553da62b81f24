//! The serial line as QEMU has it: the program's standard input and output.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Duration, Instant};

use boot_protocol::console::client::{Line, Received, send};
use boot_protocol::console::{Answer, AnswerError, AnswerParser, FrameKind, header};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::sleep_forever;

/// Both pipes, without buffers of their own: what has been written is there, and what has not been read can be waited
/// for.
#[derive(Debug)]
pub(super) struct Pipes {
    stdin: File,
    stdout: File,
    /// When the clock began.
    begun: Instant,
}

impl Pipes {
    pub(super) fn new() -> Self {
        let copy = |fd: std::os::fd::BorrowedFd<'_>| File::from(fd.try_clone_to_owned().unwrap());
        Self {
            stdin: copy(io::stdin().as_fd()),
            stdout: copy(io::stdout().as_fd()),
            begun: Instant::now(),
        }
    }

    /// Sends one message and waits for the next answer, whatever it answers.
    pub(super) fn ask(&mut self, kind: FrameKind, payload: &[u8], data: &mut [u8]) -> Answer {
        send(self, kind, payload);
        self.answer(data)
    }

    /// READ of at most so many bytes.
    pub(super) fn ask_for_input(&mut self, max: u32, data: &mut [u8]) -> Answer {
        self.ask(FrameKind::Read, &max.to_le_bytes(), data)
    }

    /// What a READ that fills `data` gets.
    pub(super) fn input(&mut self, data: &mut [u8]) -> usize {
        match self.ask_for_input(u32::try_from(data.len()).unwrap(), data) {
            Answer::Data { length } => length,
            other => panic!("{other:?} is no answer to READ"),
        }
    }

    /// The next answer.
    pub(super) fn answer(&mut self, data: &mut [u8]) -> Answer {
        let mut parser = AnswerParser::new();
        loop {
            let mut bytes = vec![0; parser.wanted()];
            if self.stdin.read_exact(&mut bytes).is_err() {
                sleep_forever();
            }
            if let Some(answer) = parser.feed(&bytes, data).unwrap().answer {
                return answer;
            }
        }
    }

    /// Prints the next answer, as text on the guest's standard output.
    pub(super) fn show(&mut self, answer: impl std::fmt::Debug) {
        send(self, FrameKind::Stdout, format!("{answer:?}\n").as_bytes());
    }
}

impl Line for Pipes {
    fn write(&mut self, bytes: &[u8]) {
        // The launcher may be gone, which ends a QEMU by a signal.
        if self.stdout.write_all(bytes).is_err() {
            sleep_forever();
        }
    }

    fn read(&mut self, buf: &mut [u8], timeout: Option<u64>) -> Received {
        let timeout = timeout.map(|timeout| Timespec::try_from(Duration::from_nanos(timeout)).unwrap());
        let mut fds = [PollFd::new(&self.stdin, PollFlags::IN)];
        if poll(&mut fds, timeout.as_ref()).unwrap() == 0 {
            return Received::Nothing;
        }
        match self.stdin.read(buf) {
            Ok(count @ 1..) => Received::Bytes(count),
            // Gone, as above.
            _ => sleep_forever(),
        }
    }

    fn now(&mut self) -> u64 {
        self.begun.elapsed().as_nanos().try_into().unwrap()
    }

    fn sleep(&mut self, nanoseconds: u64) {
        thread::sleep(Duration::from_nanos(nanoseconds));
    }

    fn broken(&mut self, error: AnswerError) {
        panic!("the launcher sent what is no answer: {error:?}");
    }
}

/// One frame as bytes, for those who send it in other pieces than the client.
pub(super) fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, payload.len().try_into().unwrap()).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}
