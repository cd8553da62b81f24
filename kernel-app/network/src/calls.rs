//! The operations on sockets.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use boot_protocol::network::Protocol;
use net_stack::{Family, Half, LookupId};
use wasi_core::Errno;
use wasi_core::network::{Datagram, Direction, Network, SocketId, SocketOption};
use wasi_core::system::Readiness;

use super::datagrams::Senders;
use super::errno::errno;
use super::id::Id;
use super::{Lookup, Sockets};

/// Lookups at once: each is two questions at most.
const LOOKUPS: usize = 8;
/// Addresses of a name.
const ADDRESSES: usize = 8;

impl Network for Sockets {
    fn listen(&mut self, local: SocketAddr, backlog: usize) -> Result<SocketId, Errno> {
        if !self.policy.may_have(local.port(), Protocol::Tcp) {
            return Err(Errno::ACCES);
        }
        let listener = self.stack.listen(local, backlog).map_err(errno)?;
        Ok(Id::Listener(listener).into())
    }

    fn accept(&mut self, listener: SocketId) -> Result<(SocketId, SocketAddr), Errno> {
        let Id::Listener(listener) = Id::of(listener) else {
            return Err(Errno::BADF);
        };
        let (stream, peer) = self.try_twice(&mut |stack| stack.accept(listener))?;
        Ok((Id::Stream(stream).into(), peer))
    }

    fn connect(&mut self, remote: SocketAddr, local: Option<SocketAddr>) -> Result<SocketId, Errno> {
        let end = self.policy.destination(Protocol::Tcp, remote)?;
        let stream = self.stack.connect(end, local).map_err(errno)?;
        let socket = Id::Stream(stream).into();
        if end != remote {
            self.known_as.insert(socket, remote);
        }
        self.poll();
        Ok(socket)
    }

    fn connected(&mut self, stream: SocketId) -> Result<(), Errno> {
        let Id::Stream(stream) = Id::of(stream) else {
            return Err(Errno::BADF);
        };
        self.try_twice(&mut |stack| stack.connected(stream))
    }

    fn receive(&mut self, stream: SocketId, buf: &mut [u8], peek: bool) -> Result<usize, Errno> {
        let Id::Stream(stream) = Id::of(stream) else {
            return Err(Errno::BADF);
        };
        self.try_twice(&mut |stack| match peek {
            true => stack.peek(stream, buf),
            false => stack.receive(stream, buf),
        })
    }

    fn send(&mut self, stream: SocketId, data: &[u8]) -> Result<usize, Errno> {
        let Id::Stream(stream) = Id::of(stream) else {
            return Err(Errno::BADF);
        };
        let sent = self.try_twice(&mut |stack| stack.send(stream, data))?;
        self.poll();
        Ok(sent)
    }

    fn shutdown(&mut self, stream: SocketId, direction: Direction) -> Result<(), Errno> {
        let Id::Stream(stream) = Id::of(stream) else {
            return Err(Errno::BADF);
        };
        let half = match direction {
            Direction::Receive => Half::Receive,
            Direction::Send => Half::Send,
        };
        self.stack.shutdown(stream, half).map_err(errno)?;
        self.poll();
        Ok(())
    }

    fn bind_datagrams(&mut self, local: SocketAddr) -> Result<SocketId, Errno> {
        let port = local.port();
        if port != 0 && !self.policy.may_have(port, Protocol::Udp) {
            return Err(Errno::ACCES);
        }
        let udp = self.stack.udp_bind(local).map_err(errno)?;
        let socket = Id::Datagrams(udp).into();
        if self.policy.is_published(port, Protocol::Udp) {
            self.senders.insert(socket, Senders::default());
        }
        Ok(socket)
    }

