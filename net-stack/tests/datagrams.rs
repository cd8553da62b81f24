//! UDP as the application has it.
#![cfg(feature = "udp")]

mod wire;

use net_stack::{Config, Datagram, Error, Readiness};
use wire::{CLIENT, SERVER, World, at, config, failure, wait};

#[test]
fn datagrams_go_both_ways() {
    let mut world = World::new();
    let server = world.server().udp_bind(at(SERVER, 7)).unwrap();
    let client = world.client().udp_bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let from = world.client().udp_address(client).unwrap();
    assert!(from.port() >= 49152);
    assert_eq!(
        world.client().send_to(client, b"x", None),
        Err(Error::DestinationRequired)
    );
    for message in [&b"first"[..], b"", &[7; 1472]] {
        world
            .client()
            .send_to(client, message, Some(at(SERVER, 7)))
            .unwrap();
    }
    let mut buffer = [0; 2000];
    let peer = at(CLIENT, from.port());
    let first = Datagram {
        length: 5,
        size: 5,
        from: peer,
    };
    assert_eq!(
        world.until(|[_, stack]| wait(stack.peek_from(server, &mut buffer))),
        first
    );
    world.run(10_000);
    let readiness = world.server().udp_readiness(server).unwrap();
    assert_eq!(
        readiness,
        Readiness {
            readable: true,
            writable: true,
            available: 1477,
            ..Readiness::default()
        }
    );
    // What does not fit is lost, and the next datagram is not.
    assert_eq!(
        world.server().receive_from(server, &mut buffer[..2]),
        Ok(Datagram { length: 2, ..first })
    );
    assert_eq!(&buffer[..2], b"fi");
    assert_eq!(
        world.server().receive_from(server, &mut buffer),
        Ok(Datagram {
            length: 0,
            size: 0,
            from: peer
        })
    );
    assert_eq!(
        world
            .server()
            .receive_from(server, &mut buffer)
            .map(|datagram| datagram.length),
        Ok(1472)
    );
    assert_eq!(
        world.server().receive_from(server, &mut buffer),
        Err(Error::WouldBlock)
    );

    world.server().send_to(server, b"answer", Some(peer)).unwrap();
    let answer = Datagram {
        length: 6,
        size: 6,
        from: at(SERVER, 7),
    };
    assert_eq!(
        world.until(|[stack, _]| wait(stack.receive_from(client, &mut buffer))),
        answer
    );

    assert_eq!(
        world.client().send_to(client, &[7; 1473], Some(at(SERVER, 7))),
        Err(Error::MessageSize)
    );
    for invalid in ["10.0.2.2:0", "255.255.255.255:9", "0.0.0.0:9"] {
        let to = Some(invalid.parse().unwrap());
        assert_eq!(
            world.client().send_to(client, b"x", to),
            Err(Error::InvalidAddress),
            "{invalid}"
        );
    }
    let elsewhere = Some("192.0.2.1:9".parse().unwrap());
    assert_eq!(
        world.client().send_to(client, b"x", elsewhere),
        Err(Error::NetworkUnreachable)
    );
}

#[test]
fn a_connected_socket_hears_its_peer_only() {
    let mut world = World::new();
    let server = world.server().udp_bind(at(SERVER, 7)).unwrap();
    let other = world.server().udp_bind(at(SERVER, 8)).unwrap();
    let client = world.client().udp_bind(at(CLIENT, 5)).unwrap();
    assert_eq!(world.client().udp_peer(client), Err(Error::NotConnected));
    world.client().udp_connect(client, Some(at(SERVER, 7))).unwrap();
    assert_eq!(world.client().udp_peer(client), Ok(at(SERVER, 7)));
    world
        .server()
        .send_to(other, b"other", Some(at(CLIENT, 5)))
        .unwrap();
    world
        .server()
        .send_to(server, b"peer", Some(at(CLIENT, 5)))
        .unwrap();
    let mut buffer = [0; 10];
    assert_eq!(
        world
            .until(|[stack, _]| wait(stack.receive_from(client, &mut buffer)))
            .from,
        at(SERVER, 7)
    );
    world.run(10_000);
    assert_eq!(
        world.client().receive_from(client, &mut buffer),
        Err(Error::WouldBlock)
    );

    // Nobody is there any more.
    world.server().close_udp(server).unwrap();
    assert_eq!(world.server().close_udp(server), Err(Error::BadHandle));
    world.client().send_to(client, b"x", None).unwrap();
    let error = world.until(|[stack, _]| failure(stack.receive_from(client, &mut buffer)));
    assert_eq!(error, Error::ConnectionRefused);
    world.client().send_to(client, b"x", None).unwrap();
    world.run(10_000);
    assert_eq!(
        world.client().take_udp_error(client),
        Ok(Some(Error::ConnectionRefused))
    );
    // Whoever has no peer is not told.
    world.client().udp_connect(client, None).unwrap();
    world.client().send_to(client, b"x", Some(at(SERVER, 7))).unwrap();
    world.run(10_000);
    assert_eq!(world.client().take_udp_error(client), Ok(None));
}

