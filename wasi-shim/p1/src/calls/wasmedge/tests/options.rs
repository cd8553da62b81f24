//! Options of sockets.
//!
//! Layer: tests.

use wasi_core::network::{SocketId, SocketOption};

use super::*;

const LEVEL: SockOptLevel = SockOptLevel::SolSocket;
const VALUE: Ptr<u8> = Ptr::new(40);
const LEN: Ptr<Size> = Ptr::new(24);

/// The option is these bytes.
#[track_caller]
fn tells(bed: &mut TestBed, fd: Fd, name: SockOptSo, bytes: &[u8]) {
    bed.put(LEN.address(), &le32(20));
    let len = Size::try_from(bytes.len()).expect("short");
    bed.ok(
        |c, m| sock_getsockopt(c, m, fd, LEVEL, name, VALUE, LEN),
        &[(VALUE.address(), bytes), (LEN.address(), &le32(len))],
    );
}

fn timeval(seconds: i64, microseconds: i64) -> Vec<u8> {
    [seconds.to_le_bytes(), microseconds.to_le_bytes()].concat()
}

#[test]
fn options_that_are_told() {
    let mut bed = bed_with([]);
    let stream = open(&mut bed, AddressFamily::Inet4, SockType::Stream);
    let datagrams = open(&mut bed, AddressFamily::Inet4, SockType::Dgram);
    tells(&mut bed, stream, SockOptSo::Type, &le32(2));
    tells(&mut bed, datagrams, SockOptSo::Type, &le32(1));
    tells(&mut bed, stream, SockOptSo::Error, &le32(0));
    tells(&mut bed, stream, SockOptSo::Reuseaddr, &le32(1));
    tells(&mut bed, datagrams, SockOptSo::Broadcast, &le32(0));
    tells(&mut bed, stream, SockOptSo::Keepalive, &le32(0));
    tells(&mut bed, stream, SockOptSo::Rcvtimeo, &timeval(0, 0));
    tells(&mut bed, stream, SockOptSo::Acceptconn, &le32(0));
    bed.ok(|c, m| sock_listen(c, m, stream, 1), &[]);
    tells(&mut bed, stream, SockOptSo::Acceptconn, &le32(1));
}

#[test]
fn why_a_connection_was_not_made_is_told_once() {
    let mut bed = bed_with([(5, Happening::Answers(PEER, Err(Errno::CONNREFUSED)))]);
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Stream);
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, fd, Fdflags::NONBLOCK), &[]);
    put_address(&mut bed, &[10, 0, 2, 100]);
    assert_eq!(
        bed.run(|c, m| sock_connect(c, m, fd, ADDRESS, 6379)),
        Err(Errno::INPROGRESS.into())
    );
    tells(&mut bed, fd, SockOptSo::Error, &le32(0));
    bed.ctx.core.system.monotonic += 5;
    // Without room it is not lost.
    bed.put(LEN.address(), &le32(3));
    bed.errno(
        |c, m| sock_getsockopt(c, m, fd, LEVEL, SockOptSo::Error, VALUE, LEN),
        Errno::INVAL,
    );
    tells(
        &mut bed,
        fd,
        SockOptSo::Error,
        &le32(Errno::CONNREFUSED.raw().into()),
    );
    tells(&mut bed, fd, SockOptSo::Error, &le32(0));
}

#[test]
fn options_that_are_set() {
    let (mut bed, fd) = unconnected_stream();
    for (name, bytes, told) in [
        (SockOptSo::Reuseaddr, le32(0).to_vec(), le32(1).to_vec()),
        (SockOptSo::Reuseaddr, le32(1).to_vec(), le32(1).to_vec()),
        (SockOptSo::Broadcast, le32(0).to_vec(), le32(0).to_vec()),
        (SockOptSo::Keepalive, le32(7).to_vec(), le32(1).to_vec()),
        (SockOptSo::Rcvtimeo, timeval(2, 500_000), timeval(2, 500_000)),
        (SockOptSo::Sndtimeo, timeval(0, 1), timeval(0, 1)),
        (SockOptSo::Sndtimeo, timeval(0, 0), timeval(0, 0)),
    ] {
        bed.put(VALUE.address(), &bytes);
        let len = Size::try_from(bytes.len()).expect("short");
        bed.ok(|c, m| sock_setsockopt(c, m, fd, LEVEL, name, VALUE, len), &[]);
        bed.put(VALUE.address(), &[0; 16]);
        tells(&mut bed, fd, name, &told);
        bed.errno(
            |c, m| sock_setsockopt(c, m, fd, LEVEL, name, VALUE, len - 1),
            Errno::INVAL,
        );
    }
}

