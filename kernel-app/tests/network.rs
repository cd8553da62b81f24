//! The guest's network over a wire in memory: what is granted, what is waited for, and what goes out at the end; then
//! whole runs.

#[path = "../../wasi-shim/core/tests/support/directory.rs"]
#[allow(dead_code, reason = "the machine's device is for other tests")]
mod directory;
#[path = "support/machine.rs"]
#[allow(dead_code, reason = "others use the rest")]
mod machine;
#[path = "../../wasi-shim/core/tests/support/passthrough.rs"]
mod passthrough;

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use boot_protocol::exit_code;
use boot_protocol::network::Protocol;
use boot_protocol::run_spec::{Ipv4Source, Limit, Network, Wire as Kind};
use net_stack::Error;
use wasi_core::Errno;
use wasi_core::network::{Datagram, Direction, Network as _, SocketId};
use wasi_core::system::{Readiness, Source, Wait};

use self::machine::wire::{ROUTER, Wire, at, blocking, receive_all, wait_for};
use self::machine::{Machine, refused};

/// A network with these grants.
fn granted(grants: &[&str], wire: Kind) -> Network {
    Network {
        wire,
        grants: grants.iter().map(|grant| grant.parse().unwrap()).collect(),
        ..Network::default()
    }
}

/// A network with a listener at this port.
fn listening(port: u16) -> Network {
    Network {
        listeners: vec![at(Ipv4Addr::UNSPECIFIED, port)],
        ..Network::default()
    }
}

const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const NAMED: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 100);

#[test]
fn a_connection_is_accepted_and_echoed() {
    let wire = Wire::to(ROUTER);
    let mut sockets = wire.network(&listening(80)).unwrap();
    let listener = sockets.listen(at(Ipv4Addr::UNSPECIFIED, 80), 8).unwrap();
    let client = wire.peer().connect(at(GUEST, 80), None).unwrap();
    let heard = Rc::new(RefCell::new((0, Vec::new(), false)));
    let said = Rc::clone(&heard);
    wire.script(move |peer, _| {
        let (sent, heard, over) = &mut *said.borrow_mut();
        let question = vec![b'?'; 200_000];
        while let Ok(count @ 1..) = peer.send(client, &question[*sent..]) {
            *sent += count;
        }
        if *sent == question.len() {
            let _ = peer.shutdown(client, net_stack::Half::Send);
        }
        let mut buf = [0; 4096];
        while let Ok(count) = peer.receive(client, &mut buf) {
            heard.extend_from_slice(&buf[..count]);
            if count == 0 {
                *over = true;
                return;
            }
        }
    });
    assert_eq!(sockets.accept(listener), Err(Errno::AGAIN));
    assert!(matches!(
        wait_for(&mut sockets, Source::Readable(listener)),
        Readiness::Ready { hangup: false, .. }
    ));
    let (stream, from) = sockets.accept(listener).unwrap();
    assert_eq!(from.ip(), IpAddr::V4(ROUTER));
    assert_eq!(sockets.peer_address(stream), Ok(from));
    assert_eq!(sockets.local_address(stream), Ok(at(GUEST, 80)));
    let asked = receive_all(&mut sockets, stream).unwrap();
    // Its peer sends no more, and is still to be answered.
    let half_closed = wait_for(&mut sockets, Source::Readable(stream));
    assert_eq!(
        half_closed,
        Readiness::Ready {
            bytes: 1,
            hangup: false
        }
    );
    let mut rest = &asked[..];
    while !rest.is_empty() {
        let sent = blocking(&mut sockets, Source::Writable(stream), |sockets| {
            sockets.send(stream, rest)
        });
        rest = &rest[sent.unwrap()..];
    }
    // It ends right after its last write.
    sockets.finish();
    let heard = heard.borrow();
    assert_eq!((heard.1.len(), heard.2), (200_000, true));
    assert_eq!(heard.1, asked);
}

