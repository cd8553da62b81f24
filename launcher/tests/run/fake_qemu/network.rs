//! Guests with a network, without a machine: a stack on QEMU's end of the relay's wire.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use boot_protocol::console::client::Output;
use boot_protocol::network::inside::{GATEWAY, GUEST, PREFIX};
use net_stack::{Config, Entropy, Error, FrameDevice, Half, Ipv4, Stack, StreamId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::guests::guest;
use super::{Scenario, argument, leave, sleep_forever, value};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("ask the network", ask),
    ("serve the network", serve),
    ("flood the network", flood),
    ("have a network", || {
        guest().write(Output::Stdout, b"inside\n");
        sleep_forever()
    }),
    ("break the wire", || {
        let _ = wire().write(&[0xff; 8]);
        sleep_forever()
    }),
];

/// QEMU's end of the wire, as it is told of it.
fn wire() -> File {
    let netdev = value("-netdev").expect("there is a network");
    let number = netdev.strip_prefix("socket,id=net,fd=").expect("it is inherited");
    // SAFETY: the launcher has left it open for QEMU, and nobody closes it while this is borrowed.
    let inherited = unsafe { BorrowedFd::borrow_raw(number.parse().unwrap()) };
    File::from(inherited.try_clone_to_owned().unwrap())
}

/// A device on the wire. Its writes wait, as QEMU's queue does.
struct Device {
    wire: File,
    received: Vec<u8>,
}

impl Device {
    /// Whether something comes within so many milliseconds.
    fn wait(&self, milliseconds: u64) -> bool {
        let limit = Timespec::try_from(Duration::from_millis(milliseconds)).unwrap();
        let mut wire = [PollFd::new(&self.wire, PollFlags::IN)];
        poll(&mut wire, Some(&limit)).unwrap() > 0
    }

    fn next(&mut self) -> Option<Vec<u8>> {
        while self.wait(0) {
            let mut buffer = [0; 65536];
            match self.wire.read(&mut buffer).unwrap() {
                // The run ends then, and this program with it.
                0 => sleep_forever(),
                length => self.received.extend_from_slice(&buffer[..length]),
            }
        }
        let length = usize::try_from(u32::from_be_bytes(*self.received.first_chunk()?)).unwrap();
        let frame = self.received.get(4..4 + length)?.to_vec();
        self.received.drain(..4 + length);
        Some(frame)
    }
}

impl FrameDevice for Device {
    fn address(&self) -> [u8; 6] {
        let device = value("-device").into_iter().chain(std::env::args());
        let link = device
            .into_iter()
            .find_map(|word| Some(word.split_once(",mac=")?.1.to_string()));
        let link = link.expect("the device has an address");
        let bytes: Vec<u8> = link
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        bytes.try_into().unwrap()
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.next().map(|frame| read(&frame))
    }

    fn can_transmit(&mut self) -> bool {
        true
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut frame = vec![0; 4 + length];
        frame[..4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        let result = write(&mut frame[4..]);
        self.wire.write_all(&frame).unwrap();
        result
    }
}

struct Random;

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        let length = rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
        assert_eq!(length, bytes.len());
    }
}

/// A stack, as the application would have it.
struct Net {
    stack: Stack<Device, Random>,
    begun: Instant,
}

impl Net {
    fn new() -> Self {
        let device = Device {
            wire: wire(),
            received: Vec::new(),
        };
        let config = Config {
            ipv4: Ipv4::Static {
                address: GUEST,
                prefix: PREFIX,
                gateway: Some(GATEWAY),
            },
            ..Config::default()
        };
        Self {
            stack: Stack::new(device, Random, &config).unwrap(),
            begun: Instant::now(),
        }
    }

    /// Runs the stack until `done` says something.
    fn until<R>(&mut self, mut done: impl FnMut(&mut Stack<Device, Random>) -> Option<R>) -> R {
        loop {
            let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap();
            self.stack.poll(now);
            let result = done(&mut self.stack);
            self.stack.poll(now);
            match result {
                Some(result) => return result,
                None => self.stack.device().wait(5),
            };
        }
    }

    fn connect(&mut self, to: &str) -> Result<StreamId, Error> {
        let stream = self.stack.connect(to.parse().unwrap(), None)?;
        self.until(|stack| match stack.connected(stream) {
            Err(Error::InProgress) => None,
            result => Some(result),
        })?;
        Ok(stream)
    }

    fn send(&mut self, stream: StreamId, mut data: &[u8]) {
        self.until(|stack| {
            while !data.is_empty() {
                match stack.send(stream, data) {
                    Ok(length) => data = &data[length..],
                    Err(Error::WouldBlock) => return None,
                    Err(error) => panic!("{error:?}"),
                }
            }
            Some(())
        });
    }

    /// Receives up to the end of data.
    fn receive(&mut self, stream: StreamId) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        self.until(|stack| {
            loop {
                match stack.receive(stream, &mut buffer) {
                    Ok(0) => return Some(()),
                    Ok(length) => all.extend_from_slice(&buffer[..length]),
                    Err(Error::WouldBlock) => return None,
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        all
    }

    /// What was written is on the wire, and acknowledged.
    fn drain(&mut self) {
        self.stack.close_all();
        self.until(|stack| stack.is_drained().then_some(()));
    }
}

/// Connects to each of the addresses, asks, and prints the answer or what is in its way.
fn ask() -> ! {
    let mut net = Net::new();
    let mut guest = guest();
    for address in argument().split(' ') {
        let line = match net.connect(address) {
            Err(error) => format!("{address}: {error:?}\n"),
            Ok(stream) => {
                net.send(stream, b"question");
                net.stack.shutdown(stream, Half::Send).unwrap();
                let answer = net.receive(stream);
                format!("{address}: {}\n", String::from_utf8(answer).unwrap())
            }
        };
        guest.write(Output::Stdout, line.as_bytes());
    }
    net.drain();
    leave(guest, 0)
}

/// Answers one client with what it has said, and is gone.
fn serve() -> ! {
    let mut net = Net::new();
    let listener = net.stack.listen("0.0.0.0:8080".parse().unwrap(), 8).unwrap();
    let mut guest = guest();
    guest.write(Output::Stdout, b"listening\n");
    let (stream, client) = net.until(|stack| stack.accept(listener).ok());
    let question = net.receive(stream);
    guest.write(Output::Stdout, format!("{}\n", client.ip()).as_bytes());
    net.send(stream, &question);
    net.drain();
    leave(guest, 7)
}

/// Sends to one who does not read, as much as the relay takes, and is gone.
fn flood() -> ! {
    let mut net = Net::new();
    let stream = net.connect(&argument()).unwrap();
    let begun = Instant::now();
    let mut guest = guest();
    net.until(|stack| {
        while stack.send(stream, &[7; 4096]).is_ok() {}
        // No more is taken for a while.
        (begun.elapsed() > Duration::from_millis(300)).then_some(())
    });
    guest.write(Output::Stdout, b"sent\n");
    leave(guest, 0)
}