    fn connect_datagrams(&mut self, socket: SocketId, peer: Option<SocketAddr>) -> Result<(), Errno> {
        let Id::Datagrams(udp) = Id::of(socket) else {
            return Err(Errno::BADF);
        };
        let end = peer
            .map(|peer| self.datagram_destination(socket, peer))
            .transpose()?;
        self.stack.udp_connect(udp, end).map_err(errno)
    }

    fn send_to(&mut self, socket: SocketId, data: &[u8], to: Option<SocketAddr>) -> Result<(), Errno> {
        let Id::Datagrams(udp) = Id::of(socket) else {
            return Err(Errno::BADF);
        };
        let end = to.map(|to| self.datagram_destination(socket, to)).transpose()?;
        self.try_twice(&mut |stack| stack.send_to(udp, data, end))?;
        self.poll();
        Ok(())
    }

    fn receive_from(&mut self, socket: SocketId, buf: &mut [u8], peek: bool) -> Result<Datagram, Errno> {
        let Id::Datagrams(udp) = Id::of(socket) else {
            return Err(Errno::BADF);
        };
        let received = self.try_twice(&mut |stack| match peek {
            true => stack.peek_from(udp, buf),
            false => stack.receive_from(udp, buf),
        })?;
        if let Some(senders) = self.senders.get_mut(socket) {
            senders.note(received.from);
        }
        Ok(Datagram {
            length: received.length,
            from: self.policy.origin(Protocol::Udp, received.from),
            truncated: received.size > received.length,
        })
    }

    fn local_address(&mut self, socket: SocketId) -> Result<SocketAddr, Errno> {
        match Id::of(socket) {
            Id::Listener(listener) => self.stack.listener_address(listener),
            Id::Stream(stream) => self.stack.stream_address(stream),
            Id::Datagrams(udp) => self.stack.udp_address(udp),
            Id::Lookup(_) => return Err(Errno::BADF),
        }
        .map_err(errno)
    }

    fn peer_address(&mut self, socket: SocketId) -> Result<SocketAddr, Errno> {
        match Id::of(socket) {
            Id::Stream(stream) => {
                let peer = self.stack.peer_address(stream).map_err(errno)?;
                Ok(self.known_as.get(socket).copied().unwrap_or(peer))
            }
            Id::Datagrams(udp) => {
                let peer = self.stack.udp_peer(udp).map_err(errno)?;
                Ok(self.policy.origin(Protocol::Udp, peer))
            }
            Id::Listener(_) => Err(Errno::NOTCONN),
            Id::Lookup(_) => Err(Errno::BADF),
        }
    }

    fn take_error(&mut self, socket: SocketId) -> Result<Option<Errno>, Errno> {
        let error = match Id::of(socket) {
            Id::Listener(listener) => self.stack.listener_address(listener).map(|_| None),
            Id::Stream(stream) => self.stack.take_stream_error(stream),
            Id::Datagrams(udp) => self.stack.take_udp_error(udp),
            Id::Lookup(_) => return Err(Errno::BADF),
        };
        Ok(error.map_err(errno)?.map(errno))
    }

    fn set_option(&mut self, socket: SocketId, option: SocketOption) -> Result<(), Errno> {
        let stream = match Id::of(socket) {
            Id::Stream(stream) => stream,
            // Its streams are told by whoever accepts them.
            Id::Listener(listener) => {
                return self.stack.listener_address(listener).map(|_| ()).map_err(errno);
            }
            Id::Datagrams(_) => return Err(Errno::NOPROTOOPT),
            Id::Lookup(_) => return Err(Errno::BADF),
        };
        match option {
            SocketOption::NoDelay(no_delay) => self.stack.set_no_delay(stream, no_delay),
            SocketOption::KeepAlive(after) => {
                let microseconds = after.map(|nanoseconds| nanoseconds.div_ceil(1000));
                self.stack.set_keep_alive(stream, microseconds)
            }
        }
        .map_err(errno)?;
        self.poll();
        Ok(())
    }

