//! The host's own sockets as a guest's network: a guest may do what the process may.
//!
//! Layer: host tests. No socket ever waits; [`HostNetwork::wait`] does.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno as HostErrno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, acceptfrom_with, bind, connect,
    getpeername, getsockname, listen, recv, recvfrom, send, sendto, shutdown, socket_with, sockopt,
};
use wasi_core::network::{Datagram, Direction, SocketOption};
use wasi_core::{Errno, Network, Readiness, SocketId, Source, Wait};

/// How many addresses of a name are told.
const MOST_ADDRESSES: usize = 8;

/// The sockets that a guest has.
#[derive(Debug, Default)]
pub struct HostNetwork {
    sockets: BTreeMap<SocketId, OwnedFd>,
    lookups: BTreeMap<SocketId, Result<Vec<IpAddr>, Errno>>,
    opened: u64,
}

impl HostNetwork {
    fn named(&mut self) -> SocketId {
        self.opened += 1;
        SocketId(self.opened)
    }

    fn add(&mut self, socket: OwnedFd) -> SocketId {
        let id = self.named();
        self.sockets.insert(id, socket);
        id
    }

    fn get(&self, id: SocketId) -> Result<&OwnedFd, Errno> {
        self.sockets.get(&id).ok_or(Errno::BADF)
    }

    /// Waits as [`System::wait`](wasi_core::System::wait) does; standard input is at its end.
    pub fn wait(&mut self, on: &mut [Wait], timeout: Option<u64>) {
        let mut is_ready = false;
        let mut descriptors = Vec::new();
        for wait in &mut *on {
            wait.answer = Ok(Readiness::NotReady);
            let (id, events) = match wait.source {
                Source::Stdin => {
                    wait.answer = Ok(Readiness::ENDED);
                    is_ready = true;
                    continue;
                }
                Source::Readable(id) => (id, PollFlags::IN | PollFlags::RDHUP),
                Source::Writable(id) => (id, PollFlags::OUT),
            };
            match self.sockets.get(&id) {
                Some(socket) => descriptors.push((wait, PollFd::new(socket, events))),
                None => {
                    let is_lookup = self.lookups.contains_key(&id);
                    wait.answer = is_lookup.then_some(SOMETHING).ok_or(Errno::BADF);
                    is_ready = true;
                }
            }
        }
        let timeout = match (is_ready, timeout) {
            (true, _) => Some(Duration::ZERO),
            (false, timeout) => timeout.map(Duration::from_nanos),
        };
        let (waits, mut descriptors): (Vec<_>, Vec<_>) = descriptors.into_iter().unzip();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // One that was interrupted has nothing ready, and its caller waits again.
        if poll(&mut descriptors, timeout.as_ref()).is_err() {
            return;
        }
        for (wait, descriptor) in waits.into_iter().zip(&descriptors) {
            wait.answer = Ok(readiness(wait.source, descriptor));
        }
    }
}

const SOMETHING: Readiness = Readiness::Ready {
    bytes: 1,
    hangup: false,
};

/// How a socket stands that was polled.
fn readiness(source: Source, descriptor: &PollFd<'_>) -> Readiness {
    let events = descriptor.revents();
    let gone = events.intersects(PollFlags::HUP | PollFlags::ERR);
    match source {
        Source::Readable(_) if !events.is_empty() => {
            let is_stream = sockopt::socket_type(descriptor) == Ok(SocketType::STREAM);
            let is_listener = sockopt::socket_acceptconn(descriptor) == Ok(true);
            let bytes = rustix::io::ioctl_fionread(descriptor).unwrap_or_default();
            match gone && is_stream && !is_listener {
                true if bytes == 0 => Readiness::ENDED,
                // The end is something to be received, and an empty datagram is one.
                hangup => Readiness::Ready {
                    bytes: bytes.max(1),
                    hangup,
                },
            }
        }
        Source::Writable(_) if gone => Readiness::ENDED,
        Source::Writable(_) if events.contains(PollFlags::OUT) => SOMETHING,
        _ => Readiness::NotReady,
    }
}

