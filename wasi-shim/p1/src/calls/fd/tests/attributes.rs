//! Tests of `fd_filestat_*`, `fd_fdstat_set_*`, `fd_advise`, `fd_allocate`, `fd_sync`, `fd_datasync` on files and
//! directories.

use alloc::vec::Vec;

use wasi_core::{
    fs::{Permission, mem::Limits},
    testing::TestSystem,
};

use super::super::*;
use crate::{
    abi::{
        Errno,
        types::{Advice, Fdflags, Fstflags, Oflags, Rights},
    },
    calls::testbed::{BIRTH, SIZE, TestBed, tree},
    memory::Ptr,
};

const BOTH: Rights = Rights::FD_READ.union(Rights::FD_WRITE);

/// With `f`, "hello", open as 4 and `sub` as 5.
fn bed(rights: Rights) -> TestBed {
    let mut bed = TestBed::with_tree();
    assert_eq!(bed.open("f", Oflags::NONE, rights, Fdflags::NONE), 4);
    assert_eq!(bed.open("sub", Oflags::NONE, Rights::NONE, Fdflags::NONE), 5);
    bed
}

#[track_caller]
fn stat(bed: &mut TestBed, fd: u32, fields: [u64; 8]) {
    let bytes: Vec<u8> = fields.iter().flat_map(|field| field.to_le_bytes()).collect();
    bed.ok(
        |c, m| fd_filestat_get(c, m, fd, Ptr::new(SIZE - 64)),
        &[(SIZE - 64, &bytes)],
    );
}

fn now() -> u64 {
    TestSystem::default().realtime
}

#[test]
fn fd_filestat_get_of_files_and_directories() {
    let mut bed = bed(Rights::FD_WRITE);
    stat(&mut bed, 4, [1, 2, 4, 2, 5, BIRTH, BIRTH, BIRTH]);
    stat(&mut bed, 5, [1, 3, 3, 2, 0, BIRTH, BIRTH, BIRTH]);
    stat(&mut bed, 3, [1, 1, 3, 4, 0, BIRTH, BIRTH, BIRTH]);
    for at in [SIZE - 63, SIZE - 56, 4] {
        bed.trap(|c, m| fd_filestat_get(c, m, 4, Ptr::new(at)));
    }
}

#[test]
fn fd_filestat_set_size_shrinks_and_grows() {
    let mut bed = bed(BOTH);
    for size in [2, 2, 100, 1 << 40, (1 << 44) - 4096, 0] {
        bed.ok(|c, m| fd_filestat_set_size(c, m, 4, size), &[]);
        stat(&mut bed, 4, [1, 2, 4, 2, size, BIRTH, now(), now()]);
    }
    for (size, errno) in [
        ((1 << 44) - 4095, Errno::FBIG),
        (i64::MAX as u64, Errno::FBIG),
        (1 << 63, Errno::INVAL),
        (u64::MAX, Errno::INVAL),
    ] {
        bed.errno(|c, m| fd_filestat_set_size(c, m, 4, size), errno);
    }
    bed.errno(|c, m| fd_filestat_set_size(c, m, 3, 0), Errno::BADF);
    self::bed(Rights::FD_READ).errno(|c, m| fd_filestat_set_size(c, m, 4, 0), Errno::INVAL);
}

#[test]
fn fd_filestat_set_times_on_files_and_directories() {
    let (a, m) = (7, u64::MAX);
    let both = Fstflags::ATIM.union(Fstflags::MTIM);
    for (fd, ino, filetype, nlink, size) in [(4, 2, 4, 2, 5), (5, 3, 3, 2, 0), (3, 1, 3, 4, 0)] {
        let mut bed = bed(Rights::FD_READ);
        bed.ok(|c, mem| fd_filestat_set_times(c, mem, fd, a, m, both), &[]);
        stat(&mut bed, fd, [1, ino, filetype, nlink, size, a, m, now()]);
        bed.ctx.core.system.pass(5);
        let flags = Fstflags::ATIM_NOW.union(Fstflags::MTIM_NOW);
        bed.ok(|c, mem| fd_filestat_set_times(c, mem, fd, a, m, flags), &[]);
        stat(
            &mut bed,
            fd,
            [1, ino, filetype, nlink, size, now() + 5, now() + 5, now() + 5],
        );
    }
    let flags = Fstflags::MTIM.union(Fstflags::MTIM_NOW);
    bed(Rights::FD_READ).errno(
        |c, mem| fd_filestat_set_times(c, mem, 4, a, m, flags),
        Errno::INVAL,
    );
}

