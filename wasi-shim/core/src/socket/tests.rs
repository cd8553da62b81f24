//! Tests of sockets on the scripted network.

use std::{vec, vec::Vec};

use super::*;
use crate::{
    context::WasiCtxBuilder,
    deterministic::Deterministic,
    network::Direction,
    system::Readiness,
    testing::{Happening as H, TestNetwork, TestSystem},
    types::Filetype,
};

type Ctx = WasiCtx<TestSystem>;

const WAIT: Blocking = Blocking::Wait;
const NOW: Blocking = Blocking::Fail;

/// Somebody elsewhere.
fn peer(port: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1].into(), port)
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new([10, 0, 2, 15].into(), port)
}

fn ctx(script: impl IntoIterator<Item = (u64, H)>) -> Ctx {
    WasiCtxBuilder::new().build(TestSystem {
        network: Some(TestNetwork::new(script)),
        ..TestSystem::default()
    })
}

/// A guest that was given a listener at port 80.
fn served(script: impl IntoIterator<Item = (u64, H)>) -> (Ctx, Socket) {
    let mut network = TestNetwork::new(script);
    let id = network.listen(local(80), 8).unwrap();
    let system = TestSystem {
        network: Some(network),
        ..TestSystem::default()
    };
    let mut ctx = WasiCtxBuilder::new().listener(id, local(80)).build(system);
    let listener = into_socket(ctx.take_descriptors().pop().unwrap());
    (ctx, listener)
}

fn into_socket(descriptor: Descriptor) -> Socket {
    match descriptor {
        Descriptor::Socket(socket) => socket,
        other => panic!("{other:?}"),
    }
}

fn open(ctx: &mut Ctx, kind: Kind) -> Socket {
    into_socket(ctx.open_socket(Family::V4, kind).unwrap())
}

fn network(ctx: &mut Ctx) -> &mut TestNetwork {
    ctx.system.network.as_mut().unwrap()
}

fn receive(ctx: &mut Ctx, socket: &mut Socket, blocking: Blocking) -> Result<Vec<u8>, Errno> {
    let mut buf = [0; 16];
    let received = ctx.receive(socket, &mut buf, false, blocking)?;
    Ok(buf[..received.length].to_vec())
}

#[test]
fn without_a_network_nothing_is_granted() {
    let mut ctx = WasiCtxBuilder::new().build(TestSystem::default());
    for kind in [Kind::Stream, Kind::Datagram] {
        assert_eq!(ctx.open_socket(Family::V4, kind), Err(Errno::ACCES));
    }
    assert_eq!(ctx.look_up("example.com"), Err(Errno::ACCES));
}

#[test]
fn a_run_that_is_the_same_each_time_has_no_network() {
    let system = TestSystem {
        network: Some(TestNetwork::default()),
        ..TestSystem::default()
    };
    let world = Deterministic::new(0, 0);
    let mut ctx = WasiCtxBuilder::new().deterministic(world).build(system);
    assert_eq!(ctx.open_socket(Family::V4, Kind::Stream), Err(Errno::ACCES));
}

#[test]
fn listeners_are_behind_the_streams_and_preopens() {
    let (mut ctx, mut listener) = served([]);
    assert!(listener.is_listening());
    assert_eq!(ctx.local_address(&listener), Ok(local(80)));
    assert_eq!(ctx.peer_address(&mut listener), Err(Errno::NOTCONN));
    assert_eq!(Descriptor::Socket(listener).filetype(), Filetype::SocketStream);
    assert_eq!(
        ctx.open_socket(Family::V6, Kind::Datagram).unwrap().filetype(),
        Filetype::SocketDgram
    );
}

