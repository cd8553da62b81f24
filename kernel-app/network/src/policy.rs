//! What a guest may reach, listen on and look up, before a packet of it leaves the machine.
//!
//! The relay at the other end of the wire asks the same of each packet, and it is the authority: whoever has taken this
//! machine over is not asked here. On a wire without one, this is all there is, so it is as strict.

use alloc::borrow::ToOwned as _;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use boot_protocol::network::inside::{self, Names};
use boot_protocol::network::{Host, Protocol, is_special};
use boot_protocol::run_spec::{Ipv4Source, Network, Wire};
use wasi_core::Errno;

/// What a guest may connect or send to.
#[derive(Debug)]
struct End {
    protocol: Protocol,
    /// As the guest knows it.
    known: SocketAddr,
    /// On the wire: with a relay the same.
    target: SocketAddr,
}

/// What a guest may do.
#[derive(Debug)]
pub(super) struct Policy {
    ends: Vec<End>,
    names: Names,
    /// Ports that it may listen on.
    ports: Vec<(u16, Protocol)>,
    inherit: bool,
    look_up: bool,
    has_relay: bool,
    gateway: Option<IpAddr>,
}

impl Policy {
    /// The policy of a description.
    ///
    /// # Errors
    /// What cannot be granted, in words.
    pub(super) fn new(network: &Network) -> Result<Self, String> {
        let names = inside::names(&network.grants).map_err(|error| alloc::format!("{error}"))?;
        let has_relay = network.wire == Wire::Relay;
        let mut ends = Vec::new();
        for grant in &network.grants {
            let addresses = match &grant.host {
                Host::Address(address) => [Some(*address), None],
                Host::Name(name) => names.get(name).map_or([None; 2], |(v4, v6)| {
                    [Some(IpAddr::V4(*v4)), has_relay.then_some(IpAddr::V6(*v6))]
                }),
            };
            for address in addresses.into_iter().flatten() {
                let known = SocketAddr::new(address, grant.port);
                let target = match &grant.target {
                    _ if has_relay => known,
                    Host::Address(address) => SocketAddr::new(*address, grant.target_port),
                    Host::Name(name) => {
                        return Err(alloc::format!(
                            "{grant}: nobody on this machine's network knows the name '{name}': give its address, as \
                             in {}:{}=192.0.2.1",
                            grant.host,
                            grant.port
                        ));
                    }
                };
                ends.push(End {
                    protocol: grant.protocol,
                    known,
                    target,
                });
            }
        }
        let listeners = network.listeners.iter().map(|at| (at.port(), Protocol::Tcp));
        Ok(Self {
            ends,
            names,
            ports: listeners.chain(network.published.iter().copied()).collect(),
            inherit: network.inherit,
            look_up: network.look_up,
            has_relay,
            gateway: match network.address {
                Ipv4Source::Static { gateway, .. } => gateway.map(IpAddr::V4),
                Ipv4Source::Dhcp => None,
            },
        })
    }

    /// What on the wire is meant by an address that the guest connects or sends to.
    ///
    /// # Errors
    /// ACCES: it was not granted.
    pub(super) fn destination(&self, protocol: Protocol, to: SocketAddr) -> Result<SocketAddr, Errno> {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        let mut ends = self.ends.iter();
        if let Some(end) = ends.find(|end| end.protocol == protocol && end.known == to) {
            return Ok(end.target);
        }
        // The network's own machines, and the host by whatever name, only by a grant.
        let address = to.ip();
        let is_near = inside::contains(address) || self.gateway == Some(address);
        match self.inherit && !is_near && !is_special(address) {
            true => Ok(to),
            false => Err(Errno::ACCES),
        }
    }

    /// What the guest calls `from`, which has sent a datagram.
    pub(super) fn origin(&self, protocol: Protocol, from: SocketAddr) -> SocketAddr {
        if self.has_relay {
            return from;
        }
        let mut ends = self.ends.iter();
        let end = ends.find(|end| end.protocol == protocol && end.target == from);
        end.map_or(from, |end| end.known)
    }

    /// Whether the guest may be reached at a port.
    pub(super) fn is_published(&self, port: u16, protocol: Protocol) -> bool {
        self.ports.contains(&(port, protocol))
    }

    /// Whether it may have a port, at which nobody reaches it who was not asked first.
    pub(super) fn may_have(&self, port: u16, protocol: Protocol) -> bool {
        self.inherit || self.is_published(port, protocol)
    }

    /// The addresses by which the guest knows a granted name.
    pub(super) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let name = name
            .strip_suffix('.')
            .unwrap_or(name)
            .to_owned()
            .to_ascii_lowercase();
        let (v4, v6) = self.names.get(&name)?;
        let v6 = self.has_relay.then_some(IpAddr::V6(*v6));
        Some([Some(IpAddr::V4(*v4)), v6].into_iter().flatten().collect())
    }

    /// Whether any name may be looked up.
    pub(super) fn looks_up(&self) -> bool {
        self.look_up
    }
}
