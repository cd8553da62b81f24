//! The relay: one loop over the wire, the host's sockets, names and time.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::dns::{self, Dns};
use crate::outside::{Outside, Token};
use crate::packet::{Link, Packet, ask_for_guest};
use crate::policy::Policy;
use crate::publish::{Published, Socket};
use crate::resolve::{Resolve, Resolver, system};
use crate::tcp::{Tcp, Waiting};
use crate::udp::Udp;
use crate::wire::Wire;

/// How often silent connections are looked after, in microseconds.
const SWEEP: u64 = 5_000_000;
/// Frames of the guest's that are handled before others have their turn.
const FRAMES: usize = 128;
/// For so long what a guest has sent before its end may take to arrive, in microseconds.
const FINISH: u64 = 10_000_000;
/// How often the wire is read after its end, at most: far more often than a socket has room for.
const LAST_READS: usize = 1000;
/// Events that are taken at once.
const EVENTS: usize = 256;

/// What a relay is to do.
pub struct Setup {
    /// What the guest may reach.
    pub policy: Policy,
    /// The published ports.
    pub published: Vec<Published>,
    /// The guest's address on the link: frames of any other are dropped.
    pub guest_link: [u8; 6],
    /// Whether the guest has an IPv6 address, so that clients with such a one can be shown to it.
    pub ipv6: bool,
    /// TCP connections at once.
    pub connections: usize,
    /// Each of a connection's two buffers, in bytes.
    pub buffer: usize,
    /// Whom datagrams are exchanged with at once.
    pub datagram_flows: usize,
    /// How names are resolved.
    pub resolve: Resolve,
}

impl Setup {
    /// With the usual limits: 2048 connections, 64 KiB for each direction of each.
    #[must_use]
    pub fn new(policy: Policy, published: Vec<Published>, guest_link: [u8; 6]) -> Self {
        Self {
            policy,
            published,
            guest_link,
            ipv6: true,
            connections: 2048,
            buffer: 64 << 10,
            datagram_flows: 512,
            resolve: system(),
        }
    }
}

/// After so long the system is asked for another descriptor, if it had none. In microseconds.
const AGAIN: u64 = 100_000;

/// How often a guest that has said nothing yet is asked whether it is there, while clients wait for it. In
/// microseconds.
const KNOCK: u64 = 20_000;

/// A published port.
struct Door {
    guest: u16,
    socket: Socket,
    /// From when on it is asked for clients: one may wait at it. The system says once that there is one.
    ask_at: Option<u64>,
}

/// The relay.
pub struct Relay {
    out: Outside,
    tcp: Tcp,
    udp: Udp,
    dns: Dns,
    doors: Vec<Door>,
    /// The guest has said something: what is sent to it before its driver runs is lost.
    is_up: bool,
    scratch: Box<[u8]>,
    begun: Instant,
    swept: u64,
}

impl Relay {
    /// A relay at the end of `wire`, which carries frames with their lengths before them.
    ///
    /// # Errors
    /// The system's.
    pub fn new(wire: UnixStream, setup: Setup) -> io::Result<Self> {
        let resolver = if setup.policy.has_names() {
            Some(Resolver::new(&setup.resolve)?)
        } else {
            None
        };
        let guest: Link = setup.guest_link;
        let out = Outside {
            wire: Wire::new(wire)?,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            policy: setup.policy,
            resolver,
            guest,
            ipv6: setup.ipv6,
            now: 0,
        };
        out.watch(out.wire.stream(), Token::Wire, EventFlags::IN)?;
        if let Some(resolver) = &out.resolver {
            out.watch(resolver.wake(), Token::Resolver, EventFlags::IN)?;
        }
        let mut doors = Vec::new();
        for (index, Published { guest, socket }) in setup.published.into_iter().enumerate() {
            let token = Token::Published(index);
            match &socket {
                Socket::Tcp(listener) => out.watch(listener, token, EventFlags::IN | EventFlags::ET)?,
                Socket::Udp(socket) => out.watch(socket, token, EventFlags::IN)?,
            }
            doors.push(Door {
                guest,
                socket,
                ask_at: Some(0),
            });
        }
        Ok(Self {
            out,
            tcp: Tcp::new(setup.connections, setup.buffer).map_err(io::Error::other)?,
            udp: Udp::new(setup.datagram_flows),
            dns: Dns::default(),
            doors,
            is_up: false,
            scratch: vec![0; 64 << 10].into(),
            begun: Instant::now(),
            swept: 0,
        })
    }