#[test]
fn what_was_not_granted_is_refused_before_a_packet_leaves() {
    let wire = Wire::to(ROUTER);
    let network = granted(&["redis:6379", "192.0.2.1:80", "time:123/udp"], Kind::Relay);
    let mut sockets = wire.network(&network).unwrap();
    for to in [
        "10.0.2.2:80",
        "10.0.2.100:80",
        "10.0.2.101:6379",
        "192.0.2.1:81",
        "192.0.2.2:80",
        "10.0.2.101:123",
        "[fd00:a:0:2::1:64]:80",
        "127.0.0.1:6379",
        "255.255.255.255:80",
    ] {
        assert_eq!(
            sockets.connect(to.parse().unwrap(), None),
            Err(Errno::ACCES),
            "{to}"
        );
    }
    let any = at(Ipv4Addr::UNSPECIFIED, 0);
    let udp = sockets.bind_datagrams(any).unwrap();
    for to in [
        "10.0.2.100:6379",
        "10.0.2.101:124",
        "10.0.2.3:53",
        "255.255.255.255:67",
    ] {
        let to = to.parse().unwrap();
        assert_eq!(sockets.send_to(udp, b"x", Some(to)), Err(Errno::ACCES), "{to}");
        assert_eq!(
            sockets.connect_datagrams(udp, Some(to)),
            Err(Errno::ACCES),
            "{to}"
        );
    }
    for port in [0, 80, 6379] {
        let local = at(Ipv4Addr::UNSPECIFIED, port);
        assert_eq!(sockets.listen(local, 1), Err(Errno::ACCES), "{port}");
    }
    assert_eq!(sockets.bind_datagrams(at(GUEST, 123)), Err(Errno::ACCES));
    assert_eq!(sockets.look_up("example.com"), Err(Errno::ACCES));
    assert_eq!(sockets.look_up("localhost"), Err(Errno::ACCES));
    sockets.wait(&mut [], Some(1_000_000_000), &mut || unreachable!());
    assert_eq!(wire.sent(), 0);
    // What was, is.
    for to in [
        "10.0.2.100:6379",
        "[::ffff:192.0.2.1]:80",
        "[fd00:a:0:2::1:64]:6379",
    ] {
        sockets.connect(to.parse().unwrap(), None).expect(to);
    }
    assert_eq!(
        sockets.send_to(udp, b"x", Some("10.0.2.101:123".parse().unwrap())),
        Ok(())
    );
    assert!(wire.sent() > 0);
}

#[test]
fn all_but_the_host_is_inherited() {
    let wire = Wire::to(ROUTER);
    let network = Network {
        inherit: true,
        ..granted(&["10.0.2.2:6379"], Kind::Direct)
    };
    let mut sockets = wire.network(&network).unwrap();
    for to in [
        "10.0.2.2:80",
        "169.254.169.254:80",
        "127.0.0.1:80",
        "10.0.2.3:53",
        "224.0.0.1:1",
    ] {
        assert_eq!(
            sockets.connect(to.parse().unwrap(), None),
            Err(Errno::ACCES),
            "{to}"
        );
    }
    for to in ["10.0.2.2:6379", "192.0.2.7:80"] {
        sockets.connect(to.parse().unwrap(), None).expect(to);
    }
    sockets.listen(at(Ipv4Addr::UNSPECIFIED, 0), 1).unwrap();
}

