//! Sockets: what one is, what state it is in, and what that allows.
//!
//! Layer: core. A [`Socket`] is what a descriptor names; the [`Network`] beneath knows connections, listeners and
//! datagrams, of which nothing is there before it is needed. The operations are in `stream` and `transfer`.
//! They are POSIX's, with Linux's answers where POSIX leaves the choice, and are told whether to wait by [`Blocking`].

mod stream;
#[cfg(test)]
mod tests;
mod transfer;

pub use transfer::Received;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use alloc::vec::Vec;

use crate::{
    Errno,
    context::WasiCtx,
    descriptor::{Awaits, Descriptor},
    file::Blocking,
    network::{Network, SocketId, SocketOption},
    system::{Source, System, Wait},
};

/// Which addresses a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4's.
    V4,
    /// IPv6's.
    V6,
}

impl Family {
    /// That of an address.
    #[must_use]
    pub const fn of(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }

    /// Any address and any port.
    #[must_use]
    pub const fn unspecified(self) -> SocketAddr {
        let ip = match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        SocketAddr::new(ip, 0)
    }
}

/// What a socket transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes in order (TCP).
    Stream,
    /// Datagrams (UDP).
    Datagram,
}

/// What was set of a socket. One that [accepts](WasiCtx::accept) passes all of it on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What is written goes out at once (`TCP_NODELAY`).
    pub no_delay: bool,
    /// After so many nanoseconds of silence the peer is asked whether it is still there (`SO_KEEPALIVE`).
    pub keep_alive: Option<u64>,
    /// For how many nanoseconds a receive or an accept waits at most; then it is AGAIN (`SO_RCVTIMEO`).
    pub receive_timeout: Option<u64>,
    /// For how many nanoseconds a send waits at most; then it is AGAIN (`SO_SNDTIMEO`). A connect is INPROGRESS.
    pub send_timeout: Option<u64>,
}

/// A socket.
#[derive(Debug, PartialEq, Eq)]
pub struct Socket {
    family: Family,
    kind: Kind,
    state: State,
    options: Options,
}

/// How far a socket has come. Of what has no [`SocketId`] the network knows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Fresh, or a stream whose connection was not made.
    Unbound,
    /// A stream that has a name.
    Bound(SocketAddr),
    /// A stream that connections come to.
    Listening(SocketId),
    /// A stream whose connection is being made, and its name if it has one.
    Connecting(SocketId, Option<SocketAddr>),
    /// A stream whose connection was not made, which nobody has told why; and its name if it has one.
    Failed(Errno, Option<SocketAddr>),
    /// A stream with a connection, which may have ended.
    Connected(SocketId),
    /// Open for datagrams.
    Open(SocketId),
}

impl Socket {
    const fn new(family: Family, kind: Kind, state: State, options: Options) -> Self {
        Self {
            family,
            kind,
            state,
            options,
        }
    }

    /// A stream that listens, as an embedder gives it to a guest.
    pub(crate) fn listener(id: SocketId, local: SocketAddr) -> Self {
        Self::new(
            Family::of(local),
            Kind::Stream,
            State::Listening(id),
            Options::default(),
        )
    }

    /// Which addresses it has.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// What it transports.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What was set of it.
    #[must_use]
    pub const fn options(&self) -> Options {
        self.options
    }

    /// Whether connections come to it (`SO_ACCEPTCONN`).
    #[must_use]
    pub const fn is_listening(&self) -> bool {
        matches!(self.state, State::Listening(_))
    }

    /// Fails if nothing can ever be received or sent through it: it listens.
    ///
    /// # Errors
    /// [`Errno::NOTCONN`].
    pub const fn check_transfer(&self) -> Result<(), Errno> {
        match self.is_listening() {
            true => Err(Errno::NOTCONN),
            false => Ok(()),
        }
    }

    /// Fails unless connections come to it.
    ///
    /// # Errors
    /// [`Errno::NOTSUP`] if it is for datagrams, else [`Errno::INVAL`].
    pub const fn check_listening(&self) -> Result<(), Errno> {
        match (self.kind, self.is_listening()) {
            (_, true) => Ok(()),
            (Kind::Stream, false) => Err(Errno::INVAL),
            (Kind::Datagram, false) => Err(Errno::NOTSUP),
        }
    }

