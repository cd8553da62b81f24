//! Tests of WasmEdge's functions for sockets, in both versions: bytes in memory, errnos, traps.
//!
//! Layer: tests.

mod datagrams;
mod names;
mod options;

use alloc::{vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wasi_core::{
    WasiCtxBuilder,
    testing::{Happening, TestNetwork, TestSystem},
};

use super::*;
use crate::{
    abi::{
        types::Param,
        wasmedge::{SockOptLevel, SockOptSo},
    },
    calls::{
        fd::fd_fdstat_set_flags,
        testbed::{FDS, SIZE, TestBed, le32},
        wasmedge_first as first,
    },
};

/// Where the tests put an address, and its bytes.
const ADDRESS: Ptr<Address> = Ptr::new(16);
const BYTES: u32 = 32;

/// A peer.
const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, 100)), 6379);

/// A guest with a network on which this happens.
fn bed_with(script: impl IntoIterator<Item = (u64, Happening)>) -> TestBed {
    TestBed::on(TestSystem {
        network: Some(TestNetwork::new(script)),
        ..TestSystem::default()
    })
}

/// Opens a socket; its descriptor. Leaves memory as it was.
fn open(bed: &mut TestBed, family: AddressFamily, ty: SockType) -> Fd {
    let memory = bed.memory.clone();
    assert_eq!(bed.run(|c, m| sock_open(c, m, family, ty, Ptr::new(0))), Ok(()));
    let fd = u32::from_le_bytes(*bed.memory.first_chunk().expect("4 bytes"));
    bed.memory = memory;
    fd
}

/// Puts an address' bytes, and what names them.
fn put_address(bed: &mut TestBed, bytes: &[u8]) {
    let len = Size::try_from(bytes.len()).expect("short");
    bed.put(ADDRESS.address(), &[le32(BYTES), le32(len)].concat());
    bed.put(BYTES, bytes);
}

/// Room for an address.
fn put_room(bed: &mut TestBed, len: Size) {
    bed.put(ADDRESS.address(), &[le32(BYTES), le32(len)].concat());
}

/// A storage's bytes.
fn storage(family: u8, address: &[u8]) -> Vec<u8> {
    let mut bytes = vec![family, 0];
    bytes.extend(address);
    bytes.resize(128, 0x77);
    bytes
}

fn unconnected_stream() -> (TestBed, Fd) {
    let mut bed = bed_with([]);
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Stream);
    (bed, fd)
}

#[test]
fn without_a_network_nothing_opens_and_no_name_is_looked_up() {
    let mut bed = TestBed::new();
    for family in [AddressFamily::Inet4, AddressFamily::Inet6] {
        for ty in [SockType::Dgram, SockType::Stream] {
            bed.errno(|c, m| sock_open(c, m, family, ty, Ptr::new(8)), Errno::ACCES);
        }
    }
    let far = u32::MAX;
    bed.errno(
        |c, m| {
            let (bytes, hints) = (Ptr::new(far), Ptr::new(far));
            sock_getaddrinfo(c, m, bytes, 4, bytes, 4, hints, Ptr::new(far), 1, Ptr::new(far))
        },
        Errno::ACCES,
    );
}

#[test]
fn families_and_kinds_that_no_socket_has() {
    let mut bed = bed_with([]);
    for (family, ty, errno) in [
        (AddressFamily::Unspec, SockType::Stream, Errno::INVAL),
        (AddressFamily::Inet4, SockType::Any, Errno::INVAL),
        (AddressFamily::Unix, SockType::Stream, Errno::NOSYS),
    ] {
        bed.errno(|c, m| sock_open(c, m, family, ty, Ptr::new(8)), errno);
    }
    assert_eq!(AddressFamily::from_raw(4), Err(Errno::INVAL));
    assert_eq!(AddressFamily::from_raw(257), Err(Errno::INVAL));
    assert_eq!(SockType::from_raw(3), Err(Errno::INVAL));
    assert_eq!(SockOptLevel::from_raw(1), Err(Errno::INVAL));
    assert_eq!(SockOptSo::from_raw(15), Err(Errno::INVAL));
    assert_eq!(SockOptSo::from_raw(14), Ok(SockOptSo::Bindtodevice));
}

