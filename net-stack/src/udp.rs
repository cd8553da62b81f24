//! UDP: sockets for datagrams, connected or not.

use alloc::vec;
use core::net::SocketAddr;

use smoltcp::{
    socket::udp::{PacketBuffer, PacketMetadata, SendError, Socket},
    wire::{IpAddress, IpEndpoint, IpListenEndpoint},
};

use crate::{
    config::Config,
    device::{Entropy, FrameDevice, number},
    error::Error,
    frame::Undelivered,
    handle::UdpId,
    key::{Addresses, Bound, Key, inner_address, outer},
    lone::Lone,
    net::{NEVER, Net},
    phy::Sent,
    ports,
    schedule::Schedule,
    slab::{Id, Slab},
    stack::Stack,
    tcp::Readiness,
};

/// For so long datagrams wait for their neighbour's address: three questions.
const NEIGHBOUR_TIMEOUT: u64 = 3_000_000;

/// The header of a datagram.
const HEADER: usize = 8;

/// A datagram that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The bytes that were put into the buffer.
    pub length: usize,
    /// The bytes that were sent: more than `length` if the buffer was too short; they are lost.
    pub size: usize,
    /// Who sent it.
    pub from: SocketAddr,
}

/// A socket, as two of smoltcp's: what waits to be sent can be dropped without what was received.
struct UdpSocket {
    inbox: Lone<Socket<'static>>,
    outbox: Lone<Socket<'static>>,
    bound: Bound,
    peer: Option<IpEndpoint>,
    /// Whom the last datagram was for.
    last: Option<IpAddress>,
    error: Option<Error>,
    /// When a datagram was sent last, or the first began to wait.
    progress: u64,
    /// The application has no handle any more.
    closed: bool,
}

/// All of UDP.
pub(crate) struct Udp {
    sockets: Slab<UdpSocket>,
    schedule: Schedule,
    buffer: usize,
    datagrams: usize,
}

fn socket(received: (usize, usize), sent: (usize, usize)) -> Lone<Socket<'static>> {
    let buffer =
        |(datagrams, bytes)| PacketBuffer::new(vec![PacketMetadata::EMPTY; datagrams], vec![0; bytes]);
    Lone::new(Socket::new(buffer(received), buffer(sent)))
}

impl UdpSocket {
    /// Binds smoltcp's sockets. There is a port, and they are not bound yet.
    fn bind(&mut self) {
        let addr = match self.bound.address {
            Addresses::One(address) => Some(address),
            _ => None,
        };
        let endpoint = IpListenEndpoint {
            addr,
            port: self.bound.port,
        };
        let _ = self.inbox.socket_mut().bind(endpoint);
        let _ = self.outbox.socket_mut().bind(endpoint);
    }

    fn has_sent_all(&self) -> bool {
        self.outbox.socket().send_queue() == 0
    }

    /// Drops what waits for an address that nobody has.
    fn drop_waiting(&mut self) {
        self.outbox.socket_mut().close();
        self.bind();
        if self.peer.is_some() {
            self.error = Some(Error::HostUnreachable);
        }
    }
}

impl Udp {
    pub(crate) fn new(config: &Config, net: &Net) -> Self {
        Self {
            sockets: Slab::new(config.udp_sockets),
            schedule: Schedule::new(),
            // Two datagrams: the ring of one may not hold one that goes round its end.
            buffer: config.udp_buffer.max(net.mtu().saturating_mul(2)),
            datagrams: config.udp_datagrams.max(2),
        }
    }

    /// Whether a socket may have the address.
    fn is_free(&self, bound: &Bound) -> bool {
        !self
            .sockets
            .iter()
            .any(|(_, socket)| socket.bound.overlaps(bound))
    }

