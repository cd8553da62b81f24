//! IPv6: as IPv4, with neighbours found by ICMPv6.
#![cfg(feature = "ipv6")]

mod wire;

use std::net::{Ipv6Addr, SocketAddr};

use net_stack::{Config, Error, Half};
use wire::{CLIENT, SERVER, World, at, config, failure, wait};

fn address6(end: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, end)
}

fn at6(end: usize, port: u16) -> SocketAddr {
    SocketAddr::new(address6(u16::try_from(end + 1).unwrap()).into(), port)
}

fn world() -> World {
    World::with([1, 2].map(|end| Config {
        ipv6: Some((address6(end), 64)),
        ..config(usize::from(end) - 1)
    }))
}

#[test]
fn streams() {
    let mut world = world();
    let addresses: Vec<String> = world
        .client()
        .addresses()
        .map(|network| network.address.to_string())
        .collect();
    assert_eq!(addresses, ["10.0.2.1", "fe80::ff:fe00:1", "fd00::1"]);
    // One listener for both protocols.
    let listener = world.server().listen("[::]:80".parse().unwrap(), 8).unwrap();
    assert_eq!(world.server().listen(at(SERVER, 80), 8), Err(Error::AddressInUse));
    let link_local = "[fe80::ff:fe00:2]:80".parse().unwrap();
    let mapped = "[::ffff:10.0.2.2]:80".parse().unwrap();
    for (remote, peer) in [
        (at6(SERVER, 80), "fd00::1"),
        (link_local, "fe80::ff:fe00:1"),
        (at(SERVER, 80), "10.0.2.1"),
        (mapped, "10.0.2.1"),
    ] {
        let client = world.client().connect(remote, None).unwrap();
        let (server, from) = world.until(|[_, stack]| wait(stack.accept(listener)));
        assert_eq!(from.ip().to_string(), peer);
        let message = vec![3; 50_000];
        assert_eq!(world.server().send(server, &message), Ok(50_000));
        world.server().shutdown(server, Half::Send).unwrap();
        let mut received = 0;
        let mut buffer = [0; 9000];
        world.until(|[stack, _]| {
            loop {
                match wait(stack.receive(client, &mut buffer))? {
                    0 => break Some(()),
                    length => received += length,
                }
            }
        });
        assert_eq!(received, 50_000);
        // Both sides end, and what is late is answered.
        world.wire.borrow_mut().faults.duplication = 1000;
        world.client().close_stream(client).unwrap();
        world.server().close_stream(server).unwrap();
        world.run(20_000_000);
        world.wire.borrow_mut().faults.duplication = 0;
    }
}

#[test]
fn failures() {
    let mut world = world();
    let client = world.client().connect(at6(SERVER, 81), None).unwrap();
    assert_eq!(
        world.until(|[stack, _]| failure(stack.connected(client))),
        Error::ConnectionRefused
    );
    let since = world.now();
    let client = world.client().connect(at6(76, 81), None).unwrap();
    assert_eq!(
        world.until(|[stack, _]| failure(stack.connected(client))),
        Error::HostUnreachable
    );
    assert_eq!((world.now() - since) / 1_000_000, 3);
    let elsewhere = "[2001:db8::1]:80".parse().unwrap();
    assert_eq!(
        world.client().connect(elsewhere, None),
        Err(Error::NetworkUnreachable)
    );
    assert_eq!(
        world.client().connect("[ff02::1]:80".parse().unwrap(), None),
        Err(Error::InvalidAddress)
    );
    assert_eq!(
        world.client().connect("[::1]:80".parse().unwrap(), None),
        Err(Error::NetworkUnreachable)
    );
    assert_eq!(
        world.client().connect(at6(SERVER, 80), Some(at(CLIENT, 1))),
        Err(Error::InvalidAddress)
    );
}

#[cfg(feature = "udp")]
#[test]
fn datagrams() {
    let mut world = world();
    let server = world.server().udp_bind("[::]:7".parse().unwrap()).unwrap();
    let client = world.client().udp_bind("[::]:0".parse().unwrap()).unwrap();
    for to in [at6(SERVER, 7), at(SERVER, 7)] {
        world.client().send_to(client, b"hello", Some(to)).unwrap();
        let mut buffer = [0; 9];
        let datagram = world.until(|[_, stack]| wait(stack.receive_from(server, &mut buffer)));
        world
            .server()
            .send_to(server, &buffer[..datagram.length], Some(datagram.from))
            .unwrap();
        let answer = world.until(|[stack, _]| wait(stack.receive_from(client, &mut buffer)));
        assert_eq!((answer.length, answer.from), (5, to));
    }
    world.client().udp_connect(client, Some(at6(SERVER, 8))).unwrap();
    assert_eq!(
        world.client().send_to(client, &[0; 1453], None),
        Err(Error::MessageSize)
    );
    world.client().send_to(client, &[0; 1452], None).unwrap();
    let error = world.until(|[stack, _]| failure(stack.receive_from(client, &mut [0])));
    assert_eq!(error, Error::ConnectionRefused);
}
