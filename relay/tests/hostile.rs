//! A machine that says anything: nothing of it leaves the host, and nothing grows.

mod guest;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boot_protocol::network::inside::{GATEWAY, GATEWAY_LINK, GATEWAY_V6, GUEST, GUEST_V6};
use guest::raw::{checksum, datagram, frame, ipv4, ipv6, segment, tcp4, tcp6, transport, udp4};
use guest::{LINK, Wire, memory, skip, start};

/// Sends `frame`, and takes what was answered until the wire has taken it.
fn say(wire: &mut Wire, frame: &[u8]) {
    wire.send(frame);
    while wire.next().is_some() || !wire.is_flushed() {}
}

/// Waits until the relay has read everything: it answers this question after all that was sent before.
fn settle(wire: &mut Wire) -> usize {
    let target = Ipv4Addr::new(10, 0, 2, 250);
    let question = [
        &[0, 1, 8, 0, 6, 4, 0, 1][..],
        &LINK,
        &GUEST.octets(),
        &[0; 6],
        &target.octets(),
    ]
    .concat();
    let question = frame(LINK, [0xff; 6], 0x0806, &question);
    wire.send(&question);
    let (mut others, mut waited) = (0, 0);
    loop {
        wire.flush();
        match wire.next() {
            Some(answer) if answer[12..14] == [8, 6] && answer[28..32] == target.octets() => return others,
            Some(_) => others += 1,
            None => {
                waited += 1;
                // The answer may have been lost among the others.
                if waited % 100 == 0 {
                    wire.send(&question);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Listeners of the host's that must see nothing.
struct Planted {
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
}

impl Planted {
    fn new() -> Self {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for any in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"] {
            // A host without IPv6 has less to lose.
            let Ok(listener) = TcpListener::bind(any) else {
                skip(&format!("{any}: this host has no such address"));
                continue;
            };
            listener.set_nonblocking(true).unwrap();
            let socket = UdpSocket::bind(listener.local_addr().unwrap()).unwrap();
            socket.set_nonblocking(true).unwrap();
            tcp.push(listener);
            udp.push(socket);
        }
        Self { tcp, udp }
    }

    fn ports(&self) -> Vec<u16> {
        self.tcp
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect()
    }

    fn check(&self) {
        for listener in &self.tcp {
            assert!(listener.accept().is_err(), "{listener:?}");
        }
        for socket in &self.udp {
            assert!(socket.recv(&mut [0; 8]).is_err(), "{socket:?}");
        }
    }
}

const SYN: u8 = 2;

#[test]
fn nothing_that_was_not_granted_leaves() {
    let _alone = alone();
    let planted = Planted::new();
    let granted = TcpListener::bind("127.0.0.1:0").unwrap();
    let grant = format!("granted:80={}", granted.local_addr().unwrap());
    for inherit in [false, true] {
        let (wire, relay, _) = start(&[&grant], Vec::new(), |setup| {
            let grants = [grant.parse().unwrap()];
            setup.policy = relay::Policy::new(&grants, inherit).unwrap();
        });
        let mut wire = Wire::new(wire);
        for port in planted.ports().into_iter().chain([22, 53, 80]) {
            scan(&mut wire, port);
        }
        settle(&mut wire);
        planted.check();
        granted.set_nonblocking(true).unwrap();
        assert!(granted.accept().is_err());
        // The same frame without a trick is a connection: the others were refused for what they are.
        let name = Ipv4Addr::new(10, 0, 2, 100);
        say(&mut wire, &tcp4(GUEST, name, segment((2000, 80), 1, SYN, 0, b"")));
        settle(&mut wire);
        granted.accept().unwrap();
        drop(wire);
        relay.join().unwrap().unwrap();
    }
    planted.check();
}

/// Tries to get to a port of the host's by every way there is.
fn scan(wire: &mut Wire, port: u16) {
    let local = Ipv4Addr::LOCALHOST;
    let own = own_address();
    let targets = [
        GATEWAY,
        local,
        own,
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(10, 0, 2, 3),
    ];
    let name = Ipv4Addr::new(10, 0, 2, 100);
    for to in targets.into_iter().chain([
        Ipv4Addr::new(127, 1, 2, 3),
        Ipv4Addr::new(169, 254, 169, 254),
        GUEST,
    ]) {
        say(wire, &tcp4(GUEST, to, segment((1000, port), 1, SYN, 0, b"")));
        say(
            wire,
            &tcp4(GUEST, to, segment((1001, port), 1, SYN | 0x20, 5, b"urgent")),
        );
        say(
            wire,
            &tcp4(GUEST, to, segment((1002, port), 1, 0x38, 3, b"urgent")),
        );
        say(wire, &udp4(GUEST, to, (1000, port)));
        // To a group on the link, and to nobody.
        for link in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2, 9, 9, 9, 9, 9]] {
            let mut frame = tcp4(GUEST, to, segment((1003, port), 1, SYN, 0, b""));
            frame[..6].copy_from_slice(&link);
            say(wire, &frame);
        }
    }
    // What is granted, but from another than the guest; and what looks like it but for a fragment or a bad checksum.
    for from in [
        local,
        GATEWAY,
        name,
        own,
        Ipv4Addr::new(10, 0, 2, 16),
        Ipv4Addr::UNSPECIFIED,
    ] {
        say(wire, &tcp4(from, name, segment((1000, 80), 1, SYN, 0, b"")));
        say(wire, &udp4(from, name, (1000, 80)));
    }
    let mut spoofed = tcp4(GUEST, name, segment((1000, 80), 1, SYN, 0, b""));
    spoofed[6..12].copy_from_slice(&[2, 9, 9, 9, 9, 9]);
    say(wire, &spoofed);
    for (at, value) in [(20, 0x20), (21, 1), (24, 0), (14, 0x4f), (14, 0x65)] {
        let mut odd = tcp4(GUEST, name, segment((1000, 80), 1, SYN, 0, b""));
        odd[at] = value;
        say(wire, &odd);
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
        say(wire, &tcp6(GUEST_V6, to, segment((1000, port), 1, SYN, 0, b"")));
        say(
            wire,
            &tcp6(
                "fe80::5".parse().unwrap(),
                to,
                segment((1000, port), 1, SYN, 0, b""),
            ),
        );
        let datagram = transport(&GUEST_V6.octets(), &to.octets(), 17, datagram((1000, port), b"x"));
        say(
            wire,
            &frame(LINK, GATEWAY_LINK, 0x86dd, &ipv6(GUEST_V6, to, 17, &datagram)),
        );
        // Behind an extension header.
        let inner = transport(
            &GUEST_V6.octets(),
            &to.octets(),
            6,
            segment((1, port), 1, SYN, 0, b""),
        );
        let extended = [&[6, 0, 1, 4, 0, 0, 0, 0][..], &inner].concat();
        say(
            wire,
            &frame(LINK, GATEWAY_LINK, 0x86dd, &ipv6(GUEST_V6, to, 0, &extended)),
        );
    }
    for to in [GATEWAY, local, own, name] {
        other_protocols(wire, to, port);
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
            say(wire, &frame(LINK, [0xff; 6], 0x0806, &spoofed));
        }
    }
}

/// Everything but plain TCP and UDP: none of it is passed on, whatever it says of a port.
fn other_protocols(wire: &mut Wire, to: Ipv4Addr, port: u16) {
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
            say(
                wire,
                &frame(LINK, GATEWAY_LINK, 0x0800, &ipv4(GUEST, to, protocol, payload)),
            );
        }
    }
    // Echo, redirect, and a report about a packet that nobody sent.
    for kind in [8, 5, 3] {
        let mut message = [&[kind, 1, 0, 0, 0, 0, 0, 0][..], &inner].concat();
        let sum = checksum(&[&message]);
        message[2..4].copy_from_slice(&sum);
        say(
            wire,
            &frame(LINK, GATEWAY_LINK, 0x0800, &ipv4(GUEST, to, 1, &message)),
        );
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
        say(wire, &frame(LINK, GATEWAY_LINK, 0x0800, &packet));
    }
    // Behind a tag of a virtual network, and as if the packet were of another kind.
    let tagged = [&[0, 1, 8, 0][..], &inner].concat();
    for (kind, packet) in [
        (0x8100, &tagged),
        (0x88a8, &tagged),
        (0x86dd, &inner),
        (0x8864, &inner),
    ] {
        say(wire, &frame(LINK, GATEWAY_LINK, kind, packet));
    }
    // Scans that begin no connection: nothing set, end, all set, acknowledgement, end of one that is not there.
    for flags in [0, 1, 0x29, 0x3f, 0x10, 0x11, 0x12, SYN | 1, SYN | 4] {
        say(
            wire,
            &tcp4(GUEST, to, segment((1005, port), 1, flags, 0, b"data")),
        );
    }
    // What is for everybody on a link: DHCP, names, services.
    for (group, ports) in [
        (Ipv4Addr::BROADCAST, (68, 67)),
        (Ipv4Addr::new(224, 0, 0, 251), (5353, 5353)),
        (Ipv4Addr::new(239, 255, 255, 250), (1900, 1900)),
        (Ipv4Addr::new(10, 0, 2, 255), (1000, port)),
        (Ipv4Addr::BROADCAST, (1000, port)),
    ] {
        say(wire, &udp4(GUEST, group, ports));
    }
}

