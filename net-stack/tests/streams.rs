//! TCP as the application has it: what each operation answers, in every state of a connection.

mod wire;

use net_stack::{Error, Half, Readiness};
use wire::{CLIENT, SERVER, World, at, failure, wait};

#[test]
fn bytes_go_both_ways() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let (client, server) = world.connect(listener);
    assert_eq!(world.client().peer_address(client), Ok(at(SERVER, 80)));
    let local = world.client().stream_address(client).unwrap();
    assert_eq!(world.server().peer_address(server), Ok(local));
    assert_eq!(world.server().stream_address(server), Ok(at(SERVER, 80)));

    assert_eq!(world.client().send(client, b"hello"), Ok(5));
    let mut buffer = [0; 16];
    assert_eq!(world.until(|[_, stack]| wait(stack.peek(server, &mut buffer))), 5);
    assert_eq!(
        world.server().stream_readiness(server),
        Ok(Readiness {
            readable: true,
            writable: true,
            available: 5,
            ..Readiness::default()
        })
    );
    assert_eq!(world.server().receive(server, &mut buffer[..2]), Ok(2));
    assert_eq!(&buffer[..5], b"hello");
    assert_eq!(world.server().receive(server, &mut buffer), Ok(3));
    assert_eq!(&buffer[..3], b"llo");
    assert_eq!(
        world.server().receive(server, &mut buffer),
        Err(Error::WouldBlock)
    );
    assert_eq!(world.server().send(server, b"world"), Ok(5));
    assert_eq!(
        world.until(|[stack, _]| wait(stack.receive(client, &mut buffer))),
        5
    );
    assert_eq!(&buffer[..5], b"world");
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let (client, server) = world.connect(listener);
    world.client().send(client, b"request").unwrap();
    world.client().shutdown(client, Half::Send).unwrap();
    assert_eq!(world.client().send(client, b"more"), Err(Error::BrokenPipe));

    let mut request = Vec::new();
    let mut buffer = [0; 3];
    world.until(|[_, stack]| match wait(stack.receive(server, &mut buffer))? {
        0 => Some(()),
        length => {
            request.extend_from_slice(&buffer[..length]);
            None
        }
    });
    assert_eq!(request, b"request");
    let readiness = world.server().stream_readiness(server).unwrap();
    assert!(readiness.hang_up && readiness.readable && readiness.writable);
    // The end of data stays.
    assert_eq!(world.server().receive(server, &mut buffer), Ok(0));

    // Long after, it still works, and in both directions everything was said.
    world.run(600_000_000);
    world.server().send(server, b"answer").unwrap();
    world.server().close_stream(server).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(
        world.until(|[stack, _]| wait(stack.receive(client, &mut buffer))),
        6
    );
    assert_eq!(
        world.until(|[stack, _]| wait(stack.receive(client, &mut buffer))),
        0
    );
    assert_eq!(world.server().send(server, b"x"), Err(Error::BadHandle));
    world.client().close_stream(client).unwrap();
    assert_eq!(world.client().close_stream(client), Err(Error::BadHandle));
}

#[test]
fn nobody_listens() {
    let mut world = World::new();
    let client = world.client().connect(at(SERVER, 81), None).unwrap();
    assert_eq!(world.client().connected(client), Err(Error::InProgress));
    assert_eq!(world.client().stream_readiness(client), Ok(Readiness::default()));
    assert_eq!(world.client().send(client, b"x"), Err(Error::WouldBlock));
    assert_eq!(world.client().receive(client, &mut [0]), Err(Error::WouldBlock));
    assert_eq!(world.client().peer_address(client), Err(Error::NotConnected));
    world.until(|[stack, _]| stack.stream_readiness(client).unwrap().writable.then_some(()));
    let readiness = world.client().stream_readiness(client).unwrap();
    assert_eq!(readiness.error, Some(Error::ConnectionRefused));
    assert!(readiness.readable && readiness.hang_up);
    assert_eq!(world.client().connected(client), Err(Error::ConnectionRefused));
    assert_eq!(world.client().connected(client), Err(Error::NotConnected));
    assert_eq!(
        world.client().shutdown(client, Half::Both),
        Err(Error::NotConnected)
    );
    assert_eq!(world.client().send(client, b"x"), Err(Error::BrokenPipe));
    assert_eq!(world.client().close_stream(client), Ok(()));
}

#[test]
fn a_reset_is_told_once_after_the_data() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let (client, server) = world.connect(listener);
    world.server().send(server, b"last words").unwrap();
    world.run(1000);
    world.server().reset_stream(server).unwrap();
    world.run(1000);
    let readiness = world.client().stream_readiness(client).unwrap();
    assert_eq!(
        (readiness.error, readiness.available),
        (Some(Error::ConnectionReset), 10)
    );
    assert!(readiness.readable && readiness.writable && readiness.hang_up);
    let mut buffer = [0; 16];
    assert_eq!(world.client().receive(client, &mut buffer), Ok(10));
    assert_eq!(
        world.client().receive(client, &mut buffer),
        Err(Error::ConnectionReset)
    );
    assert_eq!(world.client().receive(client, &mut buffer), Ok(0));
    assert_eq!(world.client().send(client, b"x"), Err(Error::BrokenPipe));
}