    /// Serves the guest until the other end of the wire is closed. What the guest has sent by then still arrives, as
    /// far as its receivers take it within ten seconds.
    ///
    /// # Errors
    /// What comes from the wire is not made of frames, or the system does not do what it should.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let mut wants_room = false;
        let mut timeout = Some(Duration::ZERO);
        loop {
            if wants_room != (self.out.wire.waiting() > 0) {
                wants_room = !wants_room;
                self.watch_wire(wants_room)?;
            }
            self.wait(&mut events, timeout)?;
            let mut is_open = true;
            for event in &events {
                is_open &= self.handle(*event)?;
            }
            let more = self.take_frames()?;
            self.accept();
            let next = self.tcp.work(&mut self.out);
            if !is_open || !self.out.wire.flush()? {
                return self.finish();
            }
            self.sweep();
            let unblocked = next.blocked && self.out.wire.waiting() == 0;
            timeout = if more || unblocked {
                Some(Duration::ZERO)
            } else {
                self.until(next.at.into_iter().chain(self.next_accept()))
            };
        }
    }

    /// Waits for events, and sees what time it is.
    fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let span = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match epoll::wait(
            &self.out.epoll,
            rustix::buffer::spare_capacity(events),
            span.as_ref(),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        self.out.now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// The guest is gone: brings what it has sent to whom it was for.
    fn finish(mut self) -> io::Result<()> {
        self.out.wire.end();
        // What the wire still holds, which is bounded: nobody writes any more.
        for _ in 0..LAST_READS {
            let is_open = self.out.wire.fill()?;
            loop {
                let more = self.take_frames()?;
                self.tcp.work(&mut self.out);
                if !more {
                    break;
                }
            }
            if !is_open {
                break;
            }
        }
        epoll::delete(&self.out.epoll, self.out.wire.stream())?;
        let end = self.out.now.saturating_add(FINISH);
        let mut events = Vec::with_capacity(EVENTS);
        let mut next = self.tcp.work(&mut self.out);
        while self.tcp.has_unwritten() && self.out.now < end {
            let timeout = self.until(next.at.into_iter().chain([end]));
            self.wait(&mut events, timeout)?;
            for event in &events {
                self.handle(*event)?;
            }
            next = self.tcp.work(&mut self.out);
            self.sweep();
        }
        self.tcp.end();
        Ok(())
    }

    fn watch_wire(&self, wants_room: bool) -> io::Result<()> {
        let flags = if wants_room {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        let data = EventData::new_u64(Token::Wire.bits());
        Ok(epoll::modify(
            &self.out.epoll,
            self.out.wire.stream(),
            data,
            flags,
        )?)
    }

    /// How long to wait, if nothing happens, for what is due at the first of `times`.
    fn until(&self, times: impl Iterator<Item = u64>) -> Option<Duration> {
        let is_idle = self.tcp.is_empty() && self.udp.is_empty();
        let sweep = (!is_idle).then(|| self.swept.saturating_add(SWEEP));
        let at = times.chain(sweep).min()?;
        let now = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        Some(Duration::from_micros(at.saturating_sub(now)))
    }

    /// `false`: the wire is closed.
    fn handle(&mut self, event: Event) -> io::Result<bool> {
        let flags = event.flags;
        match Token::from_bits(event.data.u64()) {
            Some(Token::Wire) if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) => {
                return self.out.wire.fill();
            }
            Some(Token::Resolver) => self.resolved(),
            Some(Token::Published(index)) => self.published(index),
            Some(Token::Tcp(index, generation)) => self.tcp.host_event((index, generation), flags),
            Some(Token::Udp(index, generation)) => {
                self.udp
                    .host_event(&mut self.out, (index, generation), &mut self.scratch);
            }
            _ => {}
        }
        Ok(true)
    }

    fn resolved(&mut self) {
        let found = self.out.resolver.as_ref().map(Resolver::take).unwrap_or_default();
        for found in &found {
            match Token::from_bits(found.asker) {
                Some(Token::Tcp(index, generation)) => {
                    self.tcp.resolved(&mut self.out, (index, generation), found);
                }
                Some(Token::Udp(index, generation)) => {
                    self.udp.resolved(&mut self.out, (index, generation), found);
                }
                Some(Token::Dns(index, generation)) => {
                    self.dns.resolved(&mut self.out, (index, generation), found);
                }
                _ => {}
            }
        }
    }

    fn published(&mut self, index: usize) {
        let Some(door) = self.doors.get_mut(index) else {
            return;
        };
        match &door.socket {
            Socket::Tcp(_) => door.ask_at = Some(self.out.now),
            Socket::Udp(socket) => {
                self.udp
                    .published_event(&mut self.out, (index, socket, door.guest), &mut self.scratch);
            }
        }
    }

    /// Handles frames of the guest's. Says whether there are more.
    fn take_frames(&mut self) -> io::Result<bool> {
        let mut frame = Vec::new();
        for _ in 0..FRAMES {
            match self.out.wire.receive()? {
                None => return Ok(false),
                Some(bytes) => {
                    frame.clear();
                    frame.extend_from_slice(bytes);
                }
            }
            let guest = self.out.guest;
            if !self.is_up {
                self.is_up = true;
                self.open();
            }
            match Packet::read(&frame, guest) {
                None => {}
                Some(Packet::Question(question)) => self.out.wire.send(|bytes| question.answer(bytes, guest)),
                Some(Packet::Tcp(segment)) => self.tcp.receive(&mut self.out, &frame, &segment),
                Some(Packet::Udp(datagram)) if dns::is_for(datagram.ends.to) => {
                    self.dns.receive(&mut self.out, &datagram);
                }
                Some(Packet::Udp(datagram)) => {
                    let doors = &self.doors;
                    let socket = |index: usize| match &doors.get(index)?.socket {
                        Socket::Udp(socket) => Some(socket),
                        Socket::Tcp(_) => None,
                    };
                    self.udp.receive(&mut self.out, &datagram, socket);
                }
            }
        }
        Ok(true)
    }

    /// Those who have knocked need wait no longer.
    fn open(&mut self) {
        for door in &mut self.doors {
            door.ask_at = door.ask_at.map(|_| self.out.now);
        }
    }

    /// Accepts clients, as far as there is room for them. As long as the guest says nothing, they wait.
    fn accept(&mut self) {
        for door in &mut self.doors {
            let Socket::Tcp(listener) = &door.socket else {
                continue;
            };
            if door.ask_at.is_none_or(|at| at > self.out.now) || !self.tcp.has_room_for_clients() {
                continue;
            }
            if !self.is_up {
                door.ask_at = somebody_waits(listener).then_some(self.out.now.saturating_add(KNOCK));
                if door.ask_at.is_some() {
                    let guest = self.out.guest;
                    self.out.wire.send(|bytes| ask_for_guest(bytes, guest));
                }
                continue;
            }
            door.ask_at = match self.tcp.accept_host(&mut self.out, listener, door.guest) {
                Waiting::Nobody => None,
                Waiting::Somebody => Some(self.out.now),
                Waiting::Unknown => Some(self.out.now.saturating_add(AGAIN)),
            };
        }
    }

    /// When clients can be accepted that may wait.
    fn next_accept(&self) -> Option<u64> {
        let doors = self.doors.iter().filter_map(|door| door.ask_at);
        doors.min().filter(|_| self.tcp.has_room_for_clients())
    }

    fn sweep(&mut self) {
        let now = self.out.now;
        if now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            self.tcp.sweep(&mut self.out);
            self.udp.sweep(now);
        }
    }
}

/// Whether a client waits to be accepted. Where that is not known, somebody does.
fn somebody_waits(listener: &TcpListener) -> bool {
    let now = Timespec::default();
    poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&now)) != Ok(0)
}
