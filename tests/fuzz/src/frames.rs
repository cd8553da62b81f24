//! The network stack: whatever arrives, it does not panic, holds no more than it may, and comes to rest.
//!
//! Two stacks talk to each other; the input says what their applications do, and what happens to each frame on its way:
//! it is lost, comes twice, or is changed, with its checksums made right again. It has frames of its own, too.

use std::{cell::RefCell, collections::VecDeque, net::SocketAddr, rc::Rc};

use arbitrary::{Arbitrary, Unstructured};
use net_stack::{
    Config, Entropy, Family, FrameDevice, Half, Ipv4, ListenerId, LookupId, Next, Stack, StreamId, UdpId,
};

/// What happens next. Numbers choose among what there is.
#[derive(Arbitrary, Debug)]
enum Step {
    /// A frame is handed on as it is, or with a byte changed.
    Deliver {
        end: bool,
        twice: bool,
        change: Option<(u8, u8)>,
    },
    /// A frame is lost.
    Lose {
        end: bool,
    },
    /// A frame comes from nowhere.
    Frame {
        end: bool,
        right: bool,
        bytes: Vec<u8>,
    },
    /// Time passes, in milliseconds.
    Pass(u16),
    Listen {
        end: bool,
        port: u8,
    },
    Accept {
        end: bool,
    },
    Connect {
        end: bool,
        port: u8,
        local: Option<u8>,
    },
    Send {
        end: bool,
        stream: u8,
        length: u16,
    },
    Receive {
        end: bool,
        stream: u8,
        length: u16,
    },
    Shutdown {
        end: bool,
        stream: u8,
        half: u8,
    },
    Close {
        end: bool,
        stream: u8,
        reset: bool,
    },
    KeepAlive {
        end: bool,
        stream: u8,
        interval: u16,
    },
    Bind {
        end: bool,
        port: u8,
    },
    SendTo {
        end: bool,
        socket: u8,
        port: u8,
        length: u16,
    },
    ReceiveFrom {
        end: bool,
        socket: u8,
    },
    LookUp {
        end: bool,
        name: u8,
        ipv6: bool,
    },
    CloseAll {
        end: bool,
    },
}

/// Frames that a device has to transmit at most.
const BUFFERS: usize = 32;

/// A device: what it received, and what it transmitted.
#[derive(Default)]
struct Queues {
    received: VecDeque<Vec<u8>>,
    transmitted: VecDeque<Vec<u8>>,
}

struct Device {
    queues: Rc<RefCell<Queues>>,
    number: u8,
}

impl FrameDevice for Device {
    fn address(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, self.number]
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let frame = self.queues.borrow_mut().received.pop_front()?;
        Some(read(&frame))
    }

    fn can_transmit(&mut self) -> bool {
        self.queues.borrow().transmitted.len() < BUFFERS
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        assert!(length <= 1514 && self.can_transmit(), "{length}");
        let mut frame = vec![0xa5; length];
        let result = write(&mut frame);
        self.queues.borrow_mut().transmitted.push_back(frame);
        result
    }
}

/// Numbers that are the same for the same input.
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

/// One stack and its application.
struct End {
    stack: Stack<Device, Numbers>,
    queues: Rc<RefCell<Queues>>,
    listeners: Vec<ListenerId>,
    streams: Vec<StreamId>,
    sockets: Vec<UdpId>,
    lookups: Vec<LookupId>,
    next: Next,
}

fn at(end: bool, port: u8) -> SocketAddr {
    SocketAddr::new([10, 0, 2, 1 + u8::from(end)].into(), u16::from(port % 4) + 79)
}

