//! Published ports: clients of the host's, and the guest that serves them or does not.

mod guest;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use boot_protocol::network::inside::{GATEWAY, GATEWAY_V6};
use guest::{Guest, LINK, Wire, broken, join, publish, server, skip, start};
use net_stack::{Error, ListenerId, StreamId};

/// A client that asks, ends its side, and reads the answer.
fn ask(address: SocketAddr, question: &[u8]) -> (Vec<u8>, SocketAddr) {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(question).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    (answer, client.local_addr().unwrap())
}

fn listen(guest: &mut Guest) -> ListenerId {
    guest.stack.listen("[::]:8080".parse().unwrap(), 16).unwrap()
}

fn accept(guest: &mut Guest, listener: ListenerId) -> (StreamId, SocketAddr) {
    guest.until(|stack| stack.accept(listener).ok())
}

/// Serves one client: its question is answered with itself. Tells whom the guest takes for it.
fn echo(guest: &mut Guest, listener: ListenerId) -> SocketAddr {
    let (stream, peer) = accept(guest, listener);
    let question = guest.receive_all(stream).unwrap();
    guest.send(stream, &question).unwrap();
    guest.stack.close_stream(stream).unwrap();
    peer
}

/// Whether this host has IPv6 at all.
fn has_ipv6() -> bool {
    let found = UdpSocket::bind("[::1]:0").is_ok();
    if !found {
        skip("::1: this host has no IPv6");
    }
    found
}

/// An address of the host's, if it has any but its loopback.
fn own_address() -> Option<Ipv4Addr> {
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent.
    let found = probe.connect("192.0.2.1:9").and_then(|()| probe.local_addr());
    match found.map(|address| address.ip()) {
        Ok(IpAddr::V4(address)) => Some(address),
        _ => {
            skip("the host's own address: it has none");
            None
        }
    }
}

#[test]
fn a_client_is_served_and_known_by_its_address() {
    let own = own_address().map(|address| ("0.0.0.0:0:8080", address.into(), IpAddr::from(address)));
    let six = has_ipv6().then_some([
        ("[::1]:0:8080", "::1", GATEWAY_V6.into()),
        // One socket for both protocols: who comes by IPv4 is known by that.
        ("[::]:0:8080", "127.0.0.1", GATEWAY.into()),
        ("[::]:0:8080", "::1", GATEWAY_V6.into()),
    ]);
    let six = six.into_iter().flatten();
    // The guest cannot answer 127.0.0.1, so that is the router to it.
    let four = [("0:8080", "127.0.0.1", GATEWAY.into())].into_iter();
    let parsed = |(text, to, peer): (_, &str, IpAddr)| (text, to.parse::<IpAddr>().unwrap(), peer);
    for (text, to, expected) in four.chain(six).map(parsed).chain(own) {
        let (published, address) = publish(text);
        let mut guest = Guest::with(&[], vec![published], |_| {});
        let listener = listen(&mut guest);
        let address = SocketAddr::new(to, address.port());
        let client = thread::spawn(move || ask(address, b"question"));
        let peer = echo(&mut guest, listener);
        let (answer, client) = join(&mut guest, client);
        assert_eq!(answer, b"question", "{text}");
        assert_eq!(peer, SocketAddr::new(expected, client.port()), "{text}");
        guest.switch_off();
    }
}

#[test]
fn a_guest_without_ipv6_serves_such_clients_as_well() {
    if !has_ipv6() {
        return;
    }
    let (published, address) = publish("[::1]:0:8080");
    let mut guest = Guest::configured(
        &[],
        vec![published],
        |setup| setup.ipv6 = false,
        |config| config.ipv6 = None,
    );
    let listener = listen(&mut guest);
    let client = thread::spawn(move || ask(address, b"question"));
    assert_eq!(echo(&mut guest, listener).ip(), IpAddr::from(GATEWAY));
    assert_eq!(join(&mut guest, client).0, b"question");
}

