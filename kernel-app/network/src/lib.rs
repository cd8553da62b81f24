//! The guest's network: `wasi-core`'s seam over the TCP/IP stack, and the one wait for sockets, input and time.
//!
//! Layer: pure; tested by the application's tests, over a wire in memory. The machine's part is a [`Link`]. Operations
//! serve the stack as they go: what was sent leaves at once, and what would have to wait looks for frames first. So a
//! guest that never waits is served too; one that computes is not, as long as it does.
//!
//! A package of its own, without a generic parameter, so that the profile of an image can have all of it compiled for
//! size, the stack's generic code too.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod calls;
mod datagrams;
mod errno;
mod id;
mod policy;
mod table;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use boot_protocol::network::inside;
use boot_protocol::run_spec::{self, Ipv4Source, Wire};
use net_stack::{Config, Entropy, FrameDevice, Ipv4, LookupId, Next, Stack};
use wasi_core::Errno;
use wasi_core::network::SocketId;
use wasi_core::random::Generator;
use wasi_core::system::{Readiness, Source, Wait};

use self::datagrams::Senders;
use self::errno::errno;
use self::id::Id;
use self::policy::Policy;
use self::table::Table;

/// What the machine has to provide: a device for frames, as [`FrameDevice`] describes it, time, and sleep.
pub trait Link {
    /// The device's own address on the link.
    fn address(&self) -> [u8; 6];

    /// The longest IP packet that a frame carries.
    fn mtu(&self) -> u16;

    /// Hands the oldest frame that was received to `read`, and forgets it. Whether there was one.
    fn receive(&mut self, read: &mut dyn FnMut(&[u8])) -> bool;

    /// Whether there is a buffer to transmit.
    fn can_transmit(&mut self) -> bool;

    /// Lends a buffer of `length` bytes to `write`, once, and transmits it.
    fn transmit(&mut self, length: usize, write: &mut dyn FnMut(&mut [u8]));

    /// Nanoseconds on a clock that never goes back.
    fn now(&mut self) -> u64;

    /// Sleeps until a frame arrives, with `room` also until there is room to transmit, with `input` until something
    /// comes for standard input; at most so many nanoseconds (`None`: for ever). It may end early.
    fn sleep(&mut self, input: bool, room: bool, nanoseconds: Option<u64>);

    /// Nanoseconds that were slept so far.
    fn slept(&self) -> u64;

    /// Whether all that was transmitted has left the machine.
    fn is_idle(&mut self) -> bool;

    /// Bytes of memory that are free for connections.
    fn free_memory(&mut self) -> usize;
}

/// Random numbers, from a key that the machine's real source has given.
#[derive(Debug)]
struct Numbers(Generator);

impl Entropy for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }
}

/// A link, as the stack wants it.
struct Device(Box<dyn Link>);

impl FrameDevice for Device {
    fn address(&self) -> [u8; 6] {
        self.0.address()
    }

    fn mtu(&self) -> u16 {
        self.0.mtu()
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let (mut read, mut result) = (Some(read), None);
        self.0
            .receive(&mut |frame| result = read.take().map(|read| read(frame)));
        result
    }

    fn can_transmit(&mut self) -> bool {
        self.0.can_transmit()
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        let (mut write, mut result) = (Some(write), None);
        self.0.transmit(length, &mut |frame| {
            if let Some(write) = write.take() {
                result = Some(write(frame));
            }
        });
        // It calls what it is given: it is ours.
        result.expect("a link lends a buffer")
    }
}

/// The stack beneath.
type TheStack = Stack<Device, Numbers>;

/// For so many nanoseconds what a guest has written goes out after its end, and an address is waited for before its
/// beginning.
const PATIENCE: u64 = 10_000_000_000;
/// Nanoseconds between two looks whether the device has transmitted all.
const LOOK: u64 = 1_000_000;

/// A lookup of a name.
#[derive(Debug)]
enum Lookup {
    /// What was known at once.
    Known(Vec<IpAddr>),
    /// What was asked, a question for each family.
    Asked(Vec<LookupId>),
}