#[test]
fn a_server_waits_answers_and_sees_the_end() {
    let (mut ctx, listener) = served([
        (50, H::Connects(peer(1), 80)),
        (70, H::Sends(peer(1), b"GET".to_vec())),
        (90, H::Ends(peer(1))),
    ]);
    assert_eq!(ctx.accept(&listener, NOW).map(|_| ()), Err(Errno::AGAIN));
    let (connection, from) = ctx.accept(&listener, WAIT).unwrap();
    let mut connection = into_socket(connection);
    assert_eq!((from, ctx.peer_address(&mut connection)), (peer(1), Ok(peer(1))));
    assert_eq!(ctx.local_address(&connection), Ok(local(80)));
    assert_eq!(receive(&mut ctx, &mut connection, NOW), Err(Errno::AGAIN));
    assert_eq!(receive(&mut ctx, &mut connection, WAIT), Ok(b"GET".to_vec()));
    assert_eq!(receive(&mut ctx, &mut connection, WAIT), Ok(vec![]));
    // A client that sends no more still gets its answer.
    assert_eq!(ctx.send(&mut connection, b"200", None, WAIT), Ok(3));
    ctx.close(Descriptor::Socket(connection));
    assert_eq!(network(&mut ctx).sent[&peer(1)], b"200");
    assert_eq!(network(&mut ctx).ended, [peer(1)]);
}

#[test]
fn what_stays_is_received_again() {
    let (mut ctx, listener) = served([
        (0, H::Connects(peer(1), 80)),
        (0, H::Sends(peer(1), b"abc".to_vec())),
    ]);
    let mut connection = into_socket(ctx.accept(&listener, NOW).unwrap().0);
    let mut buf = [0; 2];
    for _ in 0..2 {
        let received = ctx.receive(&mut connection, &mut buf, true, NOW).unwrap();
        assert_eq!((received.length, received.from, buf), (2, None, *b"ab"));
    }
    assert_eq!(receive(&mut ctx, &mut connection, NOW), Ok(b"abc".to_vec()));
}

#[test]
fn a_send_that_waits_sends_all_and_another_what_there_is_room_for() {
    let data = vec![7; 70_000];
    let script = || {
        [
            (0, H::Connects(peer(1), 80)),
            (10, H::Takes(peer(1), 1_000)),
            (20, H::Takes(peer(1), 9_000)),
        ]
    };
    let (mut ctx, listener) = served(script());
    let mut connection = into_socket(ctx.accept(&listener, NOW).unwrap().0);
    assert_eq!(ctx.send(&mut connection, &data, None, WAIT), Ok(70_000));
    assert_eq!(network(&mut ctx).sent[&peer(1)], data);

    let (mut ctx, listener) = served(script());
    let mut connection = into_socket(ctx.accept(&listener, NOW).unwrap().0);
    assert_eq!(ctx.send(&mut connection, &data, None, NOW), Ok(65_536));
    assert_eq!(ctx.send(&mut connection, &data, None, NOW), Err(Errno::AGAIN));
}

#[test]
fn what_was_sent_before_an_error_is_told_first() {
    let (mut ctx, listener) = served([
        (0, H::Connects(peer(1), 80)),
        (10, H::Breaks(peer(1), Errno::CONNRESET)),
    ]);
    let mut connection = into_socket(ctx.accept(&listener, NOW).unwrap().0);
    let data = vec![7; 70_000];
    assert_eq!(ctx.send(&mut connection, &data, None, WAIT), Ok(65_536));
    assert_eq!(
        ctx.send(&mut connection, &data, None, WAIT),
        Err(Errno::CONNRESET)
    );
    assert_eq!(receive(&mut ctx, &mut connection, WAIT), Err(Errno::CONNRESET));
}

#[test]
fn waiting_ends_with_the_timeout() {
    let (mut ctx, mut listener) = served([(100, H::Connects(peer(1), 80))]);
    let options = Options {
        receive_timeout: Some(60),
        send_timeout: Some(30),
        ..Options::default()
    };
    ctx.set_options(&mut listener, options).unwrap();
    assert_eq!(ctx.accept(&listener, WAIT).map(|_| ()), Err(Errno::AGAIN));
    let mut connection = into_socket(ctx.accept(&listener, WAIT).unwrap().0);
    assert_eq!(connection.options(), options);
    let before = ctx.system.monotonic;
    assert_eq!(receive(&mut ctx, &mut connection, WAIT), Err(Errno::AGAIN));
    assert_eq!(ctx.system.monotonic - before, 60);
    let data = vec![7; 70_000];
    assert_eq!(ctx.send(&mut connection, &data, None, WAIT), Ok(65_536));
    assert_eq!(ctx.send(&mut connection, &data, None, WAIT), Err(Errno::AGAIN));
    assert_eq!(ctx.system.monotonic - before, 60 + 30 + 30);
}

