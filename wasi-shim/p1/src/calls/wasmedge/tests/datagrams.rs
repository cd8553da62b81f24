//! Datagrams, who sent them and to whom they go.
//!
//! Layer: tests.

use super::*;

/// A socket for datagrams at port 53, to which one of five bytes comes; a buffer of 4 bytes at 200, its list at 192.
fn bed_with_a_datagram() -> (TestBed, Fd) {
    let datagram = Happening::Datagram(PEER, 53, b"hello".to_vec());
    let mut bed = bed_with([(5, datagram)]);
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Dgram);
    put_address(&mut bed, &[0; 4]);
    bed.ok(|c, m| sock_bind(c, m, fd, ADDRESS, 53), &[]);
    bed.put(192, &[le32(200), le32(4)].concat());
    (bed, fd)
}

#[test]
fn a_datagram_tells_who_sent_it() {
    let flags = Riflags::NONE;
    let (list, port) = (Ptr::new(192), Ptr::new(4));
    let (len, out) = (Ptr::new(8), Ptr::new(12));
    let received = [(8, &le32(4)[..]), (12, &[1, 0]), (200, b"hell")];
    for (room, written) in [
        (128, &[1, 0, 10, 0, 2, 100][..]),
        (16, &[10, 0, 2, 100]),
        (4, &[10, 0, 2, 100]),
    ] {
        let (mut bed, fd) = bed_with_a_datagram();
        put_room(&mut bed, room);
        let mut changes = received.to_vec();
        // Two bytes of port, no more.
        changes.extend([(4, &[0xeb, 0x18][..]), (BYTES, written)]);
        bed.ok(
            |c, m| sock_recv_from(c, m, fd, list, 1, ADDRESS, flags, port, len, out),
            &changes,
        );
    }
    for room in [0, 3, 5, 127] {
        let (mut bed, fd) = bed_with_a_datagram();
        put_room(&mut bed, room);
        bed.errno(
            |c, m| sock_recv_from(c, m, fd, list, 1, ADDRESS, flags, port, len, out),
            Errno::INVAL,
        );
    }
    // The first version knows no storage, and no port.
    for (room, written) in [
        (128, &[10, 0, 2, 100][..]),
        (16, &[10, 0, 2, 100]),
        (4, &[10, 0, 2, 100]),
        (3, &[]),
        (0, &[]),
    ] {
        let (mut bed, fd) = bed_with_a_datagram();
        put_room(&mut bed, room);
        let mut changes = received.to_vec();
        changes.push((BYTES, written));
        bed.ok(
            |c, m| first::sock_recv_from(c, m, fd, list, 1, ADDRESS, flags, len, out),
            &changes,
        );
    }
}

#[test]
fn a_datagram_is_not_received_where_its_sender_cannot_be_told() {
    let (mut bed, fd) = bed_with_a_datagram();
    bed.ctx.core.system.monotonic += 5;
    put_room(&mut bed, 128);
    for [list, address, port, len, out] in [
        [SIZE - 4, 16, 4, 8, 12],
        [192, SIZE - 4, 4, 8, 12],
        [192, 18, 4, 8, 12],
        [192, 16, SIZE - 1, 8, 12],
        [192, 16, 5, 8, 12],
        [192, 16, 4, SIZE - 3, 12],
        [192, 16, 4, 8, SIZE - 1],
    ] {
        bed.trap(|c, m| {
            let (address, flags) = (Ptr::new(address), Riflags::NONE);
            let (port, len, out) = (Ptr::new(port), Ptr::new(len), Ptr::new(out));
            sock_recv_from(c, m, fd, Ptr::new(list), 1, address, flags, port, len, out)
        });
    }
}

#[test]
fn of_a_stream_no_sender_is_told() {
    let script = [
        (1, Happening::Answers(PEER, Ok(()))),
        (2, Happening::Sends(PEER, b"hi".to_vec())),
    ];
    let mut bed = bed_with(script);
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Stream);
    put_address(&mut bed, &[10, 0, 2, 100]);
    bed.ok(|c, m| sock_connect(c, m, fd, ADDRESS, 6379), &[]);
    bed.put(192, &[le32(200), le32(4)].concat());
    put_room(&mut bed, 128);
    bed.ok(
        |c, m| {
            let (list, flags) = (Ptr::new(192), Riflags::NONE);
            let (port, len, out) = (Ptr::new(4), Ptr::new(8), Ptr::new(12));
            sock_recv_from(c, m, fd, list, 1, ADDRESS, flags, port, len, out)
        },
        &[
            (4, &[0, 0]),
            (8, &le32(2)),
            (12, &[0, 0]),
            (BYTES, &[0, 0]),
            (200, b"hi"),
        ],
    );
}

#[test]
fn a_datagram_goes_to_an_address() {
    let mut bed = bed_with([]);
    let denied = SocketAddr::new(Ipv4Addr::new(10, 0, 2, 100).into(), 22);
    if let Some(network) = &mut bed.ctx.core.system.network {
        network.denied.push(denied);
    }
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Dgram);
    put_address(&mut bed, &storage(1, &[10, 0, 2, 100]));
    bed.put(192, &[le32(220), le32(2), le32(300), le32(3)].concat());
    bed.put(220, b"ab");
    bed.put(300, b"cde");
    let (list, out) = (Ptr::new(192), Ptr::new(8));
    bed.ok(
        |c, m| sock_send_to(c, m, fd, list, 2, ADDRESS, 6379, 0, out),
        &[(8, &le32(5))],
    );
    let sent = bed
        .ctx
        .core
        .system
        .network
        .as_ref()
        .map(|network| network.datagrams.clone());
    assert_eq!(sent, Some(vec![(PEER, b"abcde".to_vec())]));
    bed.errno(
        |c, m| sock_send_to(c, m, fd, list, 2, ADDRESS, 22, 0, out),
        Errno::ACCES,
    );
    bed.trap(|c, m| sock_send_to(c, m, fd, list, 2, ADDRESS, 6379, 0, Ptr::new(SIZE)));
    put_address(&mut bed, &[1; 16]);
    bed.errno(
        |c, m| sock_send_to(c, m, fd, list, 2, ADDRESS, 6379, 0, out),
        Errno::AFNOSUPPORT,
    );
}
