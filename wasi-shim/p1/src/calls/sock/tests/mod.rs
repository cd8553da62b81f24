//! Tests of the calls on sockets: what they may be used for; bytes and datagrams are in `transfer`.

mod transfer;

use alloc::vec;
use core::net::SocketAddr;

use wasi_core::{
    socket::Kind,
    testing::{Happening as H, TestSystem},
};

use super::*;
use crate::{
    abi::{
        layout::{Fdstat, Filestat},
        types::Filesize,
    },
    calls::{
        fd::{
            fd_advise, fd_close, fd_fdstat_get, fd_fdstat_set_flags, fd_fdstat_set_rights, fd_filestat_get,
            fd_filestat_set_size, fd_pread, fd_prestat_get, fd_pwrite, fd_read, fd_renumber, fd_tell,
            fd_write,
        },
        testbed::{FDS, SIZE, TestBed, le32},
    },
    fd_table::FdTable,
};

/// Where the tests keep lists of buffers, the buffers, and results.
const LIST: u32 = 256;
const BUF: u32 = 512;
const LEN: u32 = 8;
const FLAGS: u32 = 16;
const FD: u32 = 24;

/// The listener of [`TestBed::served`], and the first connection that it accepts.
const LISTENER: Fd = 3;
const CONNECTION: Fd = 4;

fn peer(port: u16) -> SocketAddr {
    SocketAddr::new([192, 0, 2, 1].into(), port)
}

/// One that has accepted a connection, over which this comes.
fn connected(script: impl IntoIterator<Item = (u64, H)>) -> TestBed {
    let mut bed = TestBed::served([(0, H::Connects(peer(1), 80))].into_iter().chain(script));
    bed.run(|c, m| sock_accept(c, m, LISTENER, Fdflags::NONE, Ptr::new(FD)))
        .expect("a connection");
    bed
}

fn nonblock(bed: &mut TestBed, fd: Fd) {
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, fd, Fdflags::NONBLOCK), &[]);
}

/// Receives into these buffers; these bytes come, with these flags.
#[track_caller]
fn recv(
    bed: &mut TestBed,
    fd: Fd,
    flags: Riflags,
    iovecs: &[(u32, u32)],
    changes: &[(u32, &[u8])],
    len: u32,
) {
    bed.put_iovecs(LIST, iovecs);
    let count = u32::try_from(iovecs.len()).expect("a short list");
    let told = le32(len);
    let mut all = vec![(LEN, &told[..]), (FLAGS, &[0, 0])];
    all.extend(changes);
    bed.ok(
        |c, m| {
            sock_recv(
                c,
                m,
                fd,
                Ptr::new(LIST),
                count,
                flags,
                Ptr::new(LEN),
                Ptr::new(FLAGS),
            )
        },
        &all,
    );
}

#[track_caller]
fn recv_errno(bed: &mut TestBed, fd: Fd, flags: Riflags, errno: Errno) {
    bed.put_iovecs(LIST, &[(BUF, 8)]);
    bed.errno(
        |c, m| sock_recv(c, m, fd, Ptr::new(LIST), 1, flags, Ptr::new(LEN), Ptr::new(FLAGS)),
        errno,
    );
}

#[test]
fn sock_calls_on_what_is_not_a_socket() {
    for (fd, errno) in FDS.map(|fd| (fd, if fd < 3 { Errno::NOTSOCK } else { Errno::BADF })) {
        let mut bed = TestBed::new();
        bed.errno(
            |ctx, mem| sock_accept(ctx, mem, fd, Fdflags::NONE, Ptr::new(8)),
            errno,
        );
        bed.errno(
            |ctx, mem| {
                sock_recv(
                    ctx,
                    mem,
                    fd,
                    Ptr::new(0),
                    1,
                    Riflags::NONE,
                    Ptr::new(8),
                    Ptr::new(16),
                )
            },
            errno,
        );
        bed.errno(
            |ctx, mem| sock_send(ctx, mem, fd, Ptr::new(0), 1, 0, Ptr::new(8)),
            errno,
        );
        bed.errno(|ctx, mem| sock_shutdown(ctx, mem, fd, Sdflags::RD), errno);
    }
}

#[test]
fn pointers_are_not_followed_before_the_descriptor_is_known_to_be_a_socket() {
    let (far, odd) = (u32::MAX, 1);
    let mut bed = TestBed::new();
    bed.errno(
        |ctx, mem| sock_accept(ctx, mem, 0, Fdflags::NONE, Ptr::new(far)),
        Errno::NOTSOCK,
    );
    bed.errno(
        |ctx, mem| {
            sock_recv(
                ctx,
                mem,
                0,
                Ptr::new(odd),
                far,
                Riflags::NONE,
                Ptr::new(odd),
                Ptr::new(far),
            )
        },
        Errno::NOTSOCK,
    );
}