    /// The set of the socket that a datagram is for.
    pub(crate) fn receiver(&mut self, net: &Net, key: &Key) -> Option<&mut Lone<Socket<'static>>> {
        // To all of a network: what is bound to all addresses receives it.
        let to_us = net.has(key.local.addr);
        let is_receiver = |socket: &UdpSocket| {
            !socket.closed
                && socket.peer.is_none_or(|peer| peer == key.remote)
                && if to_us {
                    socket.bound.covers(&key.local)
                } else {
                    !matches!(socket.bound.address, Addresses::One(_)) && socket.bound.port == key.local.port
                }
        };
        let (id, _) = self.sockets.iter().find(|(_, socket)| is_receiver(socket))?;
        self.sockets.get_mut(id).map(|socket| &mut socket.inbox)
    }

    /// A router or the peer says that a datagram did not arrive. Only who has one peer is told.
    pub(crate) fn undelivered(&mut self, undelivered: &Undelivered) {
        let Key { local, remote } = undelivered.key;
        let sent_it = |socket: &UdpSocket| socket.bound.covers(&local) && socket.peer == Some(remote);
        let found = self
            .sockets
            .iter()
            .find(|(_, socket)| sent_it(socket))
            .map(|(id, _)| id);
        if let Some(socket) = found.and_then(|id| self.sockets.get_mut(id)) {
            socket.error = Some(undelivered.error);
        }
    }

    /// All sockets have to be served: an address was found or lost.
    pub(crate) fn touch_all(&mut self) {
        for (id, _) in self.sockets.iter() {
            self.schedule.touch(id.index());
        }
    }

    /// Serves the sockets that may have something to send. Says whether the device has no room for it.
    pub(crate) fn transmit(&mut self, net: &mut Net, device: &mut impl FrameDevice) -> bool {
        self.schedule.advance(net.now());
        while let Some(index) = self.schedule.pop() {
            let Some(id) = self.sockets.at(index) else {
                continue;
            };
            if self.serve(net, device, id) == Sent::Blocked {
                self.schedule.touch_first(index);
                return true;
            }
        }
        false
    }

    fn serve(&mut self, net: &mut Net, device: &mut impl FrameDevice, id: Id) -> Sent {
        let Some(socket) = self.sockets.get_mut(id) else {
            return Sent::Nothing;
        };
        let now = net.now();
        socket.progress = socket.progress.min(now);
        let mut sent = Sent::Packet;
        while sent == Sent::Packet {
            sent = net.transmit(device, socket.outbox.set(), socket.last, None);
            if sent == Sent::Packet {
                socket.progress = now;
            }
        }
        if sent == Sent::Blocked {
            return sent;
        }
        let limit = socket.progress.saturating_add(NEIGHBOUR_TIMEOUT);
        if !socket.has_sent_all() && limit <= now {
            socket.drop_waiting();
        }
        let all = socket.has_sent_all();
        // It waits for an answer, at the latest until its time is over.
        let deadline = if all {
            NEVER
        } else {
            net.deadline(socket.outbox.set())
                .clamp(now.saturating_add(1), limit)
        };
        self.schedule.set(id.index(), deadline);
        if socket.closed && all {
            self.sockets.remove(id);
        }
        sent
    }

    /// When a socket has to be served next.
    pub(crate) fn next(&mut self) -> u64 {
        self.schedule.next()
    }

    /// Whether all that was written has been sent.
    pub(crate) fn is_drained(&self) -> bool {
        self.sockets.iter().all(|(_, socket)| socket.has_sent_all())
    }

    /// Closes everything, but sends what was written before.
    pub(crate) fn close_all(&mut self) {
        for index in 0..self.sockets.places() {
            if let Some(socket) = self.sockets.at(index).and_then(|id| self.sockets.get_mut(id)) {
                socket.closed = true;
                self.schedule.touch(index);
            }
        }
    }

    fn get(&self, udp: UdpId) -> Result<&UdpSocket, Error> {
        self.sockets
            .get(udp.0)
            .filter(|socket| !socket.closed)
            .ok_or(Error::BadHandle)
    }

    fn get_mut(&mut self, udp: UdpId) -> Result<&mut UdpSocket, Error> {
        self.sockets
            .get_mut(udp.0)
            .filter(|socket| !socket.closed)
            .ok_or(Error::BadHandle)
    }
}