#[test]
fn a_client_connects() {
    let mut ctx = ctx([(100, H::Answers(peer(80), Ok(())))]);
    let mut socket = open(&mut ctx, Kind::Stream);
    assert_eq!(ctx.send(&mut socket, b"x", None, WAIT), Err(Errno::NOTCONN));
    assert_eq!(receive(&mut ctx, &mut socket, WAIT), Err(Errno::NOTCONN));
    assert_eq!(ctx.shutdown(&mut socket, Direction::Send), Err(Errno::NOTCONN));
    assert_eq!(ctx.local_address(&socket), Ok(Family::V4.unspecified()));
    assert_eq!(ctx.connect(&mut socket, peer(80), WAIT), Ok(()));
    assert_eq!(ctx.connect(&mut socket, peer(80), WAIT), Err(Errno::ISCONN));
    assert_eq!(ctx.listen(&mut socket, 1), Err(Errno::INVAL));
    assert_eq!(ctx.bind(&mut socket, local(1)), Err(Errno::INVAL));
    assert_eq!(
        ctx.send(&mut socket, b"x", Some(peer(80)), WAIT),
        Err(Errno::ISCONN)
    );
    assert_eq!(ctx.shutdown(&mut socket, Direction::Send), Ok(()));
    assert_eq!(ctx.send(&mut socket, b"x", None, WAIT), Err(Errno::PIPE));
    assert_eq!(network(&mut ctx).ended, [peer(80)]);
}

#[test]
fn a_client_that_does_not_wait_asks_how_it_went() {
    for (answer, error) in [
        (Ok(()), None),
        (Err(Errno::CONNREFUSED), Some(Errno::CONNREFUSED)),
    ] {
        let mut ctx = ctx([(100, H::Answers(peer(80), answer))]);
        let mut socket = open(&mut ctx, Kind::Stream);
        assert_eq!(ctx.connect(&mut socket, peer(80), NOW), Err(Errno::INPROGRESS));
        assert_eq!(ctx.connect(&mut socket, peer(80), NOW), Err(Errno::ALREADY));
        assert_eq!(ctx.take_error(&mut socket), Ok(None));
        assert_eq!(ctx.peer_address(&mut socket), Err(Errno::NOTCONN));
        assert_eq!(receive(&mut ctx, &mut socket, NOW), Err(Errno::AGAIN));
        assert_eq!(ctx.send(&mut socket, b"x", None, NOW), Err(Errno::AGAIN));
        ctx.system.pass(100);
        assert_eq!(ctx.take_error(&mut socket), Ok(error));
        assert_eq!(ctx.take_error(&mut socket), Ok(None));
        let peer_is_known = ctx.peer_address(&mut socket);
        assert_eq!(peer_is_known, answer.map(|()| peer(80)).or(Err(Errno::NOTCONN)));
    }
}

