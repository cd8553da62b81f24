//! Tests of `poll_oneoff` on sockets.

use core::net::SocketAddr;

use wasi_core::{file::Blocking, socket::Kind, testing::Happening as H};

use super::*;
use crate::{
    abi::types::Sdflags,
    calls::sock::{sock_accept, sock_shutdown},
};

const LISTENER: u32 = 3;
const CONNECTION: u32 = 4;

const READ: u8 = 1;
const WRITE: u8 = 2;
const HANGUP: u16 = 1;

fn peer(port: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1].into(), port)
}

fn connected(script: impl IntoIterator<Item = (u64, H)>) -> TestBed {
    let mut bed = TestBed::served([(0, H::Connects(peer(1), 80))].into_iter().chain(script));
    bed.run(|c, m| sock_accept(c, m, LISTENER, Fdflags::NONE, Ptr::new(COUNT)))
        .expect("a connection");
    bed
}

/// How much time has passed.
fn passed(bed: &TestBed) -> u64 {
    bed.ctx.core.system.monotonic - TestSystem::default().monotonic
}

#[test]
fn a_listener_is_readable_when_a_connection_waits() {
    let mut bed = TestBed::served([(5 * MS, H::Connects(peer(1), 80))]);
    let listener = fd(1, READ, LISTENER);
    poll(
        &mut bed,
        &[listener, clock(2, MONOTONIC, 2 * MS, 0)],
        &[event(2, 0, 0, 0, 0)],
    );
    poll(
        &mut bed,
        &[listener, clock(2, MONOTONIC, 20 * MS, 0)],
        &[event(1, 0, READ, 1, 0)],
    );
    assert_eq!(passed(&bed), 5 * MS);
    // Nobody writes to it, and to wait for that fails nothing.
    poll(
        &mut bed,
        &[fd(1, WRITE, LISTENER), clock(2, MONOTONIC, MS, 0)],
        &[event(2, 0, 0, 0, 0)],
    );
}

#[test]
fn input_a_socket_and_a_clock_wake_each() {
    let script = [
        (5 * MS, H::Sends(peer(1), b"abc".to_vec())),
        (20 * MS, H::Ends(peer(1))),
    ];
    for (pause, timeout, expected, time) in [
        (MS, 9 * MS, event(1, 0, READ, 1, 0), MS),
        (9 * MS, 9 * MS, event(2, 0, READ, 3, 0), 5 * MS),
        (9 * MS, 2 * MS, event(3, 0, 0, 0, 0), 2 * MS),
    ] {
        let mut bed = connected(script.clone());
        bed.ctx.core.system.stdin = [Stdin::Pause(pause), Stdin::Bytes(b"x".to_vec())].into();
        let all = [
            fd(1, READ, 0),
            fd(2, READ, CONNECTION),
            clock(3, MONOTONIC, timeout, 0),
        ];
        poll(&mut bed, &all, &[expected]);
        assert_eq!(passed(&bed), time);
    }
}

#[test]
fn a_connection_is_readable_with_bytes_at_its_end_and_when_it_breaks() {
    let mut bed = connected([(MS, H::Sends(peer(1), b"abc".to_vec())), (MS, H::Ends(peer(1)))]);
    let both = [fd(1, READ, CONNECTION), fd(2, WRITE, CONNECTION)];
    poll(&mut bed, &both, &[event(2, 0, WRITE, 65_536, 0)]);
    poll(&mut bed, &both[..1], &[event(1, 0, READ, 3, 0)]);
    let socket = bed
        .ctx
        .fds
        .get_mut(CONNECTION)
        .and_then(|e| e.descriptor.socket_mut());
    let mut buf = [0; 8];
    let received = bed
        .ctx
        .core
        .receive(socket.expect("a socket"), &mut buf, false, Blocking::Fail);
    assert_eq!(received.map(|received| received.length), Ok(3));
    // Whoever sends no more may still be waiting for an answer.
    poll(
        &mut bed,
        &both,
        &[event(1, 0, READ, 1, 0), event(2, 0, WRITE, 65_536, 0)],
    );
    bed.run(|c, m| sock_shutdown(c, m, CONNECTION, Sdflags::WR))
        .expect("a connection");
    poll(
        &mut bed,
        &both,
        &[event(1, 0, READ, 0, HANGUP), event(2, 0, WRITE, 0, HANGUP)],
    );

    let mut bed = connected([(MS, H::Breaks(peer(1), Errno::CONNRESET))]);
    poll(&mut bed, &both[..1], &[event(1, 0, READ, 0, HANGUP)]);
    poll(
        &mut bed,
        &both,
        &[event(1, 0, READ, 0, HANGUP), event(2, 0, WRITE, 0, HANGUP)],
    );
}