#[test]
fn closing_before_all_was_read_is_a_reset() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let (client, server) = world.connect(listener);
    world.client().send(client, b"unread").unwrap();
    world.run(1000);
    world.server().close_stream(server).unwrap();
    assert_eq!(
        world.until(|[stack, _]| failure(stack.receive(client, &mut [0]))),
        Error::ConnectionReset
    );

    // Also if it comes later.
    let (client, server) = world.connect(listener);
    world.server().close_stream(server).unwrap();
    assert_eq!(world.until(|[stack, _]| wait(stack.receive(client, &mut [0]))), 0);
    world.client().send(client, b"too late").unwrap();
    assert_eq!(
        world.until(|[stack, _]| failure(stack.send(client, b"x"))),
        Error::ConnectionReset
    );
}

#[test]
fn a_side_that_does_not_receive_lets_the_peer_send() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let (client, server) = world.connect(listener);
    world.client().send(client, b"before").unwrap();
    world.run(1000);
    world.server().shutdown(server, Half::Receive).unwrap();
    assert_eq!(world.server().receive(server, &mut [0]), Ok(0));
    let mut left = 1 << 20;
    world.until(|[stack, _]| {
        left -= wait(stack.send(client, &vec![7; left]))?;
        (left == 0).then_some(())
    });
    world.server().send(server, b"still").unwrap();
    assert_eq!(
        world.until(|[stack, _]| wait(stack.receive(client, &mut [0; 8]))),
        5
    );
    assert_eq!(world.server().receive(server, &mut [0]), Ok(0));
}

#[test]
fn a_peer_that_vanishes_times_out() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let (client, server) = world.connect(listener);
    world.wire.borrow_mut().cut = true;
    // Nothing is owed: nothing is noticed.
    world.run(3600 * 1_000_000);
    assert_eq!(world.server().receive(server, &mut [0]), Err(Error::WouldBlock));
    let since = world.now();
    world.client().send(client, b"anybody?").unwrap();
    assert_eq!(
        world.until(|[stack, _]| failure(stack.receive(client, &mut [0]))),
        Error::TimedOut
    );
    assert_eq!((world.now() - since) / 1_000_000, 600);
    // Whoever wants to know asks.
    world.server().set_keep_alive(server, Some(1_000_000)).unwrap();
    let since = world.now();
    assert_eq!(
        world.until(|[_, stack]| failure(stack.receive(server, &mut [0]))),
        Error::TimedOut
    );
    assert_eq!((world.now() - since) / 1_000_000, 9);
}

#[test]
fn keep_alive_keeps_alive() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let (client, server) = world.connect(listener);
    world.server().set_keep_alive(server, Some(1_000_000)).unwrap();
    assert_eq!(world.server().keep_alive(server), Ok(Some(1_000_000)));
    world.run(3600 * 1_000_000);
    world.client().send(client, b"here").unwrap();
    assert_eq!(
        world.until(|[_, stack]| wait(stack.receive(server, &mut [0; 8]))),
        4
    );
}

#[test]
fn nobody_has_the_address() {
    let mut world = World::new();
    let since = world.now();
    let client = world
        .client()
        .connect("10.0.2.77:80".parse().unwrap(), None)
        .unwrap();
    assert_eq!(
        world.until(|[stack, _]| failure(stack.connected(client))),
        Error::HostUnreachable
    );
    assert_eq!((world.now() - since) / 1_000_000, 3);
    let elsewhere = "192.0.2.1:80".parse().unwrap();
    assert_eq!(
        world.client().connect(elsewhere, None),
        Err(Error::NetworkUnreachable)
    );
    assert_eq!(
        world.client().connect(at(CLIENT, 80), None),
        Err(Error::NetworkUnreachable)
    );
    for invalid in ["0.0.0.0:80", "255.255.255.255:80", "224.0.0.1:80", "10.0.2.2:0"] {
        assert_eq!(
            world.client().connect(invalid.parse().unwrap(), None),
            Err(Error::InvalidAddress),
            "{invalid}"
        );
    }
}

#[test]
fn a_connection_in_the_making_times_out() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 1).unwrap();
    // The neighbour is known, and its backlog is full.
    let _first = world.client().connect(at(SERVER, 80), None).unwrap();
    world.run(1_000_000);
    assert!(world.server().listener_readiness(listener).unwrap().readable);
    let since = world.now();
    let second = world.client().connect(at(SERVER, 80), None).unwrap();
    assert_eq!(
        world.until(|[stack, _]| failure(stack.connected(second))),
        Error::TimedOut
    );
    assert_eq!((world.now() - since) / 1_000_000, 60);
    // Whoever waits for it gets in.
    let third = world.client().connect(at(SERVER, 80), None).unwrap();
    world.run(1_000_000);
    world.server().accept(listener).unwrap();
    world.until(|[stack, _]| wait(stack.connected(third)));
}

