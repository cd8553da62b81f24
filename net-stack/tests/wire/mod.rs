//! A wire in memory between two stacks, in simulated time, with faults: each test is fast and the same every time.
#![allow(dead_code, reason = "each test uses a part")]

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
};

use net_stack::{Config, Entropy, Error, FrameDevice, Ipv4, ListenerId, Next, Stack, StreamId};
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl,
        TcpPacket, TcpRepr, TcpSeqNumber,
    },
};

/// Random numbers that are the same every time.
#[derive(Clone)]
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn per_mille(&mut self, chance: usize) -> bool {
        chance > 0 && self.below(1000) < chance
    }
}

impl Entropy for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            [*byte, ..] = self.roll().to_le_bytes();
        }
    }
}

/// What goes wrong, per mille of the frames.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) loss: usize,
    pub(crate) corruption: usize,
    pub(crate) duplication: usize,
    pub(crate) reordering: usize,
}

/// The time a frame is on its way.
const LATENCY: u64 = 100;

/// Frames that may be on their way in one direction: a device has so many buffers.
const BUFFERS: usize = 256;

#[derive(Default)]
pub(crate) struct Wire {
    now: u64,
    /// Frames on their way to each end, by arrival.
    frames: [BTreeMap<(u64, u64), Vec<u8>>; 2],
    sent: u64,
    pub(crate) faults: Faults,
    dice: Option<Dice>,
    /// All frames, if they are to be kept: (the sending end, the frame).
    pub(crate) log: Option<Vec<(usize, Vec<u8>)>>,
    /// Nothing gets through.
    pub(crate) cut: bool,
}

impl Wire {
    fn transmit(&mut self, from: usize, mut frame: Vec<u8>) {
        if let Some(log) = &mut self.log {
            log.push((from, frame.clone()));
        }
        let dice = self.dice.get_or_insert(Dice(7));
        if self.cut || dice.per_mille(self.faults.loss) {
            return;
        }
        if dice.per_mille(self.faults.corruption) {
            let at = dice.below(frame.len());
            frame[at] ^= 1 << dice.below(8);
        }
        let copies = if dice.per_mille(self.faults.duplication) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let late = if dice.per_mille(self.faults.reordering) {
                dice.below(5000) as u64
            } else {
                0
            };
            self.sent += 1;
            self.frames[1 - from].insert((self.now + LATENCY + late, self.sent), frame.clone());
        }
    }

    /// Takes what arrived.
    fn receive(&mut self, at: usize) -> Option<Vec<u8>> {
        let first = self.frames[at].first_entry()?;
        (first.key().0 <= self.now).then(|| first.remove())
    }

    /// What is on its way to an end is lost.
    pub(crate) fn forget(&mut self, end: usize) {
        self.frames[end].clear();
    }

    fn next_arrival(&self) -> Option<u64> {
        self.frames
            .iter()
            .filter_map(|frames| frames.keys().next())
            .map(|(time, _)| *time)
            .min()
    }
}

/// One end of the wire.
pub(crate) struct Port {
    wire: Rc<RefCell<Wire>>,
    end: usize,
}

impl Port {
    /// A frame from elsewhere, as if the other end had sent it.
    pub(crate) fn inject(&self, frame: Vec<u8>) {
        let mut wire = self.wire.borrow_mut();
        wire.sent += 1;
        let key = (wire.now, wire.sent);
        wire.frames[self.end].insert(key, frame);
    }
}

impl FrameDevice for Port {
    fn address(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, number(self.end)]
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let frame = self.wire.borrow_mut().receive(self.end)?;
        Some(read(&frame))
    }

    fn can_transmit(&mut self) -> bool {
        self.wire.borrow().frames[1 - self.end].len() < BUFFERS
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        assert!(length <= 1514, "{length}");
        // Whatever the buffer held before.
        let mut frame = vec![0xa5; length];
        let result = write(&mut frame);
        self.wire.borrow_mut().transmit(self.end, frame);
        result
    }
}

pub(crate) type TestStack = Stack<Port, Dice>;

/// Two stacks and their wire.
pub(crate) struct World {
    pub(crate) stacks: [TestStack; 2],
    pub(crate) wire: Rc<RefCell<Wire>>,
    next: [Next; 2],
    now: u64,
}

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

/// The last byte of an end's addresses.
fn number(end: usize) -> u8 {
    u8::try_from(end + 1).unwrap()
}

/// The address of an end.
pub(crate) fn address(end: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 2, number(end))
}

/// A port at an end.
pub(crate) fn at(end: usize, port: u16) -> SocketAddr {
    SocketAddr::new(address(end).into(), port)
}