#[test]
fn why_a_connection_was_not_made_is_told_to_whoever_asks_for_that() {
    type Ask = fn(&mut Ctx, &mut Socket) -> Errno;
    let asks: [Ask; 2] = [
        |ctx, socket| ctx.peer_address(socket).unwrap_err(),
        |ctx, socket| ctx.shutdown(socket, Direction::Send).unwrap_err(),
    ];
    type Tell = fn(&mut Ctx, &mut Socket) -> Option<Errno>;
    let tells: [Tell; 4] = [
        |ctx, socket| ctx.take_error(socket).unwrap(),
        |ctx, socket| ctx.connect(socket, peer(80), NOW).err(),
        |ctx, socket| receive(ctx, socket, NOW).err(),
        |ctx, socket| ctx.send(socket, b"x", None, NOW).err(),
    ];
    for (ask, tell) in asks.into_iter().flat_map(|ask| tells.map(|tell| (ask, tell))) {
        let mut ctx = ctx([(100, H::Answers(peer(80), Err(Errno::CONNREFUSED)))]);
        let mut socket = open(&mut ctx, Kind::Stream);
        ctx.bind(&mut socket, local(4_000)).unwrap();
        assert_eq!(ctx.connect(&mut socket, peer(80), NOW), Err(Errno::INPROGRESS));
        ctx.system.pass(100);
        // Asked twice, for the first might be what makes the second forget.
        for _ in 0..2 {
            assert_eq!(ask(&mut ctx, &mut socket), Errno::NOTCONN);
        }
        assert_eq!(ctx.listen(&mut socket, 1), Err(Errno::INVAL));
        assert_eq!(ctx.local_address(&socket), Ok(local(4_000)));
        // Who waits for the end of it is not kept waiting.
        assert_eq!(socket.write_source(), Awaits::Nothing);
        assert_eq!(tell(&mut ctx, &mut socket), Some(Errno::CONNREFUSED));
        assert_eq!(ctx.take_error(&mut socket), Ok(None));
        assert_eq!(ctx.connect(&mut socket, peer(80), NOW), Err(Errno::INPROGRESS));
    }
}

#[test]
fn a_connection_that_was_not_made_may_be_tried_again() {
    let mut ctx = ctx([
        (10, H::Answers(peer(80), Err(Errno::CONNREFUSED))),
        (20, H::Answers(peer(80), Ok(()))),
    ]);
    let mut socket = open(&mut ctx, Kind::Stream);
    ctx.bind(&mut socket, local(4_000)).unwrap();
    assert_eq!(ctx.connect(&mut socket, peer(80), WAIT), Err(Errno::CONNREFUSED));
    assert_eq!(ctx.local_address(&socket), Ok(local(4_000)));
    assert_eq!(ctx.connect(&mut socket, peer(80), WAIT), Ok(()));
    assert_eq!(ctx.local_address(&socket), Ok(local(4_000)));
}

#[test]
fn a_connect_that_takes_too_long_goes_on() {
    let mut ctx = ctx([(100, H::Answers(peer(80), Ok(())))]);
    let mut socket = open(&mut ctx, Kind::Stream);
    let options = Options {
        send_timeout: Some(40),
        ..Options::default()
    };
    ctx.set_options(&mut socket, options).unwrap();
    assert_eq!(ctx.connect(&mut socket, peer(80), WAIT), Err(Errno::INPROGRESS));
    assert_eq!(ctx.connect(&mut socket, peer(80), WAIT), Err(Errno::ALREADY));
    assert_eq!(ctx.connect(&mut socket, peer(80), WAIT), Ok(()));
}

#[test]
fn what_is_not_granted_is_denied_and_other_families_have_no_way() {
    let mut ctx = ctx([]);
    network(&mut ctx).denied = vec![peer(80)];
    for kind in [Kind::Stream, Kind::Datagram] {
        let mut socket = open(&mut ctx, kind);
        assert_eq!(ctx.connect(&mut socket, peer(80), WAIT), Err(Errno::ACCES));
        let six = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 80);
        assert_eq!(ctx.connect(&mut socket, six, WAIT), Err(Errno::AFNOSUPPORT));
        assert_eq!(ctx.bind(&mut socket, six), Err(Errno::AFNOSUPPORT));
    }
    let mut socket = open(&mut ctx, Kind::Datagram);
    assert_eq!(
        ctx.send(&mut socket, b"x", Some(peer(80)), WAIT),
        Err(Errno::ACCES)
    );
}