#[test]
fn addresses_of_listeners() {
    let mut world = World::new();
    let stack = world.server();
    let any = stack.listen("0.0.0.0:80".parse().unwrap(), 1).unwrap();
    assert_eq!(stack.listen(at(SERVER, 80), 1), Err(Error::AddressInUse));
    assert_eq!(stack.listen(at(CLIENT, 81), 1), Err(Error::AddressNotAvailable));
    let free = stack.listen(at(SERVER, 0), 1).unwrap();
    assert!(stack.listener_address(free).unwrap().port() >= 49152);
    assert_eq!(stack.listener_address(any), Ok("0.0.0.0:80".parse().unwrap()));
    stack.close_listener(any).unwrap();
    assert_eq!(stack.close_listener(any), Err(Error::BadHandle));
    assert_eq!(stack.accept(any), Err(Error::BadHandle));
    stack.listen(at(SERVER, 80), 1).unwrap();
    #[cfg(not(feature = "ipv6"))]
    assert_eq!(
        stack.listen("[::]:82".parse().unwrap(), 1),
        Err(Error::AddressFamily)
    );
}

#[test]
fn a_listener_that_ends_resets_what_it_did_not_accept() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 1).unwrap();
    let client = world.client().connect(at(SERVER, 80), None).unwrap();
    world.until(|[stack, _]| wait(stack.connected(client)));
    world.run(1_000);
    world.server().close_listener(listener).unwrap();
    assert_eq!(
        world.until(|[stack, _]| failure(stack.receive(client, &mut [0]))),
        Error::ConnectionReset
    );
}

#[test]
fn the_local_port_can_be_chosen() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let from = Some(at(CLIENT, 1234));
    let client = world.client().connect(at(SERVER, 80), from).unwrap();
    assert_eq!(
        world.client().connect(at(SERVER, 80), from),
        Err(Error::AddressInUse)
    );
    assert_eq!(
        world.client().connect(at(SERVER, 80), Some(at(SERVER, 1))),
        Err(Error::AddressNotAvailable)
    );
    let (server, peer) = world.until(|[_, stack]| wait(stack.accept(listener)));
    assert_eq!(peer, at(CLIENT, 1234));
    // The side that ends first remembers.
    world.client().close_stream(client).unwrap();
    world.run(10_000);
    world.server().close_stream(server).unwrap();
    world.run(10_000);
    assert_eq!(
        world.client().connect(at(SERVER, 80), from),
        Err(Error::AddressInUse)
    );
    world.run(60_000_000);
    world.client().connect(at(SERVER, 80), from).unwrap();
}

#[test]
fn what_was_written_before_the_exit_arrives() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let (client, server) = world.connect(listener);
    world
        .client()
        .send(client, b"a request that nobody reads")
        .unwrap();
    world.run(1000);
    let sent = world.server().send(server, &[9; 100_000]).unwrap();
    world.server().close_all();
    assert!(!world.server().is_drained());
    let mut received = 0;
    let mut buffer = [0; 1000];
    world.until(|[stack, _]| match wait(stack.receive(client, &mut buffer))? {
        0 => Some(()),
        length => {
            received += length;
            None
        }
    });
    assert_eq!(received, sent);
    world.until(|[_, stack]| stack.is_drained().then_some(()));
    assert_eq!(world.server().accept(listener), Err(Error::BadHandle));
}

#[test]
fn small_writes_wait_unless_they_must_not() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let (client, _) = world.connect(listener);
    let mut segments = |no_delay| {
        world.client().set_no_delay(client, no_delay).unwrap();
        assert_eq!(world.client().no_delay(client), Ok(no_delay));
        world.wire.borrow_mut().log = Some(Vec::new());
        for _ in 0..10 {
            world.client().send(client, b"x").unwrap();
            world.poll();
        }
        let log = world.wire.borrow_mut().log.take().unwrap();
        world.run(1_000_000);
        log.len()
    };
    assert_eq!(segments(true), 10);
    assert_eq!(segments(false), 1);
}

#[test]
fn both_ends_connect_at_once() {
    let mut world = World::new();
    let (here, there) = (at(CLIENT, 1000), at(SERVER, 1000));
    let client = world.client().connect(there, Some(here)).unwrap();
    let server = world.server().connect(here, Some(there)).unwrap();
    // Nobody answers: it is not supported, and above all does no harm.
    assert_eq!(
        world.until(|[stack, _]| failure(stack.connected(client))),
        Error::TimedOut
    );
    assert_eq!(
        world.until(|[_, stack]| failure(stack.connected(server))),
        Error::TimedOut
    );
}