#[test]
fn a_granted_name_has_the_same_address_on_every_wire() {
    for (kind, target) in [(Kind::Relay, at(NAMED, 6379)), (Kind::Direct, at(ROUTER, 7000))] {
        let IpAddr::V4(address) = target.ip() else {
            panic!()
        };
        let wire = Wire::to(address);
        let listener = wire.peer().listen(target, 1).unwrap();
        let network = granted(&["redis:6379=10.0.2.2:7000"], kind);
        let mut sockets = wire.network(&network).unwrap();
        let lookup = sockets.look_up("Redis.").unwrap();
        assert_eq!(
            wait_for(&mut sockets, Source::Readable(lookup)),
            Readiness::Ready {
                bytes: 1,
                hangup: false
            }
        );
        let found = sockets.addresses(lookup).unwrap();
        assert_eq!(found[0], IpAddr::V4(NAMED));
        assert_eq!(found.len(), if kind == Kind::Relay { 2 } else { 1 });
        assert_eq!(sockets.addresses(lookup), Err(Errno::BADF));
        let stream = sockets.connect(at(NAMED, 6379), None).unwrap();
        assert_eq!(
            blocking(&mut sockets, Source::Writable(stream), |sockets| sockets
                .connected(stream)),
            Ok(())
        );
        assert_eq!(sockets.peer_address(stream), Ok(at(NAMED, 6379)));
        sockets.wait(&mut [], Some(1_000_000), &mut || unreachable!());
        assert!(wire.peer().accept(listener).is_ok());
        assert_eq!(sockets.close(stream), Ok(()));
        assert_eq!(sockets.close(stream), Err(Errno::BADF));
        assert_eq!(sockets.peer_address(stream), Err(Errno::BADF));
    }
    let wire = Wire::to(ROUTER);
    let network = granted(&["api.example:443"], Kind::Direct);
    let error = wire.network(&network).err().unwrap();
    assert!(error.contains("api.example:443=192.0.2.1"), "{error}");
}

#[test]
fn a_refused_connection_is_told_once() {
    let wire = Wire::to(ROUTER);
    let mut sockets = wire.network(&granted(&["10.0.2.2:1"], Kind::Direct)).unwrap();
    let stream = sockets.connect(at(ROUTER, 1), None).unwrap();
    assert_eq!(sockets.connected(stream), Err(Errno::INPROGRESS));
    assert_eq!(wait_for(&mut sockets, Source::Writable(stream)), Readiness::ENDED);
    assert_eq!(sockets.connected(stream), Err(Errno::CONNREFUSED));
    assert_eq!(sockets.connected(stream), Err(Errno::NOTCONN));
}

#[test]
fn datagrams_are_answered_to_whoever_has_sent_to_a_published_port() {
    let wire = Wire::to(ROUTER);
    let network = Network {
        published: vec![(53, Protocol::Udp)],
        ..Network::default()
    };
    let mut sockets = wire.network(&network).unwrap();
    let udp = sockets.bind_datagrams(at(Ipv4Addr::UNSPECIFIED, 53)).unwrap();
    let client = at(ROUTER, 5000);
    assert_eq!(sockets.send_to(udp, b"x", Some(client)), Err(Errno::ACCES));
    let theirs = wire.peer().udp_bind(client).unwrap();
    wire.peer()
        .send_to(theirs, b"question", Some(at(GUEST, 53)))
        .unwrap();
    let mut buf = [0; 5];
    let received = blocking(&mut sockets, Source::Readable(udp), |sockets| {
        sockets.receive_from(udp, &mut buf, false)
    });
    assert_eq!(
        received,
        Ok(Datagram {
            length: 5,
            from: client,
            truncated: true
        })
    );
    assert_eq!(sockets.send_to(udp, b"answer", Some(client)), Ok(()));
    assert_eq!(
        sockets.send_to(udp, b"x", Some(at(ROUTER, 5001))),
        Err(Errno::ACCES)
    );
    sockets.finish();
    let mut buf = [0; 16];
    let answer = wire.peer().receive_from(theirs, &mut buf).unwrap();
    assert_eq!(
        (&buf[..answer.length], answer.from),
        (&b"answer"[..], at(GUEST, 53))
    );
}

#[test]
fn one_wait_wakes_for_input_a_socket_and_the_time() {
    let wire = Wire::to(ROUTER);
    let mut sockets = wire.network(&listening(80)).unwrap();
    let listener = sockets.listen(at(Ipv4Addr::UNSPECIFIED, 80), 8).unwrap();
    let both = [Wait::new(Source::Stdin), Wait::new(Source::Readable(listener))];
    let mut wait = |timeout| {
        let (mut on, start, input) = (both, wire.time(), wire.clone());
        sockets.wait(&mut on, timeout, &mut || {
            Ok(match input.input_is_there() {
                true => Readiness::Ready {
                    bytes: 1,
                    hangup: false,
                },
                false => Readiness::NotReady,
            })
        });
        let is_ready = on.map(|wait| wait.answer != Ok(Readiness::NotReady));
        (is_ready, wire.time() - start)
    };
    assert_eq!(wait(Some(0)).0, [false, false]);
    assert_eq!(wire.sleeps(), 0, "that asked without waiting");
    let (ready, passed) = wait(Some(3_000_000_000));
    assert_eq!(ready, [false, false]);
    assert!((3_000_000_000..3_001_000_000).contains(&passed), "{passed}");
    assert!(wire.sleeps() < 10, "an idle machine sleeps: {}", wire.sleeps());

    wire.input(true);
    assert_eq!(wait(None).0, [true, false]);
    wire.input(false);

    let mut client = None;
    wire.script(move |peer, _| {
        client.get_or_insert_with(|| peer.connect(at(GUEST, 80), None).unwrap());
    });
    assert_eq!(wait(None).0, [false, true]);
    wire.input(true);
    assert_eq!(wait(None).0, [true, true]);
}

