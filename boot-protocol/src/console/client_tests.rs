//! The guest's side against a host of this file's own: what it asks, what it makes of the answers, and of nonsense.

use super::*;
use crate::console::{Cause, Decoder, Event, Frame, Reply};
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::{borrow::ToOwned as _, format};
use core::cell::RefCell;

const OUTPUT: u32 = 128;
const INPUT: u32 = 8192;

type Memory = Rc<RefCell<Vec<u8>>>;

/// A host, which answers as soon as it is asked, and the line to it.
struct Host {
    decoder: Decoder,
    /// What it was sent, a word a frame.
    log: Vec<String>,
    stdout: Vec<u8>,
    stdin: VecDeque<u8>,
    /// Whether standard input is at its end behind `stdin`.
    ended: bool,
    /// Whether a POLL waits for input.
    polled: bool,
    memory: Memory,
    /// What has not been read of the answers.
    answers: VecDeque<u8>,
    /// Whether it answers SYNC.
    syncs: bool,
    /// Most bytes that a read gets.
    cut: usize,
    has_timeout: bool,
    now: u64,
    /// What comes on standard input once so much time has passed.
    later: Option<(u64, u8)>,
}

impl Host {
    fn new(stdin: &[u8]) -> Self {
        Self {
            decoder: Decoder::new(),
            log: Vec::new(),
            stdout: Vec::new(),
            stdin: stdin.iter().copied().collect(),
            ended: true,
            polled: false,
            memory: Rc::new(RefCell::new(vec![0; usize::try_from(OUTPUT + INPUT).unwrap()])),
            answers: VecDeque::new(),
            syncs: true,
            cut: usize::MAX,
            has_timeout: true,
            now: 0,
            later: None,
        }
    }

    fn reply(&mut self, reply: Reply<'_>) {
        let mut bytes = Vec::new();
        reply.append_to(&mut bytes);
        self.answers.extend(bytes);
    }

    fn answer_poll(&mut self) {
        if self.polled && (self.ended || !self.stdin.is_empty()) {
            self.polled = false;
            let available = u32::try_from(self.stdin.len()).unwrap();
            self.reply(Reply::Ready {
                eof: self.ended && available == 0,
                available,
            });
        }
    }

    fn at(&self, span: Span) -> Vec<u8> {
        let start = usize::try_from(span.offset).unwrap();
        let end = start + usize::try_from(span.length).unwrap();
        self.memory.borrow()[start..end].to_vec()
    }

    fn frame(&mut self, frame: Frame<'_>, shared: bool) {
        self.log.push(match frame {
            Frame::Stdout(bytes) => format!("out {}", bytes.len()),
            Frame::Stderr(bytes) => format!("err {}", bytes.len()),
            Frame::StdoutWindow(span) => format!("out {}+{}", span.offset, span.length),
            Frame::StderrWindow(span) => format!("err {}+{}", span.offset, span.length),
            Frame::Read { max } => format!("read {max}"),
            Frame::Hello { version } => format!("hello {version}"),
            Frame::Exit(ending) => format!("exit {}", ending.code),
            Frame::Unread { count } => format!("unread {count}"),
            Frame::Share { index } => format!("share {index}"),
            Frame::Recording(bytes) => format!("recording {bytes:?}"),
            Frame::RecordingWindow(span) => format!("recording {} {}", span.offset, span.length),
            Frame::Window(window) => format!("window {} {}", window.output, window.input),
            Frame::Poll => "poll".to_owned(),
            Frame::Time => "time".to_owned(),
            Frame::Sync => "sync".to_owned(),
            Frame::Diagnostic(_) => "diagnostic".to_owned(),
        });
        match frame {
            Frame::Stdout(bytes) => self.stdout.extend(bytes),
            Frame::StdoutWindow(span) => self.stdout.extend(self.at(span)),
            Frame::Read { max } => {
                let count = self.stdin.len().min(usize::try_from(max).unwrap());
                let bytes: Vec<u8> = self.stdin.drain(..count).collect();
                if shared {
                    let start = usize::try_from(OUTPUT).unwrap();
                    self.memory.borrow_mut()[start..start + count].copy_from_slice(&bytes);
                    self.reply(Reply::DataWindow(u32::try_from(count).unwrap()));
                } else {
                    self.reply(Reply::Data(&bytes));
                }
            }
            Frame::Poll => {
                self.polled = true;
                self.answer_poll();
            }
            Frame::Time => self.reply(Reply::Time(77)),
            Frame::Share { index } => self.reply(Reply::Share(index == 0)),
            Frame::Sync if self.syncs => self.reply(Reply::Synced),
            _ => {}
        }
    }
}

impl Line for Host {
    fn write(&mut self, bytes: &[u8]) {
        let mut decoder = core::mem::take(&mut self.decoder);
        decoder.feed(bytes, |event| match event {
            Event::Frame(frame) => {
                let shared = self.log.iter().any(|word| word.starts_with("window"));
                self.frame(frame, shared);
            }
            Event::Text(text) => panic!("text: {text:?}"),
        });
        self.decoder = decoder;
    }