#[test]
fn what_is_shut_down_here_is_ready() {
    let mut bed = connected([]);
    bed.ok(|c, m| sock_shutdown(c, m, CONNECTION, Sdflags::ALL), &[]);
    poll(
        &mut bed,
        &[fd(1, READ, CONNECTION), fd(2, WRITE, CONNECTION)],
        &[event(1, 0, READ, 1, 0), event(2, 0, WRITE, 65_536, 0)],
    );
}

#[test]
fn a_connection_in_the_making_is_writable_when_that_has_ended() {
    for (answer, expected) in [
        (Ok(()), event(2, 0, WRITE, 65_536, 0)),
        (Err(Errno::CONNREFUSED), event(2, 0, WRITE, 0, HANGUP)),
    ] {
        let mut bed = TestBed::served([(5 * MS, H::Answers(peer(9), answer))]);
        let stream = bed.open_socket(Kind::Stream);
        let write = fd(2, WRITE, stream);
        // Without a connection nothing is waited for.
        poll(
            &mut bed,
            &[fd(1, READ, stream), write],
            &[event(1, 0, READ, 0, HANGUP), event(2, 0, WRITE, 0, HANGUP)],
        );
        assert_eq!(
            bed.connect(stream, peer(9), Blocking::Fail),
            Err(Errno::INPROGRESS)
        );
        poll(
            &mut bed,
            &[write, clock(3, MONOTONIC, MS, 0)],
            &[event(3, 0, 0, 0, 0)],
        );
        poll(&mut bed, &[write], &[expected]);
        assert_eq!(passed(&bed), 5 * MS);
    }
}

#[test]
fn datagrams_are_waited_for_once_there_is_a_port() {
    let mut bed = TestBed::served([(5 * MS, H::Datagram(peer(9), 49_153, b"abc".to_vec()))]);
    let socket = bed.open_socket(Kind::Datagram);
    let read = fd(1, READ, socket);
    poll(
        &mut bed,
        &[read, fd(2, WRITE, socket)],
        &[event(2, 0, WRITE, 1, 0)],
    );
    poll(
        &mut bed,
        &[read, clock(3, MONOTONIC, MS, 0)],
        &[event(3, 0, 0, 0, 0)],
    );
    bed.connect(socket, peer(9), Blocking::Fail)
        .expect("nobody says no");
    poll(&mut bed, &[read], &[event(1, 0, READ, 3, 0)]);
}

#[test]
fn a_socket_that_is_waited_for_twice_is_told_twice() {
    let mut bed = connected([(MS, H::Sends(peer(1), b"abc".to_vec()))]);
    poll(
        &mut bed,
        &[fd(1, READ, CONNECTION), fd(2, READ, CONNECTION)],
        &[event(1, 0, READ, 3, 0), event(2, 0, READ, 3, 0)],
    );
}

#[test]
fn rights_of_sockets_are_checked() {
    let mut bed = connected([]);
    bed.ok(
        |c, m| fd_fdstat_set_rights(c, m, CONNECTION, Rights::POLL_FD_READWRITE, Rights::NONE),
        &[],
    );
    for tag in [READ, WRITE] {
        poll_errno(&mut bed, &[fd(1, tag, CONNECTION)], Errno::NOTCAPABLE);
    }
}