#[test]
fn options_reach_the_connection_when_there_is_one() {
    let mut ctx = ctx([
        (0, H::Answers(peer(1), Ok(()))),
        (10, H::Answers(peer(80), Ok(()))),
    ]);
    let mut socket = open(&mut ctx, Kind::Stream);
    let options = Options {
        no_delay: true,
        keep_alive: Some(9),
        ..Options::default()
    };
    ctx.set_options(&mut socket, options).unwrap();
    assert_eq!(network(&mut ctx).options, []);
    ctx.connect(&mut socket, peer(80), WAIT).unwrap();
    let set = [SocketOption::NoDelay(true), SocketOption::KeepAlive(Some(9))];
    let told: Vec<_> = network(&mut ctx)
        .options
        .iter()
        .map(|(_, option)| *option)
        .collect();
    assert_eq!(told, set);
    ctx.set_options(&mut socket, Options::default()).unwrap();
    assert_eq!(network(&mut ctx).options.len(), 4);
}

#[test]
fn a_listener_at_a_free_port_is_nobody_elses() {
    let mut network = TestNetwork::default();
    let any = local(0);
    let given = network.listen(any, 8).unwrap();
    let chosen = network.local_address(given).unwrap();
    let system = TestSystem {
        network: Some(network),
        ..TestSystem::default()
    };
    let mut ctx = WasiCtxBuilder::new().listener(given, any).build(system);
    let mut ports = vec![chosen.port()];
    for bound in [None, Some(any), None] {
        let mut own = open(&mut ctx, Kind::Stream);
        if let Some(bound) = bound {
            ctx.bind(&mut own, bound).unwrap();
        }
        ctx.listen(&mut own, 1).unwrap();
        ports.push(ctx.local_address(&own).unwrap().port());
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4, "{ports:?}");
    // At the port that was chosen, the queue is one.
    let mut again = open(&mut ctx, Kind::Stream);
    ctx.bind(&mut again, chosen).unwrap();
    assert_eq!(ctx.listen(&mut again, 1), Ok(()));
}

#[test]
fn the_port_of_a_given_listener_has_one_queue() {
    let (mut ctx, given) = served([
        (10, H::Connects(peer(1), 80)),
        (20, H::Connects(peer(2), 80)),
        (30, H::Connects(peer(3), 80)),
    ]);
    let mut own = open(&mut ctx, Kind::Stream);
    ctx.bind(&mut own, SocketAddr::new([0, 0, 0, 0].into(), 80))
        .unwrap();
    assert_eq!(ctx.accept(&own, WAIT).map(|_| ()), Err(Errno::INVAL));
    ctx.listen(&mut own, 1).unwrap();
    ctx.listen(&mut own, 1).unwrap();
    assert_eq!(ctx.accept(&own, WAIT).unwrap().1, peer(1));
    assert_eq!(ctx.accept(&given, WAIT).unwrap().1, peer(2));
    ctx.close(Descriptor::Socket(given));
    assert_eq!(ctx.accept(&own, WAIT).unwrap().1, peer(3));
    ctx.close(Descriptor::Socket(own));
    // The port is free now.
    let mut again = open(&mut ctx, Kind::Stream);
    ctx.bind(&mut again, local(80)).unwrap();
    ctx.listen(&mut again, 1).unwrap();
    let mut other = open(&mut ctx, Kind::Stream);
    ctx.bind(&mut other, local(80)).unwrap();
    assert_eq!(ctx.listen(&mut other, 1), Err(Errno::ADDRINUSE));
}

