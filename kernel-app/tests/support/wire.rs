//! A wire in memory, in simulated time: the guest's network at one end, at the other a stack that a test directs.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use boot_protocol::network::inside;
use boot_protocol::run_spec::Network;
use guest_network::{Link, Sockets};
use net_stack::{Config, Entropy, FrameDevice, Ipv4, Stack};
use wasi_core::Errno;
use wasi_core::network::SocketId;
use wasi_core::system::{Readiness, Source, Wait};

/// Random numbers that are the same every time.
pub(crate) struct Dice(u64);

impl Entropy for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            [.., *byte] = self.0.to_le_bytes();
        }
    }
}

#[derive(Default)]
struct Frames {
    to_guest: VecDeque<Vec<u8>>,
    to_peer: VecDeque<Vec<u8>>,
    /// How many the guest has sent.
    sent: usize,
}

/// The test's end.
pub(crate) struct Port(Rc<RefCell<Frames>>);

impl FrameDevice for Port {
    fn address(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 2]
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let frame = self.0.borrow_mut().to_peer.pop_front()?;
        Some(read(&frame))
    }

    fn can_transmit(&mut self) -> bool {
        true
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut frame = vec![0; length];
        let result = write(&mut frame);
        self.0.borrow_mut().to_guest.push_back(frame);
        result
    }
}

pub(crate) type Peer = Stack<Port, Dice>;

/// What a test's end does whenever the guest sleeps. Whether standard input has something then.
pub(crate) type Script = Box<dyn FnMut(&mut Peer, u64)>;

struct World {
    now: u64,
    frames: Rc<RefCell<Frames>>,
    peer: Option<Peer>,
    script: Option<Script>,
    input: bool,
    sleeps: usize,
    memory: usize,
}

/// The guest's end, and what is behind the other one.
#[derive(Clone)]
pub(crate) struct Wire(Rc<RefCell<World>>);

impl Wire {
    /// A wire with a peer that has this address, and another one on the same link.
    pub(crate) fn to(address: Ipv4Addr) -> Self {
        let frames = Rc::new(RefCell::new(Frames::default()));
        let config = Config {
            ipv4: Ipv4::Static {
                address,
                prefix: 24,
                gateway: None,
            },
            ..Config::default()
        };
        let peer = Stack::new(Port(Rc::clone(&frames)), Dice(7), &config).unwrap();
        Self(Rc::new(RefCell::new(World {
            now: 5_000_000_000,
            frames,
            peer: Some(peer),
            script: None,
            input: false,
            sleeps: 0,
            memory: 64 << 20,
        })))
    }

    /// Cuts it: frames go nowhere from now on.
    pub(crate) fn cut(&self) {
        self.0.borrow_mut().peer = None;
    }

    /// The stack at the other end.
    pub(crate) fn peer(&self) -> RefMut<'_, Peer> {
        RefMut::map(self.0.borrow_mut(), |world| world.peer.as_mut().unwrap())
    }

    /// Does this whenever the guest sleeps, with the time in nanoseconds.
    pub(crate) fn script(&self, script: impl FnMut(&mut Peer, u64) + 'static) {
        self.0.borrow_mut().script = Some(Box::new(script));
    }

    /// Something has come for standard input, or has been read.
    pub(crate) fn input(&self, is_there: bool) {
        self.0.borrow_mut().input = is_there;
    }

    /// So many bytes of memory are free from now on.
    pub(crate) fn memory(&self, free: usize) {
        self.0.borrow_mut().memory = free;
    }

    pub(crate) fn input_is_there(&self) -> bool {
        self.0.borrow().input
    }

    pub(crate) fn time(&self) -> u64 {
        self.0.borrow().now
    }

    /// How many frames the guest has sent.
    pub(crate) fn sent(&self) -> usize {
        self.0.borrow().frames.borrow().sent
    }

    /// How often the guest has slept.
    pub(crate) fn sleeps(&self) -> usize {
        self.0.borrow().sleeps
    }

    /// The guest's network at this end.
    pub(crate) fn network(&self, network: &Network) -> Result<Sockets, String> {
        Sockets::new(Box::new(self.clone()), [3; 32], network)
    }
}