#[test]
fn datagrams_of_clients_by_ipv6() {
    if !has_ipv6() {
        return;
    }
    let (published, address) = publish("[::1]:0:53/udp");
    let mut guest = Guest::with(&[], vec![published], |_| {});
    let socket = guest.stack.udp_bind("[::]:53".parse().unwrap()).unwrap();
    let client = UdpSocket::bind("[::1]:0").unwrap();
    client.set_nonblocking(true).unwrap();
    client.send_to(b"question", address).unwrap();
    let mut buffer = [0; 16];
    let question = guest.until(|stack| stack.receive_from(socket, &mut buffer).ok());
    assert_eq!(&buffer[..question.length], b"question");
    let port = client.local_addr().unwrap().port();
    assert_eq!(question.from, SocketAddr::new(GATEWAY_V6.into(), port));
    guest
        .stack
        .send_to(socket, b"answer", Some(question.from))
        .unwrap();
    let (length, from) = guest.until(|_| client.recv_from(&mut buffer).ok());
    assert_eq!((&buffer[..length], from), (&b"answer"[..], address));
}

#[test]
fn a_port_at_which_the_guest_does_not_listen_resets() {
    for text in ["0:8080", "[::1]:0:8080"] {
        if text.starts_with('[') && !has_ipv6() {
            continue;
        }
        let (published, address) = publish(text);
        let mut guest = Guest::with(&[], vec![published], |_| {});
        let mut client = TcpStream::connect(address).unwrap();
        assert_eq!(broken(&mut guest, &mut client), ErrorKind::ConnectionReset);
    }
}

/// The guest's answer to the first segment decides: nothing is sent twice, and nobody waits.
#[test]
fn one_refusal_is_enough() {
    let (published, address) = publish("0:8080");
    let (wire, relay, _) = start(&[], vec![published], |_| {});
    let mut wire = Wire::new(wire);
    // The guest is there.
    wire.send(&[0; 14]);
    let mut client = TcpStream::connect(address).unwrap();
    let first = loop {
        if let Some(frame) = wire.next().filter(|frame| frame[12..14] == [8, 0]) {
            break frame;
        }
        thread::sleep(Duration::from_millis(1));
    };
    // Ethernet, IPv4 and TCP, without their options: a first segment for the guest's port.
    assert_eq!(
        (&first[..6], first[23], &first[36..38]),
        (&LINK[..], 6, &8080u16.to_be_bytes()[..])
    );
    assert_eq!(first[47], 2);
    wire.send(&refusal(&first));
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let error = client.read(&mut [0]).expect_err("a reset is no end of data");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(wire.next(), None);
    drop(wire);
    relay.join().unwrap().unwrap();
}

/// The frame with which a first segment is refused.
fn refusal(first: &[u8]) -> Vec<u8> {
    let sum = |bytes: &[u8]| -> u32 {
        let words = bytes
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        words.sum()
    };
    let fold = |sum: u32| !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    let next = u32::from_be_bytes(*first[38..].first_chunk().unwrap()).wrapping_add(1);
    let mut frame = [
        &first[6..12],
        &first[..6],
        &[8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0],
    ]
    .concat();
    frame.extend([&first[30..34], &first[26..30]].concat());
    frame.extend(
        [
            &first[36..38],
            &first[34..36],
            &[0; 4],
            &next.to_be_bytes(),
            &[0x50, 0x14, 0, 0, 0, 0, 0, 0],
        ]
        .concat(),
    );
    let checksum = fold(sum(&frame[14..34]));
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    let checksum = fold(sum(&frame[26..]) + 6 + 20);
    frame[50..52].copy_from_slice(&checksum.to_be_bytes());
    frame
}

#[test]
fn clients_for_which_there_is_no_room_wait_for_it() {
    const CLIENTS: usize = 64;
    let (published, address) = publish("0:8080");
    let mut guest = Guest::with(&[], vec![published], |setup| setup.connections = 4);
    let listener = listen(&mut guest);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| thread::spawn(move || ask(address, &number.to_be_bytes()).0 == number.to_be_bytes()))
        .collect();
    for _ in 0..CLIENTS {
        echo(&mut guest, listener);
    }
    for client in clients {
        assert!(join(&mut guest, client));
    }
}