impl<D: FrameDevice, E: Entropy> Stack<D, E> {
    /// A socket for datagrams at an address: one of this machine's, `0.0.0.0` for all of IPv4, or `[::]` for all. Port
    /// 0: a free one.
    ///
    /// # Errors
    /// [`AddressInUse`](Error::AddressInUse), [`AddressNotAvailable`](Error::AddressNotAvailable),
    /// [`AddressFamily`](Error::AddressFamily), [`TooMany`](Error::TooMany) sockets.
    pub fn udp_bind(&mut self, local: SocketAddr) -> Result<UdpId, Error> {
        let mut bound = Bound::new(local)?;
        if let Addresses::One(address) = bound.address
            && !self.net.has(address)
        {
            return Err(Error::AddressNotAvailable);
        }
        let udp = &mut self.udp;
        if bound.port == 0 {
            let free = |port| udp.is_free(&Bound { port, ..bound });
            bound.port = ports::find(number(&mut self.entropy), free).ok_or(Error::AddressInUse)?;
        } else if !udp.is_free(&bound) {
            return Err(Error::AddressInUse);
        }
        if !udp.sockets.has_room() || !self.tcp.pool.afford(udp.buffer.saturating_mul(2)) {
            return Err(Error::TooMany);
        }
        let full = (udp.datagrams, udp.buffer);
        let mut socket = UdpSocket {
            inbox: socket(full, (0, 0)),
            outbox: socket((0, 0), full),
            bound,
            peer: None,
            last: None,
            error: None,
            progress: NEVER,
            closed: false,
        };
        socket.bind();
        udp.sockets.insert(socket).map(UdpId).ok_or(Error::TooMany)
    }

    /// Sets whom a socket talks to, and no other: datagrams of others are refused. `None`: all, as at first.
    ///
    /// # Errors
    /// [`InvalidAddress`](Error::InvalidAddress), [`NetworkDown`](Error::NetworkDown),
    /// [`NetworkUnreachable`](Error::NetworkUnreachable), [`AddressFamily`](Error::AddressFamily),
    /// [`BadHandle`](Error::BadHandle)
    pub fn udp_connect(&mut self, udp: UdpId, peer: Option<SocketAddr>) -> Result<(), Error> {
        self.udp.get(udp)?;
        let peer = peer.map(|peer| self.destination(peer)).transpose()?;
        self.udp.get_mut(udp)?.peer = peer;
        Ok(())
    }

    fn destination(&self, address: SocketAddr) -> Result<IpEndpoint, Error> {
        let endpoint = IpEndpoint::new(inner_address(address.ip())?, address.port());
        if endpoint.port == 0 {
            return Err(Error::InvalidAddress);
        }
        self.net.source(endpoint.addr)?;
        Ok(endpoint)
    }

    /// Sends a datagram: to `to`, or to the peer if that is not said.
    ///
    /// # Errors
    /// [`WouldBlock`](Error::WouldBlock); [`MessageSize`](Error::MessageSize): it does not fit into one packet;
    /// [`DestinationRequired`](Error::DestinationRequired); what was heard of a datagram before
    /// ([`ConnectionRefused`](Error::ConnectionRefused), [`HostUnreachable`](Error::HostUnreachable),
    /// [`NetworkUnreachable`](Error::NetworkUnreachable)), if there is a peer; as [`udp_connect`](Self::udp_connect).
    pub fn send_to(&mut self, udp: UdpId, data: &[u8], to: Option<SocketAddr>) -> Result<(), Error> {
        let to = to.map(|to| self.destination(to));
        let mtu = self.net.mtu();
        let socket = self.udp.get_mut(udp)?;
        if let Some(error) = socket.error.take() {
            return Err(error);
        }
        let to = to
            .transpose()?
            .or(socket.peer)
            .ok_or(Error::DestinationRequired)?;
        if let Addresses::One(address) = socket.bound.address
            && address.version() != to.addr.version()
        {
            return Err(Error::InvalidAddress);
        }
        if data.len() > longest(mtu, to.addr) {
            return Err(Error::MessageSize);
        }
        if socket.has_sent_all() {
            socket.progress = NEVER;
        }
        socket
            .outbox
            .socket_mut()
            .send_slice(data, to)
            .map_err(|error| match error {
                SendError::BufferFull => Error::WouldBlock,
                SendError::Unaddressable => Error::InvalidAddress,
            })?;
        socket.last = Some(to.addr);
        self.udp.schedule.touch(udp.0.index());
        Ok(())
    }

