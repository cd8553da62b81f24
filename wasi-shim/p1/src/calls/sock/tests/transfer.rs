//! Tests of bytes and datagrams through sockets.

use alloc::vec;

use wasi_core::file::Blocking;

use super::*;

#[test]
fn sock_recv_fills_what_is_there_and_tells_the_end() {
    let mut bed = connected([(10, H::Sends(peer(1), b"hello".to_vec())), (20, H::Ends(peer(1)))]);
    recv(&mut bed, CONNECTION, Riflags::NONE, &[], &[], 0);
    recv(&mut bed, CONNECTION, Riflags::NONE, &[(u32::MAX, 0)], &[], 0);
    recv(
        &mut bed,
        CONNECTION,
        Riflags::RECV_PEEK,
        &[(0, 0), (BUF, 2), (BUF + 8, 8)],
        &[(BUF, b"he")],
        2,
    );
    recv(
        &mut bed,
        CONNECTION,
        Riflags::NONE,
        &[(0, 0), (BUF, 2), (BUF + 8, 8)],
        &[(BUF, b"he"), (BUF + 8, b"llo")],
        5,
    );
    for flags in [Riflags::NONE, Riflags::RECV_PEEK, Riflags::RECV_WAITALL] {
        recv(&mut bed, CONNECTION, flags, &[(BUF, 2)], &[], 0);
    }
}

#[test]
fn sock_recv_waits_for_all_only_if_it_may_wait() {
    let script = || {
        [
            (0, H::Sends(peer(1), b"ab".to_vec())),
            (10, H::Sends(peer(1), b"cdefg".to_vec())),
            (20, H::Sends(peer(1), b"h".to_vec())),
            (30, H::Ends(peer(1))),
        ]
    };
    let all = Riflags::RECV_WAITALL;
    let mut bed = connected(script());
    recv(
        &mut bed,
        CONNECTION,
        all,
        &[(BUF, 3), (BUF + 8, 3)],
        &[(BUF, b"abc"), (BUF + 8, b"def")],
        6,
    );
    // The stream ends before it is full.
    recv(&mut bed, CONNECTION, all, &[(BUF, 3)], &[(BUF, b"gh")], 2);

    let mut bed = connected(script());
    nonblock(&mut bed, CONNECTION);
    recv(&mut bed, CONNECTION, all, &[(BUF, 3)], &[(BUF, b"ab")], 2);
    recv_errno(&mut bed, CONNECTION, all, Errno::AGAIN);

    // To look ahead does not wait for more than a byte.
    let mut bed = connected(script());
    recv(
        &mut bed,
        CONNECTION,
        all.union(Riflags::RECV_PEEK),
        &[(BUF, 3)],
        &[(BUF, b"ab")],
        2,
    );
}

#[test]
fn what_came_before_an_error_is_told_first() {
    let mut bed = connected([
        (0, H::Sends(peer(1), b"ab".to_vec())),
        (10, H::Breaks(peer(1), Errno::CONNRESET)),
    ]);
    recv(
        &mut bed,
        CONNECTION,
        Riflags::RECV_WAITALL,
        &[(BUF, 3)],
        &[(BUF, b"ab")],
        2,
    );
    recv_errno(&mut bed, CONNECTION, Riflags::NONE, Errno::CONNRESET);
    bed.put_iovecs(LIST, &[(BUF, 8)]);
    bed.errno(
        |c, m| sock_send(c, m, CONNECTION, Ptr::new(LIST), 1, 0, Ptr::new(LEN)),
        Errno::CONNRESET,
    );
}

#[test]
fn receiving_and_sending_trap_before_anything_happens() {
    let mut bed = connected([(0, H::Sends(peer(1), b"hello".to_vec()))]);
    bed.put_iovecs(LIST, &[(BUF, 2), (SIZE - 1, 2)]);
    let all = [
        (LIST, 2, LEN, FLAGS),
        (LIST + 1, 1, LEN, FLAGS),
        (SIZE - 4, 1, LEN, FLAGS),
        (LIST, 1, SIZE - 3, FLAGS),
        (LIST, 1, LEN + 2, FLAGS),
        (LIST, 1, LEN, SIZE - 1),
        (LIST, 1, LEN, FLAGS + 1),
    ];
    for (list, count, len, flags) in all {
        bed.trap(|c, m| {
            let (list, len, flags) = (Ptr::new(list), Ptr::new(len), Ptr::new(flags));
            sock_recv(c, m, CONNECTION, list, count, Riflags::NONE, len, flags)
        });
    }
    for (list, count, len, _) in all.into_iter().take(5) {
        bed.trap(|c, m| sock_send(c, m, CONNECTION, Ptr::new(list), count, 0, Ptr::new(len)));
        bed.trap(|c, m| fd_write(c, m, CONNECTION, Ptr::new(list), count, Ptr::new(len)));
        bed.trap(|c, m| fd_read(c, m, CONNECTION, Ptr::new(list), count, Ptr::new(len)));
    }
    recv(
        &mut bed,
        CONNECTION,
        Riflags::NONE,
        &[(BUF, 8)],
        &[(BUF, b"hello")],
        5,
    );
}

#[test]
fn sock_send_and_fd_write_send_in_order() {
    let mut bed = connected([]);
    bed.put(BUF, b"one, two");
    bed.put_iovecs(LIST, &[(BUF, 5), (0, 0), (BUF + 5, 3)]);
    bed.ok(
        |c, m| sock_send(c, m, CONNECTION, Ptr::new(LIST), 3, 0, Ptr::new(LEN)),
        &[(LEN, &le32(8))],
    );
    bed.ok(
        |c, m| fd_write(c, m, CONNECTION, Ptr::new(LIST), 1, Ptr::new(LEN)),
        &[(LEN, &le32(5))],
    );
    assert_eq!(bed.network().sent[&peer(1)], b"one, twoone, ");
    // What fits into a few segments goes out as one.
    assert_eq!(bed.network().pieces, [8, 5]);
    bed.ok(|c, m| sock_shutdown(c, m, CONNECTION, Sdflags::WR), &[]);
    bed.errno(
        |c, m| fd_write(c, m, CONNECTION, Ptr::new(LIST), 1, Ptr::new(LEN)),
        Errno::PIPE,
    );
}

