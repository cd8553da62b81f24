//! The checksum of the Internet's protocols: RFC 1071.

use std::net::IpAddr;

use crate::packet::Ends;

/// The sum of a checksum. No more than 128 KiB are ever summed.
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<2>();
    let sum = words.iter().fold(0u32, |sum, word| {
        sum.wrapping_add(u16::from_be_bytes(*word).into())
    });
    sum.wrapping_add(rest.first().map_or(0, |last| u32::from(*last) << 8))
}

pub(crate) fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or_default()
}

pub(crate) fn sum_address(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    }
}

pub(crate) fn sum_ends(ends: Ends) -> u32 {
    [ends.from, ends.to]
        .iter()
        .map(|end| sum_address(end.ip()) + u32::from(end.port()))
        .sum()
}

/// The sum over the pseudo header and both parts of what it is about, of which the first has an even length.
pub(crate) fn sum_transport(ends: Ends, protocol: u8, header: &[u8], data: &[u8]) -> u32 {
    let length = u32::try_from(header.len() + data.len()).unwrap_or_default();
    sum_address(ends.from.ip())
        .wrapping_add(sum_address(ends.to.ip()))
        .wrapping_add(u32::from(protocol))
        .wrapping_add(u32::from(fold(length)))
        .wrapping_add(sum(header))
        .wrapping_add(sum(data))
}
