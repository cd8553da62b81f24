//! Addresses that are more than a machine's on the network: reached only by whom they are granted to by themselves.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of clouds by which a machine learns its secrets, or is managed, and that are in no range below.
const METADATA: [IpAddr; 6] = [
    // Alibaba.
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    // Azure.
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    // Oracle.
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    // Google.
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    // Oracle.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
    // Scaleway.
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
];

/// Whether an address is the host's own by its form, its link's, a group's, or a cloud's for metadata.
#[must_use]
pub fn is_special(address: IpAddr) -> bool {
    if METADATA.contains(&address) {
        return true;
    }
    match address {
        IpAddr::V4(address) => {
            // 0/8 is "this host", 240/4 and broadcast are nobody.
            matches!(address.octets(), [0 | 127 | 240..=255, ..])
                || address.is_link_local()
                || address.is_multicast()
        }
        IpAddr::V6(address) => {
            let segments = address.segments();
            address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                // Link-local, and site-local, which some systems still route.
                || matches!(segments, [0xfe80..=0xfeff, ..])
                // Amazon's services of a machine: metadata (::254), credentials of containers (::23); and Akamai's metadata.
                || matches!(segments, [0xfd00, 0xec2, ..] | [0xfd00, 0xa9fe, 0xa9fe, ..])
                // Translators of a network's own (RFC 8215): where in it the IPv4 address is, nobody else knows.
                || matches!(segments, [0x64, 0xff9b, 1, ..])
                || embedded(address).is_some_and(|inner| is_special(inner.into()))
        }
    }
}

/// The IPv4 address that a translator or a tunnel makes of an IPv6 one: mapped, compatible and translated addresses,
/// NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380) and ISATAP (RFC 5214).
#[must_use]
pub fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0 | 0xffff, 0 | 0xffff, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => (high, low),
        // The client's, with all bits the other way round.
        [0x2001, 0, .., high, low] => (!high, !low),
        _ => return None,
    };
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Some(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses() {
        for special in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
            "240.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:a9fe:a9fe::1",
            "::ffff:0:7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b:1::7f00:1",
            "64:ff9b:1:808:8:800::",
            "2001:0:4136:e378:8000:63bf:80ff:fffe",
            "2001:db8::5efe:7f00:1",
            "2001:db8::200:5efe:a9fe:a9fe",
            "64:ff9b::a83f:8110",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
        ] {
            assert!(is_special(special.parse::<IpAddr>().unwrap()), "{special}");
        }
        for ordinary in [
            "8.8.8.8",
            "10.1.2.3",
            "192.168.1.1",
            "2001:db8::1",
            "fd00::1",
            "64:ff9b::808:808",
            "2001:0:4136:e378:8000:63bf:f7f7:f7f7",
            "2002:808:808::1",
            "2001:db8::5efe:808:808",
        ] {
            assert!(!is_special(ordinary.parse::<IpAddr>().unwrap()), "{ordinary}");
        }
    }
}