/// The guest's sockets. See [`wasi_core::network::Network`].
pub struct Sockets {
    stack: TheStack,
    policy: Policy,
    /// What the guest calls the peers of streams that have another address on the wire.
    known_as: Table<SocketAddr>,
    /// Who has sent to sockets at published ports.
    senders: Table<Senders>,
    lookups: Table<Lookup>,
    /// How many lookups there have been.
    lookups_begun: u64,
}

impl Sockets {
    /// A guest's network at the end of `link`, as `network` describes it. `key`: from a real source of entropy.
    ///
    /// Waits for the machine's address if that comes from the network.
    ///
    /// # Errors
    /// Why it cannot be, in words.
    pub fn new(link: Box<dyn Link>, key: [u8; 32], network: &run_spec::Network) -> Result<Self, String> {
        let policy = Policy::new(network)?;
        let mut link = Device(link);
        let config = config(network, link.0.free_memory());
        let mut sockets = Self {
            stack: Stack::new(link, Numbers(Generator::new(key)), &config)
                .map_err(|error| format!("{error}"))?,
            policy,
            known_as: Table::new(),
            senders: Table::new(),
            lookups: Table::new(),
            lookups_begun: 0,
        };
        if network.address == Ipv4Source::Dhcp {
            sockets.wait_for_address()?;
        }
        Ok(sockets)
    }

    /// The machine's end of the wire.
    fn link(&mut self) -> &mut dyn Link {
        &mut *self.stack.device().0
    }

    /// Nanoseconds that were slept so far.
    pub fn slept(&mut self) -> u64 {
        self.link().slept()
    }

    /// Serves the stack.
    fn poll(&mut self) -> Next {
        let free = self.link().free_memory();
        // What the guest asks for next is to find something, too.
        self.stack.set_free_memory(free / 2);
        let now = self.link().now() / 1000;
        self.stack.poll(now)
    }

    /// Tries `operation`, and once more after the stack was served if it would have to wait.
    fn try_twice<T>(
        &mut self,
        operation: &mut dyn FnMut(&mut TheStack) -> Result<T, net_stack::Error>,
    ) -> Result<T, Errno> {
        use net_stack::Error::{InProgress, WouldBlock};
        match operation(&mut self.stack) {
            Err(WouldBlock | InProgress) => {}
            result => return result.map_err(errno),
        }
        self.poll();
        operation(&mut self.stack).map_err(errno)
    }

    /// Waits as [`System::wait`](wasi_core::System::wait) has it. `stdin` tells at once how standard input stands.
    pub fn wait(
        &mut self,
        on: &mut [Wait],
        timeout: Option<u64>,
        stdin: &mut dyn FnMut() -> Result<Readiness, Errno>,
    ) {
        let deadline = timeout.map(|timeout| self.link().now().saturating_add(timeout));
        loop {
            let next = self.poll();
            let (mut input, mut ready) = (false, false);
            for wait in &mut *on {
                wait.answer = match wait.source {
                    Source::Stdin => {
                        input = true;
                        stdin()
                    }
                    source => self.readiness(source),
                };
                ready |= wait.answer != Ok(Readiness::NotReady);
            }
            if ready || !self.sleep(next, input, deadline) {
                return;
            }
        }
    }

    /// Sleeps until there may be something to do, or until `deadline`; whether there is time left.
    fn sleep(&mut self, next: Next, input: bool, deadline: Option<u64>) -> bool {
        let now = self.link().now();
        if deadline.is_some_and(|deadline| deadline <= now) {
            return false;
        }
        let at = next.at.map(|at| at.saturating_mul(1000));
        let until = at.into_iter().chain(deadline).min();
        let left = until.map(|until| until.saturating_sub(now));
        if left != Some(0) {
            self.link().sleep(input, next.blocked, left);
        }
        true
    }