/// An address of the host's, if it has any but its loopback.
fn own_address() -> Ipv4Addr {
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent.
    let found = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr());
    match found.map(|address| address.ip()) {
        Ok(std::net::IpAddr::V4(address)) => address,
        _ => {
            skip("the host's own address: it has none");
            Ipv4Addr::LOCALHOST
        }
    }
}

/// Tests that measure memory do so one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn floods_leave_nothing_behind() {
    let _alone = alone();
    let granted = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let grants = [
        format!("granted:80={}", granted.local_addr().unwrap()),
        format!("granted:80/udp={}", udp.local_addr().unwrap()),
    ];
    let grants: Vec<&str> = grants.iter().map(String::as_str).collect();
    let (wire, relay, _) = start(&grants, Vec::new(), |setup| {
        setup.connections = 64;
        setup.datagram_flows = 64;
    });
    let mut wire = Wire::new(wire);
    let name = Ipv4Addr::new(10, 0, 2, 100);
    let mut noise = blake3::Hasher::new().update(b"flood").finalize_xof();
    let mut flood = |wire: &mut Wire, count: u16| {
        for number in 1..=count {
            say(wire, &tcp4(GUEST, name, segment((number, 80), 1, SYN, 0, b"")));
            say(
                wire,
                &tcp4(GUEST, GATEWAY, segment((number, number), 1, SYN, 0, b"")),
            );
            say(
                wire,
                &tcp4(
                    GUEST,
                    name,
                    segment((number, 80), 9, 0x10, 0, b"no such connection"),
                ),
            );
            say(wire, &udp4(GUEST, name, (number, 80)));
            say(wire, &udp4(GUEST, GATEWAY, (number, number)));
            let mut random = vec![0; usize::from(number) % 1514];
            noise.fill(&mut random);
            say(wire, &random);
            // Something that looks like a packet for longer.
            let mut mutant = tcp4(
                GUEST,
                name,
                segment((number, 80), 1, SYN, 0, &random[..random.len().min(1000)]),
            );
            let at = usize::from(number) % 54;
            mutant[at] ^= 1 << (number % 8);
            say(wire, &mutant);
        }
        settle(wire);
    };
    flood(&mut wire, 4000);
    let before = memory();
    flood(&mut wire, 12_000);
    let grown = memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes");
    drop(wire);
    relay.join().unwrap().unwrap();
}

#[test]
fn a_wire_that_nobody_reads_costs_nothing_and_one_that_is_no_wire_ends() {
    let _alone = alone();
    let (wire, relay, _) = start(&[], Vec::new(), |_| {});
    // Answers pile up here, and are then lost.
    let refused = tcp4(GUEST, GATEWAY, segment((1, 2), 1, SYN, 0, b""));
    let framed = [&u32::try_from(refused.len()).unwrap().to_be_bytes()[..], &refused].concat();
    let mut wire = wire;
    for _ in 0..20_000 {
        wire.write_all(&framed).unwrap();
    }
    let before = memory();
    for _ in 0..50_000 {
        wire.write_all(&framed).unwrap();
    }
    assert!(memory().saturating_sub(before) < 1 << 20);
    wire.write_all(&[0xff; 64]).unwrap();
    let error = relay.join().unwrap().expect_err("no frame is so long");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let mut rest = Vec::new();
    wire.read_to_end(&mut rest).unwrap();

    let (wire, relay, _): (UnixStream, _, _) = start(&[], Vec::new(), |_| {});
    drop(wire);
    relay.join().unwrap().unwrap();
}
