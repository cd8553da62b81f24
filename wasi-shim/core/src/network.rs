//! What WASI needs of a network: sockets that never wait, over whatever stack a machine has.
//!
//! Layer: seam. In the VM the application's TCP/IP stack implements it, on the host the host's own sockets do, so that
//! the same calls run in both places. What is waited for is a [`Source`](crate::Source) of
//! [`System::wait`](crate::System::wait); which calls wait, and what a descriptor may do, is decided above.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::Errno;

/// Names a socket, or a lookup of a name, of a [`Network`]. One that was closed names nothing any more, even once
/// others have been opened: every operation answers BADF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u64);

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// What the peer sends.
    Receive,
    /// What goes to the peer.
    Send,
}

/// What was received of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// How many bytes stand in the buffer.
    pub length: usize,
    /// Who sent it.
    pub from: SocketAddr,
    /// Whether there was more than the buffer takes. The rest is lost.
    pub truncated: bool,
}

/// Something that can be set of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOption {
    /// What is written goes out at once, and is not kept to be sent with what follows (`TCP_NODELAY`).
    NoDelay(bool),
    /// After so many nanoseconds of silence the peer is asked whether it is still there (`SO_KEEPALIVE`).
    KeepAlive(Option<u64>),
}

/// The network of a guest: what it may reach, and nothing else. No operation waits; what would have to is
/// [`Errno::AGAIN`], and [`System::wait`](crate::System::wait) says when to try again.
///
/// Every method may be called at any time the guest chooses, with values it chose. What the guest was not granted is
/// [`Errno::ACCES`], and nothing of it leaves the machine.
pub trait Network {
    /// Listens for connections at `local`; port 0: at a free one. `backlog`: so many connections may wait to be
    /// accepted, at most. Ready to read when one waits.
    ///
    /// # Errors
    /// ACCES, ADDRINUSE, ADDRNOTAVAIL, AFNOSUPPORT, NOBUFS.
    fn listen(&mut self, local: SocketAddr, backlog: usize) -> Result<SocketId, Errno>;

    /// Takes the oldest connection that waits, and tells who made it.
    ///
    /// # Errors
    /// AGAIN, BADF, NOBUFS.
    fn accept(&mut self, listener: SocketId) -> Result<(SocketId, SocketAddr), Errno>;

    /// Begins to connect. The stream is ready to write when that has ended, either way.
    ///
    /// # Errors
    /// ACCES, ADDRINUSE, ADDRNOTAVAIL, AFNOSUPPORT, INVAL, NETUNREACH, NOBUFS; nothing is open then.
    fn connect(&mut self, remote: SocketAddr, local: Option<SocketAddr>) -> Result<SocketId, Errno>;

    /// How the making of a connection has ended; an error is told once.
    ///
    /// # Errors
    /// INPROGRESS; BADF; ACCES, CONNREFUSED, CONNRESET, HOSTUNREACH, NETUNREACH, TIMEDOUT: why it is not connected.
    fn connected(&mut self, stream: SocketId) -> Result<(), Errno>;

    /// Receives bytes of a stream; with `peek` they stay. 0: the peer sends nothing more, or `buf` is empty.
    ///
    /// # Errors
    /// AGAIN, BADF, NOTCONN, CONNRESET, TIMEDOUT.
    fn receive(&mut self, stream: SocketId, buf: &mut [u8], peek: bool) -> Result<usize, Errno>;

    /// Sends the beginning of `data` over a stream, at least one byte unless it is empty; tells how many.
    ///
    /// # Errors
    /// AGAIN, BADF, NOTCONN, PIPE, CONNRESET, TIMEDOUT.
    fn send(&mut self, stream: SocketId, data: &[u8]) -> Result<usize, Errno>;

    /// Ends one direction of a stream.
    ///
    /// # Errors
    /// BADF, NOTCONN.
    fn shutdown(&mut self, stream: SocketId, direction: Direction) -> Result<(), Errno>;

    /// Opens a socket for datagrams at `local`; port 0: at a free one.
    ///
    /// # Errors
    /// As for [`listen`](Self::listen).
    fn bind_datagrams(&mut self, local: SocketAddr) -> Result<SocketId, Errno>;

    /// Says with whom alone datagrams are exchanged; `None`: with anybody.
    ///
    /// # Errors
    /// ACCES, AFNOSUPPORT, BADF, INVAL.
    fn connect_datagrams(&mut self, socket: SocketId, peer: Option<SocketAddr>) -> Result<(), Errno>;

    /// Sends a datagram: to `to`, or to whom the socket is connected.
    ///
    /// # Errors
    /// ACCES, AGAIN, BADF, DESTADDRREQ, INVAL, MSGSIZE; CONNREFUSED, HOSTUNREACH: of an earlier one.
    fn send_to(&mut self, socket: SocketId, data: &[u8], to: Option<SocketAddr>) -> Result<(), Errno>;

    /// Receives a datagram; with `peek` it stays.
    ///
    /// # Errors
    /// AGAIN, BADF; CONNREFUSED, HOSTUNREACH: of one that was sent.
    fn receive_from(&mut self, socket: SocketId, buf: &mut [u8], peek: bool) -> Result<Datagram, Errno>;

    /// The socket's own address.
    ///
    /// # Errors
    /// BADF.
    fn local_address(&mut self, socket: SocketId) -> Result<SocketAddr, Errno>;

    /// Whom the socket is connected to.
    ///
    /// # Errors
    /// BADF, NOTCONN.
    fn peer_address(&mut self, socket: SocketId) -> Result<SocketAddr, Errno>;

    /// The error that the socket has met and not told yet, which is told by this (`SO_ERROR`).
    ///
    /// # Errors
    /// BADF.
    fn take_error(&mut self, socket: SocketId) -> Result<Option<Errno>, Errno>;

    /// Sets an option.
    ///
    /// # Errors
    /// BADF, NOPROTOOPT.
    fn set_option(&mut self, socket: SocketId, option: SocketOption) -> Result<(), Errno>;

    /// Begins to look for the addresses of a name. Ready to read when they are known, or that there are none.
    ///
    /// # Errors
    /// ACCES: names are not to be looked up, and this one was not granted; INVAL: it is no name; NOBUFS.
    fn look_up(&mut self, name: &str) -> Result<SocketId, Errno>;

    /// What was found, at most eight addresses. The lookup is over and closed unless this is AGAIN.
    ///
    /// # Errors
    /// AGAIN, BADF; NOENT: the name has none; TIMEDOUT.
    fn addresses(&mut self, lookup: SocketId) -> Result<Vec<IpAddr>, Errno>;

    /// Closes a socket, or gives a lookup up. What was written before is still sent.
    ///
    /// # Errors
    /// BADF.
    fn close(&mut self, socket: SocketId) -> Result<(), Errno>;
}