#[test]
fn a_socket_gets_the_lowest_descriptor() {
    let mut bed = bed_with([]);
    let (family, ty) = (AddressFamily::Inet4, SockType::Stream);
    for fd in 3..6 {
        bed.ok(|c, m| sock_open(c, m, family, ty, Ptr::new(8)), &[(8, &le32(fd))]);
    }
    for result in [SIZE, SIZE - 3, 6] {
        bed.trap(|c, m| sock_open(c, m, family, ty, Ptr::new(result)));
    }
    let system = TestSystem {
        network: Some(TestNetwork::new([])),
        ..TestSystem::default()
    };
    let mut full = TestBed::of(WasiCtxBuilder::new().max_descriptors(3).build(system));
    full.errno(|c, m| sock_open(c, m, family, ty, Ptr::new(8)), Errno::MFILE);
}

#[test]
fn calls_on_what_is_not_a_socket_follow_no_pointer() {
    let (far, odd) = (u32::MAX, 1);
    for (fd, errno) in FDS.map(|fd| (fd, if fd < 3 { Errno::NOTSOCK } else { Errno::BADF })) {
        let mut bed = TestBed::new();
        let name = SockOptSo::Error;
        let level = SockOptLevel::SolSocket;
        bed.errno(|c, m| sock_bind(c, m, fd, Ptr::new(odd), 80), errno);
        bed.errno(|c, m| sock_listen(c, m, fd, far), errno);
        bed.errno(|c, m| sock_connect(c, m, fd, Ptr::new(far), 80), errno);
        for call in [sock_getlocaladdr, sock_getpeeraddr] {
            bed.errno(|c, m| call(c, m, fd, Ptr::new(far), Ptr::new(odd)), errno);
        }
        bed.errno(
            |c, m| sock_getsockopt(c, m, fd, level, name, Ptr::new(far), Ptr::new(odd)),
            errno,
        );
        bed.errno(
            |c, m| sock_setsockopt(c, m, fd, level, name, Ptr::new(far), far),
            errno,
        );
        bed.errno(
            |c, m| {
                let (data, address, flags) = (Ptr::new(odd), Ptr::new(far), Riflags::NONE);
                let (port, len, out) = (Ptr::new(odd), Ptr::new(far), Ptr::new(odd));
                sock_recv_from(c, m, fd, data, far, address, flags, port, len, out)
            },
            errno,
        );
        bed.errno(
            |c, m| {
                let (data, address, len) = (Ptr::new(odd), Ptr::new(far), Ptr::new(odd));
                sock_send_to(c, m, fd, data, far, address, 80, 0, len)
            },
            errno,
        );
        bed.errno(|c, m| first::sock_accept(c, m, fd, Ptr::new(far)), errno);
        bed.errno(
            |c, m| {
                let (data, address, flags) = (Ptr::new(odd), Ptr::new(far), Riflags::NONE);
                first::sock_recv_from(c, m, fd, data, far, address, flags, Ptr::new(far), Ptr::new(odd))
            },
            errno,
        );
        for call in [first::sock_getlocaladdr, first::sock_getpeeraddr] {
            bed.errno(
                |c, m| call(c, m, fd, Ptr::new(far), Ptr::new(odd), Ptr::new(far)),
                errno,
            );
        }
    }
}

#[test]
fn an_address_has_three_forms_and_comes_back_in_both_versions() {
    let (v4, v6) = (
        Ipv4Addr::new(1, 2, 3, 4).octets(),
        Ipv6Addr::new(0xfd00, 1, 2, 3, 4, 5, 6, 7).octets(),
    );
    for (family, bytes, octets, version) in [
        (AddressFamily::Inet4, v4.to_vec(), &v4[..], 4),
        (AddressFamily::Inet6, v6.to_vec(), &v6[..], 6),
        (AddressFamily::Inet4, storage(1, &v4), &v4[..], 4),
        (AddressFamily::Inet6, storage(2, &v6), &v6[..], 6),
    ] {
        let mut bed = bed_with([]);
        let fd = open(&mut bed, family, SockType::Stream);
        put_address(&mut bed, &bytes);
        bed.ok(|c, m| sock_bind(c, m, fd, ADDRESS, 0x1234), &[]);
        bed.errno(|c, m| sock_bind(c, m, fd, ADDRESS, 0x1234), Errno::INVAL);

        let port = [0x34, 0x12, 0, 0];
        put_room(&mut bed, 128);
        bed.ok(
            |c, m| sock_getlocaladdr(c, m, fd, ADDRESS, Ptr::new(8)),
            &[(8, &port), (BYTES, &[family.raw(), 0]), (BYTES + 2, octets)],
        );
        put_room(&mut bed, 16);
        bed.ok(
            |c, m| first::sock_getlocaladdr(c, m, fd, ADDRESS, Ptr::new(4), Ptr::new(8)),
            &[(4, &le32(version)), (8, &port), (BYTES, octets)],
        );
    }
}

