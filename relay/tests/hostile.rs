//! A machine that says anything: nothing of it leaves the host, and nothing grows.

mod guest;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use boot_protocol::network::inside::{GATEWAY, GUEST};
use guest::{LINK, Wire, memory, skip, start};
use test_frames::raw::{frame, segment, tcp4, udp4};
use test_frames::{attempts, connection, names};

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
            for frame in attempts(port, own_address()).into_iter().chain(names()) {
                say(&mut wire, &frame);
            }
        }
        settle(&mut wire);
        planted.check();
        granted.set_nonblocking(true).unwrap();
        assert!(granted.accept().is_err());
        // The same frame without a trick is a connection: the others were refused for what they are.
        say(&mut wire, &connection(2000));
        settle(&mut wire);
        granted.accept().unwrap();
        drop(wire);
        relay.join().unwrap().unwrap();
    }
    planted.check();
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
