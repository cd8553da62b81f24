//! What the stack costs: work for an instruction counter, one case at a time. docs/network.md says how it is counted.
//!
//! `figures CASE COUNT`, where `CASE` is `requests`, `connections`, `in` or `out` (both in KiB).

use std::{cell::RefCell, hint::black_box, net::SocketAddr, rc::Rc};

use net_stack::{Config, Entropy, Error, FrameDevice, Half, Ipv4, ListenerId, Stack, StreamId};

/// Frames on their way to one end: a device's buffers, which are used again.
struct Ring {
    frames: Vec<(usize, [u8; 1514])>,
    first: usize,
    count: usize,
}

impl Ring {
    fn new() -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            frames: vec![(0, [0; 1514]); 256],
            first: 0,
            count: 0,
        }))
    }
}

struct Port {
    own: Rc<RefCell<Ring>>,
    other: Rc<RefCell<Ring>>,
    number: u8,
}

impl FrameDevice for Port {
    fn address(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.number]
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let mut ring = self.own.borrow_mut();
        ring.count = ring.count.checked_sub(1)?;
        let first = ring.first;
        ring.first = (first + 1) % 256;
        let (length, frame) = &ring.frames[first];
        Some(read(&frame[..*length]))
    }

    fn can_transmit(&mut self) -> bool {
        self.other.borrow().count < 256
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut ring = self.other.borrow_mut();
        let next = (ring.first + ring.count) % 256;
        ring.count += 1;
        ring.frames[next].0 = length;
        write(&mut ring.frames[next].1[..length])
    }
}

struct Numbers(u64);

impl Entropy for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            [*byte, ..] = self.0.to_be_bytes();
        }
    }
}

type Local = Stack<Port, Numbers>;

const REQUEST: [u8; 100] = [b'q'; 100];
const RESPONSE: [u8; 200] = [b'r'; 200];

/// The server and its stack: what is counted.
struct Server {
    stack: Local,
    listener: ListenerId,
    streams: Vec<StreamId>,
    /// It answers requests; otherwise it sends as much as it can, and drops what it receives.
    answers: bool,
    sends: usize,
    buffer: Vec<u8>,
}

impl Server {
    #[inline(never)]
    fn served(&mut self, now: u64) {
        self.stack.poll(now);
        while let Ok((stream, _)) = self.stack.accept(self.listener) {
            self.streams.push(stream);
        }
        let Self {
            stack,
            streams,
            buffer,
            ..
        } = self;
        streams.retain(|stream| {
            loop {
                match stack.receive(*stream, buffer) {
                    Ok(0) => {
                        stack.close_stream(*stream).unwrap();
                        return false;
                    }
                    Ok(_) if self.answers => assert_eq!(stack.send(*stream, &RESPONSE), Ok(RESPONSE.len())),
                    Ok(length) => {
                        black_box(length);
                    }
                    Err(Error::WouldBlock) => {
                        while self.sends > 0 {
                            let Ok(sent) = stack.send(*stream, &buffer[..self.sends.min(buffer.len())])
                            else {
                                break;
                            };
                            self.sends -= sent;
                        }
                        return true;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        });
        self.stack.poll(now);
    }
}

fn config(number: u8) -> Config {
    let ipv4 = Ipv4::Static {
        address: [10, 0, 2, number].into(),
        prefix: 24,
        gateway: None,
    };
    Config {
        ipv4,
        ..Config::default()
    }
}

struct World {
    client: Local,
    server: Server,
    now: u64,
}

impl World {
    fn new(answers: bool, sends: usize) -> Self {
        let (a, b) = (Ring::new(), Ring::new());
        let port = |number, own: &Rc<_>, other: &Rc<_>| Port {
            own: Rc::clone(own),
            other: Rc::clone(other),
            number,
        };
        let client = Stack::new(port(1, &a, &b), Numbers(1), &config(1)).unwrap();
        let mut stack = Stack::new(port(2, &b, &a), Numbers(2), &config(2)).unwrap();
        let listener = stack.listen(address(), 8).unwrap();
        let server = Server {
            stack,
            listener,
            streams: Vec::new(),
            answers,
            sends,
            buffer: vec![7; 16_384],
        };
        Self {
            client,
            server,
            now: 1,
        }
    }

    fn turn(&mut self) {
        self.now += 50;
        self.client.poll(self.now);
        self.server.served(self.now);
        self.client.poll(self.now);
    }

    fn connect(&mut self) -> StreamId {
        let stream = self.client.connect(address(), None).unwrap();
        while self.client.connected(stream).is_err() {
            self.turn();
        }
        stream
    }

    fn receive(&mut self, stream: StreamId, mut length: usize) {
        let mut buffer = [0; 16_384];
        while length > 0 {
            match self.client.receive(stream, &mut buffer) {
                Ok(received) => length -= received,
                Err(Error::WouldBlock) => self.turn(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn address() -> SocketAddr {
    SocketAddr::new([10, 0, 2, 2].into(), 80)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(case), Some(count)) = (
        arguments.next(),
        arguments.next().and_then(|count| count.parse().ok()),
    ) else {
        panic!("figures CASE COUNT");
    };
    match &*case {
        "requests" => {
            let mut world = World::new(true, 0);
            let stream = world.connect();
            for _ in 0..count {
                world.client.send(stream, &REQUEST).unwrap();
                world.receive(stream, RESPONSE.len());
            }
        }
        "connections" => {
            let mut world = World::new(true, 0);
            for _ in 0..count {
                let stream = world.connect();
                world.client.send(stream, &REQUEST).unwrap();
                world.receive(stream, RESPONSE.len());
                world.client.shutdown(stream, Half::Send).unwrap();
                while world.client.receive(stream, &mut [0]) != Ok(0) {
                    world.turn();
                }
                world.client.close_stream(stream).unwrap();
                world.turn();
            }
        }
        "in" => {
            let mut world = World::new(false, 0);
            let stream = world.connect();
            let mut left = count << 10;
            while left > 0 {
                match world.client.send(stream, &vec![7; left.min(65_536)]) {
                    Ok(sent) => left -= sent,
                    Err(_) => world.turn(),
                }
            }
        }
        "out" => {
            let mut world = World::new(false, count << 10);
            let stream = world.connect();
            world.receive(stream, count << 10);
        }
        _ => panic!("figures requests|connections|in|out COUNT"),
    }
}