#[test]
fn addresses_that_mean_nothing() {
    let (mut bed, fd) = unconnected_stream();
    for (bytes, errno) in [
        (&[][..], Errno::INVAL),
        (&[1, 2, 3], Errno::INVAL),
        (&[1; 5], Errno::INVAL),
        (&[1; 127], Errno::INVAL),
        (&[1; 16], Errno::AFNOSUPPORT),
        (&storage(2, &[1; 16]), Errno::AFNOSUPPORT),
        (&storage(0, &[1; 16]), Errno::INVAL),
        (&storage(3, &[1; 16]), Errno::INVAL),
        (&[vec![1, 1], vec![0; 126]].concat(), Errno::INVAL),
    ] {
        put_address(&mut bed, bytes);
        bed.errno(|c, m| sock_bind(c, m, fd, ADDRESS, 80), errno);
        bed.errno(|c, m| sock_connect(c, m, fd, ADDRESS, 80), errno);
        if errno == Errno::INVAL {
            bed.errno(
                |c, m| sock_send_to(c, m, fd, Ptr::new(0), 0, ADDRESS, 80, 0, Ptr::new(0)),
                errno,
            );
        }
    }
    put_address(&mut bed, &[1, 2, 3, 4]);
    for port in [65536, u32::MAX] {
        bed.errno(|c, m| sock_bind(c, m, fd, ADDRESS, port), Errno::INVAL);
        bed.errno(|c, m| sock_connect(c, m, fd, ADDRESS, port), Errno::INVAL);
        bed.errno(
            |c, m| sock_send_to(c, m, fd, Ptr::new(0), 0, ADDRESS, port, 0, Ptr::new(0)),
            Errno::INVAL,
        );
    }
}

#[test]
fn addresses_beyond_memory_trap() {
    let (mut bed, fd) = unconnected_stream();
    for address in [SIZE - 4, SIZE, 18] {
        let address = Ptr::new(address);
        bed.trap(|c, m| sock_bind(c, m, fd, address, 80));
        bed.trap(|c, m| sock_connect(c, m, fd, address, 80));
        bed.trap(|c, m| sock_getlocaladdr(c, m, fd, address, Ptr::new(0)));
        bed.trap(|c, m| first::sock_getpeeraddr(c, m, fd, address, Ptr::new(0), Ptr::new(4)));
    }
    bed.put(ADDRESS.address(), &[le32(SIZE - 3), le32(4)].concat());
    bed.trap(|c, m| sock_bind(c, m, fd, ADDRESS, 80));
    bed.put(ADDRESS.address(), &[le32(SIZE - 127), le32(128)].concat());
    bed.trap(|c, m| sock_getlocaladdr(c, m, fd, ADDRESS, Ptr::new(0)));
    put_room(&mut bed, 128);
    for port in [SIZE - 3, 2] {
        bed.trap(|c, m| sock_getlocaladdr(c, m, fd, ADDRESS, Ptr::new(port)));
    }
    put_room(&mut bed, 16);
    for [ty, port] in [[SIZE, 0], [0, SIZE], [2, 0], [0, 2]] {
        bed.trap(|c, m| first::sock_getlocaladdr(c, m, fd, ADDRESS, Ptr::new(ty), Ptr::new(port)));
    }
}

#[test]
fn room_of_the_wrong_length() {
    let mut bed = bed_with([]);
    let fd = open(&mut bed, AddressFamily::Inet6, SockType::Stream);
    for len in [0, 4, 16, 127] {
        put_room(&mut bed, len);
        bed.errno(
            |c, m| sock_getlocaladdr(c, m, fd, ADDRESS, Ptr::new(0)),
            Errno::INVAL,
        );
    }
    for (len, errno) in [(5, Errno::INVAL), (128, Errno::INVAL), (4, Errno::NOMEM)] {
        put_room(&mut bed, len);
        bed.errno(
            |c, m| first::sock_getlocaladdr(c, m, fd, ADDRESS, Ptr::new(0), Ptr::new(4)),
            errno,
        );
    }
}

