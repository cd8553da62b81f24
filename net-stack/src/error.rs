//! What an operation answers when it does not succeed, one value for each errno that an interface has to tell apart.

use core::fmt;

/// Why an operation did not succeed. In brackets: the errno that POSIX and WASI have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// Nothing can be done now; readiness says when (`AGAIN`).
    WouldBlock,
    /// The connection is being established; it is writable when that has ended (`INPROGRESS`).
    InProgress,
    /// The socket is not connected, or no longer (`NOTCONN`).
    NotConnected,
    /// The peer answered that nobody listens there (`CONNREFUSED`).
    ConnectionRefused,
    /// The peer reset the connection (`CONNRESET`).
    ConnectionReset,
    /// The connection ended on this side: its address is no longer ours (`CONNABORTED`).
    ConnectionAborted,
    /// The peer did not answer in time (`TIMEDOUT`).
    TimedOut,
    /// The host cannot be reached: nobody on the link has its address, or a router said so (`HOSTUNREACH`).
    HostUnreachable,
    /// No route leads there, or a router said so (`NETUNREACH`).
    NetworkUnreachable,
    /// A router said that this may not be reached (`ACCES`).
    Prohibited,
    /// The stack has no address yet, or none any more (`NETDOWN`).
    NetworkDown,
    /// Another socket has the port, or no port is free (`ADDRINUSE`).
    AddressInUse,
    /// The address is none of this machine's (`ADDRNOTAVAIL`).
    AddressNotAvailable,
    /// This stack does not speak the protocol of that address (`AFNOSUPPORT`).
    AddressFamily,
    /// The address cannot be connected or sent to: port 0, broadcast, multicast, unspecified (`INVAL`).
    InvalidAddress,
    /// This side has been shut down for sending, or the peer is gone (`PIPE`).
    BrokenPipe,
    /// The datagram does not fit into one packet (`MSGSIZE`).
    MessageSize,
    /// The datagram has no destination (`DESTADDRREQ`).
    DestinationRequired,
    /// A bound of the configuration is reached (`NOBUFS`).
    TooMany,
    /// The handle is none of this stack's, or was closed (`BADF`).
    BadHandle,
    /// The name is none, or has no address of that kind (`NOENT`; of `getaddrinfo`: `EAI_NONAME`).
    NameNotFound,
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::WouldBlock => "nothing can be done now",
            Self::InProgress => "the connection is being established",
            Self::NotConnected => "the socket is not connected",
            Self::ConnectionRefused => "the peer refused the connection",
            Self::ConnectionReset => "the peer reset the connection",
            Self::ConnectionAborted => "the connection ended: its local address is gone",
            Self::TimedOut => "the peer did not answer in time",
            Self::HostUnreachable => "the host cannot be reached",
            Self::NetworkUnreachable => "no route leads to the address",
            Self::Prohibited => "the network does not permit it",
            Self::NetworkDown => "the network has no address",
            Self::AddressInUse => "the port is in use",
            Self::AddressNotAvailable => "the address is none of this machine's",
            Self::AddressFamily => "the protocol of the address is not supported",
            Self::InvalidAddress => "the address cannot be used for this",
            Self::BrokenPipe => "the connection is shut down for sending",
            Self::MessageSize => "the datagram is too long for one packet",
            Self::DestinationRequired => "the datagram has no destination",
            Self::TooMany => "a limit of the network stack is reached",
            Self::BadHandle => "the handle is closed",
            Self::NameNotFound => "the name has no such address",
        })
    }
}

impl core::error::Error for Error {}