/// The configuration of an end.
pub(crate) fn config(end: usize) -> Config {
    Config {
        ipv4: Ipv4::Static {
            address: address(end),
            prefix: 24,
            gateway: None,
        },
        ..Config::default()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with([config(CLIENT), config(SERVER)])
    }

    pub(crate) fn with(configs: [Config; 2]) -> Self {
        let wire = Rc::new(RefCell::new(Wire::default()));
        let stack = |end: usize| {
            let port = Port {
                wire: wire.clone(),
                end,
            };
            Stack::new(port, Dice(end as u64 + 100), &configs[end]).expect("the configuration is valid")
        };
        let next = Next {
            at: Some(0),
            blocked: false,
        };
        Self {
            stacks: [stack(CLIENT), stack(SERVER)],
            wire,
            next: [next; 2],
            now: 1_000_000,
        }
    }

    /// Another port at an end of the wire.
    pub(crate) fn port(&self, end: usize) -> Port {
        Port {
            wire: self.wire.clone(),
            end,
        }
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    pub(crate) fn client(&mut self) -> &mut TestStack {
        &mut self.stacks[CLIENT]
    }

    pub(crate) fn server(&mut self) -> &mut TestStack {
        &mut self.stacks[SERVER]
    }

    /// Polls both stacks.
    pub(crate) fn poll(&mut self) {
        self.wire.borrow_mut().now = self.now;
        for (stack, next) in self.stacks.iter_mut().zip(&mut self.next) {
            *next = stack.poll(self.now);
        }
    }

    /// Lets the time pass until something is to do, `limit` at most.
    fn pass(&mut self, limit: u64) {
        let arrival = self.wire.borrow().next_arrival();
        let times = self.next.iter().filter_map(|next| next.at).chain(arrival);
        self.now = times
            .min()
            .unwrap_or(u64::MAX)
            .clamp(self.now + 1, limit.max(self.now + 1));
    }

    /// Lets `duration` pass.
    pub(crate) fn run(&mut self, duration: u64) {
        let end = self.now + duration;
        while self.now < end {
            self.poll();
            self.pass(end);
        }
        self.poll();
    }

    /// Lets time pass until `act` returns something: it acts after every poll.
    pub(crate) fn until<T>(&mut self, mut act: impl FnMut(&mut [TestStack; 2]) -> Option<T>) -> T {
        let end = self.now + 24 * 3600 * 1_000_000;
        loop {
            self.poll();
            if let Some(result) = act(&mut self.stacks) {
                self.poll();
                return result;
            }
            assert!(self.now < end, "nothing came of it in a day");
            // `act` may have more to do though nothing happens.
            self.pass(self.now + 1_000_000);
        }
    }

    /// A connection from the client to a listener of the server.
    pub(crate) fn connect(&mut self, listener: ListenerId) -> (StreamId, StreamId) {
        let port = self.server().listener_address(listener).unwrap().port();
        let client = self.client().connect(at(SERVER, port), None).unwrap();
        let server = self.until(|[_, server]| wait(server.accept(listener))).0;
        self.until(|[stack, _]| stack.connected(client).ok());
        (client, server)
    }
}

/// What an operation answered, or that it has to wait.
#[track_caller]
pub(crate) fn wait<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::WouldBlock | Error::InProgress) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The error that an operation answers in the end.
pub(crate) fn failure<T>(result: Result<T, Error>) -> Option<Error> {
    match result {
        Ok(_) | Err(Error::WouldBlock | Error::InProgress) => None,
        Err(error) => Some(error),
    }
}

/// A frame to the server with a segment.
pub(crate) fn segment(
    from: (Ipv4Addr, u16),
    port: u16,
    control: TcpControl,
    numbers: (u32, Option<u32>),
) -> Vec<u8> {
    let number = |number: u32| TcpSeqNumber(number.cast_signed());
    let tcp = TcpRepr {
        src_port: from.1,
        dst_port: port,
        control,
        seq_number: number(numbers.0),
        ack_number: numbers.1.map(number),
        window_len: 65535,
        window_scale: Some(7),
        max_seg_size: Some(1460),
        sack_permitted: true,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let ip = Ipv4Repr {
        src_addr: from.0,
        dst_addr: address(SERVER),
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let checksums = ChecksumCapabilities::default();
    let mut frame = vec![0; EthernetFrame::<&[u8]>::buffer_len(ip.buffer_len() + tcp.buffer_len())];
    let mut ethernet = EthernetFrame::new_unchecked(&mut frame);
    ethernet.set_src_addr(EthernetAddress([2, 0, 0, 0, 0, 1]));
    ethernet.set_dst_addr(EthernetAddress([2, 0, 0, 0, 0, 2]));
    ethernet.set_ethertype(EthernetProtocol::Ipv4);
    let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
    ip.emit(&mut packet, &checksums);
    let mut packet = TcpPacket::new_unchecked(packet.payload_mut());
    tcp.emit(&mut packet, &ip.src_addr.into(), &ip.dst_addr.into(), &checksums);
    frame
}