#[test]
fn clients_do_not_keep_the_guest_from_connecting() {
    let (published, address) = publish("0:8080");
    let (redis, grant) = server("redis");
    let mut guest = Guest::with(&[&grant], vec![published], |setup| setup.connections = 8);
    let listener = listen(&mut guest);
    let _clients: Vec<_> = (0..32).map(|_| TcpStream::connect(address).unwrap()).collect();
    // All that are let in stay. The rest waits.
    let _streams: Vec<_> = (0..7).map(|_| accept(&mut guest, listener).0).collect();
    guest.run_for(50);
    let own = guest.connect("10.0.2.100:80").unwrap();
    let (mut answering, _) = redis.accept().unwrap();
    answering.write_all(b"+PONG").unwrap();
    drop(answering);
    assert_eq!(guest.receive_all(own), Ok(b"+PONG".to_vec()));
}

#[test]
fn more_clients_than_the_guest_accepts_at_once() {
    const CLIENTS: usize = 100;
    let (published, address) = publish("0:8080");
    let mut guest = Guest::with(&[], vec![published], |_| {});
    let listener = listen(&mut guest);
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.write_all(&number.to_be_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
    guest.run_for(100);
    for _ in 0..CLIENTS {
        echo(&mut guest, listener);
    }
    guest.run_for(20);
    guest.switch_off();
    for (number, mut client) in clients.into_iter().enumerate() {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, number.to_be_bytes());
    }
}

#[test]
fn a_guest_that_ends_right_after_its_last_write_loses_nothing() {
    let (published, address) = publish("0:8080");
    let mut guest = Guest::with(&[], vec![published], |_| {});
    let listener = listen(&mut guest);
    let client = thread::spawn(move || ask(address, b"question").0);
    let (stream, _) = accept(&mut guest, listener);
    // The question is not read. The client reads as it likes, so all of the answer fits into buffers.
    let answer = guest::noise(60_000);
    assert_eq!(guest.stack.send(stream, &answer), Ok(answer.len()));
    guest.stack.close_all();
    guest.until(|stack| stack.is_drained().then_some(()));
    guest.switch_off();
    assert!(client.join().unwrap() == answer);
}

#[test]
fn clients_that_give_up_are_noticed() {
    let (published, address) = publish("0:8080");
    let mut guest = Guest::with(&[], vec![published], |_| {});
    let listener = listen(&mut guest);
    let client = TcpStream::connect(address).unwrap();
    let (stream, _) = accept(&mut guest, listener);
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(guest.receive(stream), Err(Error::ConnectionReset));
    // Before the guest has heard of it: it is told that the client came, and that it went.
    let client = TcpStream::connect(address).unwrap();
    rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    drop(client);
    let (stream, _) = accept(&mut guest, listener);
    assert_eq!(guest.receive(stream), Err(Error::ConnectionReset));
}

#[test]
fn a_client_waits_for_a_guest_that_begins_later() {
    let (published, address) = publish("0:8080");
    let (mut wire, relay, _) = start(&[], vec![published], |_| {});
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"early").unwrap();
    // A driver that begins drops what came before: all that it has been asked is whether it is there.
    let mut frame = [0; 46];
    for _ in 0..3 {
        wire.read_exact(&mut frame).unwrap();
        assert_eq!(frame[..4], [0, 0, 0, 42]);
        assert_eq!(frame[16..26], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        assert_eq!(frame[42..], [10, 0, 2, 15]);
    }
    // Its first words, whatever they are.
    wire.write_all(&[0, 0, 0, 14]).unwrap();
    wire.write_all(&[0; 14]).unwrap();
    loop {
        let mut length = [0; 4];
        wire.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        wire.read_exact(&mut frame).unwrap();
        // A segment with SYN, to that port.
        if frame[12..14] == [8, 0] {
            assert_eq!((&frame[36..38], frame[47]), (&8080u16.to_be_bytes()[..], 2));
            break;
        }
    }
    drop(wire);
    relay.join().unwrap().unwrap();
}
