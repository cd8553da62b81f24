//! Grants as people write them: what a guest may connect to, and by what name it knows it.
//!
//! Layer: text. Command lines and the manifest produce these types; nothing here opens a socket.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::str::FromStr;

/// Of what kind a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// Its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A host, as it is written: by its name or by its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name, in lower case, without a dot at its end.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => formatter.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(formatter),
            Self::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
        }
    }
}

/// A grant: `NAME:PORT[/udp][=TARGET]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What the guest connects to.
    pub host: Host,
    /// The port that the guest connects to.
    pub port: u16,
    /// Connections or datagrams.
    pub protocol: Protocol,
    /// What is reached on the host's network.
    pub target: Host,
    /// Its port.
    pub target_port: u16,
}

/// Text that is no grant, or no published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantError(String);

impl GrantError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for GrantError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl core::error::Error for GrantError {}

impl fmt::Display for Grant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)?;
        if self.protocol == Protocol::Udp {
            formatter.write_str("/udp")?;
        }
        if (&self.target, self.target_port) != (&self.host, self.port) {
            write!(formatter, "={}:{}", self.target, self.target_port)?;
        }
        Ok(())
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let shown = text.escape_debug();
        if text.contains("://") {
            return Err(GrantError::new(format!(
                "'{shown}' is a URL; write NAME:PORT, such as example.org:443"
            )));
        }
        let (name, target) = match text.split_once('=') {
            Some((name, target)) => (name, Some(target)),
            None => (text, None),
        };
        let (name, protocol) = protocol(name)?;
        let (host, port) = host_and_port(name)?;
        let port = port.ok_or_else(|| {
            GrantError::new(format!(
                "'{shown}' has no port; write NAME:PORT, such as redis:6379"
            ))
        })?;
        let (target, target_port) = match target {
            None => (host.clone(), port),
            Some(target) => {
                let (target, target_port) = host_and_port(target)?;
                (target, target_port.unwrap_or(port))
            }
        };
        if let Host::Name(name) = &target
            && is_local_name(name)
        {
            return Err(GrantError::new(format!(
                "'{shown}': '{name}' is this host itself, which a guest reaches by its very address only; write \
                 {host}:{port}=127.0.0.1:{target_port}"
            )));
        }
        Ok(Self {
            host,
            port,
            protocol,
            target,
            target_port,
        })
    }
}

/// Whether a name means the host itself: RFC 6761.
fn is_local_name(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// Takes `/udp` or `/tcp` off the end of `text`.
pub(super) fn protocol(text: &str) -> Result<(&str, Protocol), GrantError> {
    match text.split_once('/') {
        None | Some((_, "tcp")) => Ok((text.strip_suffix("/tcp").unwrap_or(text), Protocol::Tcp)),
        Some((rest, "udp")) => Ok((rest, Protocol::Udp)),
        Some((_, other)) => Err(GrantError::new(format!(
            "'{}': '{}' is no protocol; write /udp or nothing",
            text.escape_debug(),
            other.escape_debug()
        ))),
    }
}

/// A port that can be connected to.
pub(super) fn port(text: &str) -> Result<u16, GrantError> {
    let port = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    port.and_then(|text| text.parse().ok())
        .filter(|port| *port != 0)
        .ok_or_else(|| {
            GrantError::new(format!(
                "'{}' is no port; ports are 1 to 65535",
                text.escape_debug()
            ))
        })
}

/// `HOST[:PORT]`, where an IPv6 address stands in brackets.
fn host_and_port(text: &str) -> Result<(Host, Option<u16>), GrantError> {
    let address = |address: IpAddr| Host::Address(address.to_canonical());
    if let Ok(both) = text.parse::<SocketAddr>()
        && both.port() != 0
    {
        return Ok((address(both.ip()), Some(both.port())));
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'))
        && let Ok(inner) = inner.parse::<IpAddr>()
    {
        return Ok((address(inner), None));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(GrantError::new(format!(
            "'{text}' has no brackets; write [{text}]:PORT"
        )));
    }
    let (host, given) = match text.rsplit_once(':') {
        Some((host, given)) => (host, Some(port(given)?)),
        None => (text, None),
    };
    match host.parse::<Ipv4Addr>() {
        Ok(host) => Ok((Host::Address(host.into()), given)),
        Err(_) => Ok((Host::Name(name(host)?), given)),
    }
}

/// A host's name: RFC 1123, and underscores, which services in containers have.
fn name(text: &str) -> Result<String, GrantError> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // The system takes `127.1` and `0x7f000001` for addresses.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    if name.len() <= 253 && name.split('.').all(is_label) && !is_number {
        Ok(name)
    } else {
        Err(GrantError::new(format!(
            "'{}' is neither a host's name nor an address",
            text.escape_debug()
        )))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::*;

    #[test]
    fn grants_are_read_and_shown() {
        for (text, shown) in [
            ("redis:6379", "redis:6379"),
            ("API.Example.com.:443", "api.example.com:443"),
            ("redis:6379=127.0.0.1", "redis:6379=127.0.0.1:6379"),
            ("redis:6379=[::1]:7000", "redis:6379=[::1]:7000"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("[::ffff:10.1.2.3]:80", "10.1.2.3:80"),
            ("time:123/udp", "time:123/udp"),
            ("time:123/udp=ntp.example:1123", "time:123/udp=ntp.example:1123"),
            ("a_b:1/tcp", "a_b:1"),
            ("localhost:1=127.0.0.1", "localhost:1=127.0.0.1:1"),
        ] {
            let grant: Grant = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(grant.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(grant));
        }
    }

    #[test]
    fn what_is_no_grant_is_refused_with_its_reason() {
        for (text, reason) in [
            ("redis", "has no port"),
            ("", "neither a host's name"),
            (":80", "neither a host's name"),
            ("redis:0", "is no port"),
            ("redis:65536", "is no port"),
            ("redis:+80", "is no port"),
            ("redis:80=", "neither a host's name"),
            ("redis:80/sctp", "is no protocol"),
            ("tcp://redis:80", "is a URL; write NAME:PORT"),
            ("redis:80=http://a:80", "is a URL; write NAME:PORT"),
            ("::1", "has no brackets"),
            ("127.1:80", "neither a host's name"),
            ("2130706433:80", "neither a host's name"),
            ("0x7f000001:80", "neither a host's name"),
            ("0X7F000001:80", "neither a host's name"),
            ("a..b:80", "neither a host's name"),
            ("-a:80", "neither a host's name"),
            ("a b:80", "neither a host's name"),
            ("redis:80=localhost", "by its very address only"),
            ("localhost:80", "write localhost:80=127.0.0.1:80"),
        ] {
            let error = text.parse::<Grant>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