/// A socket of the host's that never waits.
fn open(of: SocketAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = match of {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(family, kind, flags, None).map_err(errno)
}

/// The address that the host tells, which is one of IP's.
fn address(of: Option<rustix::net::SocketAddrAny>) -> Result<SocketAddr, Errno> {
    of.and_then(|address| SocketAddr::try_from(address).ok())
        .ok_or(Errno::NOTCONN)
}

impl Network for HostNetwork {
    fn listen(&mut self, local: SocketAddr, backlog: usize) -> Result<SocketId, Errno> {
        let socket = open(local, SocketType::STREAM)?;
        sockopt::set_socket_reuseaddr(&socket, true).map_err(errno)?;
        bind(&socket, &local).map_err(errno)?;
        listen(&socket, i32::try_from(backlog).unwrap_or(i32::MAX)).map_err(errno)?;
        Ok(self.add(socket))
    }

    fn accept(&mut self, listener: SocketId) -> Result<(SocketId, SocketAddr), Errno> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (socket, peer) = acceptfrom_with(self.get(listener)?, flags).map_err(errno)?;
        Ok((self.add(socket), address(peer)?))
    }

    fn connect(&mut self, remote: SocketAddr, local: Option<SocketAddr>) -> Result<SocketId, Errno> {
        let socket = open(remote, SocketType::STREAM)?;
        if let Some(local) = local {
            bind(&socket, &local).map_err(errno)?;
        }
        match connect(&socket, &remote) {
            Ok(()) | Err(HostErrno::INPROGRESS) => Ok(self.add(socket)),
            Err(error) => Err(errno(error)),
        }
    }

    fn connected(&mut self, stream: SocketId) -> Result<(), Errno> {
        let socket = self.get(stream)?;
        let mut descriptor = [PollFd::new(socket, PollFlags::OUT)];
        let count = poll(&mut descriptor, Some(&Timespec::default())).map_err(errno)?;
        if count == 0 {
            return Err(Errno::INPROGRESS);
        }
        sockopt::socket_error(socket).map_err(errno)?.map_err(errno)
    }

    fn receive(&mut self, stream: SocketId, buf: &mut [u8], peek: bool) -> Result<usize, Errno> {
        let (_, length) = recv(self.get(stream)?, buf, flags(peek)).map_err(errno)?;
        Ok(length)
    }

    fn send(&mut self, stream: SocketId, data: &[u8]) -> Result<usize, Errno> {
        send(self.get(stream)?, data, SendFlags::NOSIGNAL).map_err(errno)
    }

    fn shutdown(&mut self, stream: SocketId, direction: Direction) -> Result<(), Errno> {
        let how = match direction {
            Direction::Receive => Shutdown::Read,
            Direction::Send => Shutdown::Write,
        };
        shutdown(self.get(stream)?, how).map_err(errno)
    }

    fn bind_datagrams(&mut self, local: SocketAddr) -> Result<SocketId, Errno> {
        let socket = open(local, SocketType::DGRAM)?;
        bind(&socket, &local).map_err(errno)?;
        Ok(self.add(socket))
    }

    fn connect_datagrams(&mut self, socket: SocketId, peer: Option<SocketAddr>) -> Result<(), Errno> {
        let socket = self.get(socket)?;
        match peer {
            Some(peer) => connect(socket, &peer),
            None => rustix::net::connect_unspec(socket),
        }
        .map_err(errno)
    }

    fn send_to(&mut self, socket: SocketId, data: &[u8], to: Option<SocketAddr>) -> Result<(), Errno> {
        let socket = self.get(socket)?;
        match to {
            Some(to) => sendto(socket, data, SendFlags::NOSIGNAL, &to),
            None => send(socket, data, SendFlags::NOSIGNAL),
        }
        .map(|_| ())
        .map_err(errno)
    }

    fn receive_from(&mut self, socket: SocketId, buf: &mut [u8], peek: bool) -> Result<Datagram, Errno> {
        let flags = flags(peek) | RecvFlags::TRUNC;
        let (_, length, from) = recvfrom(self.get(socket)?, &mut *buf, flags).map_err(errno)?;
        Ok(Datagram {
            length: length.min(buf.len()),
            from: address(from)?,
            truncated: length > buf.len(),
        })
    }

    fn local_address(&mut self, socket: SocketId) -> Result<SocketAddr, Errno> {
        address(Some(getsockname(self.get(socket)?).map_err(errno)?))
    }

    fn peer_address(&mut self, socket: SocketId) -> Result<SocketAddr, Errno> {
        address(getpeername(self.get(socket)?).map_err(errno)?)
    }

    fn take_error(&mut self, socket: SocketId) -> Result<Option<Errno>, Errno> {
        let error = sockopt::socket_error(self.get(socket)?).map_err(errno)?;
        Ok(error.err().map(errno))
    }

    fn set_option(&mut self, socket: SocketId, option: SocketOption) -> Result<(), Errno> {
        let socket = self.get(socket)?;
        match option {
            SocketOption::NoDelay(on) => sockopt::set_tcp_nodelay(socket, on),
            SocketOption::KeepAlive(after) => {
                sockopt::set_socket_keepalive(socket, after.is_some()).and_then(|()| match after {
                    // The host counts seconds.
                    Some(after) => {
                        let idle = Duration::from_nanos(after).max(Duration::from_secs(1));
                        sockopt::set_tcp_keepidle(socket, idle)
                    }
                    None => Ok(()),
                })
            }
        }
        .map_err(errno)
    }

    fn look_up(&mut self, name: &str) -> Result<SocketId, Errno> {
        let mut found = Vec::new();
        for address in (name, 0).to_socket_addrs().into_iter().flatten() {
            if !found.contains(&address.ip()) && found.len() < MOST_ADDRESSES {
                found.push(address.ip());
            }
        }
        let answer = match found.is_empty() {
            true => Err(Errno::NOENT),
            false => Ok(found),
        };
        let id = self.named();
        self.lookups.insert(id, answer);
        Ok(id)
    }

    fn addresses(&mut self, lookup: SocketId) -> Result<Vec<IpAddr>, Errno> {
        self.lookups.remove(&lookup).ok_or(Errno::BADF)?
    }

    fn close(&mut self, socket: SocketId) -> Result<(), Errno> {
        let is_open = self.sockets.remove(&socket).is_some();
        let was_looked_up = self.lookups.remove(&socket).is_some();
        (is_open || was_looked_up).then_some(()).ok_or(Errno::BADF)
    }
}