impl End {
    fn new(end: bool) -> Self {
        let address = [10, 0, 2, 1 + u8::from(end)].into();
        let config = Config {
            ipv4: Ipv4::Static {
                address,
                prefix: 24,
                gateway: Some([10, 0, 2, 2].into()),
            },
            ipv6: Some(([0xfd00, 0, 0, 0, 0, 0, 0, 1 + u16::from(end)].into(), 64)),
            ipv6_gateway: Some([0xfd00, 0, 0, 0, 0, 0, 0, 2].into()),
            dns_servers: vec![[10, 0, 2, 2].into()],
            names: vec![("redis".to_owned(), [10, 0, 2, 100].into())],
            receive_buffer: 3000,
            send_buffer: 5000,
            connections: 6,
            pooled: 2,
            half_open: 4,
            time_wait: 4,
            backlog: 2,
            udp_sockets: 3,
            udp_buffer: 4000,
            udp_datagrams: 4,
            ..Config::default()
        };
        let queues = Rc::new(RefCell::new(Queues::default()));
        let device = Device {
            queues: queues.clone(),
            number: 1 + u8::from(end),
        };
        let stack = Stack::new(device, Numbers(end.into()), &config).expect("the configuration is valid");
        let next = Next {
            at: Some(0),
            blocked: false,
        };
        let (listeners, streams, sockets, lookups) = Default::default();
        Self {
            stack,
            queues,
            listeners,
            streams,
            sockets,
            lookups,
            next,
        }
    }

    /// Polls until the stack comes to rest, which it has to.
    fn poll(&mut self, now: u64) {
        for _ in 0..100 {
            self.next = self.stack.poll(now);
            if self.next.at.is_none_or(|at| at > now) || self.next.blocked {
                return;
            }
        }
        panic!("the stack wants to be polled for ever: {:?}", self.next);
    }
}

fn choose<T: Copy>(things: &[T], number: u8) -> Option<T> {
    things.get(usize::from(number) % things.len().max(1)).copied()
}

/// Makes the checksums of a frame right, if it is one of IPv4.
fn mend(frame: &mut [u8]) {
    let sum = |bytes: &[u8], start: u32| {
        let sum = bytes.chunks(2).fold(start, |sum, pair| {
            sum.wrapping_add(u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from))
        });
        let sum = (sum & 0xffff) + (sum >> 16);
        !u16::try_from(((sum & 0xffff) + (sum >> 16)) & 0xffff).unwrap_or_default()
    };
    if frame.len() < 34 || frame[12..14] != [8, 0] {
        return;
    }
    let header = usize::from(frame[14] & 15) * 4;
    let (protocol, end) = (
        frame[23],
        14 + usize::from(u16::from_be_bytes([frame[16], frame[17]])),
    );
    if header < 20 || end < 14 + header || end > frame.len() {
        return;
    }
    frame[24..26].fill(0);
    let checksum = sum(&frame[14..14 + header], 0);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    let offset = match protocol {
        1 => 2,
        6 => 16,
        17 => 6,
        _ => return,
    };
    let payload = 14 + header..end;
    if payload.len() < offset + 2 {
        return;
    }
    let place = payload.start + offset..payload.start + offset + 2;
    frame[place.clone()].fill(0);
    let length = u32::try_from(payload.len()).unwrap_or_default();
    let pseudo = frame[26..34]
        .chunks(2)
        .fold(u32::from(protocol) + length, |sum, pair| {
            sum + (u32::from(pair[0]) << 8 | u32::from(pair[1]))
        });
    let checksum = sum(&frame[payload], if protocol == 1 { 0 } else { pseudo });
    frame[place].copy_from_slice(&checksum.to_be_bytes());
}

/// The bytes say what happens.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut ends = [End::new(false), End::new(true)];
    let mut now = 1_000_000;
    for _ in 0..300 {
        if input.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut input) else {
            break;
        };
        act(&mut ends, &mut now, step);
        for end in &mut ends {
            end.poll(now);
        }
    }
    // Nobody is left for ever.
    for end in &mut ends {
        end.stack.close_all();
        for _ in 0..100 {
            end.queues.borrow_mut().transmitted.clear();
            end.poll(now);
            now = now.max(end.next.at.unwrap_or(now)) + 1_000_000;
        }
        assert!(end.stack.is_drained(), "{:?}", end.next);
    }
}

/// The end that is meant, and the other one.
fn of(ends: &mut [End; 2], end: bool) -> (&mut End, &mut End) {
    let [first, second] = ends;
    if end { (second, first) } else { (first, second) }
}

