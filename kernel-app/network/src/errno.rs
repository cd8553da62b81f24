//! The stack's errors as the guest sees them.

use net_stack::Error;
use wasi_core::Errno;

/// The number of an error.
pub(super) const fn errno(error: Error) -> Errno {
    match error {
        Error::WouldBlock => Errno::AGAIN,
        Error::InProgress => Errno::INPROGRESS,
        Error::NotConnected => Errno::NOTCONN,
        Error::ConnectionRefused => Errno::CONNREFUSED,
        Error::ConnectionReset => Errno::CONNRESET,
        Error::ConnectionAborted => Errno::CONNABORTED,
        Error::TimedOut => Errno::TIMEDOUT,
        Error::HostUnreachable => Errno::HOSTUNREACH,
        Error::NetworkUnreachable => Errno::NETUNREACH,
        Error::Prohibited => Errno::ACCES,
        Error::NetworkDown => Errno::NETDOWN,
        Error::AddressInUse => Errno::ADDRINUSE,
        Error::AddressNotAvailable => Errno::ADDRNOTAVAIL,
        Error::AddressFamily => Errno::AFNOSUPPORT,
        Error::InvalidAddress => Errno::INVAL,
        Error::BrokenPipe => Errno::PIPE,
        Error::MessageSize => Errno::MSGSIZE,
        Error::DestinationRequired => Errno::DESTADDRREQ,
        Error::TooMany => Errno::NOBUFS,
        Error::BadHandle => Errno::BADF,
        Error::NameNotFound => Errno::NOENT,
    }
}
