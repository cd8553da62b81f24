//! Published ports as people write them: `[ADDR:]HOST:GUEST[/udp]`.
//!
//! Layer: text. The relay makes sockets of them.

use alloc::format;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::str::FromStr;

use super::grant::{GrantError, Protocol, port, protocol};

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

/// Reads a port of the guest's that may be published: `PORT[/udp]`.
///
/// # Errors
/// It is none.
pub fn exposed(text: &str) -> Result<(u16, Protocol), GrantError> {
    let (text, protocol) = protocol(text)?;
    Ok((port(text)?, protocol))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

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
    fn exposed_ports_are_the_guests() {
        assert_eq!(exposed("8080"), Ok((8080, Protocol::Tcp)));
        assert_eq!(exposed("53/udp"), Ok((53, Protocol::Udp)));
        assert_eq!(exposed("80/tcp"), Ok((80, Protocol::Tcp)));
        for text in ["", "0", "80:80", "65536", "80/sctp", "http"] {
            assert!(exposed(text).is_err(), "{text}");
        }
    }
}