#[test]
fn sock_accept_gives_the_lowest_number_and_the_flags() {
    let mut bed = TestBed::served([(10, H::Connects(peer(1), 80)), (20, H::Connects(peer(2), 80))]);
    bed.run(|c, m| fd_close(c, m, 0)).expect("it is open");
    // As given, it does not wait.
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, LISTENER, Fdflags::NONE), &[]);
    let accept = |flags| {
        move |c: &mut WasiP1Ctx<TestSystem>, m: &mut GuestMemory<'_>| {
            sock_accept(c, m, LISTENER, flags, Ptr::new(FD))
        }
    };
    bed.ok(accept(Fdflags::NONBLOCK), &[(FD, &le32(0))]);
    bed.ok(accept(Fdflags::NONE), &[(FD, &le32(4))]);
    assert_eq!(
        bed.ctx.core.system.monotonic,
        TestSystem::default().monotonic + 20
    );
    recv_errno(&mut bed, 0, Riflags::NONE, Errno::AGAIN);
    nonblock(&mut bed, LISTENER);
    bed.errno(accept(Fdflags::NONE), Errno::AGAIN);
}

#[test]
fn sock_accept_wants_known_flags_rights_and_room() {
    let mut bed = TestBed::served([(0, H::Connects(peer(1), 80))]);
    for flags in [Fdflags::APPEND, Fdflags::SYNC, Fdflags::ALL] {
        bed.errno(
            |c, m| sock_accept(c, m, LISTENER, flags, Ptr::new(FD)),
            Errno::INVAL,
        );
    }
    for address in [SIZE - 3, SIZE, u32::MAX, FD + 2] {
        bed.trap(|c, m| sock_accept(c, m, LISTENER, Fdflags::NONE, Ptr::new(address)));
    }
    // The connection is still there.
    bed.ok(
        |c, m| sock_accept(c, m, LISTENER, Fdflags::NONE, Ptr::new(SIZE - 4)),
        &[(SIZE - 4, &le32(CONNECTION))],
    );
    bed.errno(
        |c, m| sock_accept(c, m, CONNECTION, Fdflags::NONE, Ptr::new(FD)),
        Errno::INVAL,
    );
    let stream = bed.open_socket(Kind::Stream);
    bed.errno(
        |c, m| sock_accept(c, m, stream, Fdflags::NONE, Ptr::new(FD)),
        Errno::INVAL,
    );
    bed.run(|c, m| fd_fdstat_set_rights(c, m, LISTENER, Rights::FD_READ, Rights::NONE))
        .expect("fewer rights");
    bed.errno(
        |c, m| sock_accept(c, m, LISTENER, Fdflags::NONE, Ptr::new(FD)),
        Errno::NOTCAPABLE,
    );
}

#[test]
fn a_connection_has_no_more_rights_than_its_listener_passes_on() {
    let mut bed = TestBed::served([(0, H::Connects(peer(1), 80))]);
    bed.run(|c, m| fd_fdstat_set_rights(c, m, LISTENER, Rights::SOCK_ACCEPT, Rights::FD_READ))
        .expect("fewer rights");
    bed.run(|c, m| sock_accept(c, m, LISTENER, Fdflags::NONE, Ptr::new(FD)))
        .expect("a connection");
    bed.put_iovecs(LIST, &[(BUF, 8)]);
    bed.errno(
        |c, m| sock_send(c, m, CONNECTION, Ptr::new(LIST), 1, 0, Ptr::new(LEN)),
        Errno::NOTCAPABLE,
    );
    bed.errno(
        |c, m| sock_shutdown(c, m, CONNECTION, Sdflags::WR),
        Errno::NOTCAPABLE,
    );
}

#[test]
fn too_many_descriptors_leave_the_connection_waiting() {
    let mut bed = TestBed::served([(0, H::Connects(peer(1), 80))]);
    bed.ctx.fds = FdTable::new(bed_descriptors(&mut bed), 4);
    bed.errno(
        |c, m| sock_accept(c, m, LISTENER, Fdflags::NONE, Ptr::new(FD)),
        Errno::MFILE,
    );
    bed.run(|c, m| fd_close(c, m, 2)).expect("it is open");
    bed.ok(
        |c, m| sock_accept(c, m, LISTENER, Fdflags::NONE, Ptr::new(FD)),
        &[(FD, &le32(2))],
    );
}

/// What is open, to be put into another table.
fn bed_descriptors(bed: &mut TestBed) -> vec::Vec<wasi_core::descriptor::Descriptor> {
    (0..4)
        .map(|fd| bed.ctx.fds.remove(fd).expect("it is open").descriptor)
        .collect()
}

