//! A guest without a machine: a stack on the other end of the relay's wire, and the relay in a thread.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use boot_protocol::network::Grant;
use boot_protocol::network::inside::{GATEWAY, GATEWAY_V6, GUEST, GUEST_V6, PREFIX, PREFIX_V6};
use net_stack::{Config, Entropy, Error, Family, FrameDevice, Half, Ipv4, Stack, StreamId};
use relay::{Policy, Published, Relay, Setup};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) use test_frames::raw::LINK;

/// The system's random bytes.
pub(crate) struct Random;

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            let mut one = [0];
            rustix::rand::getrandom(&mut one, rustix::rand::GetRandomFlags::empty()).unwrap();
            *byte = one[0];
        }
    }
}

/// The guest's end of the wire.
pub(crate) struct Wire {
    pub(crate) stream: UnixStream,
    received: Vec<u8>,
    start: usize,
    pending: Vec<u8>,
    /// Frames that were taken.
    taken: u64,
}

impl Wire {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            received: Vec::new(),
            start: 0,
            pending: Vec::new(),
            taken: 0,
        }
    }

    pub(crate) fn flush(&mut self) {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Flushes, and says whether that was all.
    pub(crate) fn is_flushed(&mut self) -> bool {
        self.flush();
        self.pending.is_empty()
    }

    /// Sends a frame, whatever it is.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.pending
            .extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
        self.pending.extend_from_slice(frame);
        self.flush();
    }

    /// The next frame, if one is there.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        if self.end().is_none() {
            self.received.drain(..self.start);
            self.start = 0;
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the relay ended"),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        let end = self.end()?;
        let frame = self.received[self.start + 4..end].to_vec();
        self.start = end;
        self.taken += 1;
        Some(frame)
    }

    fn end(&self) -> Option<usize> {
        let bytes = &self.received[self.start..];
        let length = u32::from_be_bytes(*bytes.first_chunk()?);
        let end = 4 + usize::try_from(length).unwrap();
        (bytes.len() >= end).then_some(self.start + end)
    }
}

impl FrameDevice for Wire {
    fn address(&self) -> [u8; 6] {
        LINK
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        self.next().map(|frame| read(&frame))
    }

    fn can_transmit(&mut self) -> bool {
        self.flush();
        self.pending.is_empty()
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut frame = vec![0xa5; length];
        let result = write(&mut frame);
        self.send(&frame);
        result
    }
}

/// A guest and its relay.
pub(crate) struct Guest {
    pub(crate) stack: Stack<Wire, Random>,
    relay: Option<JoinHandle<std::io::Result<()>>>,
    begun: Instant,
}

/// A relay in a thread, and the guest's end of its wire.
pub(crate) fn start(
    grants: &[&str],
    published: Vec<Published>,
    change: impl FnOnce(&mut Setup),
) -> (UnixStream, JoinHandle<std::io::Result<()>>, Policy) {
    let grants: Vec<Grant> = grants.iter().map(|grant| grant.parse().unwrap()).collect();
    let policy = Policy::new(&grants, false).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut setup = Setup::new(policy.clone(), published, LINK);
    change(&mut setup);
    let relay = Relay::new(theirs, setup).unwrap();
    (ours, std::thread::spawn(move || relay.run()), policy)
}

impl Guest {
    pub(crate) fn new(grants: &[&str]) -> Self {
        Self::with(grants, Vec::new(), |_| {})
    }

    pub(crate) fn with(grants: &[&str], published: Vec<Published>, change: impl FnOnce(&mut Setup)) -> Self {
        Self::configured(grants, published, change, |_| {})
    }

    /// A guest with another configuration of its stack's, too.
    pub(crate) fn configured(
        grants: &[&str],
        published: Vec<Published>,
        change: impl FnOnce(&mut Setup),
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let (wire, relay, policy) = start(grants, published, change);
        let names = policy
            .names()
            .map(|(name, v4, _)| (name.to_string(), v4.into()))
            .collect();
        let mut config = Config {
            ipv4: Ipv4::Static {
                address: GUEST,
                prefix: PREFIX,
                gateway: Some(GATEWAY),
            },
            ipv6: Some((GUEST_V6, PREFIX_V6)),
            ipv6_gateway: Some(GATEWAY_V6),
            names,
            dns_servers: vec![boot_protocol::network::inside::DNS.into()],
            connections: 1024,
            ..Config::default()
        };
        configure(&mut config);
        Self {
            stack: Stack::new(Wire::new(wire), Random, &config).unwrap(),
            relay: Some(relay),
            begun: Instant::now(),
        }
    }