#[test]
fn numbers_that_name_nothing_do_no_harm() {
    let wire = Wire::to(ROUTER);
    let mut sockets = wire.network(&listening(80)).unwrap();
    for kind in 0..4_u64 {
        for bits in [0, 1, u64::MAX >> 2] {
            let id = SocketId(kind << 62 | bits);
            assert_eq!(sockets.accept(id), Err(Errno::BADF));
            assert_eq!(sockets.connected(id), Err(Errno::BADF));
            assert_eq!(sockets.receive(id, &mut [0], false), Err(Errno::BADF));
            assert_eq!(sockets.send(id, &[0]), Err(Errno::BADF));
            assert_eq!(sockets.shutdown(id, Direction::Send), Err(Errno::BADF));
            assert_eq!(sockets.receive_from(id, &mut [0], true), Err(Errno::BADF));
            assert_eq!(sockets.send_to(id, &[0], None), Err(Errno::BADF));
            assert_eq!(sockets.local_address(id), Err(Errno::BADF));
            assert_eq!(sockets.take_error(id), Err(Errno::BADF));
            assert_eq!(sockets.addresses(id), Err(Errno::BADF));
            assert_eq!(sockets.close(id), Err(Errno::BADF));
            let mut on = [Wait::new(Source::Readable(id)), Wait::new(Source::Writable(id))];
            sockets.wait(&mut on, None, &mut || unreachable!());
            assert_eq!(on.map(|wait| wait.answer), [Err(Errno::BADF); 2]);
        }
    }
}

#[test]
fn the_end_is_not_waited_for_without_bound() {
    let wire = Wire::to(ROUTER);
    let listener = wire.peer().listen(at(ROUTER, 1), 1).unwrap();
    let mut sockets = wire.network(&granted(&["10.0.2.2:1"], Kind::Direct)).unwrap();
    let stream = sockets.connect(at(ROUTER, 1), None).unwrap();
    blocking(&mut sockets, Source::Writable(stream), |sockets| {
        sockets.connected(stream)
    })
    .unwrap();
    assert_ne!(wire.peer().accept(listener).err(), Some(Error::BadHandle));
    wire.cut();
    sockets.send(stream, b"into the void").unwrap();
    let start = wire.time();
    sockets.finish();
    let passed = wire.time() - start;
    assert!((10_000_000_000..10_100_000_000).contains(&passed), "{passed}");
}