    /// What the network knows it by.
    const fn id(&self) -> Option<SocketId> {
        match self.state {
            State::Unbound | State::Bound(_) | State::Failed(..) => None,
            State::Listening(id) | State::Connecting(id, _) | State::Connected(id) | State::Open(id) => {
                Some(id)
            }
        }
    }

    /// What a receive or an accept waits for. A stream without a connection is at its end, as on Linux.
    pub(crate) const fn read_source(&self) -> Awaits {
        match (self.id(), self.kind) {
            (Some(id), _) => Awaits::Source(Source::Readable(id)),
            (None, Kind::Stream) => Awaits::Nothing,
            (None, Kind::Datagram) => Awaits::Forever,
        }
    }

    /// What a send waits for, or the end of a connection's making.
    pub(crate) const fn write_source(&self) -> Awaits {
        match self.id() {
            Some(id) => Awaits::Source(Source::Writable(id)),
            None => Awaits::Nothing,
        }
    }

    /// Fails unless it can have such an address.
    fn check_family(&self, address: SocketAddr) -> Result<(), Errno> {
        match Family::of(address) == self.family {
            true => Ok(()),
            false => Err(Errno::AFNOSUPPORT),
        }
    }
}

/// A listener that a guest was given, which it can also listen on itself: all get connections from one queue.
#[derive(Debug)]
pub(crate) struct Shared {
    id: SocketId,
    port: u16,
    /// How many descriptors name it.
    users: usize,
}

impl Shared {
    /// A listener that is named once.
    pub(crate) const fn new(id: SocketId, local: SocketAddr) -> Self {
        Self {
            id,
            port: local.port(),
            users: 1,
        }
    }
}

/// How long an operation still waits.
struct Patience {
    blocking: Blocking,
    limit: Option<u64>,
    /// When it has begun to wait, if there is a limit.
    start: Option<u64>,
}

impl Patience {
    const fn new(blocking: Blocking, limit: Option<u64>) -> Self {
        Self {
            blocking,
            limit,
            start: None,
        }
    }
}

impl<S: System> WasiCtx<S> {
    /// Opens a socket. Nothing is known of it to the network yet.
    ///
    /// # Errors
    /// ACCES: the guest has no network.
    pub fn open_socket(&mut self, family: Family, kind: Kind) -> Result<Descriptor, Errno> {
        self.network()?;
        let socket = Socket::new(family, kind, State::Unbound, Options::default());
        Ok(Descriptor::Socket(socket))
    }

    /// Fails unless the guest has a network.
    ///
    /// # Errors
    /// ACCES.
    pub fn require_network(&mut self) -> Result<(), Errno> {
        self.network().map(|_| ())
    }

    /// The guest's network.
    fn network(&mut self) -> Result<&mut dyn Network, Errno> {
        match self.deterministic {
            // What comes from others is chance.
            Some(_) => Err(Errno::ACCES),
            None => self.system.network().ok_or(Errno::ACCES),
        }
    }

    /// Waits for `source` as long as `patience` says; AGAIN if it says no more.
    #[inline(never)]
    fn wait_for(&mut self, source: Source, patience: &mut Patience) -> Result<(), Errno> {
        if patience.blocking != Blocking::Wait {
            return Err(Errno::AGAIN);
        }
        let mut timeout = None;
        if let Some(limit) = patience.limit {
            let now = self.now()?;
            let start = *patience.start.get_or_insert(now);
            match limit.checked_sub(now.saturating_sub(start)) {
                None | Some(0) => return Err(Errno::AGAIN),
                left => timeout = left,
            }
        }
        let mut wait = [Wait::new(source)];
        self.system.wait(&mut wait, timeout);
        let [Wait { answer, .. }] = wait;
        answer.map(|_| ())
    }

    /// Gives a socket a name: the address and port at which it is reached. Whether a stream can have it, and which it
    /// has if the port is 0, is known when it listens or connects.
    ///
    /// # Errors
    /// AFNOSUPPORT: `local` is of another family; INVAL: it has a name; of datagrams what
    /// [`Network::bind_datagrams`] says.
    pub fn bind(&mut self, socket: &mut Socket, local: SocketAddr) -> Result<(), Errno> {
        socket.check_family(local)?;
        if socket.state != State::Unbound {
            return Err(Errno::INVAL);
        }
        socket.state = match socket.kind {
            Kind::Stream => State::Bound(local),
            Kind::Datagram => State::Open(self.network()?.bind_datagrams(local)?),
        };
        Ok(())
    }

