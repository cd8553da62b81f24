//! What is tried.

use std::net::{Ipv4Addr, Ipv6Addr};

use boot_protocol::network::inside::{DNS, GATEWAY, GATEWAY_LINK, GATEWAY_V6, GUEST, GUEST_V6};

use crate::raw::{LINK, checksum, datagram, frame, ipv4, ipv6, segment, tcp4, tcp6, transport, udp4};

const SYN: u8 = 2;

/// The address of the first name that was granted, inside.
const NAME: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);

/// The first segment of a connection to port 80 of the first name that was granted, as every guest may make it.
#[must_use]
pub fn connection(from: u16) -> Vec<u8> {
    tcp4(GUEST, NAME, segment((from, 80), 1, SYN, 0, b""))
}

/// First segments to each of the ports of an address.
pub fn scan(to: Ipv4Addr, ports: impl IntoIterator<Item = u16>) -> impl Iterator<Item = Vec<u8>> {
    let first = move |port| tcp4(GUEST, to, segment((1000, port), 1, SYN, 0, b""));
    ports.into_iter().map(first)
}

/// Questions for names that nobody has granted, of every kind, to every server.
#[must_use]
pub fn names() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for name in [
        "secret.example",
        "localhost",
        "other",
        "1.0.0.127.in-addr.arpa",
        "",
    ] {
        let labels = name.split('.').filter(|label| !label.is_empty());
        let labels = labels.flat_map(|label| u8::try_from(label.len()).into_iter().chain(label.bytes()));
        let labels: Vec<u8> = labels.chain([0]).collect();
        // A, PTR, TXT, AAAA, SRV, HTTPS, AXFR, ANY.
        for kind in [1, 12, 16, 28, 33, 65, 252, 255] {
            // A number, recursion wanted, one question, of the internet.
            let header = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            let question = [&header[..], &labels, &[0, kind, 0, 1]].concat();
            for server in [
                DNS,
                GATEWAY,
                NAME,
                Ipv4Addr::LOCALHOST,
                Ipv4Addr::new(192, 0, 2, 53),
            ] {
                let asked = datagram((1000, 53), &question);
                let asked = transport(&GUEST.octets(), &server.octets(), 17, asked);
                frames.push(frame(
                    LINK,
                    GATEWAY_LINK,
                    0x0800,
                    &ipv4(GUEST, server, 17, &asked),
                ));
                frames.push(tcp4(GUEST, server, segment((1001, 53), 1, SYN, 0, &question)));
            }
        }
    }
    frames
}

/// A packet in two pieces, in order, the other way round, and the second over the first; and its second piece alone.
fn fragments(frames: &mut Vec<Vec<u8>>, to: Ipv4Addr, protocol: u8, payload: &[u8]) {
    let (first, second) = payload.split_at(8);
    let piece = |at: u16, more: bool, payload: &[u8]| {
        let mut packet = ipv4(GUEST, to, protocol, payload);
        let more: u16 = if more { 0x2000 } else { 0 };
        let place = ((at / 8) | more).to_be_bytes();
        packet[4..8].copy_from_slice(&[7, 7, place[0], place[1]]);
        packet[10..12].fill(0);
        let sum = checksum(&[&packet[..20]]);
        packet[10..12].copy_from_slice(&sum);
        frame(LINK, GATEWAY_LINK, 0x0800, &packet)
    };
    let (begin, end) = (piece(0, true, first), piece(8, false, second));
    let over = piece(0, true, payload);
    frames.extend([&begin, &end, &end, &begin, &begin, &over, &end].map(Clone::clone));
}