#[test]
fn keepalive_reaches_the_network() {
    let mut bed = bed_with([(0, Happening::Answers(PEER, Ok(())))]);
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Stream);
    put_address(&mut bed, &[10, 0, 2, 100]);
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, fd, Fdflags::NONBLOCK), &[]);
    let _ = bed.run(|c, m| sock_connect(c, m, fd, ADDRESS, 6379));
    bed.put(VALUE.address(), &le32(1));
    bed.ok(
        |c, m| sock_setsockopt(c, m, fd, LEVEL, SockOptSo::Keepalive, VALUE, 4),
        &[],
    );
    let set = bed
        .ctx
        .core
        .system
        .network
        .as_ref()
        .map(|network| network.options.clone());
    let two_hours = SocketOption::KeepAlive(Some(7_200_000_000_000));
    assert_eq!(set, Some(vec![(SocketId(0), two_hours)]));
}

#[test]
fn a_receive_waits_no_longer_than_its_time() {
    let mut bed = bed_with([(5_000_000_000, Happening::Datagram(PEER, 53, vec![1]))]);
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Dgram);
    put_address(&mut bed, &[0; 4]);
    bed.ok(|c, m| sock_bind(c, m, fd, ADDRESS, 53), &[]);
    bed.put(VALUE.address(), &timeval(3, 0));
    bed.ok(
        |c, m| sock_setsockopt(c, m, fd, LEVEL, SockOptSo::Rcvtimeo, VALUE, 16),
        &[],
    );
    bed.put(192, &[le32(200), le32(4)].concat());
    put_room(&mut bed, 128);
    let start = bed.ctx.core.system.monotonic;
    let receive = |c: &mut _, m: &mut GuestMemory<'_>| {
        let (list, flags) = (Ptr::new(192), Riflags::NONE);
        let (port, len, out) = (Ptr::new(4), Ptr::new(8), Ptr::new(12));
        sock_recv_from::<TestSystem>(c, m, fd, list, 1, ADDRESS, flags, port, len, out)
    };
    bed.errno(receive, Errno::AGAIN);
    let waited = bed.ctx.core.system.monotonic - start;
    assert!((3_000_000_000..5_000_000_000).contains(&waited), "{waited}");
    assert_eq!(bed.run(receive), Ok(()));
}

#[test]
fn options_and_values_that_there_are_not() {
    let (mut bed, fd) = unconnected_stream();
    bed.put(LEN.address(), &le32(20));
    for name in [
        SockOptSo::Dontroute,
        SockOptSo::Sndbuf,
        SockOptSo::Rcvbuf,
        SockOptSo::Oobinline,
        SockOptSo::Linger,
        SockOptSo::Rcvlowat,
        SockOptSo::Bindtodevice,
    ] {
        bed.errno(
            |c, m| sock_getsockopt(c, m, fd, LEVEL, name, VALUE, LEN),
            Errno::NOPROTOOPT,
        );
        bed.errno(
            |c, m| sock_setsockopt(c, m, fd, LEVEL, name, VALUE, 4),
            Errno::NOPROTOOPT,
        );
    }
    bed.put(VALUE.address(), &le32(1));
    for name in [
        SockOptSo::Type,
        SockOptSo::Error,
        SockOptSo::Acceptconn,
        SockOptSo::Broadcast,
    ] {
        bed.errno(
            |c, m| sock_setsockopt(c, m, fd, LEVEL, name, VALUE, 4),
            Errno::NOPROTOOPT,
        );
    }
    for time in [timeval(0, 1_000_000), timeval(0, -1), timeval(-1, 0)] {
        bed.put(VALUE.address(), &time);
        bed.errno(
            |c, m| sock_setsockopt(c, m, fd, LEVEL, SockOptSo::Rcvtimeo, VALUE, 16),
            Errno::DOM,
        );
    }
}

#[test]
fn options_beyond_memory_trap() {
    let (mut bed, fd) = unconnected_stream();
    let name = SockOptSo::Type;
    bed.put(LEN.address(), &le32(4));
    for [value, len] in [[SIZE - 3, 24], [40, SIZE - 3], [40, 26]] {
        bed.trap(|c, m| sock_getsockopt(c, m, fd, LEVEL, name, Ptr::new(value), Ptr::new(len)));
    }
    let name = SockOptSo::Reuseaddr;
    bed.trap(|c, m| sock_setsockopt(c, m, fd, LEVEL, name, Ptr::new(SIZE - 3), 4));
    bed.put(LEN.address(), &le32(3));
    bed.errno(
        |c, m| sock_getsockopt(c, m, fd, LEVEL, name, VALUE, LEN),
        Errno::INVAL,
    );
}