#[test]
fn what_nobody_can_receive_waits_for_no_one() {
    let mut world = World::new();
    let server = world.server().udp_bind(at(SERVER, 7)).unwrap();
    let client = world.client().udp_bind(at(CLIENT, 5)).unwrap();
    let nobody = "10.0.2.77:7".parse().unwrap();
    world.client().udp_connect(client, Some(nobody)).unwrap();
    world.client().send_to(client, b"x", None).unwrap();
    world.poll();
    assert!(!world.client().udp_readiness(client).unwrap().writable);
    assert!(!world.client().is_drained());
    let since = world.now();
    let error = world.until(|[stack, _]| failure(stack.receive_from(client, &mut [0])));
    assert_eq!(
        (error, (world.now() - since) / 1_000_000),
        (Error::HostUnreachable, 3)
    );
    assert!(world.client().udp_readiness(client).unwrap().writable && world.client().is_drained());
    world.client().send_to(client, b"x", Some(at(SERVER, 7))).unwrap();
    world.until(|[_, stack]| wait(stack.receive_from(server, &mut [0])));
}

#[test]
fn what_was_written_before_the_exit_is_sent() {
    let mut world = World::new();
    let server = world.server().udp_bind(at(SERVER, 7)).unwrap();
    let client = world.client().udp_bind(at(CLIENT, 5)).unwrap();
    world
        .client()
        .send_to(client, b"last", Some(at(SERVER, 7)))
        .unwrap();
    world.client().close_all();
    assert_eq!(world.client().send_to(client, b"x", None), Err(Error::BadHandle));
    world.until(|[stack, _]| stack.is_drained().then_some(()));
    assert_eq!(
        world
            .until(|[_, stack]| wait(stack.receive_from(server, &mut [0; 9])))
            .length,
        4
    );
}

#[test]
fn bounds() {
    let mut world = World::with([
        Config {
            udp_sockets: 2,
            ..config(CLIENT)
        },
        config(SERVER),
    ]);
    let client = world.client().udp_bind("0.0.0.0:5".parse().unwrap()).unwrap();
    assert_eq!(world.client().udp_bind(at(CLIENT, 5)), Err(Error::AddressInUse));
    assert_eq!(
        world.client().udp_bind(at(SERVER, 6)),
        Err(Error::AddressNotAvailable)
    );
    world.client().udp_bind(at(CLIENT, 0)).unwrap();
    assert_eq!(world.client().udp_bind(at(CLIENT, 0)), Err(Error::TooMany));
    // The queue of what is to be sent, and of what was received.
    let server = world.server().udp_bind(at(SERVER, 7)).unwrap();
    let mut sent = 0;
    while world
        .client()
        .send_to(client, &[1; 100], Some(at(SERVER, 7)))
        .is_ok()
    {
        sent += 1;
    }
    assert_eq!(sent, 32);
    for _ in 0..10 {
        world.run(10_000);
        for _ in 0..32 {
            world
                .client()
                .send_to(client, &[1; 100], Some(at(SERVER, 7)))
                .unwrap();
        }
    }
    world.run(10_000);
    let mut received = 0;
    while world.server().receive_from(server, &mut [0; 100]).is_ok() {
        received += 1;
    }
    assert_eq!(received, 32);
}