/// Tries to get to a port of the host's by every way there is; `own` is an address of the host's. None of it is a right
/// way to anything, whatever was granted, but for what is granted to all.
#[must_use]
pub fn attempts(port: u16, own: Ipv4Addr) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let local = Ipv4Addr::LOCALHOST;
    let targets = [
        GATEWAY,
        local,
        own,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(10, 0, 2, 3),
    ];
    for to in targets.into_iter().chain([
        Ipv4Addr::new(127, 1, 2, 3),
        Ipv4Addr::new(169, 254, 169, 254),
        GUEST,
    ]) {
        frames.push(tcp4(GUEST, to, segment((1000, port), 1, SYN, 0, b"")));
        frames.push(tcp4(
            GUEST,
            to,
            segment((1001, port), 1, SYN | 0x20, 5, b"urgent"),
        ));
        frames.push(tcp4(GUEST, to, segment((1002, port), 1, 0x38, 3, b"urgent")));
        frames.push(udp4(GUEST, to, (1000, port)));
        // To a group on the link, and to nobody.
        for link in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2, 9, 9, 9, 9, 9]] {
            let mut frame = tcp4(GUEST, to, segment((1003, port), 1, SYN, 0, b""));
            frame[..6].copy_from_slice(&link);
            frames.push(frame);
        }
    }
    // What is granted, but from another than the guest; and what looks like it but for a fragment or a bad checksum.
    for from in [
        local,
        GATEWAY,
        NAME,
        own,
        Ipv4Addr::new(10, 0, 2, 16),
        Ipv4Addr::UNSPECIFIED,
    ] {
        frames.push(tcp4(from, NAME, segment((1000, 80), 1, SYN, 0, b"")));
        frames.push(udp4(from, NAME, (1000, 80)));
    }
    let mut spoofed = tcp4(GUEST, NAME, segment((1000, 80), 1, SYN, 0, b""));
    spoofed[6..12].copy_from_slice(&[2, 9, 9, 9, 9, 9]);
    frames.push(spoofed);
    for (at, value) in [(20, 0x20), (21, 1), (24, 0), (14, 0x4f), (14, 0x65)] {
        let mut odd = tcp4(GUEST, NAME, segment((1000, 80), 1, SYN, 0, b""));
        odd[at] = value;
        frames.push(odd);
    }
    for to in [
        GATEWAY_V6,
        Ipv6Addr::LOCALHOST,
        Ipv6Addr::UNSPECIFIED,
        local.to_ipv6_mapped(),
        GUEST_V6,
        "fe80::1".parse().unwrap(),
        "ff02::1".parse().unwrap(),
        "64:ff9b::7f00:1".parse().unwrap(),
        "64:ff9b:1::7f00:1".parse().unwrap(),
        "2002:7f00:1::1".parse().unwrap(),
        "::ffff:0:7f00:1".parse().unwrap(),
        "2001::80ff:fffe".parse().unwrap(),
        own.to_ipv6_mapped(),
    ] {
        frames.push(tcp6(GUEST_V6, to, segment((1000, port), 1, SYN, 0, b"")));
        frames.push(tcp6(
            "fe80::5".parse().unwrap(),
            to,
            segment((1000, port), 1, SYN, 0, b""),
        ));
        let datagram = transport(&GUEST_V6.octets(), &to.octets(), 17, datagram((1000, port), b"x"));
        frames.push(frame(
            LINK,
            GATEWAY_LINK,
            0x86dd,
            &ipv6(GUEST_V6, to, 17, &datagram),
        ));
        // Behind an extension header.
        let inner = transport(
            &GUEST_V6.octets(),
            &to.octets(),
            6,
            segment((1, port), 1, SYN, 0, b""),
        );
        let extended = [&[6, 0, 1, 4, 0, 0, 0, 0][..], &inner].concat();
        frames.push(frame(
            LINK,
            GATEWAY_LINK,
            0x86dd,
            &ipv6(GUEST_V6, to, 0, &extended),
        ));
    }
    for to in [GATEWAY, local, own, NAME] {
        other_protocols(&mut frames, to, port);
    }
    // Somebody else on the link, by ARP.
    for (who, asks) in [
        (GATEWAY, GATEWAY),
        (GUEST, GUEST),
        (Ipv4Addr::new(10, 0, 2, 9), GATEWAY),
    ] {
        for operation in [1, 2] {
            let spoofed = [
                &[0, 1, 8, 0, 6, 4, 0, operation][..],
                &[2, 9, 9, 9, 9, 9],
                &who.octets(),
                &[0xff; 6],
                &asks.octets(),
            ]
            .concat();
            frames.push(frame(LINK, [0xff; 6], 0x0806, &spoofed));
        }
    }
    frames
}