#[test]
fn a_stream_connects_and_knows_its_peer() {
    let mut bed = bed_with([(5, Happening::Answers(PEER, Ok(())))]);
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Stream);
    put_address(&mut bed, &[10, 0, 2, 100]);
    put_room_for_peer_fails(&mut bed, fd);
    put_address(&mut bed, &[10, 0, 2, 100]);
    bed.ok(|c, m| sock_connect(c, m, fd, ADDRESS, 6379), &[]);
    bed.errno(|c, m| sock_connect(c, m, fd, ADDRESS, 6379), Errno::ISCONN);
    bed.errno(|c, m| sock_listen(c, m, fd, 1), Errno::INVAL);

    put_room(&mut bed, 128);
    bed.ok(
        |c, m| sock_getpeeraddr(c, m, fd, ADDRESS, Ptr::new(8)),
        &[(8, &le32(6379)), (BYTES, &[1, 0, 10, 0, 2, 100])],
    );
    put_room(&mut bed, 4);
    bed.ok(
        |c, m| first::sock_getpeeraddr(c, m, fd, ADDRESS, Ptr::new(4), Ptr::new(8)),
        &[(4, &le32(4)), (8, &le32(6379)), (BYTES, &[10, 0, 2, 100])],
    );
    // A stream cannot be told to whom.
    bed.put(64, &[le32(72), le32(4)].concat());
    put_address(&mut bed, &[10, 0, 2, 100]);
    bed.errno(
        |c, m| sock_send_to(c, m, fd, Ptr::new(64), 1, ADDRESS, 6379, 0, Ptr::new(0)),
        Errno::ISCONN,
    );
}

fn put_room_for_peer_fails(bed: &mut TestBed, fd: Fd) {
    put_room(bed, 128);
    bed.errno(
        |c, m| sock_getpeeraddr(c, m, fd, ADDRESS, Ptr::new(8)),
        Errno::NOTCONN,
    );
}

#[test]
fn a_connection_that_is_refused_or_not_granted() {
    let mut bed = bed_with([(5, Happening::Answers(PEER, Err(Errno::CONNREFUSED)))]);
    let denied = SocketAddr::new(Ipv4Addr::new(10, 0, 2, 100).into(), 22);
    if let Some(network) = &mut bed.ctx.core.system.network {
        network.denied.push(denied);
    }
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Stream);
    put_address(&mut bed, &[10, 0, 2, 100]);
    bed.errno(|c, m| sock_connect(c, m, fd, ADDRESS, 22), Errno::ACCES);
    bed.errno(|c, m| sock_connect(c, m, fd, ADDRESS, 6379), Errno::CONNREFUSED);
}

#[test]
fn a_connection_goes_on_without_waiting() {
    let mut bed = bed_with([(5, Happening::Answers(PEER, Ok(())))]);
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Stream);
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, fd, Fdflags::NONBLOCK), &[]);
    put_address(&mut bed, &[10, 0, 2, 100]);
    assert_eq!(
        bed.run(|c, m| sock_connect(c, m, fd, ADDRESS, 6379)),
        Err(Errno::INPROGRESS.into())
    );
    bed.errno(|c, m| sock_connect(c, m, fd, ADDRESS, 6379), Errno::ALREADY);
    put_room_for_peer_fails(&mut bed, fd);
    bed.ctx.core.system.monotonic += 5;
    put_room(&mut bed, 128);
    bed.ok(
        |c, m| sock_getpeeraddr(c, m, fd, ADDRESS, Ptr::new(8)),
        &[(8, &le32(6379)), (BYTES, &[1, 0, 10, 0, 2, 100])],
    );
}

#[test]
fn the_first_version_accepts_without_flags() {
    let mut bed = bed_with([(5, Happening::Connects(PEER, 80))]);
    let fd = open(&mut bed, AddressFamily::Inet4, SockType::Stream);
    put_address(&mut bed, &[0; 4]);
    bed.errno(|c, m| first::sock_accept(c, m, fd, Ptr::new(8)), Errno::INVAL);
    bed.ok(|c, m| sock_bind(c, m, fd, ADDRESS, 80), &[]);
    bed.ok(|c, m| sock_listen(c, m, fd, 128), &[]);
    bed.trap(|c, m| first::sock_accept(c, m, fd, Ptr::new(SIZE)));
    bed.ok(
        |c, m| first::sock_accept(c, m, fd, Ptr::new(8)),
        &[(8, &le32(fd + 1))],
    );
    put_room(&mut bed, 4);
    bed.ok(
        |c, m| first::sock_getpeeraddr(c, m, fd + 1, ADDRESS, Ptr::new(4), Ptr::new(8)),
        &[(4, &le32(4)), (8, &le32(6379)), (BYTES, &[10, 0, 2, 100])],
    );
}