#[test]
fn times_follow_reading_and_writing() {
    let mut bed = bed(BOTH);
    bed.put_iovecs(64, &[(200, 1)]);
    let read = |bed: &mut TestBed| {
        let end = bed.run(|c, m| fd_read(c, m, 4, Ptr::new(64), 1, Ptr::new(32)));
        assert_eq!(end, Ok(()));
    };
    read(&mut bed);
    stat(&mut bed, 4, [1, 2, 4, 2, 5, now(), BIRTH, BIRTH]);
    // Only the first access after a change is recorded.
    bed.ctx.core.system.pass(5);
    read(&mut bed);
    stat(&mut bed, 4, [1, 2, 4, 2, 5, now(), BIRTH, BIRTH]);
    let end = bed.run(|c, m| fd_write(c, m, 4, Ptr::new(64), 1, Ptr::new(32)));
    assert_eq!(end, Ok(()));
    stat(&mut bed, 4, [1, 2, 4, 2, 5, now(), now() + 5, now() + 5]);
    bed.ctx.core.system.pass(5);
    read(&mut bed);
    stat(&mut bed, 4, [1, 2, 4, 2, 5, now() + 10, now() + 5, now() + 5]);
}

#[test]
fn fd_allocate_grows_and_reserves() {
    let mut bed = bed(BOTH);
    bed.ok(|c, m| fd_allocate(c, m, 4, 0, 3), &[]);
    stat(&mut bed, 4, [1, 2, 4, 2, 5, BIRTH, now(), now()]);
    bed.ok(|c, m| fd_allocate(c, m, 4, 10, 90), &[]);
    stat(&mut bed, 4, [1, 2, 4, 2, 100, BIRTH, now(), now()]);
    bed.errno(|c, m| fd_allocate(c, m, 4, 0, 0), Errno::INVAL);
    for (offset, len) in [
        (0, u64::MAX),
        (u64::MAX, 1),
        ((1 << 44) - 4096, 1),
        (1, (1 << 44) - 4096),
    ] {
        bed.errno(|c, m| fd_allocate(c, m, 4, offset, len), Errno::FBIG);
    }
    bed.errno(|c, m| fd_allocate(c, m, 3, 0, 1), Errno::BADF);
    self::bed(Rights::FD_READ).errno(|c, m| fd_allocate(c, m, 4, 0, 1), Errno::BADF);
}

#[test]
fn fd_allocate_without_room() {
    let used = tree(Limits::NONE).used().bytes;
    let limits = Limits {
        bytes: used + 100_000,
        entries: 100,
    };
    let mut bed = TestBed::with_fs(tree(limits), Permission::ReadWrite);
    assert_eq!(bed.open("f", Oflags::NONE, BOTH, Fdflags::NONE), 4);
    for len in [100_065, 200_000, 1 << 40] {
        bed.errno(|c, m| fd_allocate(c, m, 4, 0, len), Errno::NOSPC);
    }
    bed.ok(|c, m| fd_allocate(c, m, 4, 0, 90_000), &[]);
}

