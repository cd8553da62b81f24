//! The guest's datagrams: whom it sends to, and who sends to its published ports.
//!
//! As with connections, nothing is sent that was not granted; besides, the guest may answer whoever sent to a published
//! port of its. A flow is forgotten when it was silent for long, or when a new one needs its place; what the guest has
//! begun itself never for somebody who sends to a published port, of whom there may be any number.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use boot_protocol::network::{Host, Protocol};
use rustix::event::epoll::EventFlags;

use crate::outside::{Outside, Token};
use crate::packet::{self, Datagram, Ends, Why};
use crate::policy::permits;
use crate::resolve::Found;

/// For so long a silent flow is kept, in microseconds.
const IDLE: u64 = 180_000_000;
/// Datagrams that are taken from a socket at once.
const SHARE: usize = 32;

/// Whom the guest exchanges datagrams with.
#[derive(Debug)]
enum Peer {
    /// Its name is looked up; this is the first datagram.
    Resolving(Vec<u8>),
    /// It was granted.
    Granted(UdpSocket),
    /// It sent to a published port.
    Client(usize, SocketAddr),
}

#[derive(Debug)]
struct Flow {
    ends: Ends,
    peer: Peer,
    active: u64,
}

impl Flow {
    /// Whether somebody else has begun it.
    const fn is_client(&self) -> bool {
        matches!(self.peer, Peer::Client(..))
    }
}

/// All flows.
#[derive(Debug)]
pub(crate) struct Udp {
    flows: Vec<(u16, Option<Flow>)>,
    by_ends: HashMap<Ends, usize>,
    by_client: HashMap<(usize, SocketAddr), usize>,
    limit: usize,
}