    /// Runs the guest until `done` says something. What hangs is a failure, after far longer than it can take.
    pub(crate) fn until<R>(&mut self, mut done: impl FnMut(&mut Stack<Wire, Random>) -> Option<R>) -> R {
        let begun = Instant::now();
        loop {
            let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap();
            let next = self.stack.poll(now);
            if let Some(result) = done(&mut self.stack) {
                let _ = self.stack.poll(now);
                return result;
            }
            let taken = self.stack.device().taken;
            let next = self.stack.poll(now).at.map_or(next.at, Some);
            assert!(begun.elapsed() < Duration::from_secs(120), "it hangs");
            let wire = self.stack.device();
            let wait = if wire.taken == taken {
                next.map_or(10_000, |at| at.saturating_sub(now)).min(10_000)
            } else {
                0
            };
            let mut flags = PollFlags::IN;
            if !wire.pending.is_empty() {
                flags |= PollFlags::OUT;
            }
            let wait = Timespec::try_from(Duration::from_micros(wait)).unwrap();
            let _ = poll(&mut [PollFd::new(&wire.stream, flags)], Some(&wait));
        }
    }

    /// Looks a name up.
    pub(crate) fn look_up(&mut self, name: &str, family: Family) -> Result<Vec<IpAddr>, Error> {
        let lookup = self.stack.look_up(name, family)?;
        self.until(|stack| match stack.lookup_result(lookup) {
            Err(Error::WouldBlock) => None,
            result => Some(result),
        })
    }

    /// Connects, and says how that ended.
    pub(crate) fn connect(&mut self, to: &str) -> Result<StreamId, Error> {
        let stream = self.stack.connect(to.parse::<SocketAddr>().unwrap(), None)?;
        self.until(|stack| match stack.connected(stream) {
            Err(Error::InProgress) => None,
            result => Some(result),
        })?;
        Ok(stream)
    }

    pub(crate) fn send(&mut self, stream: StreamId, data: &[u8]) -> Result<(), Error> {
        let mut rest = data;
        self.until(|stack| {
            while !rest.is_empty() {
                match stack.send(stream, rest) {
                    Ok(length) => rest = &rest[length..],
                    Err(Error::WouldBlock) => return None,
                    Err(error) => return Some(Err(error)),
                }
            }
            Some(Ok(()))
        })
    }

    /// Receives until the peer ends.
    pub(crate) fn receive_all(&mut self, stream: StreamId) -> Result<Vec<u8>, Error> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 65536];
        self.until(|stack| {
            loop {
                match stack.receive(stream, &mut buffer) {
                    Ok(0) => return Some(Ok(())),
                    Ok(length) => all.extend_from_slice(&buffer[..length]),
                    Err(Error::WouldBlock) => return None,
                    Err(error) => return Some(Err(error)),
                }
            }
        })?;
        Ok(all)
    }

    /// Receives something.
    pub(crate) fn receive(&mut self, stream: StreamId) -> Result<Vec<u8>, Error> {
        let mut buffer = vec![0; 65536];
        let length = self.until(|stack| match stack.receive(stream, &mut buffer) {
            Err(Error::WouldBlock) => None,
            result => Some(result),
        })?;
        buffer.truncate(length);
        Ok(buffer)
    }

    pub(crate) fn end(&mut self, stream: StreamId) {
        self.stack.shutdown(stream, Half::Send).unwrap();
        self.run_for(1);
    }

    /// Runs the guest for some milliseconds.
    pub(crate) fn run_for(&mut self, milliseconds: u64) {
        let begun = Instant::now();
        self.until(|_| (begun.elapsed() >= Duration::from_millis(milliseconds)).then_some(()));
    }

    /// The guest's machine is switched off: the relay ends as it should.
    pub(crate) fn switch_off(mut self) {
        let relay = self.relay.take().unwrap();
        drop(self);
        relay.join().unwrap().unwrap();
    }
}

/// Says that a part of a test is not done here, past the test harness, which keeps what a test that passes has printed.
pub(crate) fn skip(what: &str) {
    let line = format!("SKIPPED: {what}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// A listener of the host's, and a grant of it by `name`.
pub(crate) fn server(name: &str) -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let grant = format!("{name}:80={}", listener.local_addr().unwrap());
    (listener, grant)
}

pub(crate) fn publish(text: &str) -> (Published, SocketAddr) {
    let published = Published::bind(&text.parse().unwrap()).unwrap();
    let address = published.host().unwrap();
    (published, address)
}

/// What a thread of the host's returns, while the guest runs.
pub(crate) fn join<R>(guest: &mut Guest, host: JoinHandle<R>) -> R {
    guest.until(|_| host.is_finished().then_some(()));
    host.join().unwrap()
}

/// The error with which a connection of the host's ends, while the guest runs.
pub(crate) fn broken(guest: &mut Guest, host: &mut TcpStream) -> ErrorKind {
    host.set_nonblocking(true).unwrap();
    guest.until(|_| match host.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        result => Some(result.expect_err("a reset is no end of data").kind()),
    })
}

/// Bytes that no mistake makes by itself.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new()
        .update(b"noise")
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Memory of this process that is its own and in use, in bytes.
pub(crate) fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let field = |index| status.split(' ').nth(index).unwrap().parse::<usize>().unwrap();
    (field(1) - field(2)) * 4096
}
