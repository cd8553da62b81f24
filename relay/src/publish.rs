//! The host's sockets of published ports.
//!
//! Layer: system calls in [`Published::bind`], which whoever starts the relay calls while it still has all rights.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use boot_protocol::network::{Protocol, Publish};

/// The host's socket of a published port.
#[derive(Debug)]
pub enum Socket {
    /// Connections come to it.
    Tcp(TcpListener),
    /// Datagrams come to it.
    Udp(UdpSocket),
}

/// A published port at which the host listens.
#[derive(Debug)]
pub struct Published {
    /// The guest's port.
    pub(crate) guest: u16,
    pub(crate) socket: Socket,
}

impl AsFd for Published {
    /// The socket, for a relay in another process to inherit.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Udp(socket) => socket.as_fd(),
        }
    }
}

impl Published {
    /// A port at which another process has begun to listen, by a socket that does not wait.
    #[must_use]
    pub const fn new(guest: u16, socket: Socket) -> Self {
        Self { guest, socket }
    }

    /// Listens.
    ///
    /// # Errors
    /// The port is in use, needs a right that is not there, or the address is none of the host's: the message says
    /// which and what to do.
    pub fn bind(publish: &Publish) -> io::Result<Self> {
        let Publish {
            host,
            guest,
            protocol,
        } = *publish;
        let socket = match protocol {
            Protocol::Tcp => TcpListener::bind(host).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(Socket::Tcp(listener))
            }),
            Protocol::Udp => UdpSocket::bind(host).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(Socket::Udp(socket))
            }),
        };
        match socket {
            Ok(socket) => Ok(Self { guest, socket }),
            Err(error) => Err(io::Error::new(
                error.kind(),
                format!(
                    "cannot listen on {host} for the guest's port {guest}: {}",
                    reason(&error)
                ),
            )),
        }
    }

    /// Where the host listens, with the port that it was given.
    ///
    /// # Errors
    /// The system's.
    pub fn host(&self) -> io::Result<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr(),
            Socket::Udp(socket) => socket.local_addr(),
        }
    }
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; choose another port".to_string(),
        io::ErrorKind::PermissionDenied => {
            "the port is a privileged one; choose one from 1024 on".to_string()
        }
        io::ErrorKind::AddrNotAvailable => "the address is none of this host's".to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_says_so() {
        let first: Publish = "0:80".parse().unwrap();
        let first = Published::bind(&first).unwrap();
        let again = Publish {
            host: first.host().unwrap(),
            guest: 80,
            protocol: Protocol::Tcp,
        };
        let error = Published::bind(&again).expect_err("it is in use").to_string();
        assert!(error.contains("another program listens there"), "{error}");
    }
}