/// Everything but plain TCP and UDP: none of it is passed on, whatever it says of a port.
fn other_protocols(frames: &mut Vec<Vec<u8>>, to: Ipv4Addr, port: u16) {
    let inner_segment = transport(
        &GUEST.octets(),
        &to.octets(),
        6,
        segment((1000, port), 1, SYN, 0, b""),
    );
    let inner = ipv4(GUEST, to, 6, &inner_segment);
    // A packet in a packet, and what looks like TCP to who does not look at the protocol.
    for protocol in [0, 2, 4, 41, 47, 50, 132, 255] {
        for payload in [&inner, &inner_segment] {
            frames.push(frame(
                LINK,
                GATEWAY_LINK,
                0x0800,
                &ipv4(GUEST, to, protocol, payload),
            ));
        }
    }
    fragments(frames, to, 6, &inner_segment);
    let inner_datagram = transport(
        &GUEST.octets(),
        &to.octets(),
        17,
        datagram((1000, port), b"in pieces"),
    );
    fragments(frames, to, 17, &inner_datagram);
    // Echo, redirect, and a report about a packet that nobody sent.
    for kind in [8, 5, 3] {
        let mut message = [&[kind, 1, 0, 0, 0, 0, 0, 0][..], &inner].concat();
        let sum = checksum(&[&message]);
        message[2..4].copy_from_slice(&sum);
        frames.push(frame(LINK, GATEWAY_LINK, 0x0800, &ipv4(GUEST, to, 1, &message)));
    }
    // By way of the host: loose and strict source routes.
    for option in [131, 137] {
        let mut packet = ipv4(GUEST, GATEWAY, 6, &inner_segment);
        packet.splice(20..20, [&[option, 7, 4][..], &to.octets(), &[0]].concat());
        packet[0] = 0x47;
        let length = u16::try_from(packet.len()).unwrap().to_be_bytes();
        packet[2..4].copy_from_slice(&length);
        packet[10..12].fill(0);
        let sum = checksum(&[&packet[..28]]);
        packet[10..12].copy_from_slice(&sum);
        frames.push(frame(LINK, GATEWAY_LINK, 0x0800, &packet));
    }
    // Behind a tag of a virtual network, and as if the packet were of another kind.
    let tagged = [&[0, 1, 8, 0][..], &inner].concat();
    for (kind, packet) in [
        (0x8100, &tagged),
        (0x88a8, &tagged),
        (0x86dd, &inner),
        (0x8864, &inner),
    ] {
        frames.push(frame(LINK, GATEWAY_LINK, kind, packet));
    }
    // Scans that begin no connection: nothing set, end, all set, acknowledgement, end of one that is not there.
    for flags in [0, 1, 0x29, 0x3f, 0x10, 0x11, 0x12, SYN | 1, SYN | 4] {
        frames.push(tcp4(GUEST, to, segment((1005, port), 1, flags, 0, b"data")));
    }
    // What is for everybody on a link: DHCP, names, services.
    for (group, ports) in [
        (Ipv4Addr::BROADCAST, (68, 67)),
        (Ipv4Addr::new(224, 0, 0, 251), (5353, 5353)),
        (Ipv4Addr::new(239, 255, 255, 250), (1900, 1900)),
        (Ipv4Addr::new(10, 0, 2, 255), (1000, port)),
        (Ipv4Addr::BROADCAST, (1000, port)),
    ] {
        frames.push(udp4(GUEST, group, ports));
    }
}