#[test]
fn fd_advise_and_sync() {
    let mut bed = bed(Rights::FD_READ);
    for advice in [
        Advice::Normal,
        Advice::Sequential,
        Advice::Random,
        Advice::Noreuse,
    ] {
        bed.ok(|c, m| fd_advise(c, m, 4, u64::MAX, i64::MAX as u64, advice), &[]);
    }
    bed.errno(
        |c, m| fd_advise(c, m, 4, 0, 1 << 63, Advice::Normal),
        Errno::INVAL,
    );
    bed.ok(|c, m| fd_sync(c, m, 4), &[]);
    bed.ok(|c, m| fd_datasync(c, m, 4), &[]);
    bed.errno(|c, m| fd_advise(c, m, 3, 0, 0, Advice::Normal), Errno::BADF);
    bed.errno(|c, m| fd_sync(c, m, 3), Errno::BADF);
    bed.errno(|c, m| fd_datasync(c, m, 3), Errno::BADF);
}

#[test]
fn each_call_needs_its_right() {
    type Call = fn(
        &mut crate::context::WasiP1Ctx<TestSystem>,
        &mut crate::memory::GuestMemory<'_>,
    ) -> Result<(), crate::error::Error>;
    let calls: [(Rights, Call); 8] = [
        (Rights::FD_ADVISE, |c, m| fd_advise(c, m, 4, 0, 0, Advice::Normal)),
        (Rights::FD_ALLOCATE, |c, m| fd_allocate(c, m, 4, 0, 1)),
        (Rights::FD_DATASYNC, |c, m| fd_datasync(c, m, 4)),
        (Rights::FD_SYNC, |c, m| fd_sync(c, m, 4)),
        (Rights::FD_FDSTAT_SET_FLAGS, |c, m| {
            fd_fdstat_set_flags(c, m, 4, Fdflags::NONE)
        }),
        (Rights::FD_FILESTAT_GET, |c, m| {
            fd_filestat_get(c, m, 4, Ptr::new(0))
        }),
        (Rights::FD_FILESTAT_SET_SIZE, |c, m| {
            fd_filestat_set_size(c, m, 4, 1)
        }),
        (Rights::FD_FILESTAT_SET_TIMES, |c, m| {
            fd_filestat_set_times(c, m, 4, 1, 1, Fstflags::ATIM)
        }),
    ];
    for (right, call) in calls {
        let mut bed = bed(BOTH);
        let base = bed.ctx.fds.get(4).expect("open").rights_base().without(right);
        bed.ok(|c, m| fd_fdstat_set_rights(c, m, 4, base, Rights::NONE), &[]);
        bed.errno(call, Errno::NOTCAPABLE);
        let mut bed = self::bed(BOTH);
        bed.ok(|c, m| fd_fdstat_set_rights(c, m, 4, right, Rights::NONE), &[]);
        assert_eq!(bed.run(call), Ok(()), "{right:?}");
    }
}

#[test]
fn fd_fdstat_set_flags_of_files_and_directories() {
    let mut bed = bed(BOTH);
    let both = Fdflags::APPEND.union(Fdflags::NONBLOCK);
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, 4, both), &[]);
    assert_eq!(bed.ctx.fds.get(4).expect("open").flags, both);
    for flags in [Fdflags::DSYNC, Fdflags::RSYNC, Fdflags::SYNC, Fdflags::ALL] {
        bed.errno(|c, m| fd_fdstat_set_flags(c, m, 4, flags), Errno::INVAL);
    }
    bed.errno(|c, m| fd_fdstat_set_flags(c, m, 3, Fdflags::NONE), Errno::BADF);
}

#[test]
fn what_is_read_only_keeps_its_times() {
    let mut bed = TestBed::with_fs(tree(Limits::NONE), Permission::ReadOnly);
    assert_eq!(bed.open("f", Oflags::NONE, Rights::NONE, Fdflags::NONE), 4);
    for fd in [3, 4] {
        bed.errno(
            |c, m| fd_filestat_set_times(c, m, fd, 1, 1, Fstflags::ATIM),
            Errno::ROFS,
        );
    }
    bed.ok(|c, m| fd_sync(c, m, 4), &[]);
}