impl Link for Wire {
    fn address(&self) -> [u8; 6] {
        [2, 0, 0, 0, 0, 1]
    }

    fn mtu(&self) -> u16 {
        1500
    }

    fn receive(&mut self, read: &mut dyn FnMut(&[u8])) -> bool {
        let frame = self.0.borrow().frames.borrow_mut().to_guest.pop_front();
        frame.iter().for_each(|frame| read(frame));
        frame.is_some()
    }

    fn can_transmit(&mut self) -> bool {
        self.0.borrow().frames.borrow().to_peer.len() < 64
    }

    fn transmit(&mut self, length: usize, write: &mut dyn FnMut(&mut [u8])) {
        let mut frame = vec![0; length];
        write(&mut frame);
        let world = self.0.borrow();
        let mut frames = world.frames.borrow_mut();
        frames.sent += 1;
        frames.to_peer.push_back(frame);
    }

    fn now(&mut self) -> u64 {
        let mut world = self.0.borrow_mut();
        // Looking takes time.
        world.now += 100;
        world.now
    }

    fn sleep(&mut self, input: bool, _: bool, nanoseconds: Option<u64>) {
        let mut world = self.0.borrow_mut();
        let world = &mut *world;
        world.sleeps += 1;
        let end = nanoseconds.map_or(u64::MAX, |nanoseconds| world.now + nanoseconds);
        loop {
            let next = world.peer.as_mut().and_then(|peer| {
                peer.poll(world.now / 1000);
                if let Some(script) = &mut world.script {
                    script(peer, world.now);
                }
                peer.poll(world.now / 1000).at
            });
            if world.peer.is_none() {
                world.frames.borrow_mut().to_peer.clear();
            }
            if !world.frames.borrow().to_guest.is_empty() || input && world.input || world.now >= end {
                return;
            }
            // A script is asked every millisecond, and every second where time is all that is waited for.
            let step = if world.script.is_some() {
                1_000_000
            } else {
                1_000_000_000
            };
            let next = next
                .map_or(u64::MAX, |at| at * 1000)
                .clamp(world.now + 1000, world.now + step);
            world.now = next.min(end);
            assert!(world.now < 100_000_000_000_000, "nothing comes of it in a day");
        }
    }

    fn slept(&self) -> u64 {
        0
    }

    fn is_idle(&mut self) -> bool {
        self.0.borrow().frames.borrow().to_peer.is_empty()
    }

    fn free_memory(&mut self) -> usize {
        self.0.borrow().memory
    }
}

/// The router's address: of a peer that stands for all others.
pub(crate) const ROUTER: Ipv4Addr = inside::GATEWAY;

pub(crate) fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

/// Waits for one thing without end, and tells how it stands.
pub(crate) fn wait_for(sockets: &mut Sockets, source: Source) -> Readiness {
    let mut on = [Wait::new(source)];
    sockets.wait(&mut on, None, &mut || Ok(Readiness::NotReady));
    on[0].answer.unwrap()
}

/// Tries until it need not wait.
pub(crate) fn blocking<T>(
    sockets: &mut Sockets,
    source: Source,
    mut operation: impl FnMut(&mut Sockets) -> Result<T, Errno>,
) -> Result<T, Errno> {
    loop {
        match operation(sockets) {
            Err(Errno::AGAIN | Errno::INPROGRESS) => {
                wait_for(sockets, source);
            }
            result => return result,
        }
    }
}

/// Receives until the end.
pub(crate) fn receive_all(sockets: &mut Sockets, stream: SocketId) -> Result<Vec<u8>, Errno> {
    use wasi_core::network::Network as _;
    let mut all = Vec::new();
    loop {
        let mut buf = [0; 1000];
        match blocking(sockets, Source::Readable(stream), |sockets| {
            sockets.receive(stream, &mut buf, false)
        })? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buf[..count]),
        }
    }
}
