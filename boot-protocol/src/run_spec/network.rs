//! The guest's network in the description of a run.
//!
//! Layer: shared vocabulary and wire format. The records, with all others: `wire.rs`. What people write of it, and the
//! addresses inside: [`crate::network`].

use alloc::string::ToString as _;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::wire::{GRANT, LISTENER, NETWORK, PUBLISHED, record};
use super::{Record, SpecError};
use crate::network::{Grant, Protocol, inside};

/// Most preopened listeners of a run.
pub const LISTENERS: usize = 32;

/// Most published ports of a run, besides those of listeners.
pub const PUBLISHED_PORTS: usize = 1024;

/// What a guest has of a network. A run without has no network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Where the machine's IPv4 address comes from.
    pub address: Ipv4Source,
    /// Who is at the other end.
    pub wire: Wire,
    /// What the guest may connect to.
    pub grants: Vec<Grant>,
    /// Listeners that are open when the guest starts: descriptors behind those of the directories, in order. Each port
    /// once.
    pub listeners: Vec<SocketAddr>,
    /// Ports of the guest's that are reachable, and that it may listen on itself. Those of the listeners are, too.
    pub published: Vec<(u16, Protocol)>,
    /// Whether the guest may connect to what was not granted by name, as wasmtime's `-S inherit-network` lets it.
    pub inherit: bool,
    /// Whether it may look up any name, as with wasmtime's `-S allow-ip-name-lookup`.
    pub look_up: bool,
}

/// Where a machine's IPv4 address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Source {
    /// From here.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// The length of the network's prefix.
        prefix: u8,
        /// The router, if there is one.
        gateway: Option<Ipv4Addr>,
    },
    /// From the network, by DHCP.
    Dhcp,
}

impl Default for Ipv4Source {
    /// The guest's [inside].
    fn default() -> Self {
        Self::Static {
            address: inside::GUEST,
            prefix: inside::PREFIX,
            gateway: Some(inside::GATEWAY),
        }
    }
}

/// Who is at the other end of the guest's network device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// The launcher's relay, which knows the grants and what is meant by them.
    #[default]
    Relay,
    /// Something that does not, such as slirp or a tap: the application itself connects to the targets, which have to
    /// be addresses.
    Direct,
}

impl fmt::Display for Ipv4Source {
    /// As the kernel command line's `--ip` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp => f.write_str("dhcp"),
            Self::Static {
                address,
                prefix,
                gateway,
            } => {
                write!(f, "{address}/{prefix}")?;
                gateway.map_or(Ok(()), |gateway| write!(f, ",{gateway}"))
            }
        }
    }
}

impl Wire {
    /// Its name, as the kernel command line's `--wire` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Direct => "direct",
        }
    }
}

impl Network {
    /// Whether the guest may listen on a port.
    #[must_use]
    pub fn may_listen(&self, port: u16, protocol: Protocol) -> bool {
        let listener = |listener: &SocketAddr| listener.port() == port;
        self.published.contains(&(port, protocol))
            || protocol == Protocol::Tcp && self.listeners.iter().any(listener)
    }

    /// Appends the records.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let Self {
            address,
            wire,
            grants,
            listeners,
            published,
            inherit,
            look_up,
        } = self;
        let bits = *wire as u8 | u8::from(*inherit) << 1 | u8::from(*look_up) << 2;
        match address {
            Ipv4Source::Dhcp => record(out, NETWORK, &[&[bits]]),
            Ipv4Source::Static {
                address,
                prefix,
                gateway,
            } => {
                let gateway = gateway.map(|gateway| gateway.octets());
                let gateway = gateway.as_ref().map_or(&[][..], |octets| octets.as_slice());
                record(out, NETWORK, &[&[bits], &address.octets(), &[*prefix], gateway]);
            }
        }
        for grant in grants {
            record(out, GRANT, &[grant.to_string().as_bytes()]);
        }
        for listener in listeners {
            let port = listener.port().to_le_bytes();
            match listener.ip() {
                IpAddr::V4(address) => record(out, LISTENER, &[&port, &address.octets()]),
                IpAddr::V6(address) => record(out, LISTENER, &[&port, &address.octets()]),
            }
        }
        for (port, protocol) in published {
            record(out, PUBLISHED, &[&[*protocol as u8], &port.to_le_bytes()]);
        }
    }

    /// Checks what the types do not.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        if let Ipv4Source::Static {
            address,
            prefix,
            gateway,
        } = self.address
        {
            if prefix > 32 {
                return Err(SpecError::Value(Record::Network, "a prefix of at most 32 bits"));
            }
            let is_host = |address: Ipv4Addr| {
                !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
            };
            if !is_host(address) || !gateway.is_none_or(is_host) {
                return Err(SpecError::Value(
                    Record::Network,
                    "addresses that a host can have",
                ));
            }
        }
        for grant in &self.grants {
            check_grant(grant)?;
        }
        inside::names(&self.grants).map_err(SpecError::Grants)?;
        if self.listeners.len() > LISTENERS {
            return Err(SpecError::Value(Record::Listener, "at most 32 of them"));
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            let port = listener.port();
            let mut before = self.listeners.iter().take(index);
            if port == 0 {
                return Err(SpecError::Value(Record::Listener, "a port from 1 to 65535"));
            }
            // What is not in the record would not arrive.
            if matches!(listener, SocketAddr::V6(listener) if listener.scope_id() != 0 || listener.flowinfo() != 0)
            {
                return Err(SpecError::Value(Record::Listener, "an address without a scope"));
            }
            if before.any(|other| other.port() == port) {
                return Err(SpecError::DuplicatePort(port, Protocol::Tcp));
            }
        }
        if self.published.len() > PUBLISHED_PORTS {
            return Err(SpecError::Value(Record::Published, "at most 1024 of them"));
        }
        for (index, published @ (port, protocol)) in self.published.iter().enumerate() {
            if *port == 0 {
                return Err(SpecError::Value(Record::Published, "a port from 1 to 65535"));
            }
            if self.published.iter().take(index).any(|other| other == published) {
                return Err(SpecError::DuplicatePort(*port, *protocol));
            }
        }
        Ok(())
    }
}