    fn read(&mut self, buf: &mut [u8], timeout: Option<u64>) -> Received {
        if self.answers.is_empty() {
            let Some(timeout) = timeout else {
                return Received::NoInput;
            };
            self.sleep(timeout);
            if self.answers.is_empty() {
                return Received::Nothing;
            }
        }
        let count = buf.len().min(self.cut).min(self.answers.len());
        for (to, from) in buf.iter_mut().zip(self.answers.drain(..count)) {
            *to = from;
        }
        Received::Bytes(count)
    }

    fn has_timeout(&self) -> bool {
        self.has_timeout
    }

    fn now(&mut self) -> u64 {
        self.now
    }

    fn sleep(&mut self, nanoseconds: u64) {
        self.now += nanoseconds;
        if let Some((_, byte)) = self.later.take_if(|(time, _)| *time <= self.now) {
            self.stdin.push_back(byte);
            self.answer_poll();
        }
    }
}

/// The guest's view of the memory.
struct View(Memory);

impl SharedMemory for View {
    fn window(&self) -> Window {
        Window {
            address: 0x1000,
            output: OUTPUT,
            input: INPUT,
        }
    }

    fn put(&mut self, span: Span, bytes: &[u8]) {
        let start = usize::try_from(span.offset).unwrap();
        let length = usize::try_from(span.length).unwrap();
        self.0.borrow_mut()[start..start + length].copy_from_slice(&bytes[..length]);
    }

    fn get(&mut self, buf: &mut [u8]) {
        let start = usize::try_from(OUTPUT).unwrap();
        buf.copy_from_slice(&self.0.borrow()[start..start + buf.len()]);
    }
}

fn shared(host: Host) -> Client<Host, View> {
    let view = View(Rc::clone(&host.memory));
    Client::shared(host, Some(view))
}