impl Udp {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            flows: Vec::new(),
            by_ends: HashMap::new(),
            by_client: HashMap::new(),
            limit: limit.max(1),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_ends.is_empty()
    }

    fn get(&mut self, index: usize) -> Option<&mut Flow> {
        self.flows.get_mut(index)?.1.as_mut()
    }

    /// Adds a flow, if need be in the place of the client's that was silent longest, and one of the guest's in that of
    /// another of its own if there are no clients. `None`: there is no place for it, which never is so of the guest's.
    fn insert(&mut self, flow: Flow) -> Option<usize> {
        let is_client = flow.is_client();
        let index = match self.free().filter(|_| !is_client || self.has_room_for_clients()) {
            Some(index) => index,
            None => {
                let flows = self.flows.iter().enumerate();
                let candidates = flows.filter_map(|(index, (_, flow))| Some((flow.as_ref()?, index)));
                let oldest = candidates
                    .filter(|(flow, _)| !is_client || flow.is_client())
                    .map(|(flow, index)| (!flow.is_client(), flow.active, index))
                    .min();
                let (_, _, index) = oldest?;
                self.remove(index);
                index
            }
        };
        self.by_ends.insert(flow.ends, index);
        if let Peer::Client(published, client) = flow.peer {
            self.by_client.insert((published, client), index);
        }
        if let Some(place) = self.flows.get_mut(index) {
            *place = (place.0.wrapping_add(1), Some(flow));
        }
        Some(index)
    }

    /// A place that no flow has.
    fn free(&mut self) -> Option<usize> {
        let free = self.flows.iter().position(|(_, flow)| flow.is_none());
        free.or_else(|| {
            let index = self.flows.len();
            let has_room = index < self.limit;
            has_room.then(|| self.flows.push((0, None)))?;
            Some(index)
        })
    }

    /// Whether clients of published ports may have one more place. A quarter is not for them.
    fn has_room_for_clients(&self) -> bool {
        self.by_client.len() < (self.limit - self.limit.div_ceil(4)).max(1)
    }

    fn remove(&mut self, index: usize) {
        let Some(flow) = self.flows.get_mut(index).and_then(|place| place.1.take()) else {
            return;
        };
        self.by_ends.remove(&flow.ends);
        if let Peer::Client(published, client) = flow.peer {
            self.by_client.remove(&(published, client));
        }
    }

    fn token(&self, index: usize) -> Token {
        Token::Udp(
            index,
            self.flows.get(index).map_or(0, |(generation, _)| *generation),
        )
    }

    /// A datagram of the guest's. `published` are the sockets of published ports.
    pub(crate) fn receive<'s>(
        &mut self,
        out: &mut Outside,
        datagram: &Datagram<'_>,
        published: impl Fn(usize) -> Option<&'s UdpSocket>,
    ) {
        let now = out.now;
        if let Some(flow) = self
            .by_ends
            .get(&datagram.ends)
            .copied()
            .and_then(|index| self.get(index))
        {
            flow.active = now;
            // As on any network, a datagram may be lost.
            let _ = match &flow.peer {
                Peer::Resolving(_) => Ok(0),
                Peer::Granted(socket) => socket.send(datagram.data),
                Peer::Client(index, client) => {
                    published(*index).map_or(Ok(0), |socket| socket.send_to(datagram.data, client))
                }
            };
            return;
        }
        let guest = out.guest;
        let mut refuse = |why| out.wire.send(|bytes| datagram.reject(bytes, guest, why));
        let Some(destination) = out.policy.destination(Protocol::Udp, datagram.ends.to) else {
            return refuse(Why::Prohibited);
        };
        let flow = |peer| Flow {
            ends: datagram.ends,
            peer,
            active: now,
        };
        match destination.host {
            Host::Address(address) if destination.exact || permits(address) => {
                match connect(SocketAddr::new(address, destination.port)) {
                    Ok(socket) => {
                        let _ = socket.send(datagram.data);
                        if let Some(index) = self.insert(flow(Peer::Granted(socket))) {
                            self.watch(out, index);
                        }
                    }
                    Err(_) => refuse(Why::Unreachable),
                }
            }
            Host::Address(_) => refuse(Why::Prohibited),
            Host::Name(name) => {
                let first = Peer::Resolving(datagram.data.to_vec());
                if let Some(index) = self.insert(flow(first))
                    && !out.ask(self.token(index), &name)
                {
                    self.remove(index);
                }
            }
        }
    }

    fn watch(&mut self, out: &Outside, index: usize) {
        let token = self.token(index);
        if let Some(Flow {
            peer: Peer::Granted(socket),
            ..
        }) = self.get(index)
            && out.watch(socket, token, EventFlags::IN).is_err()
        {
            self.remove(index);
        }
    }

    /// A name's addresses were found: the first that can be reached is taken.
    pub(crate) fn resolved(&mut self, out: &mut Outside, at: (usize, u16), found: &Found) {
        let Found { name, addresses, .. } = found;
        if self.token(at.0) != Token::Udp(at.0, at.1) {
            return;
        }
        let Some(flow) = self.get(at.0) else { return };
        let Peer::Resolving(first) = &flow.peer else {
            return;
        };
        // The guest can begin so many that the answer for one arrives as that for another.
        let Some(port) = out.policy.port_of(Protocol::Udp, flow.ends.to, name) else {
            return;
        };
        let mut permitted = addresses.iter().filter(|address| permits(**address)).peekable();
        let why = match permitted.peek() {
            None if !addresses.is_empty() => Why::Prohibited,
            _ => Why::Unreachable,
        };
        let reached = permitted.find_map(|address| connect(SocketAddr::new(*address, port)).ok());
        if let Some(socket) = reached {
            let _ = socket.send(first);
            flow.peer = Peer::Granted(socket);
            self.watch(out, at.0);
        } else {
            let (ends, guest) = (flow.ends, out.guest);
            out.wire
                .send(|bytes| packet::undelivered(bytes, guest, ends, why));
            self.remove(at.0);
        }
    }

    /// Something came for the guest from whom it sends to. What the wire has no room for is lost.
    pub(crate) fn host_event(&mut self, out: &mut Outside, at: (usize, u16), scratch: &mut [u8]) {
        if self.token(at.0) != Token::Udp(at.0, at.1) {
            return;
        }
        let (guest, now) = (out.guest, out.now);
        let Some(flow) = self.get(at.0) else { return };
        let Peer::Granted(socket) = &flow.peer else { return };
        flow.active = now;
        for _ in 0..SHARE {
            match socket.recv(scratch) {
                Ok(length) => {
                    let data = scratch.get(..length).unwrap_or_default();
                    let ends = flow.ends.reversed();
                    out.wire.send(|bytes| packet::datagram(bytes, guest, ends, data));
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    let ends = flow.ends;
                    out.wire
                        .send(|bytes| packet::undelivered(bytes, guest, ends, Why::Port));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Something came for a published port of the guest's.
    pub(crate) fn published_event(
        &mut self,
        out: &mut Outside,
        (index, socket, guest_port): (usize, &UdpSocket, u16),
        scratch: &mut [u8],
    ) {
        for _ in 0..SHARE {
            let (length, client) = match socket.recv_from(scratch) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // What the system heard of a datagram before.
                Err(_) => continue,
            };
            let Some(ends) = self.ends_for(out, (index, client), guest_port) else {
                continue;
            };
            let (guest, data) = (out.guest, scratch.get(..length).unwrap_or_default());
            out.wire
                .send(|bytes| packet::datagram(bytes, guest, ends.reversed(), data));
        }
    }

    /// The ends of a client's flow, which is made if there is none.
    fn ends_for(&mut self, out: &Outside, client: (usize, SocketAddr), guest_port: u16) -> Option<Ends> {
        if let Some(flow) = self
            .by_client
            .get(&client)
            .copied()
            .and_then(|index| self.get(index))
        {
            flow.active = out.now;
            return Some(flow.ends);
        }
        let mut ends = out.ends_for(client.1, guest_port);
        if self.by_ends.contains_key(&ends) {
            ends = Outside::other_ends(ends, |ends| !self.by_ends.contains_key(ends))?;
        }
        self.insert(Flow {
            ends,
            peer: Peer::Client(client.0, client.1),
            active: out.now,
        })?;
        Some(ends)
    }

    /// Forgets what was silent for long.
    pub(crate) fn sweep(&mut self, now: u64) {
        for index in 0..self.flows.len() {
            if self
                .get(index)
                .is_some_and(|flow| now.saturating_sub(flow.active) > IDLE)
            {
                self.remove(index);
            }
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = if address.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use rustix::event::epoll::{self, CreateFlags};

    use super::*;
    use crate::policy::Policy;
    use crate::wire::Wire;

    #[test]
    fn the_answer_for_another_name_is_none() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let grants = ["a:80/udp", "b:22/udp"].map(|grant| grant.parse().unwrap());
        let mut out = Outside {
            wire: Wire::new(ours).unwrap(),
            epoll: epoll::create(CreateFlags::CLOEXEC).unwrap(),
            policy: Policy::new(&grants, false).unwrap(),
            resolver: None,
            guest: [2; 6],
            ipv6: true,
            now: 0,
        };
        let mut udp = Udp::new(8);
        let index = udp
            .insert(Flow {
                ends: Ends {
                    from: "10.0.2.15:1000".parse().unwrap(),
                    to: "10.0.2.101:22".parse().unwrap(),
                },
                peer: Peer::Resolving(vec![1]),
                active: 0,
            })
            .unwrap();
        let Token::Udp(_, generation) = udp.token(index) else {
            panic!("a flow's token is one");
        };
        let mut answer = |udp: &mut Udp, name: &str| {
            let found = Found {
                asker: 0,
                name: name.to_string(),
                // Nobody's, and nothing is sent there that is not lost.
                addresses: vec!["127.0.0.1".parse().unwrap()],
                failed: false,
            };
            udp.resolved(&mut out, (index, generation), &found);
            udp.get(index).is_some()
        };
        assert!(answer(&mut udp, "a"), "it waits for its own");
        assert!(!answer(&mut udp, "b"), "this is its own, and it may not go there");
    }
}
