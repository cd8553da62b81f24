//! The guest's network, as it is inside of the wire: addresses that exist nowhere else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
/// So many names may be granted.
pub(crate) const NAMES: u8 = 128;

/// The addresses of a name, by its number.
pub(crate) fn name(number: u8) -> Option<(Ipv4Addr, Ipv6Addr)> {
    if number >= NAMES {
        return None;
    }
    let last = FIRST.saturating_add(number);
    Some((
        Ipv4Addr::new(10, 0, 2, last),
        Ipv6Addr::new(0xfd00, 0xa, 0, 2, 0, 0, 1, last.into()),
    ))
}

/// Whether an address is of the guest's network.
pub(crate) fn contains(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => matches!(address.octets(), [10, 0, 2, _]),
        IpAddr::V6(address) => matches!(address.segments(), [0xfd00, 0xa, 0, 2, ..]),
    }
}

/// Whether an address is the guest's.
pub(crate) fn is_guest(address: IpAddr) -> bool {
    address == IpAddr::V4(GUEST) || address == IpAddr::V6(GUEST_V6)
}