/// A grant that is not what people write would not be read back.
fn check_grant(grant: &Grant) -> Result<(), SpecError> {
    match grant.to_string().parse::<Grant>() {
        Ok(read) if read == *grant => Ok(()),
        _ => Err(SpecError::Value(Record::Grant, NAME_AND_PORT)),
    }
}

const NAME_AND_PORT: &str = "NAME:PORT[/udp][=TARGET], as this program writes it";

/// The records so far.
#[derive(Default)]
pub(super) struct Parts {
    network: Option<Network>,
    grants: Vec<Grant>,
    listeners: Vec<SocketAddr>,
    published: Vec<(u16, Protocol)>,
}

impl Parts {
    pub(super) fn take(&mut self, kind: u16, value: &[u8]) -> Result<(), SpecError> {
        match kind {
            NETWORK => match self.network.replace(network(value)?) {
                None => Ok(()),
                Some(_) => Err(SpecError::Duplicate(Record::Network)),
            },
            GRANT => {
                let text = core::str::from_utf8(value).map_err(|_| SpecError::NotUtf8(Record::Grant))?;
                let grant = text
                    .parse::<Grant>()
                    .ok()
                    .filter(|grant| grant.to_string() == text);
                self.grants
                    .push(grant.ok_or(SpecError::Value(Record::Grant, NAME_AND_PORT))?);
                Ok(())
            }
            LISTENER => {
                self.listeners.push(listener(value)?);
                Ok(())
            }
            PUBLISHED => {
                self.published.push(published(value)?);
                Ok(())
            }
            unknown => Err(SpecError::UnknownRecord(unknown)),
        }
    }

    pub(super) fn finish(self) -> Result<Option<Network>, SpecError> {
        let Self {
            network,
            grants,
            listeners,
            published,
        } = self;
        match network {
            Some(network) => Ok(Some(Network {
                grants,
                listeners,
                published,
                ..network
            })),
            None if grants.is_empty() && listeners.is_empty() && published.is_empty() => Ok(None),
            None => Err(SpecError::Missing(Record::Network)),
        }
    }
}

fn network(value: &[u8]) -> Result<Network, SpecError> {
    let (address, bits) = match *value {
        [bits] => (Ipv4Source::Dhcp, bits),
        [bits, a, b, c, d, prefix] => (fixed([a, b, c, d], prefix, None), bits),
        [bits, a, b, c, d, prefix, e, f, g, h] => (fixed([a, b, c, d], prefix, Some([e, f, g, h])), bits),
        _ => return Err(SpecError::Value(Record::Network, "1, 6 or 10 bytes")),
    };
    if bits > 7 {
        return Err(SpecError::Value(Record::Network, "a first byte below 8"));
    }
    Ok(Network {
        address,
        wire: match bits & 1 {
            0 => Wire::Relay,
            _ => Wire::Direct,
        },
        inherit: bits & 2 != 0,
        look_up: bits & 4 != 0,
        ..Network::default()
    })
}

fn fixed(address: [u8; 4], prefix: u8, gateway: Option<[u8; 4]>) -> Ipv4Source {
    Ipv4Source::Static {
        address: address.into(),
        prefix,
        gateway: gateway.map(Ipv4Addr::from),
    }
}

fn listener(value: &[u8]) -> Result<SocketAddr, SpecError> {
    let (port, address) = value.split_first_chunk().ok_or(WRONG_LISTENER)?;
    let address = match (<[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address)) {
        (Ok(octets), _) => IpAddr::from(octets),
        (_, Ok(octets)) => IpAddr::from(octets),
        _ => return Err(WRONG_LISTENER),
    };
    Ok(SocketAddr::new(address, u16::from_le_bytes(*port)))
}

const WRONG_LISTENER: SpecError =
    SpecError::Value(Record::Listener, "a port and an address of 4 or 16 bytes");

fn published(value: &[u8]) -> Result<(u16, Protocol), SpecError> {
    let (protocol, port) = match *value {
        [0, a, b] => (Protocol::Tcp, [a, b]),
        [1, a, b] => (Protocol::Udp, [a, b]),
        _ => {
            return Err(SpecError::Value(
                Record::Published,
                "0 or 1, and a port of 2 bytes",
            ));
        }
    };
    Ok((u16::from_le_bytes(port), protocol))
}

#[cfg(test)]
#[path = "network_tests.rs"]
pub(super) mod tests;