#[test]
fn sock_shutdown_ends_the_directions_that_are_named() {
    let mut bed = connected([(0, H::Sends(peer(1), b"x".to_vec()))]);
    bed.errno(
        |c, m| sock_shutdown(c, m, CONNECTION, Sdflags::NONE),
        Errno::INVAL,
    );
    bed.errno(|c, m| sock_shutdown(c, m, LISTENER, Sdflags::RD), Errno::NOTCONN);
    bed.ok(|c, m| sock_shutdown(c, m, CONNECTION, Sdflags::ALL), &[]);
    bed.ok(|c, m| sock_shutdown(c, m, CONNECTION, Sdflags::ALL), &[]);
    assert_eq!(bed.network().ended, [peer(1)]);
    let stream = bed.open_socket(Kind::Stream);
    bed.errno(|c, m| sock_shutdown(c, m, stream, Sdflags::WR), Errno::NOTCONN);
    let datagrams = bed.open_socket(Kind::Datagram);
    bed.errno(|c, m| sock_shutdown(c, m, datagrams, Sdflags::WR), Errno::NOTSUP);
}

#[test]
fn attributes_of_sockets() {
    let stream = Rights::FD_FDSTAT_SET_FLAGS
        .union(Rights::FD_FILESTAT_GET)
        .union(Rights::POLL_FD_READWRITE)
        .union(Rights::FD_READ);
    let connection = stream.union(Rights::FD_WRITE).union(Rights::SOCK_SHUTDOWN);
    let listener = stream.union(Rights::SOCK_ACCEPT);
    let mut bed = connected([]);
    let datagrams = bed.open_socket(Kind::Datagram);
    let all = [
        (LISTENER, 6, Fdflags::NONBLOCK, listener, connection),
        (CONNECTION, 6, Fdflags::NONE, connection, connection),
        (
            datagrams,
            5,
            Fdflags::NONE,
            stream.union(Rights::FD_WRITE),
            connection,
        ),
    ];
    for (fd, filetype, flags, base, inheriting) in all {
        let mut fdstat = [0; Fdstat::SIZE];
        fdstat[0] = filetype;
        fdstat[2..4].copy_from_slice(&flags.raw().to_le_bytes());
        fdstat[8..16].copy_from_slice(&base.raw().to_le_bytes());
        fdstat[16..].copy_from_slice(&inheriting.raw().to_le_bytes());
        bed.ok(|c, m| fd_fdstat_get(c, m, fd, Ptr::new(BUF)), &[(BUF, &fdstat)]);
        let mut filestat = [0; Filestat::SIZE];
        filestat[16] = filetype;
        bed.ok(
            |c, m| fd_filestat_get(c, m, fd, Ptr::new(BUF)),
            &[(BUF, &filestat)],
        );
        bed.errno(|c, m| fd_prestat_get(c, m, fd, Ptr::new(BUF)), Errno::BADF);
    }
}

#[test]
fn a_socket_is_nonblock_or_not_and_nothing_else() {
    let mut bed = connected([]);
    for flags in [Fdflags::APPEND, Fdflags::DSYNC, Fdflags::ALL] {
        bed.errno(|c, m| fd_fdstat_set_flags(c, m, CONNECTION, flags), Errno::INVAL);
    }
    nonblock(&mut bed, CONNECTION);
    recv_errno(&mut bed, CONNECTION, Riflags::NONE, Errno::AGAIN);
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, CONNECTION, Fdflags::NONE), &[]);
}

#[test]
fn a_socket_has_no_positions_and_no_size() {
    let mut bed = connected([]);
    bed.put_iovecs(LIST, &[(BUF, 8)]);
    let at: Filesize = 0;
    bed.errno(
        |c, m| fd_pread(c, m, CONNECTION, Ptr::new(LIST), 1, at, Ptr::new(LEN)),
        Errno::SPIPE,
    );
    bed.errno(
        |c, m| fd_pwrite(c, m, CONNECTION, Ptr::new(LIST), 1, at, Ptr::new(LEN)),
        Errno::SPIPE,
    );
    bed.errno(|c, m| fd_tell(c, m, CONNECTION, Ptr::new(LEN)), Errno::SPIPE);
    bed.errno(|c, m| fd_filestat_set_size(c, m, CONNECTION, 0), Errno::BADF);
    let advice = crate::abi::types::Advice::Normal;
    bed.errno(|c, m| fd_advise(c, m, CONNECTION, 0, 0, advice), Errno::BADF);
}

#[test]
fn closing_and_renumbering_end_connections() {
    let mut bed = TestBed::served([(0, H::Connects(peer(1), 80)), (0, H::Connects(peer(2), 80))]);
    for _ in 0..2 {
        bed.run(|c, m| sock_accept(c, m, LISTENER, Fdflags::NONE, Ptr::new(FD)))
            .expect("a connection");
    }
    bed.ok(|c, m| fd_renumber(c, m, CONNECTION + 1, CONNECTION), &[]);
    assert_eq!(bed.network().ended, [peer(1)]);
    bed.ok(|c, m| fd_close(c, m, CONNECTION), &[]);
    assert_eq!(bed.network().ended, [peer(1), peer(2)]);
    bed.errno(|c, m| fd_close(c, m, CONNECTION), Errno::BADF);
}
