//! Frames by their bytes, right or wrong as the test likes.

use std::net::{Ipv4Addr, Ipv6Addr};

use boot_protocol::network::inside::GATEWAY_LINK;

/// The guest's address on its link.
pub const LINK: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// A checksum, by the book.
#[must_use]
pub fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes: Vec<u8> = parts.concat();
    let mut sum: u64 = bytes
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u64::from(*high) << 8 | u64::from(*low),
            [high, ..] => u64::from(*high) << 8,
            [] => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// A frame: whose it is, for whom, what it carries, and that.
#[must_use]
pub fn frame(from: [u8; 6], to: [u8; 6], kind: u16, packet: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), packet].concat()
}

/// A packet with a right checksum.
#[must_use]
pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut header = [
        &[0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, protocol, 0, 0][..],
        &from.octets(),
        &to.octets(),
    ]
    .concat();
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum);
    [header, payload.to_vec()].concat()
}

/// A packet.
#[must_use]
pub fn ipv6(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [
        &[0x60, 0, 0, 0, length[0], length[1], protocol, 64][..],
        &from.octets(),
        &to.octets(),
        payload,
    ]
    .concat()
}

/// A segment or a datagram with its checksum.
#[must_use]
pub fn transport(from: &[u8], to: &[u8], protocol: u8, mut payload: Vec<u8>) -> Vec<u8> {
    let at = if protocol == 6 { 16 } else { 6 };
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let sum = checksum(&[from, to, &length, &[0, 0, 0, protocol], &payload]);
    payload[at..at + 2].copy_from_slice(&sum);
    payload
}

/// A segment of TCP, without its checksum.
#[must_use]
pub fn segment(ports: (u16, u16), sequence: u32, flags: u8, urgent: u16, data: &[u8]) -> Vec<u8> {
    let [a, b] = ports.0.to_be_bytes();
    let [c, d] = ports.1.to_be_bytes();
    let [u, v] = urgent.to_be_bytes();
    [
        &[a, b, c, d][..],
        &sequence.to_be_bytes(),
        &[0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, u, v],
        data,
    ]
    .concat()
}

/// A datagram, without its checksum.
#[must_use]
pub fn datagram(ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + data.len()).unwrap().to_be_bytes();
    [
        &ports.0.to_be_bytes()[..],
        &ports.1.to_be_bytes(),
        &length,
        &[0, 0],
        data,
    ]
    .concat()
}

/// The frame of a segment, right in all but what the arguments say.
#[must_use]
pub fn tcp4(from: Ipv4Addr, to: Ipv4Addr, segment: Vec<u8>) -> Vec<u8> {
    let segment = transport(&from.octets(), &to.octets(), 6, segment);
    frame(LINK, GATEWAY_LINK, 0x0800, &ipv4(from, to, 6, &segment))
}

/// The same over IPv6.
#[must_use]
pub fn tcp6(from: Ipv6Addr, to: Ipv6Addr, segment: Vec<u8>) -> Vec<u8> {
    let segment = transport(&from.octets(), &to.octets(), 6, segment);
    frame(LINK, GATEWAY_LINK, 0x86dd, &ipv6(from, to, 6, &segment))
}

/// The frame of a datagram of one byte.
#[must_use]
pub fn udp4(from: Ipv4Addr, to: Ipv4Addr, ports: (u16, u16)) -> Vec<u8> {
    let datagram = transport(&from.octets(), &to.octets(), 17, datagram(ports, b"x"));
    frame(LINK, GATEWAY_LINK, 0x0800, &ipv4(from, to, 17, &datagram))
}