    /// How a socket stands.
    fn readiness(&mut self, source: Source) -> Result<Readiness, Errno> {
        let (socket, write) = match source {
            Source::Readable(socket) => (socket, false),
            Source::Writable(socket) => (socket, true),
            Source::Stdin => return Err(Errno::BADF),
        };
        let state = match Id::of(socket) {
            Id::Listener(listener) => self.stack.listener_readiness(listener),
            Id::Stream(stream) => self.stack.stream_readiness(stream),
            Id::Datagrams(udp) => self.stack.udp_readiness(udp),
            Id::Lookup(_) => return self.lookup_readiness(socket),
        }
        .map_err(errno)?;
        let is_over = state.ended || state.error.is_some();
        Ok(match (write, state.readable, state.writable) {
            (true, _, true) | (false, true, _) if is_over && state.available == 0 => Readiness::ENDED,
            (true, _, true) => ready(WRITABLE),
            // Of a peer that sends no more, there is its end to be read.
            (false, true, _) => ready(state.available),
            _ => Readiness::NotReady,
        })
    }

    fn lookup_readiness(&mut self, lookup: SocketId) -> Result<Readiness, Errno> {
        let stack = &self.stack;
        let done = match self.lookups.get(lookup).ok_or(Errno::BADF)? {
            Lookup::Known(_) => true,
            Lookup::Asked(questions) => questions
                .iter()
                .all(|question| stack.lookup_is_done(*question) != Ok(false)),
        };
        Ok(if done { ready(1) } else { Readiness::NotReady })
    }

    /// Waits for the machine's address.
    fn wait_for_address(&mut self) -> Result<(), String> {
        let deadline = self.link().now().saturating_add(PATIENCE);
        loop {
            let next = self.poll();
            if self.stack.addresses().any(|own| own.address.is_ipv4()) {
                return Ok(());
            }
            if !self.sleep(next, false, Some(deadline)) {
                return Err(
                    "no DHCP server has given it an address in 10 s; give it one with --ip ADDRESS/PREFIX"
                        .into(),
                );
            }
        }
    }

    /// The guest has ended: sends what it has written, for ten seconds at most.
    pub fn finish(&mut self) {
        self.stack.close_all();
        let deadline = self.link().now().saturating_add(PATIENCE);
        loop {
            let next = self.poll();
            let is_drained = self.stack.is_drained();
            let next = match is_drained {
                true if self.link().is_idle() => return,
                // Nothing wakes who waits for that.
                true => Next {
                    at: Some((self.link().now().saturating_add(LOOK)) / 1000),
                    ..next
                },
                false => next,
            };
            if !self.sleep(next, false, Some(deadline)) {
                return;
            }
        }
    }
}

/// What can be written at once, at least: a part of a buffer.
const WRITABLE: usize = BUFFER / 4;
/// Bytes of each of the two buffers of a stream.
const BUFFER: usize = 64 << 10;

/// Ready, with so many bytes.
fn ready(bytes: usize) -> Readiness {
    Readiness::Ready {
        bytes: u64::try_from(bytes).unwrap_or(u64::MAX).max(1),
        hangup: false,
    }
}

/// The stack's configuration. Connections take at most a quarter of the memory.
fn config(network: &run_spec::Network, free_memory: usize) -> Config {
    let has_relay = network.wire == Wire::Relay;
    let ask = network.look_up && network.address != Ipv4Source::Dhcp;
    let defaults = Config::default();
    Config {
        ipv4: match network.address {
            Ipv4Source::Static {
                address,
                prefix,
                gateway,
            } => Ipv4::Static {
                address,
                prefix,
                gateway,
            },
            Ipv4Source::Dhcp => Ipv4::Dhcp,
        },
        ipv6: has_relay.then_some((inside::GUEST_V6, inside::PREFIX_V6)),
        ipv6_gateway: has_relay.then_some(inside::GATEWAY_V6),
        dns_servers: ask.then_some(inside::DNS.into()).into_iter().collect(),
        receive_buffer: BUFFER,
        send_buffer: BUFFER,
        connections: (free_memory / 4 / (2 * BUFFER)).clamp(4, defaults.connections),
        ..defaults
    }
}