    fn look_up(&mut self, name: &str) -> Result<SocketId, Errno> {
        if self.lookups.len() >= LOOKUPS {
            return Err(Errno::NOBUFS);
        }
        let lookup = match (name.parse::<IpAddr>(), self.policy.addresses(name)) {
            (Ok(address), _) => Lookup::Known([address].into()),
            (_, Some(addresses)) => Lookup::Known(addresses),
            (Err(_), None) => Lookup::Asked(self.ask(name)?),
        };
        let number = self.lookups_begun;
        self.lookups_begun = number.wrapping_add(1);
        let id = Id::Lookup(number).into();
        self.lookups.insert(id, lookup);
        Ok(id)
    }

    fn addresses(&mut self, lookup: SocketId) -> Result<Vec<IpAddr>, Errno> {
        if self.lookup_readiness(lookup)? == Readiness::NotReady {
            self.poll();
            if self.lookup_readiness(lookup)? == Readiness::NotReady {
                return Err(Errno::AGAIN);
            }
        }
        let questions = match self.lookups.remove(lookup).ok_or(Errno::BADF)? {
            Lookup::Known(addresses) => return Ok(addresses),
            Lookup::Asked(questions) => questions,
        };
        let (mut found, mut error) = (Vec::new(), Errno::NOENT);
        for question in questions {
            match self.stack.lookup_result(question) {
                Ok(addresses) => found.extend(addresses),
                // That nobody has answered may be why there are none.
                Err(net_stack::Error::NameNotFound) => {}
                Err(reason) => error = errno(reason),
            }
        }
        found.truncate(ADDRESSES);
        if found.is_empty() { Err(error) } else { Ok(found) }
    }

    fn close(&mut self, socket: SocketId) -> Result<(), Errno> {
        let closed = match Id::of(socket) {
            Id::Listener(listener) => self.stack.close_listener(listener),
            Id::Stream(stream) => self.stack.close_stream(stream),
            Id::Datagrams(udp) => self.stack.close_udp(udp),
            Id::Lookup(_) => {
                let lookup = self.lookups.remove(socket).ok_or(Errno::BADF)?;
                self.give_up(lookup);
                Ok(())
            }
        };
        closed.map_err(errno)?;
        self.known_as.remove(socket);
        self.senders.remove(socket);
        self.poll();
        Ok(())
    }
}

impl Sockets {
    /// What is meant by whom a socket for datagrams sends to: what was granted, or who has sent to it.
    fn datagram_destination(&self, socket: SocketId, to: SocketAddr) -> Result<SocketAddr, Errno> {
        let canonical = SocketAddr::new(to.ip().to_canonical(), to.port());
        match self.senders.get(socket) {
            Some(senders) if senders.has(&canonical) => Ok(canonical),
            _ => self.policy.destination(Protocol::Udp, to),
        }
    }

    /// Asks for the addresses of a name that was not granted: IPv6's too if there is such a network.
    fn ask(&mut self, name: &str) -> Result<Vec<LookupId>, Errno> {
        if !self.policy.looks_up() {
            return Err(Errno::ACCES);
        }
        let has_ipv6 = self.stack.addresses().any(|own| match own.address {
            IpAddr::V4(_) => false,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        });
        let families = [Some(Family::Ipv4), has_ipv6.then_some(Family::Ipv6)];
        let mut questions = Vec::new();
        for family in families.into_iter().flatten() {
            match self.stack.look_up(name, family) {
                Ok(question) => questions.push(question),
                Err(error) => {
                    self.give_up(Lookup::Asked(questions));
                    return Err(errno(error));
                }
            }
        }
        self.poll();
        Ok(questions)
    }

    /// Forgets a lookup.
    fn give_up(&mut self, lookup: Lookup) {
        if let Lookup::Asked(questions) = lookup {
            for question in questions {
                // One that has ended is forgotten by this too.
                let _ = self.stack.cancel_lookup(question);
            }
        }
    }
}
