//! Finding neighbours holds nothing up: in simulated time, so that what takes no second takes none on any machine.

mod wire;

use net_stack::{Config, Error, Ipv4};
use smoltcp::wire::{ArpOperation, ArpPacket, EthernetFrame, EthernetProtocol, TcpControl, TcpPacket};
use wire::{CLIENT, SERVER, TestStack, World, address, at, config, segment};

/// The questions of ARP's among the frames of an end, by the last byte of whom they ask for.
fn questions(world: &World, end: usize) -> Vec<u8> {
    let wire = world.wire.borrow();
    let frames = wire.log.as_ref().unwrap().iter().filter(|(from, _)| *from == end);
    let asked = frames.filter_map(|(_, frame)| {
        let ethernet = EthernetFrame::new_checked(&frame[..]).unwrap();
        let packet = ArpPacket::new_checked(ethernet.payload()).ok()?;
        let is_question =
            ethernet.ethertype() == EthernetProtocol::Arp && packet.operation() == ArpOperation::Request;
        is_question.then(|| packet.target_protocol_addr()[3])
    });
    asked.collect()
}

fn log(world: &World) {
    world.wire.borrow_mut().log = Some(Vec::new());
}

/// Connects to the server at once after something else was asked for, and says whether that took less than a second.
fn is_at_once(world: &mut World, other: impl FnOnce(&mut TestStack)) -> bool {
    world.server().listen(at(SERVER, 80), 8).unwrap();
    other(world.client());
    world.run(10_000);
    let stream = world.client().connect(at(SERVER, 80), None).unwrap();
    world.run(10_000);
    world.client().connected(stream) == Ok(())
}

#[test]
fn a_neighbour_is_asked_for_right_after_another() {
    let mut world = World::new();
    log(&world);
    assert!(is_at_once(&mut world, |client| {
        client.connect("10.0.2.9:80".parse().unwrap(), None).unwrap();
    }));
    assert_eq!(questions(&world, CLIENT), [9, 2]);
}

#[test]
fn a_router_is_a_neighbour() {
    let gateway = Ipv4::Static {
        address: address(CLIENT),
        prefix: 24,
        gateway: Some("10.0.2.9".parse().unwrap()),
    };
    let client = Config {
        ipv4: gateway,
        ..config(CLIENT)
    };
    let mut world = World::with([client, config(SERVER)]);
    log(&world);
    assert!(is_at_once(&mut world, |client| {
        for remote in ["192.0.2.1:80", "192.0.2.2:80"] {
            client.connect(remote.parse().unwrap(), None).unwrap();
        }
    }));
    // The router once.
    assert_eq!(questions(&world, CLIENT), [9, 2]);
}

#[test]
fn many_wait_for_one_answer() {
    let mut world = World::new();
    log(&world);
    let listener = world.server().listen(at(SERVER, 80), 128).unwrap();
    for remote in ["10.0.2.9:80", "10.0.2.8:80"] {
        world.client().connect(remote.parse().unwrap(), None).unwrap();
    }
    for _ in 0..100 {
        world.client().connect(at(SERVER, 80), None).unwrap();
    }
    world.run(10_000);
    let accepted = std::iter::from_fn(|| world.server().accept(listener).ok()).count();
    assert_eq!((accepted, questions(&world, CLIENT)), (100, vec![9, 8, 2]));
    // Who does not answer is asked for once a second, and then given up.
    world.run(10_000_000);
    let mut asked = questions(&world, CLIENT);
    asked.sort_unstable();
    assert_eq!(asked, [2, 8, 8, 8, 9, 9, 9]);
}

#[cfg(feature = "udp")]
#[test]
fn datagrams_wait_for_no_other_neighbour() {
    let mut world = World::new();
    let server = world.server().udp_bind(at(SERVER, 53)).unwrap();
    let client = world.client().udp_bind("0.0.0.0:0".parse().unwrap()).unwrap();
    world
        .client()
        .connect("10.0.2.9:80".parse().unwrap(), None)
        .unwrap();
    world.run(10_000);
    world
        .client()
        .send_to(client, b"x", Some(at(SERVER, 53)))
        .unwrap();
    world.run(10_000);
    assert!(world.server().udp_readiness(server).unwrap().readable);
}

#[cfg(all(feature = "dns", feature = "udp"))]
#[test]
fn questions_for_names_wait_for_no_other_neighbour() {
    let client = Config {
        dns_servers: vec![address(SERVER).into()],
        ..config(CLIENT)
    };
    let mut world = World::with([client, config(SERVER)]);
    let server = world.server().udp_bind(at(SERVER, 53)).unwrap();
    world
        .client()
        .connect("10.0.2.9:80".parse().unwrap(), None)
        .unwrap();
    world.run(10_000);
    world
        .client()
        .look_up("a.example", net_stack::Family::Ipv4)
        .unwrap();
    world.run(10_000);
    assert!(world.server().udp_readiness(server).unwrap().readable);
}

#[cfg(feature = "ipv6")]
#[test]
fn neighbours_of_ipv6_are_asked_for_as_well() {
    let end = |end: usize| Config {
        ipv6: Some((format!("fd00::{}", end + 1).parse().unwrap(), 64)),
        ..config(end)
    };
    let mut world = World::with([end(CLIENT), end(SERVER)]);
    let server = "[fd00::2]:80".parse().unwrap();
    world.server().listen(server, 8).unwrap();
    for remote in ["[fd00::9]:80", "10.0.2.9:80"] {
        world.client().connect(remote.parse().unwrap(), None).unwrap();
    }
    world.run(10_000);
    let stream = world.client().connect(server, None).unwrap();
    world.run(10_000);
    assert_eq!(world.client().connected(stream), Ok(()));
}

#[test]
fn a_stranger_is_refused_without_asking_where_he_is() {
    let mut world = World::new();
    log(&world);
    let stranger = ("10.0.2.77".parse().unwrap(), 1000);
    for (control, numbers) in [
        (TcpControl::Syn, (7, None)),
        (TcpControl::Fin, (7, None)),
        (TcpControl::None, (7, Some(9))),
        // Not answered.
        (TcpControl::Rst, (7, Some(9))),
    ] {
        world
            .server()
            .device()
            .inject(segment(stranger, 81, control, numbers));
    }
    world.run(10_000);
    let wire = world.wire.borrow();
    let answers: Vec<_> = wire
        .log
        .as_ref()
        .unwrap()
        .iter()
        .map(|(_, frame)| {
            let segment = TcpPacket::new_checked(&frame[34..]).unwrap();
            assert_eq!(
                (segment.rst(), segment.src_port(), segment.dst_port()),
                (true, 81, 1000)
            );
            assert!(segment.verify_checksum(&address(SERVER).into(), &stranger.0.into()));
            let acknowledged = segment.ack().then(|| segment.ack_number().0);
            (segment.seq_number().0, acknowledged)
        })
        .collect();
    assert_eq!(answers, [(0, Some(8)), (0, Some(8)), (9, None)]);
}

#[test]
fn an_address_that_nobody_has_is_unreachable() {
    let mut world = World::new();
    let stream = world
        .client()
        .connect("10.0.2.9:80".parse().unwrap(), None)
        .unwrap();
    assert_eq!(
        world.until(|[client, _]| wire::failure(client.connected(stream))),
        Error::HostUnreachable
    );
}