#[test]
fn datagrams_have_limits_and_senders() {
    let mut ctx = ctx([
        (10, H::Datagram(peer(9), 53, b"abcd".to_vec())),
        (10, H::Datagram(peer(9), 53, vec![])),
        (20, H::Datagram(peer(8), 53, b"other".to_vec())),
        (20, H::Datagram(peer(9), 53, b"last".to_vec())),
    ]);
    let mut socket = open(&mut ctx, Kind::Datagram);
    assert_eq!(ctx.listen(&mut socket, 1), Err(Errno::NOTSUP));
    assert_eq!(ctx.accept(&socket, WAIT).map(|_| ()), Err(Errno::NOTSUP));
    ctx.bind(&mut socket, local(53)).unwrap();
    assert_eq!(ctx.bind(&mut socket, local(53)), Err(Errno::INVAL));
    assert_eq!(ctx.shutdown(&mut socket, Direction::Send), Err(Errno::NOTSUP));
    let mut buf = [0; 2];
    assert_eq!(ctx.receive(&mut socket, &mut buf, false, NOW), Err(Errno::AGAIN));
    let received = ctx.receive(&mut socket, &mut buf, false, WAIT);
    let cut = Received {
        length: 2,
        from: Some(peer(9)),
        truncated: true,
    };
    assert_eq!((received, buf), (Ok(cut), *b"ab"));
    assert_eq!(receive(&mut ctx, &mut socket, NOW), Ok(vec![]));
    assert_eq!(ctx.send(&mut socket, b"x", None, NOW), Err(Errno::DESTADDRREQ));
    assert_eq!(ctx.send(&mut socket, b"to", Some(peer(7)), NOW), Ok(2));
    assert_eq!(ctx.peer_address(&mut socket), Err(Errno::NOTCONN));
    ctx.connect(&mut socket, peer(9), NOW).unwrap();
    assert_eq!(ctx.peer_address(&mut socket), Ok(peer(9)));
    assert_eq!(ctx.send(&mut socket, b"", None, NOW), Ok(0));
    assert_eq!(receive(&mut ctx, &mut socket, WAIT), Ok(b"last".to_vec()));
    let sent = [(peer(7), b"to".to_vec()), (peer(9), vec![])];
    assert_eq!(network(&mut ctx).datagrams, sent);
}

#[test]
fn a_sender_that_has_no_name_gets_one() {
    let mut ctx = ctx([]);
    let mut socket = open(&mut ctx, Kind::Datagram);
    assert_eq!(ctx.local_address(&socket), Ok(Family::V4.unspecified()));
    assert_eq!(ctx.send(&mut socket, b"x", Some(peer(9)), NOW), Ok(1));
    assert_ne!(ctx.local_address(&socket).unwrap().port(), 0);
}

#[test]
fn names_are_waited_for() {
    let mut ctx = ctx([
        (10, H::Found("redis", Ok(vec![peer(0).ip()]))),
        (20, H::Found("nobody", Err(Errno::NOENT))),
    ]);
    assert_eq!(ctx.look_up("redis"), Ok(vec![peer(0).ip()]));
    assert_eq!(ctx.look_up("nobody"), Err(Errno::NOENT));
    assert_eq!(ctx.system.monotonic, TestSystem::default().monotonic + 20);
}

#[test]
fn what_a_socket_waits_for_follows_its_state() {
    let (mut ctx, listener) = served([(0, H::Connects(peer(1), 80))]);
    let id = listener.id().unwrap();
    assert_eq!(listener.read_source(), Awaits::Source(Source::Readable(id)));
    let stream = open(&mut ctx, Kind::Stream);
    assert_eq!(
        [stream.read_source(), stream.write_source()],
        [Awaits::Nothing; 2]
    );
    let datagrams = open(&mut ctx, Kind::Datagram);
    assert_eq!(
        [datagrams.read_source(), datagrams.write_source()],
        [Awaits::Forever, Awaits::Nothing]
    );
    let mut set = crate::poll::WaitSet::default();
    set.add_source(Source::Readable(id));
    // Not open: whoever uses it will learn why.
    set.add_source(Source::Readable(SocketId(999)));
    ctx.wait(&mut set);
    let ready = Readiness::Ready {
        bytes: 1,
        hangup: false,
    };
    assert_eq!(set.readiness(Source::Readable(id)), Ok(ready));
    assert_eq!(
        set.readiness(Source::Readable(SocketId(999))),
        Ok(Readiness::ENDED)
    );
    assert_eq!(
        set.readiness(Source::Writable(SocketId(999))),
        Ok(Readiness::NotReady)
    );
}
