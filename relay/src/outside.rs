//! What TCP, UDP and the loop share: the wire, the poller, the policy, the resolver, the time.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use boot_protocol::network::inside::{self, GATEWAY, GATEWAY_V6, GUEST, GUEST_V6};
use boot_protocol::network::is_special;
use rustix::event::epoll::{self, EventData, EventFlags};

use crate::packet::{Ends, Link};
use crate::policy::Policy;
use crate::resolve::Resolver;
use crate::wire::Wire;

/// Who an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Wire,
    Resolver,
    /// A published port.
    Published(usize),
    /// A connection, by its place and generation.
    Tcp(usize, u16),
    /// Whom the guest sends datagrams.
    Udp(usize, u16),
    /// A question for a name.
    Dns(usize, u16),
}

impl Token {
    pub(crate) fn bits(self) -> u64 {
        let (kind, index, generation) = match self {
            Self::Wire => (0u64, 0, 0),
            Self::Resolver => (1, 0, 0),
            Self::Published(index) => (2, index, 0),
            Self::Tcp(index, generation) => (3, index, generation),
            Self::Udp(index, generation) => (4, index, generation),
            Self::Dns(index, generation) => (5, index, generation),
        };
        kind << 56 | u64::try_from(index).unwrap_or_default() << 16 | u64::from(generation)
    }

    pub(crate) fn from_bits(bits: u64) -> Option<Self> {
        let index = usize::try_from(bits >> 16 & 0xff_ffff_ffff).ok()?;
        let generation = u16::try_from(bits & 0xffff).ok()?;
        Some(match bits >> 56 {
            0 => Self::Wire,
            1 => Self::Resolver,
            2 => Self::Published(index),
            3 => Self::Tcp(index, generation),
            4 => Self::Udp(index, generation),
            5 => Self::Dns(index, generation),
            _ => return None,
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) wire: Wire,
    pub(crate) epoll: OwnedFd,
    pub(crate) policy: Policy,
    pub(crate) resolver: Option<Resolver>,
    pub(crate) guest: Link,
    pub(crate) ipv6: bool,
    /// In microseconds.
    pub(crate) now: u64,
}

impl Outside {
    pub(crate) fn watch(&self, source: impl AsFd, token: Token, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            source,
            EventData::new_u64(token.bits()),
            flags,
        )?)
    }

    /// Asks for a name's addresses. `false`: it cannot be asked for now.
    pub(crate) fn ask(&self, token: Token, name: &str) -> bool {
        self.resolver
            .as_ref()
            .is_some_and(|resolver| resolver.ask(token.bits(), name))
    }

    /// The ends of what a client of the host's begins with a port of the guest's, as the guest sees them: the client
    /// has its real address, unless the guest could not answer that.
    pub(crate) fn ends_for(&self, client: SocketAddr, port: u16) -> Ends {
        let address = client.ip().to_canonical();
        let is_strange = is_special(address) || inside::contains(address);
        let (guest, shown): (IpAddr, IpAddr) = match address {
            IpAddr::V6(_) if !self.ipv6 => (GUEST.into(), GATEWAY.into()),
            IpAddr::V4(_) if is_strange => (GUEST.into(), GATEWAY.into()),
            IpAddr::V6(_) if is_strange => (GUEST_V6.into(), GATEWAY_V6.into()),
            IpAddr::V4(_) => (GUEST.into(), address),
            IpAddr::V6(_) => (GUEST_V6.into(), address),
        };
        Ends {
            from: SocketAddr::new(guest, port),
            to: SocketAddr::new(shown, client.port()),
        }
    }

    /// The same ends with the router as the client, at the first port from the client's on that `is_free`.
    pub(crate) fn other_ends(ends: Ends, is_free: impl Fn(&Ends) -> bool) -> Option<Ends> {
        let gateway = if ends.from.is_ipv4() {
            GATEWAY.into()
        } else {
            GATEWAY_V6.into()
        };
        (0..256u16)
            .map(|step| Ends {
                from: ends.from,
                to: SocketAddr::new(gateway, ends.to.port().wrapping_add(step).max(1)),
            })
            .find(is_free)
    }
}