fn flags(peek: bool) -> RecvFlags {
    match peek {
        true => RecvFlags::PEEK,
        false => RecvFlags::empty(),
    }
}

/// What WASI calls an error of the host's.
fn errno(error: HostErrno) -> Errno {
    match error {
        HostErrno::ACCESS | HostErrno::PERM => Errno::ACCES,
        HostErrno::ADDRINUSE => Errno::ADDRINUSE,
        HostErrno::ADDRNOTAVAIL => Errno::ADDRNOTAVAIL,
        HostErrno::AFNOSUPPORT => Errno::AFNOSUPPORT,
        HostErrno::AGAIN => Errno::AGAIN,
        HostErrno::CONNREFUSED => Errno::CONNREFUSED,
        HostErrno::CONNRESET => Errno::CONNRESET,
        HostErrno::DESTADDRREQ => Errno::DESTADDRREQ,
        HostErrno::HOSTUNREACH => Errno::HOSTUNREACH,
        HostErrno::INVAL => Errno::INVAL,
        HostErrno::ISCONN => Errno::ISCONN,
        HostErrno::MFILE | HostErrno::NFILE | HostErrno::NOBUFS | HostErrno::NOMEM => Errno::NOBUFS,
        HostErrno::MSGSIZE => Errno::MSGSIZE,
        HostErrno::NETUNREACH => Errno::NETUNREACH,
        HostErrno::NOTCONN => Errno::NOTCONN,
        HostErrno::PIPE => Errno::PIPE,
        HostErrno::TIMEDOUT => Errno::TIMEDOUT,
        _ => Errno::IO,
    }
}