    /// Receives a datagram into `buffer`.
    ///
    /// # Errors
    /// [`WouldBlock`](Error::WouldBlock), [`BadHandle`](Error::BadHandle); what was heard of a datagram that was sent,
    /// as [`send_to`](Self::send_to).
    pub fn receive_from(&mut self, udp: UdpId, buffer: &mut [u8]) -> Result<Datagram, Error> {
        let socket = self.udp.get_mut(udp)?;
        if let Ok((data, meta)) = socket.inbox.socket_mut().recv() {
            return Ok(copy(data, meta.endpoint, buffer));
        }
        Err(socket.error.take().unwrap_or(Error::WouldBlock))
    }

    /// As [`receive_from`](Self::receive_from), but leaves the datagram to be received again.
    ///
    /// # Errors
    /// As [`receive_from`](Self::receive_from).
    pub fn peek_from(&mut self, udp: UdpId, buffer: &mut [u8]) -> Result<Datagram, Error> {
        let socket = self.udp.get_mut(udp)?;
        if let Ok((data, meta)) = socket.inbox.socket_mut().peek() {
            return Ok(copy(data, meta.endpoint, buffer));
        }
        Err(socket.error.take().unwrap_or(Error::WouldBlock))
    }

    /// What can be done with a socket for datagrams. `available` counts those of all datagrams that wait.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn udp_readiness(&self, udp: UdpId) -> Result<Readiness, Error> {
        let socket = self.udp.get(udp)?;
        Ok(Readiness {
            readable: socket.inbox.socket().can_recv() || socket.error.is_some(),
            writable: socket.has_sent_all() || socket.error.is_some(),
            hang_up: false,
            ended: false,
            error: socket.error,
            available: socket.inbox.socket().recv_queue(),
        })
    }

    /// What was heard of a datagram that was sent, as `SO_ERROR` has it: it is told once.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn take_udp_error(&mut self, udp: UdpId) -> Result<Option<Error>, Error> {
        Ok(self.udp.get_mut(udp)?.error.take())
    }

    /// The address of a socket for datagrams, with the port that it was given.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn udp_address(&self, udp: UdpId) -> Result<SocketAddr, Error> {
        self.udp.get(udp).map(|socket| socket.bound.outer())
    }

    /// Whom a socket talks to.
    ///
    /// # Errors
    /// [`NotConnected`](Error::NotConnected), [`BadHandle`](Error::BadHandle)
    pub fn udp_peer(&self, udp: UdpId) -> Result<SocketAddr, Error> {
        self.udp.get(udp)?.peer.map(outer).ok_or(Error::NotConnected)
    }

    /// Gives the handle back. What was written is still sent.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn close_udp(&mut self, udp: UdpId) -> Result<(), Error> {
        let socket = self.udp.get_mut(udp)?;
        socket.closed = true;
        if socket.has_sent_all() {
            self.udp.sockets.remove(udp.0);
        } else {
            self.udp.schedule.touch(udp.0.index());
        }
        Ok(())
    }
}

/// The longest datagram to `to` that fits into one packet: larger ones are neither sent in fragments nor received.
fn longest(mtu: usize, to: IpAddress) -> usize {
    let header = match to {
        IpAddress::Ipv4(_) => smoltcp::wire::IPV4_HEADER_LEN,
        #[cfg(feature = "ipv6")]
        IpAddress::Ipv6(_) => smoltcp::wire::IPV6_HEADER_LEN,
    };
    mtu.saturating_sub(header).saturating_sub(HEADER)
}

fn copy(data: &[u8], from: IpEndpoint, buffer: &mut [u8]) -> Datagram {
    let length = data.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(data) {
        *to = *from;
    }
    Datagram {
        length,
        size: data.len(),
        from: outer(from),
    }
}
