//! Tests of `fd_close` and `fd_renumber` on files and preopens.

use wasi_core::fs::{Permission, mem::Limits};

use super::super::*;
use crate::{
    abi::{
        Errno,
        types::{Fdflags, Oflags, Rights},
    },
    calls::{
        path::path_unlink_file,
        testbed::{TestBed, le32, tree},
    },
    memory::Ptr,
};

fn open(bed: &mut TestBed, path: &str) -> u32 {
    bed.open(
        path,
        Oflags::NONE,
        Rights::FD_READ.union(Rights::FD_WRITE),
        Fdflags::NONE,
    )
}

/// What a read of up to 9 bytes gives.
#[track_caller]
fn read(bed: &mut TestBed, fd: u32, expected: &[u8]) {
    bed.put_iovecs(64, &[(200, 9)]);
    let count = u32::try_from(expected.len()).expect("short");
    bed.ok(
        |c, m| fd_read(c, m, fd, Ptr::new(64), 1, Ptr::new(32)),
        &[(200, expected), (32, &le32(count))],
    );
}

#[test]
fn renumbering_moves_a_file_with_its_position_and_flags() {
    let mut bed = TestBed::with_tree();
    let (f, g) = (open(&mut bed, "f"), open(&mut bed, "sub/g"));
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, f, Fdflags::APPEND), &[]);
    bed.put_iovecs(64, &[(200, 2)]);
    bed.ok(
        |c, m| fd_read(c, m, f, Ptr::new(64), 1, Ptr::new(32)),
        &[(200, b"he"), (32, &le32(2))],
    );
    bed.ok(|c, m| fd_renumber(c, m, f, g), &[]);
    assert_eq!(bed.ctx.fds.get(g).expect("open").flags, Fdflags::APPEND);
    read(&mut bed, g, b"llo");
    bed.errno(|c, m| fd_close(c, m, f), Errno::BADF);
    // The number is free again.
    assert_eq!(open(&mut bed, "sub/g"), f);
}

#[test]
fn renumbering_onto_streams_and_back() {
    let mut bed = TestBed::with_tree();
    let f = open(&mut bed, "f");
    bed.ok(|c, m| fd_renumber(c, m, f, 0), &[]);
    read(&mut bed, 0, b"hello");
    bed.put_iovecs(64, &[(200, 1)]);
    bed.put(200, b"!");
    let g = open(&mut bed, "sub/g");
    bed.ok(|c, m| fd_renumber(c, m, 1, g), &[]);
    bed.ok(
        |c, m| fd_write(c, m, g, Ptr::new(64), 1, Ptr::new(32)),
        &[(32, &le32(1))],
    );
    assert_eq!(bed.ctx.core.system.stdout, b"!");
    bed.errno(
        |c, m| fd_write(c, m, 1, Ptr::new(64), 1, Ptr::new(32)),
        Errno::BADF,
    );
}

#[test]
fn a_preopen_stays_one_under_another_number() {
    let mut bed = TestBed::with_tree();
    let f = open(&mut bed, "f");
    bed.ok(|c, m| fd_renumber(c, m, 3, f), &[]);
    bed.errno(|c, m| fd_prestat_get(c, m, 3, Ptr::new(0)), Errno::BADF);
    bed.ok(
        |c, m| fd_prestat_get(c, m, f, Ptr::new(0)),
        &[(0, &[0, 0, 0, 0, 1, 0, 0, 0])],
    );
    let at = bed.open_at(f, "f", Oflags::NONE, Rights::NONE, Fdflags::NONE);
    assert_eq!(at, Ok(3));
}

#[test]
fn a_file_in_place_of_a_preopen_is_none() {
    let mut bed = TestBed::with_tree();
    let f = open(&mut bed, "f");
    bed.ok(|c, m| fd_renumber(c, m, f, 3), &[]);
    bed.errno(|c, m| fd_prestat_get(c, m, 3, Ptr::new(0)), Errno::BADF);
    bed.errno(|c, m| fd_prestat_dir_name(c, m, 3, Ptr::new(0), 9), Errno::NOTDIR);
    read(&mut bed, 3, b"hello");
}

#[test]
fn a_closed_preopen_is_gone_and_what_was_opened_through_it_is_not() {
    let mut bed = TestBed::with_tree();
    let (f, sub) = (
        open(&mut bed, "f"),
        bed.open("sub", Oflags::NONE, Rights::NONE, Fdflags::NONE),
    );
    bed.ok(|c, m| fd_close(c, m, 3), &[]);
    bed.errno(|c, m| fd_close(c, m, 3), Errno::BADF);
    bed.errno(|c, m| fd_prestat_get(c, m, 3, Ptr::new(0)), Errno::BADF);
    read(&mut bed, f, b"hello");
    let at = bed.open_at(sub, "g", Oflags::NONE, Rights::NONE, Fdflags::NONE);
    assert_eq!(at, Ok(3));
}

#[test]
fn closing_and_renumbering_close_what_was_there() {
    let limits = Limits {
        bytes: u64::MAX,
        entries: 15,
    };
    for close in [true, false] {
        // Room for one more name than the tree has. A file without a name keeps its share until it is closed.
        let mut bed = TestBed::with_fs(tree(limits), Permission::ReadWrite);
        let x = bed.open("x", Oflags::CREAT, Rights::NONE, Fdflags::NONE);
        let other = open(&mut bed, "f");
        let (p, len) = bed.path(512, "x");
        bed.ok(|c, m| path_unlink_file(c, m, 3, p, len), &[]);
        let create = |bed: &mut TestBed| bed.open_at(3, "y", Oflags::CREAT, Rights::NONE, Fdflags::NONE);
        assert_eq!(create(&mut bed), Err(Errno::NOSPC));
        if close {
            bed.ok(|c, m| fd_close(c, m, x), &[]);
        } else {
            bed.ok(|c, m| fd_renumber(c, m, other, x), &[]);
        }
        assert!(create(&mut bed).is_ok());
    }
}

#[test]
fn ten_thousand_descriptors() {
    let mut bed = TestBed::with_tree();
    for expected in 4..10_004 {
        assert_eq!(open(&mut bed, "f"), expected);
    }
    read(&mut bed, 10_003, b"hello");
    for fd in (4..10_004).step_by(2) {
        assert_eq!(bed.run(|c, m| fd_close(c, m, fd)), Ok(()));
    }
    assert_eq!(open(&mut bed, "f"), 4, "the lowest first");
    assert_eq!(open(&mut bed, "f"), 6);
}