/// What the host was sent since the last look.
fn sent<M: SharedMemory>(client: &mut Client<Host, M>) -> Vec<String> {
    core::mem::take(&mut client.line().log)
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn output_goes_out_in_frames() {
    let mut client = Client::framed(Host::new(b""));
    client.write(Output::Stdout, b"hello");
    client.write(Output::Stderr, b"");
    let long = vec![7; MAX_PAYLOAD + 1];
    client.write(Output::Stdout, &long);
    client.exit(Ending::new(Cause::Guest, 3));
    assert_eq!(
        sent(&mut client),
        ["hello 1", "out 5", "err 0", "out 65535", "out 1", "exit 3"]
    );
    assert_eq!(client.line().stdout.len(), 5 + long.len());
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn input_is_read_ahead_and_more_each_time() {
    let input: Vec<u8> = (0..30_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    for cut in [1, 3, 2048, usize::MAX] {
        let mut client = Client::framed(Host {
            cut,
            ..Host::new(&input)
        });
        let mut read: Vec<u8> = Vec::new();
        let mut buf = [0; 100];
        loop {
            match client.read(&mut buf).unwrap() {
                0 => break,
                count => read.extend(&buf[..count]),
            }
        }
        assert!(read == input, "cut into pieces of {cut}");
        // What is left fills no more answer; then comes the end.
        assert_eq!(
            sent(&mut client),
            [
                "hello 1",
                "read 4096",
                "read 8192",
                "read 16384",
                "read 16384",
                "read 16384"
            ]
        );
    }
}

#[test]
fn a_large_read_is_asked_for_as_it_is() {
    let mut client = Client::framed(Host::new(&[1; 100]));
    let mut buf = vec![0; 100_000];
    assert_eq!(client.read(&mut buf), Ok(100));
    assert_eq!(client.read(&mut buf), Ok(0));
    assert_eq!(sent(&mut client)[1..], ["read 65535", "read 65535"]);
}

#[test]
fn what_is_read_in_vain_is_given_back_in_version_2_only() {
    let mut client = shared(Host::new(b"abcdef"));
    let mut buf = [0; 2];
    assert_eq!(client.read(&mut buf), Ok(2));
    assert_eq!(&buf, b"ab");
    client.exit(Ending::new(Cause::Guest, 0));
    assert_eq!(
        sent(&mut client),
        ["hello 2", "window 128 8192", "read 4096", "unread 4", "exit 0"]
    );
    let mut client = Client::framed(Host::new(b"abcdef"));
    client.read(&mut buf).unwrap();
    client.exit(Ending::new(Cause::Guest, 0));
    assert_eq!(sent(&mut client)[1..], ["read 4096", "exit 0"]);
}

#[test]
fn long_output_goes_through_the_shared_buffer_by_halves() {
    let mut client = shared(Host::new(b""));
    client.write(Output::Stdout, &[b'a'; LEAST_SHARED - 1]);
    client.write(Output::Stderr, &[b'b'; LEAST_SHARED]);
    let long: Vec<u8> = (0..200).collect();
    client.write(Output::Stdout, &long);
    assert_eq!(
        sent(&mut client)[2..],
        [
            "out 31",
            "err 0+32",
            "out 32+32",
            "sync",
            "out 64+64",
            "sync",
            "out 0+64",
            "sync",
            "out 64+40"
        ]
    );
    assert_eq!(client.line().stdout[31..], long);
}

#[test]
fn without_an_answer_to_sync_output_goes_on_over_the_line() {
    let mut client = shared(Host {
        syncs: false,
        ..Host::new(b"")
    });
    let long = vec![b'x'; 200];
    client.write(Output::Stdout, &long);
    assert_eq!(
        sent(&mut client)[2..],
        ["out 0+64", "sync", "out 64+64", "sync", "out 72"]
    );
    assert_eq!(client.line().stdout, long);
    assert_eq!(client.read(&mut [0; 4]), Err(Broken));
}

#[test]
fn poll_waits_and_remembers_until_the_next_read() {
    let mut client = Client::framed(Host {
        ended: false,
        later: Some((50, b'x')),
        ..Host::new(b"")
    });
    assert_eq!(client.poll(Some(20)), Ok(Input::NotReady));
    assert_eq!(client.line().now, 20);
    let ready = Ok(Input::Ready {
        bytes: 1,
        hangup: false,
    });
    assert_eq!(client.poll(Some(40)), ready);
    assert_eq!(client.poll(None), ready);
    // One POLL for all of it: the host answers it once.
    assert_eq!(sent(&mut client), ["hello 1", "poll"]);
    let mut buf = [0; 4];
    assert_eq!(client.read(&mut buf), Ok(1));
    client.line().ended = true;
    assert_eq!(
        client.poll(None),
        Ok(Input::Ready {
            bytes: 0,
            hangup: true
        })
    );
    assert_eq!(sent(&mut client), ["read 4096", "poll"]);
}

#[test]
fn input_that_was_read_ahead_is_ready_without_a_question() {
    let mut client = Client::framed(Host::new(b"abc"));
    client.read(&mut [0; 1]).unwrap();
    assert_eq!(
        client.poll(Some(0)),
        Ok(Input::Ready {
            bytes: 2,
            hangup: false
        })
    );
    assert_eq!(sent(&mut client), ["hello 1", "read 4096"]);
}

#[test]
fn a_line_without_time_outs_is_looked_at_again_and_again() {
    let mut client = Client::framed(Host {
        ended: false,
        has_timeout: false,
        later: Some((2_500_000, b'x')),
        ..Host::new(b"")
    });
    assert_eq!(client.poll(Some(1_500_000)), Ok(Input::NotReady));
    assert_eq!(client.line().now, 1_500_000);
    assert_eq!(sent(&mut client), ["hello 1", "poll", "time", "time", "time"]);
    assert_eq!(
        client.poll(Some(9_000_000)),
        Ok(Input::Ready {
            bytes: 1,
            hangup: false
        })
    );
    assert_eq!(client.line().now, 2_500_000);
}

#[test]
fn questions_find_their_answers_behind_those_of_others() {
    let mut client = shared(Host {
        ended: false,
        ..Host::new(b"")
    });
    assert_eq!(client.poll(Some(0)), Ok(Input::NotReady));
    client.line().stdin.push_back(b'x');
    client.line().answer_poll();
    assert_eq!(client.host_time(), Some(77));
    assert_eq!(
        client.poll(Some(0)),
        Ok(Input::Ready {
            bytes: 1,
            hangup: false
        })
    );
    assert_eq!(
        (client.is_served(0), client.is_served(1)),
        (Some(true), Some(false))
    );
    let mut old = Client::framed(Host::new(b""));
    assert_eq!(old.is_served(0), None);
    assert_eq!(sent(&mut old), ["hello 1"]);
}

#[test]
fn what_is_no_answer_or_the_wrong_one_breaks_the_line_for_good() {
    let wrong: [&[u8]; 6] = [
        b"\x80",                       // no answer
        b"\x81\xff\xff",               // more data than was asked for
        b"\x83\x08\0\0\0\0\0\0\0\0\0", // the time, which nobody asked for
        b"\x86\x01\0\x01",             // a share
        b"\x85\0\0",                   // SYNC's answer without a SYNC
        b"\x84\x04\0\x01\0\0\0",       // input in memory that is not shared
    ];
    for bytes in wrong {
        let mut client = Client::framed(Host::new(b""));
        client.line().answers.extend(bytes);
        assert_eq!(client.read(&mut [0; 10]), Err(Broken), "{bytes:?}");
        assert_eq!(client.read(&mut [0; 10]), Err(Broken));
        assert_eq!(client.poll(Some(0)), Err(Broken));
        assert_eq!(client.host_time(), None);
    }
    // More than the shared memory holds.
    let mut client = shared(Host::new(b""));
    client.line().answers.extend(b"\x84\x04\0\xff\xff\0\0");
    assert_eq!(client.read(&mut [0; 10]), Err(Broken));
    // No input at all.
    let mut client = Client::framed(Host {
        ended: false,
        ..Host::new(b"")
    });
    assert_eq!(client.poll(None), Err(Broken));
    // Output does not need the other way.
    client.write(Output::Stdout, b"x");
    assert_eq!(client.line().stdout, b"x");
}
