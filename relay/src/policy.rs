//! What leaves the host: the only place that says yes.
//!
//! A guest's packet names an address and a port. [`Policy::destination`] says what of the host's network is meant, if
//! anything; [`permits`] is asked once more for each address that was not granted by itself, right before it is
//! connected to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use boot_protocol::network::inside::{self, Names};
use boot_protocol::network::{Grant, GrantError, Host, Protocol, embedded, is_special};

/// What a guest may reach.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    by_address: HashMap<(Protocol, IpAddr, u16), Destination>,
    names: Names,
    inherit: bool,
    lookup: bool,
}

/// What a packet to a granted address means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// Granted by its very address, whatever that is.
    pub(crate) exact: bool,
}

impl Policy {
    /// A policy. `inherit`: besides `grants`, all of the host's network but [special](is_special) addresses and the
    /// host itself.
    ///
    /// # Errors
    /// More names than there is room for, or two grants that mean different things by one name.
    pub fn new(grants: &[Grant], inherit: bool) -> Result<Self, GrantError> {
        let names = inside::names(grants)?;
        let mut by_address = HashMap::new();
        for grant in grants {
            let addresses: Vec<IpAddr> = match &grant.host {
                Host::Address(address) => vec![*address],
                Host::Name(name) => names
                    .get(name)
                    .map(|(v4, v6)| vec![(*v4).into(), (*v6).into()])
                    .unwrap_or_default(),
            };
            let destination = Destination {
                host: grant.target.clone(),
                port: grant.target_port,
                exact: matches!(grant.target, Host::Address(_)),
            };
            for address in addresses {
                let key = (grant.protocol, address, grant.port);
                by_address.insert(key, destination.clone());
            }
        }
        Ok(Self {
            by_address,
            names,
            inherit,
            lookup: false,
        })
    }

    /// The names, with the addresses by which the guest knows them.
    pub fn names(&self) -> impl Iterator<Item = (&str, Ipv4Addr, Ipv6Addr)> {
        self.names.iter().map(|(name, (v4, v6))| (name, v4, v6))
    }

    /// The same, and the guest may ask for the addresses of names that were not granted (`allow-ip-name-lookup`).
    #[must_use]
    pub const fn allow_lookup(mut self) -> Self {
        self.lookup = true;
        self
    }

    /// Whether the guest may ask for any name.
    pub(crate) const fn looks_up(&self) -> bool {
        self.lookup
    }

    /// The addresses by which the guest knows a granted name.
    pub(crate) fn addresses(&self, name: &str) -> Option<(Ipv4Addr, Ipv6Addr)> {
        self.names.get(name).copied()
    }

    /// Whether the host's resolver is needed.
    pub(crate) fn has_names(&self) -> bool {
        if self.lookup {
            return true;
        }
        let is_name = |destination: &Destination| matches!(destination.host, Host::Name(_));
        self.by_address.values().any(is_name)
    }

    /// What a packet to `to` means; `None`: nothing, it was not granted.
    pub(crate) fn destination(&self, protocol: Protocol, to: SocketAddr) -> Option<Destination> {
        let address = to.ip().to_canonical();
        if let Some(destination) = self.by_address.get(&(protocol, address, to.port())) {
            return Some(destination.clone());
        }
        let destination = Destination {
            host: Host::Address(address),
            port: to.port(),
            exact: false,
        };
        (self.inherit && to.port() != 0 && !inside::contains(address) && permits(address))
            .then_some(destination)
    }

    /// The port of what a packet to `to` means, if that is the host with this name.
    pub(crate) fn port_of(&self, protocol: Protocol, to: SocketAddr, name: &str) -> Option<u16> {
        let destination = self.destination(protocol, to)?;
        matches!(destination.host, Host::Name(host) if host == name).then_some(destination.port)
    }
}

/// Whether an address may be reached that was not granted by itself: through a name, or as part of all. It is neither
/// [special](is_special) nor, at this moment, this host's own.
#[must_use]
pub fn permits(address: IpAddr) -> bool {
    let address = address.to_canonical();
    // A translator would bring it back.
    let inner = match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => embedded(address),
    };
    !is_special(address) && !is_own(address) && !inner.is_some_and(|inner| is_own(inner.into()))
}

