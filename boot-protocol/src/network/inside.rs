//! The guest's network, as it is inside of the wire: addresses that exist nowhere else.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::grant::{Grant, GrantError, Host};

/// The guest's IPv4 address. The network is slirp's, so that a guest is configured alike on either.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// The router's IPv4 address.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// The length of the IPv4 network's prefix.
pub const PREFIX: u8 = 24;
/// Who answers questions for names.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// The guest's IPv6 address.
pub const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xa, 0, 2, 0, 0, 0, 0x15);
/// The router's IPv6 address.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xa, 0, 2, 0, 0, 0, 2);
/// Who answers questions for names, by IPv6.
pub const DNS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xa, 0, 2, 0, 0, 0, 3);
/// The length of the IPv6 network's prefix.
pub const PREFIX_V6: u8 = 64;
/// The router's address on the link.
pub const GATEWAY_LINK: [u8; 6] = [0x52, 0x55, 0x0a, 0x00, 0x02, 0x02];

/// The last byte of the first name's IPv4 address.
const FIRST: u8 = 100;
/// So many grants a guest may have.
pub const GRANTS: usize = 1024;
/// So many names may be granted.
pub const NAMES: u8 = 128;

/// Granted names with the addresses by which the guest knows them, in the names' order. They are few; a map's code is
/// 3 KB of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<(String, (Ipv4Addr, Ipv6Addr))>);

impl Names {
    /// The addresses of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&(Ipv4Addr, Ipv6Addr)> {
        let at = self.find(name).ok()?;
        self.0.get(at).map(|(_, addresses)| addresses)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each with its addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&str, (Ipv4Addr, Ipv6Addr))> {
        self.0.iter().map(|(name, addresses)| (name.as_str(), *addresses))
    }

    /// The place of a name, or where it would be.
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.as_str().cmp(name))
    }
}

/// Gives the names of `grants` their addresses, in order, none of which is granted by itself.
///
/// # Errors
/// More grants or names than there is room for, or two grants that mean different things by one name.
pub fn names(grants: &[Grant]) -> Result<Names, GrantError> {
    if let Some(grant) = grants.get(GRANTS) {
        return Err(GrantError::new(format!(
            "'{grant}' is one grant too many; the most is {GRANTS}"
        )));
    }
    let mut names = Names::default();
    let is_taken = |address: IpAddr| grants.iter().any(|grant| grant.host == Host::Address(address));
    let mut free = (0..NAMES)
        .map(numbered)
        .filter(|(v4, v6)| !is_taken((*v4).into()) && !is_taken((*v6).into()));
    for (index, grant) in grants.iter().enumerate() {
        let end = (grant.port, grant.protocol, &grant.host);
        let earlier = grants
            .iter()
            .take(index)
            .find(|earlier| (earlier.port, earlier.protocol, &earlier.host) == end);
        if earlier.is_some_and(|earlier| {
            (earlier.target_port, &earlier.target) != (grant.target_port, &grant.target)
        }) {
            return Err(GrantError::new(format!(
                "'{grant}' contradicts an earlier grant of {}:{}",
                grant.host, grant.port
            )));
        }
        if let Host::Name(name) = &grant.host
            && let Err(place) = names.find(name)
        {
            let addresses = free.next().ok_or_else(|| {
                GrantError::new(format!("'{grant}' is one name too many; the most is {NAMES}"))
            })?;
            names.0.insert(place, (name.clone(), addresses));
        }
    }
    Ok(names)
}

/// The addresses of a name, by its number.
fn numbered(number: u8) -> (Ipv4Addr, Ipv6Addr) {
    let last = FIRST.saturating_add(number);
    (
        Ipv4Addr::new(10, 0, 2, last),
        Ipv6Addr::new(0xfd00, 0xa, 0, 2, 0, 0, 1, last.into()),
    )
}

/// Whether an address is of the guest's network.
#[must_use]
pub const fn contains(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets(), [10, 0, 2, _]),
        IpAddr::V6(address) => matches!(address.segments(), [0xfd00, 0xa, 0, 2, ..]),
    }
}

/// Whether an address is the guest's.
#[must_use]
pub fn is_guest(address: IpAddr) -> bool {
    address == IpAddr::V4(GUEST) || address == IpAddr::V6(GUEST_V6)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    use super::*;

    fn grants<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Grant> {
        texts.into_iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn names_get_addresses_in_order_and_keep_clear_of_granted_ones() {
        let known = names(&grants([
            "b:1",
            "a:1=c",
            "b:2/udp",
            "[fd00:a:0:2::1:65]:1",
            "10.0.2.103:1",
            "c:9",
        ]));
        let known = known.unwrap();
        let expected =
            [("a", 102), ("b", 100), ("c", 104)].map(|(name, last)| (name, numbered(last - FIRST)));
        assert_eq!(known.iter().collect::<Vec<_>>(), expected);
        assert_eq!(known.get("b"), Some(&numbered(0)));
        assert_eq!((known.get("bb"), known.len(), known.is_empty()), (None, 3, false));
        let (v4, v6) = numbered(0);
        assert_eq!(
            (v4.to_string(), v6.to_string()),
            ("10.0.2.100".into(), "fd00:a:0:2::1:64".into())
        );
        assert_eq!(numbered(NAMES - 1).0, Ipv4Addr::new(10, 0, 2, 227));
    }

    #[test]
    fn names_are_bounded_and_mean_one_thing() {
        let many: Vec<Grant> = (0..129).map(|n| format!("n{n}:1").parse().unwrap()).collect();
        assert_eq!(names(&many[..128]).unwrap().len(), 128);
        let error = names(&many).unwrap_err().to_string();
        assert!(error.contains("too many"), "{error}");
        let many: Vec<Grant> = (1..=1025).map(|n| format!("a:{n}").parse().unwrap()).collect();
        assert!(names(&many[..GRANTS]).is_ok());
        let error = names(&many).unwrap_err().to_string();
        assert_eq!(error, "'a:1025' is one grant too many; the most is 1024");
        for two in [
            ["a:1=b:1", "a:1=c:1"],
            ["a:1=b:1", "a:1=b:2"],
            ["192.0.2.1:1", "192.0.2.1:1=a"],
        ] {
            let error = names(&grants(two)).unwrap_err().to_string();
            assert!(error.contains("contradicts"), "{error}");
        }
        assert!(names(&grants(["a:1=b:1", "a:1=b:1", "a:1/udp", "a:2=c:1"])).is_ok());
    }

    #[test]
    fn what_is_inside() {
        for address in [
            IpAddr::V4(GUEST),
            GATEWAY.into(),
            DNS.into(),
            GUEST_V6.into(),
            GATEWAY_V6.into(),
            DNS_V6.into(),
        ] {
            assert!(contains(address), "{address}");
            assert_eq!(
                is_guest(address),
                address == GUEST || address == GUEST_V6,
                "{address}"
            );
        }
        for outside in ["10.0.3.1", "127.0.0.1", "fd00:a:0:3::1", "::ffff:10.0.2.15"] {
            assert!(!contains(outside.parse().unwrap()), "{outside}");
        }
    }
}