#[test]
fn fd_read_is_sock_recv() {
    let mut bed = connected([(10, H::Sends(peer(1), b"hello".to_vec())), (20, H::Ends(peer(1)))]);
    bed.put_iovecs(LIST, &[(BUF, 2), (BUF + 8, 8)]);
    let read = |c: &mut WasiP1Ctx<TestSystem>, m: &mut GuestMemory<'_>| {
        fd_read(c, m, CONNECTION, Ptr::new(LIST), 2, Ptr::new(LEN))
    };
    bed.ok(read, &[(LEN, &le32(5)), (BUF, b"he"), (BUF + 8, b"llo")]);
    bed.ok(read, &[(LEN, &le32(0))]);
}

#[test]
fn streams_without_a_connection() {
    let mut bed = TestBed::served([(10, H::Answers(peer(9), Err(Errno::CONNREFUSED)))]);
    let stream = bed.open_socket(Kind::Stream);
    recv_errno(&mut bed, stream, Riflags::NONE, Errno::NOTCONN);
    recv_errno(&mut bed, LISTENER, Riflags::NONE, Errno::NOTCONN);
    bed.put_iovecs(LIST, &[(BUF, 8)]);
    for fd in [stream, LISTENER] {
        let errno = Errno::NOTCONN;
        bed.errno(
            |c, m| sock_send(c, m, fd, Ptr::new(LIST), 1, 0, Ptr::new(LEN)),
            errno,
        );
        bed.errno(|c, m| fd_write(c, m, fd, Ptr::new(LIST), 1, Ptr::new(LEN)), errno);
    }
    // The receive waits for the connection, which is refused.
    assert_eq!(
        bed.connect(stream, peer(9), Blocking::Fail),
        Err(Errno::INPROGRESS)
    );
    let end = bed.run(|c, m| {
        sock_recv(
            c,
            m,
            stream,
            Ptr::new(LIST),
            1,
            Riflags::NONE,
            Ptr::new(LEN),
            Ptr::new(FLAGS),
        )
    });
    assert_eq!(end, Err(Errno::CONNREFUSED.into()));
}

#[test]
fn datagrams_are_whole_or_cut_off() {
    let mut bed = TestBed::served([
        (10, H::Datagram(peer(9), 49_153, b"hello".to_vec())),
        (10, H::Datagram(peer(9), 49_153, b"hello".to_vec())),
        (10, H::Datagram(peer(9), 49_153, vec![])),
        (10, H::Datagram(peer(9), 49_153, b"last".to_vec())),
    ]);
    let fd = bed.open_socket(Kind::Datagram);
    bed.put(BUF, b"abcd");
    bed.put_iovecs(LIST, &[(BUF, 1), (BUF + 1, 3)]);
    bed.errno(
        |c, m| sock_send(c, m, fd, Ptr::new(LIST), 2, 0, Ptr::new(LEN)),
        Errno::DESTADDRREQ,
    );
    bed.connect(fd, peer(9), Blocking::Fail).expect("nobody says no");
    // A list of buffers is one datagram; no buffer is an empty one.
    for (count, len) in [(2, 4), (1, 1), (0, 0)] {
        bed.ok(
            |c, m| sock_send(c, m, fd, Ptr::new(LIST), count, 0, Ptr::new(LEN)),
            &[(LEN, &le32(len))],
        );
    }
    bed.put_iovecs(LIST, &[(BUF, 0)]);
    bed.ok(
        |c, m| sock_send(c, m, fd, Ptr::new(LIST), 1, 0, Ptr::new(LEN)),
        &[(LEN, &le32(0))],
    );
    let sent = [&b"abcd"[..], b"a", b"", b""].map(|bytes| (peer(9), bytes.to_vec()));
    assert_eq!(bed.network().datagrams, sent);

    recv(
        &mut bed,
        fd,
        Riflags::RECV_PEEK,
        &[(BUF, 3), (BUF + 8, 4)],
        &[(BUF, b"hel"), (BUF + 8, b"lo")],
        5,
    );
    recv(
        &mut bed,
        fd,
        Riflags::NONE,
        &[(BUF, 3), (BUF + 8, 4)],
        &[(BUF, b"hel"), (BUF + 8, b"lo")],
        5,
    );
    bed.put_iovecs(LIST, &[(BUF, 2)]);
    bed.ok(
        |c, m| {
            sock_recv(
                c,
                m,
                fd,
                Ptr::new(LIST),
                1,
                Riflags::NONE,
                Ptr::new(LEN),
                Ptr::new(FLAGS),
            )
        },
        &[(LEN, &le32(2)), (FLAGS, &[1, 0]), (BUF, b"he")],
    );
    recv(&mut bed, fd, Riflags::NONE, &[(BUF, 2)], &[], 0);
    bed.put_iovecs(LIST, &[(BUF, 2), (BUF + 8, 1)]);
    bed.ok(
        |c, m| fd_read(c, m, fd, Ptr::new(LIST), 2, Ptr::new(LEN)),
        &[(LEN, &le32(3)), (BUF, b"la"), (BUF + 8, b"s")],
    );
    nonblock(&mut bed, fd);
    recv_errno(&mut bed, fd, Riflags::NONE, Errno::AGAIN);
}