    /// The socket's own address; before it has one, the unspecified.
    ///
    /// # Errors
    /// What the network says.
    pub fn local_address(&mut self, socket: &Socket) -> Result<SocketAddr, Errno> {
        match (socket.state, socket.id()) {
            (State::Bound(local) | State::Failed(_, Some(local)), _) => Ok(local),
            (_, Some(id)) => self.network()?.local_address(id),
            (_, None) => Ok(socket.family.unspecified()),
        }
    }

    /// Whom the socket is connected to. Why it is not is told by [`take_error`](Self::take_error).
    ///
    /// # Errors
    /// NOTCONN; what the network says.
    pub fn peer_address(&mut self, socket: &mut Socket) -> Result<SocketAddr, Errno> {
        let id = match socket.kind {
            Kind::Datagram => socket.id().ok_or(Errno::NOTCONN)?,
            Kind::Stream => self.connection(socket)?,
        };
        self.network()?.peer_address(id)
    }

    /// The error that the socket has met and not told yet (`SO_ERROR`). Of a connection that is being made: why it was
    /// not, if that is known.
    ///
    /// # Errors
    /// What the network says.
    pub fn take_error(&mut self, socket: &mut Socket) -> Result<Option<Errno>, Errno> {
        if let State::Connecting(..) | State::Failed(..) = socket.state {
            return match self.settle(socket, Patience::new(Blocking::Fail, None)) {
                Ok(_) | Err(Errno::AGAIN) => Ok(None),
                Err(errno) => Ok(Some(errno)),
            };
        }
        match socket.id() {
            Some(id) => self.network()?.take_error(id),
            None => Ok(None),
        }
    }

    /// Sets options.
    ///
    /// # Errors
    /// NOPROTOOPT; nothing is set then.
    pub fn set_options(&mut self, socket: &mut Socket, options: Options) -> Result<(), Errno> {
        if let (Kind::Stream, Some(id)) = (socket.kind, socket.id()) {
            self.apply(id, socket.options, options)?;
        }
        socket.options = options;
        Ok(())
    }

    /// Tells the network what is new of a stream's options.
    fn apply(&mut self, id: SocketId, from: Options, to: Options) -> Result<(), Errno> {
        let network = self.network()?;
        if from.no_delay != to.no_delay {
            network.set_option(id, SocketOption::NoDelay(to.no_delay))?;
        }
        if from.keep_alive != to.keep_alive {
            network.set_option(id, SocketOption::KeepAlive(to.keep_alive))?;
        }
        Ok(())
    }

    /// The addresses of a name, at most eight; waits for them.
    ///
    /// # Errors
    /// ACCES, INVAL, NOBUFS: as [`Network::look_up`]; NOENT: it has none; TIMEDOUT: nobody knows.
    pub fn look_up(&mut self, name: &str) -> Result<Vec<IpAddr>, Errno> {
        let id = self.network()?.look_up(name)?;
        let mut patience = Patience::new(Blocking::Wait, None);
        loop {
            match self.network()?.addresses(id) {
                Err(Errno::AGAIN) => {
                    if let Err(errno) = self.wait_for(Source::Readable(id), &mut patience) {
                        // What it was for has failed already.
                        let _ = self.network()?.close(id);
                        return Err(errno);
                    }
                }
                found => return found,
            }
        }
    }

    /// Closes a socket. What was sent before still goes out.
    pub(crate) fn close_socket(&mut self, socket: &Socket) {
        let Some(id) = socket.id() else { return };
        if let Some(place) = self.listeners.iter().position(|shared| shared.id == id) {
            if let Some(shared) = self.listeners.get_mut(place).filter(|shared| shared.users > 1) {
                shared.users = shared.users.saturating_sub(1);
                return;
            }
            self.listeners.swap_remove(place);
        }
        if let Ok(network) = self.network() {
            // A descriptor that is closed is gone, whatever the network says.
            let _ = network.close(id);
        }
    }
}