#[test]
fn where_the_guest_has_taken_all_memory_nothing_is_opened() {
    let wire = Wire::to(ROUTER);
    let network = Network {
        listeners: listening(80).listeners,
        ..granted(&["10.0.2.2:1"], Kind::Direct)
    };
    let mut sockets = wire.network(&network).unwrap();
    let listener = sockets.listen(at(Ipv4Addr::UNSPECIFIED, 80), 8).unwrap();
    wire.memory(100_000);
    let client = wire.peer().connect(at(GUEST, 80), None).unwrap();
    let mut on = [Wait::new(Source::Readable(listener))];
    sockets.wait(&mut on, Some(5_000_000_000), &mut || unreachable!());
    assert_eq!(on[0].answer, Ok(Readiness::NotReady));
    // The client is told, instead of being left to ask again and again.
    assert_eq!(wire.peer().connected(client), Err(Error::ConnectionRefused));
    assert_eq!(sockets.connect(at(ROUTER, 1), None), Err(Errno::NOBUFS));
    // What is small is there.
    let udp = sockets.bind_datagrams(at(Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    sockets.close(udp).unwrap();
    wire.memory(0);
    sockets.wait(&mut [], Some(0), &mut || unreachable!());
    let any = at(Ipv4Addr::UNSPECIFIED, 0);
    assert_eq!(sockets.bind_datagrams(any), Err(Errno::NOBUFS));
    wire.memory(1 << 20);
    wire.peer().connect(at(GUEST, 80), None).unwrap();
    wait_for(&mut sockets, Source::Readable(listener));
    assert!(sockets.accept(listener).is_ok());
}

#[test]
fn without_a_server_dhcp_gives_up() {
    let wire = Wire::to(ROUTER);
    let network = Network {
        address: Ipv4Source::Dhcp,
        ..Network::default()
    };
    let error = wire.network(&network).err().unwrap();
    assert!(error.contains("DHCP") && error.contains("--ip"), "{error}");
}

/// Accepts on its first descriptor behind the streams, echoes until the end, and ends.
const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $set_flags (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 2)
    (func $check (param $errno i32) (if (local.get $errno) (then (call $exit (local.get $errno)))))
    (func (export "_start")
        ;; So that it waits.
        (call $check (call $set_flags (i32.const 3) (i32.const 0)))
        (call $check (call $accept (i32.const 3) (i32.const 0) (i32.const 16)))
        (i32.store (i32.const 0) (i32.const 1024))
        (loop $more
            (i32.store (i32.const 4) (i32.const 60000))
            (call $check (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 4)))
            (if (i32.load (i32.const 4)) (then
                (call $check
                    (call $send (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 20)))
                (br $more))))))"#;

#[test]
fn a_guest_serves_on_the_listener_that_it_is_given() {
    let wire = Wire::to(ROUTER);
    let (mut client, mut is_shut) = (None, false);
    let heard = Rc::new(RefCell::new(Vec::new()));
    let all = Rc::clone(&heard);
    wire.script(move |peer, _| {
        let client = *client.get_or_insert_with(|| peer.connect(at(GUEST, 80), None).unwrap());
        if !is_shut && peer.connected(client).is_ok() {
            is_shut = true;
            assert_eq!(peer.send(client, b"hello"), Ok(5));
            peer.shutdown(client, net_stack::Half::Send).unwrap();
        }
        let mut buf = [0; 16];
        while let Ok(count @ 1..) = peer.receive(client, &mut buf) {
            all.borrow_mut().extend_from_slice(&buf[..count]);
        }
    });
    let mut machine = machine(Some(wire));
    let status = machine.run("--tcplisten 0.0.0.0:80", &[]);
    assert_eq!((status.code, status.message), (0, None));
    assert_eq!(*heard.borrow(), b"hello");
}

/// A machine with that guest, and with a network device if there is a wire.
fn machine(wire: Option<Wire>) -> Machine {
    Machine {
        payload: Some(wat::parse_str(ECHO).unwrap().leak()),
        wire,
        ..Machine::default()
    }
}

#[test]
fn a_machine_without_the_network_of_its_run_says_so() {
    let words = ["cannot give `boot-module.wasm` its network", "no network device"];
    refused(&machine(None).run("--tcplisten 0.0.0.0:80", &[]), 125, &words);
    // Without a listener there is nothing to accept on: BADF.
    assert_eq!(machine(None).run("", &[]).code, 8);
    let mut elsewhere = machine(Some(Wire::to(ROUTER)));
    let words = ["cannot listen at 192.0.2.1:80"];
    refused(&elsewhere.run("--tcplisten 192.0.2.1:80", &[]), 125, &words);
}

#[test]
fn listeners_count_among_the_descriptors() {
    let mut machine = machine(Some(Wire::to(ROUTER)));
    let status = machine.run("--limit max-descriptors=3 --tcplisten 0.0.0.0:80", &[]);
    refused(
        &status,
        exit_code::of_limit(Limit::Descriptors),
        &["it begins with 4"],
    );
}