/// Whether an address is one of this host's interfaces', at this moment: only such can be bound to. Where the system
/// lets anybody bind to anything (`ip_nonlocal_bind`), every address is taken for the host's.
fn is_own(address: IpAddr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => true,
        // Out of descriptors, say: then nobody knows.
        Err(error) => !matches!(
            rustix::io::Errno::from_io_error(&error),
            Some(rustix::io::Errno::ADDRNOTAVAIL | rustix::io::Errno::AFNOSUPPORT)
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn policy(grants: &[&str], inherit: bool) -> Policy {
        let grants: Vec<Grant> = grants.iter().map(|grant| grant.parse().unwrap()).collect();
        Policy::new(&grants, inherit).unwrap()
    }

    fn reached(policy: &Policy, to: &str) -> Option<String> {
        policy
            .destination(Protocol::Tcp, to.parse().unwrap())
            .map(|found| format!("{}:{}", found.host, found.port))
    }

    #[test]
    fn nobody_reaches_the_host_through_a_name() {
        for special in [
            "127.0.0.1",
            "::1",
            "169.254.169.254",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
        ] {
            assert!(!permits(special.parse().unwrap()), "{special}");
        }
        // Nothing is sent.
        let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
        let own = probe
            .connect("192.0.2.1:9")
            .and_then(|()| probe.local_addr())
            .map(|own| own.ip());
        let Ok(IpAddr::V4(own)) = own else {
            // Past the test harness, which keeps what a test that passes has printed.
            let line = b"SKIPPED: the host's own address: it has none\n";
            std::io::stdout().write_all(line).unwrap();
            return;
        };
        assert!(!permits(own.into()));
        let [a, b, c, d] = own.octets().map(u16::from);
        let (high, low) = (a << 8 | b, c << 8 | d);
        for translated in [
            [0x64, 0xff9b, 0, 0, 0, 0, high, low],
            [0x2002, high, low, 0, 0, 0, 0, 1],
        ] {
            assert!(!permits(IpAddr::from(translated)), "{translated:x?}");
        }
    }

    #[test]
    fn only_what_is_granted_means_something() {
        let some = policy(
            &[
                "redis:6379=127.0.0.1:7000",
                "api.example:443",
                "redis:80",
                "192.0.2.9:25",
            ],
            false,
        );
        for (to, meaning) in [
            ("10.0.2.100:6379", Some("127.0.0.1:7000")),
            ("10.0.2.100:80", Some("redis:80")),
            ("10.0.2.101:443", Some("api.example:443")),
            ("[fd00:a:0:2::1:65]:443", Some("api.example:443")),
            ("[::ffff:192.0.2.9]:25", Some("192.0.2.9:25")),
            ("192.0.2.9:25", Some("192.0.2.9:25")),
            ("192.0.2.9:26", None),
            ("10.0.2.100:443", None),
            ("10.0.2.102:443", None),
            ("10.0.2.2:6379", None),
            ("127.0.0.1:7000", None),
            ("8.8.8.8:53", None),
        ] {
            assert_eq!(reached(&some, to).as_deref(), meaning, "{to}");
        }
        assert_eq!(
            some.destination(Protocol::Udp, "10.0.2.100:80".parse().unwrap()),
            None
        );
    }

    #[test]
    fn all_but_what_is_special() {
        let all = policy(&["127.0.0.1:7000"], true);
        for (to, meaning) in [
            ("192.0.2.9:25", Some("192.0.2.9:25")),
            ("127.0.0.1:7000", Some("127.0.0.1:7000")),
            ("127.0.0.1:7001", None),
            ("169.254.169.254:80", None),
            ("10.0.2.2:22", None),
        ] {
            assert_eq!(reached(&all, to).as_deref(), meaning, "{to}");
        }
    }

    #[test]
    fn names_keep_clear_of_addresses() {
        let some = policy(&["10.0.2.100:1", "a:1"], false);
        assert_eq!(reached(&some, "10.0.2.100:1").as_deref(), Some("10.0.2.100:1"));
        assert_eq!(reached(&some, "10.0.2.101:1").as_deref(), Some("a:1"));
    }
}