fn act(ends: &mut [End; 2], now: &mut u64, step: Step) {
    match step {
        Step::Deliver { end, twice, change } => {
            let (end, other) = of(ends, end);
            let Some(mut frame) = end.queues.borrow_mut().transmitted.pop_front() else {
                return;
            };
            if let Some((place, value)) = change {
                let place = usize::from(place) % frame.len();
                frame[place] = value;
                mend(&mut frame);
            }
            let received = &mut other.queues.borrow_mut().received;
            if twice {
                received.push_back(frame.clone());
            }
            received.push_back(frame);
        }
        Step::Lose { end } => drop(of(ends, end).0.queues.borrow_mut().transmitted.pop_front()),
        Step::Frame {
            end,
            right,
            mut bytes,
        } => {
            if right {
                mend(&mut bytes);
            }
            of(ends, end).0.queues.borrow_mut().received.push_back(bytes);
        }
        Step::Pass(duration) => *now += u64::from(duration) * 1000,
        Step::Listen { end, port } => {
            let end_is = of(ends, end).0;
            end_is.listeners.extend(end_is.stack.listen(at(end, port), 8));
        }
        Step::Accept { end } => {
            let end = of(ends, end).0;
            for listener in &end.listeners {
                end.streams
                    .extend(end.stack.accept(*listener).map(|(stream, _)| stream));
            }
        }
        Step::Connect { end, port, local } => {
            let local = local.map(|local| at(end, local));
            let (own, _) = of(ends, end);
            own.streams.extend(own.stack.connect(at(!end, port), local));
        }
        Step::SendTo {
            end,
            socket,
            port,
            length,
        } => {
            let (own, _) = of(ends, end);
            if let Some(socket) = choose(&own.sockets, socket) {
                let _ = own
                    .stack
                    .send_to(socket, &vec![7; usize::from(length)], Some(at(!end, port)));
            }
        }
        Step::Bind { end, port } => {
            let (own, _) = of(ends, end);
            own.sockets.extend(own.stack.udp_bind(at(end, port)));
        }
        Step::ReceiveFrom { end, socket } => {
            let (own, _) = of(ends, end);
            if let Some(socket) = choose(&own.sockets, socket) {
                let _ = own.stack.receive_from(socket, &mut [0; 100]);
                let _ = own.stack.udp_readiness(socket);
            }
        }
        Step::LookUp { end, name, ipv6 } => {
            let (own, _) = of(ends, end);
            let name = ["redis", "example.com", "a.b.c", "10.0.0.1"][usize::from(name) % 4];
            let family = if ipv6 { Family::Ipv6 } else { Family::Ipv4 };
            own.lookups.extend(own.stack.look_up(name, family));
            own.lookups
                .retain(|lookup| own.stack.lookup_result(*lookup).is_err());
        }
        Step::CloseAll { end } => of(ends, end).0.stack.close_all(),
        Step::Send { end, .. }
        | Step::Receive { end, .. }
        | Step::Shutdown { end, .. }
        | Step::Close { end, .. }
        | Step::KeepAlive { end, .. } => stream(of(ends, end).0, &step),
    }
}

/// What an application does with a stream. What readiness promises is kept.
fn stream(end: &mut End, step: &Step) {
    let (Step::Send { stream, .. }
    | Step::Receive { stream, .. }
    | Step::Shutdown { stream, .. }
    | Step::Close { stream, .. }
    | Step::KeepAlive { stream, .. }) = step
    else {
        return;
    };
    let Some(stream) = choose(&end.streams, *stream) else {
        return;
    };
    let readiness = end.stack.stream_readiness(stream);
    match step {
        Step::Send { length, .. } => {
            let sent = end.stack.send(stream, &vec![7; usize::from(*length)]);
            if readiness.is_ok_and(|readiness| readiness.writable) {
                assert_ne!(sent, Err(net_stack::Error::WouldBlock));
            }
        }
        Step::Receive { length, .. } => {
            let received = end.stack.receive(stream, &mut vec![0; usize::from(*length)]);
            if let Ok(readiness) = readiness {
                let blocks = received == Err(net_stack::Error::WouldBlock);
                assert_eq!(readiness.readable, !blocks, "{readiness:?}");
            }
        }
        Step::Shutdown { half, .. } => {
            let half = [Half::Receive, Half::Send, Half::Both][usize::from(*half) % 3];
            let _ = end.stack.shutdown(stream, half);
        }
        Step::Close { reset: true, .. } => {
            let _ = end.stack.reset_stream(stream);
        }
        Step::Close { .. } => {
            let _ = end.stack.close_stream(stream);
        }
        Step::KeepAlive { interval, .. } => {
            let _ = end
                .stack
                .set_keep_alive(stream, Some(u64::from(*interval) * 1000));
        }
        _ => {}
    }
}
