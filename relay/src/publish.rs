//! Published ports: `[ADDR:]HOST:GUEST[/udp]`, and the host's sockets that they become.
//!
//! Layer: text, and system calls in [`Publish::bind`], which whoever starts the relay calls while it still has all rights.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::str::FromStr;

use crate::grant::{GrantError, Protocol, port, protocol};

/// A port of the host's that leads to one of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Where the host listens. Port 0: a free one.
    pub host: SocketAddr,
    /// The guest's port.
    pub guest: u16,
    /// Connections or datagrams.
    pub protocol: Protocol,
}

impl fmt::Display for Publish {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.guest)?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => formatter.write_str("/udp"),
        }
    }
}

impl FromStr for Publish {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let shown = text.escape_debug();
        let form = || {
            GrantError::new(format!(
                "'{shown}' is no published port; write [ADDR:]HOST:GUEST[/udp], such as 8080:80"
            ))
        };
        let (rest, protocol) = protocol(text)?;
        let (rest, guest) = rest.rsplit_once(':').ok_or_else(form)?;
        let guest = port(guest)?;
        let (address, host) = match rest.rsplit_once(':') {
            None => (IpAddr::V4(Ipv4Addr::LOCALHOST), rest),
            Some((address, host)) => {
                let inner = address.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
                let address = match inner {
                    Some(inner) => inner.parse().map(IpAddr::V6).ok(),
                    None => address.parse().map(IpAddr::V4).ok(),
                };
                (address.ok_or_else(form)?, host)
            }
        };
        let host = match host {
            "0" => 0,
            host => port(host)?,
        };
        Ok(Self {
            host: SocketAddr::new(address, host),
            guest,
            protocol,
        })
    }
}

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

impl Published {
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

impl Publish {
    /// Listens.
    ///
    /// # Errors
    /// The port is in use, needs a right that is not there, or the address is none of the host's: the message says which
    /// and what to do.
    pub fn bind(&self) -> Result<Published, GrantError> {
        let socket = match self.protocol {
            Protocol::Tcp => TcpListener::bind(self.host).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(Socket::Tcp(listener))
            }),
            Protocol::Udp => UdpSocket::bind(self.host).and_then(|socket| {
                socket.set_nonblocking(true)?;
                Ok(Socket::Udp(socket))
            }),
        };
        match socket {
            Ok(socket) => Ok(Published {
                guest: self.guest,
                socket,
            }),
            Err(error) => Err(GrantError::new(format!(
                "cannot listen on {} for the guest's port {}: {}",
                self.host,
                self.guest,
                reason(&error)
            ))),
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
    fn published_ports_are_read_and_shown() {
        for (text, shown) in [
            ("8080:80", "127.0.0.1:8080:80"),
            ("0:80", "127.0.0.1:0:80"),
            ("0.0.0.0:53:53/udp", "0.0.0.0:53:53/udp"),
            ("[::1]:8080:80/tcp", "[::1]:8080:80"),
        ] {
            let publish: Publish = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(publish.to_string(), shown);
            assert_eq!(shown.parse(), Ok(publish));
        }
        for text in [
            "",
            "80",
            "80:",
            ":80",
            "80:0",
            "a:1:2",
            "::1:80:80",
            "1:2:3:4",
            "[::1]:80",
            "1:2/x",
            "1:99999",
        ] {
            assert!(text.parse::<Publish>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_port_in_use_says_so() {
        let first: Publish = "0:80".parse().unwrap();
        let first = first.bind().unwrap();
        let again = Publish {
            host: first.host().unwrap(),
            guest: 80,
            protocol: Protocol::Tcp,
        };
        let error = again.bind().expect_err("it is in use").to_string();
        assert!(error.contains("another program listens there"), "{error}");
    }
}
