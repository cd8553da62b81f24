//! Tests of the `fd_*` calls on the standard streams, but for those that move bytes (see `stream_io.rs`).
//! The errnos on a stream are those that wasmtime 50.0.1 gave when called with the same arguments.

use wasi_core::{Terminals, context::WasiCtxBuilder, testing::TestSystem};

use super::super::*;
use crate::{
    abi::{
        Errno,
        types::{Advice, Fd, Fdflags, Fstflags, Param, Rights, Whence},
    },
    calls::testbed::{FDS, SIZE, TestBed},
    memory::Ptr,
};

/// What a call answers for each of [`FDS`]: standard input, output, error, and two that are not open.
fn answers(errnos: [Errno; 3]) -> [(Fd, Errno); 5] {
    let [stdin, stdout, stderr] = errnos;
    [
        (FDS[0], stdin),
        (FDS[1], stdout),
        (FDS[2], stderr),
        (FDS[3], Errno::BADF),
        (FDS[4], Errno::BADF),
    ]
}

#[test]
fn calls_that_need_a_file() {
    for (fd, errno) in answers([Errno::BADF; 3]) {
        let mut bed = TestBed::new();
        bed.errno(|c, m| fd_advise(c, m, fd, 0, 0, Advice::Normal), errno);
        bed.errno(|c, m| fd_allocate(c, m, fd, 0, 1), errno);
        bed.errno(|c, m| fd_datasync(c, m, fd), errno);
        bed.errno(|c, m| fd_sync(c, m, fd), errno);
        bed.errno(|c, m| fd_filestat_set_size(c, m, fd, 0), errno);
        bed.errno(
            |c, m| fd_filestat_set_times(c, m, fd, 0, 0, Fstflags::MTIM_NOW),
            errno,
        );
        bed.errno(|c, m| fd_prestat_get(c, m, fd, Ptr::new(SIZE)), errno);
        bed.errno(
            |c, m| fd_readdir(c, m, fd, Ptr::new(0), SIZE + 1, 0, Ptr::new(1)),
            errno,
        );
    }
}

#[test]
fn calls_that_need_a_position() {
    for (fd, errno) in answers([Errno::SPIPE; 3]) {
        let mut bed = TestBed::new();
        bed.errno(
            |c, m| fd_seek(c, m, fd, i64::MIN, Whence::Cur, Ptr::new(SIZE)),
            errno,
        );
        bed.errno(|c, m| fd_tell(c, m, fd, Ptr::new(1)), errno);
    }
    for (fd, errno) in answers([Errno::SPIPE, Errno::BADF, Errno::BADF]) {
        TestBed::new().errno(
            |c, m| fd_pread(c, m, fd, Ptr::new(1), u32::MAX, 0, Ptr::new(SIZE)),
            errno,
        );
    }
    for (fd, errno) in answers([Errno::BADF, Errno::SPIPE, Errno::SPIPE]) {
        TestBed::new().errno(
            |c, m| fd_pwrite(c, m, fd, Ptr::new(1), u32::MAX, u64::MAX, Ptr::new(SIZE)),
            errno,
        );
    }
}

#[test]
fn a_stream_is_no_preopen() {
    for (fd, errno) in answers([Errno::NOTDIR; 3]) {
        TestBed::new().errno(|c, m| fd_prestat_dir_name(c, m, fd, Ptr::new(0), SIZE + 1), errno);
    }
}

#[test]
fn times_that_contradict_themselves_are_inval_before_all_else() {
    let flags = Fstflags::ATIM.union(Fstflags::ATIM_NOW);
    TestBed::new().errno(|c, m| fd_filestat_set_times(c, m, 99, 0, 0, flags), Errno::INVAL);
}

/// `fs_filetype` 0 (unknown), `fs_flags`, the right and those of all streams, nothing to inherit.
fn fdstat(flags: u8, right: u8) -> [u8; 24] {
    [
        0,
        0,
        flags,
        0,
        0,
        0,
        0,
        0,
        right | 0x08,
        0,
        0x20,
        0x08,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]
}

#[test]
fn fd_fdstat_get_of_the_standard_streams() {
    for (fd, right) in [(0, 0x02), (1, 0x40), (2, 0x40)] {
        TestBed::new().ok(
            |c, m| fd_fdstat_get(c, m, fd, Ptr::new(8)),
            &[(8, &fdstat(0, right))],
        );
        let last = SIZE - 24;
        TestBed::new().ok(
            |c, m| fd_fdstat_get(c, m, fd, Ptr::new(last)),
            &[(last, &fdstat(0, right))],
        );
    }
}

#[test]
fn fd_fdstat_get_errors() {
    for fd in [3, u32::MAX] {
        TestBed::new().errno(|c, m| fd_fdstat_get(c, m, fd, Ptr::new(SIZE)), Errno::BADF);
    }
    for address in [SIZE - 16, SIZE, 4, u32::MAX - 7] {
        TestBed::new().trap(|c, m| fd_fdstat_get(c, m, 0, Ptr::new(address)));
    }
}

#[test]
fn fd_filestat_get_of_the_standard_streams() {
    for fd in 0..3 {
        TestBed::new().ok(
            |c, m| fd_filestat_get(c, m, fd, Ptr::new(SIZE - 64)),
            &[(SIZE - 64, &[0; 64])],
        );
    }
}

#[test]
fn a_terminal_is_a_character_device() {
    let none = Terminals::default();
    let choices = [
        Terminals { stdin: true, ..none },
        Terminals { stdout: true, ..none },
        Terminals { stderr: true, ..none },
    ];
    for (terminal, terminals) in (0..3).zip(choices) {
        let mut bed = TestBed::of(
            WasiCtxBuilder::new()
                .terminals(terminals)
                .build(TestSystem::default()),
        );
        for fd in 0..3 {
            let filetype = if fd == terminal { 2 } else { 0 };
            let mut fdstat = fdstat(0, if fd == 0 { 2 } else { 0x40 });
            fdstat[0] = filetype;
            bed.ok(|c, m| fd_fdstat_get(c, m, fd, Ptr::new(0)), &[(0, &fdstat)]);
            let mut filestat = [0; 64];
            filestat[16] = filetype;
            bed.ok(|c, m| fd_filestat_get(c, m, fd, Ptr::new(64)), &[(64, &filestat)]);
        }
    }
}

#[test]
fn fd_filestat_get_errors() {
    TestBed::new().errno(|c, m| fd_filestat_get(c, m, 3, Ptr::new(SIZE)), Errno::BADF);
    for address in [SIZE - 56, SIZE, 4] {
        TestBed::new().trap(|c, m| fd_filestat_get(c, m, 0, Ptr::new(address)));
    }
    let mut bed = TestBed::new();
    bed.ok(
        |c, m| fd_fdstat_set_rights(c, m, 0, Rights::FD_READ, Rights::NONE),
        &[],
    );
    bed.errno(|c, m| fd_filestat_get(c, m, 0, Ptr::new(0)), Errno::NOTCAPABLE);
}

#[test]
fn fd_fdstat_set_flags_keeps_append_and_nonblock() {
    let mut bed = TestBed::new();
    bed.ok(
        |c, m| fd_fdstat_set_flags(c, m, 1, Fdflags::APPEND.union(Fdflags::NONBLOCK)),
        &[],
    );
    bed.ok(
        |c, m| fd_fdstat_get(c, m, 1, Ptr::new(0)),
        &[(0, &fdstat(5, 0x40))],
    );
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, 1, Fdflags::NONE), &[]);
    bed.ok(
        |c, m| fd_fdstat_get(c, m, 1, Ptr::new(0)),
        &[(0, &fdstat(0, 0x40))],
    );
}

#[test]
fn fd_fdstat_set_flags_errors() {
    for flags in [Fdflags::DSYNC, Fdflags::RSYNC, Fdflags::SYNC, Fdflags::ALL] {
        let mut bed = TestBed::new();
        bed.errno(|c, m| fd_fdstat_set_flags(c, m, 0, flags), Errno::INVAL);
        bed.ok(|c, m| fd_fdstat_get(c, m, 0, Ptr::new(0)), &[(0, &fdstat(0, 2))]);
    }
    TestBed::new().errno(|c, m| fd_fdstat_set_flags(c, m, 3, Fdflags::NONE), Errno::BADF);
    let mut bed = TestBed::new();
    bed.ok(
        |c, m| fd_fdstat_set_rights(c, m, 0, Rights::FD_READ, Rights::NONE),
        &[],
    );
    bed.errno(
        |c, m| fd_fdstat_set_flags(c, m, 0, Fdflags::NONE),
        Errno::NOTCAPABLE,
    );
}

#[test]
fn fd_fdstat_set_rights_only_takes_away() {
    let mut bed = TestBed::new();
    let less = Rights::FD_READ.union(Rights::FD_FDSTAT_SET_FLAGS);
    bed.ok(|c, m| fd_fdstat_set_rights(c, m, 0, less, Rights::NONE), &[]);
    let mut expected = fdstat(0, 2);
    expected[10] = 0;
    expected[11] = 0;
    bed.ok(|c, m| fd_fdstat_get(c, m, 0, Ptr::new(0)), &[(0, &expected)]);
    let more = less.union(Rights::POLL_FD_READWRITE);
    bed.errno(
        |c, m| fd_fdstat_set_rights(c, m, 0, more, Rights::NONE),
        Errno::NOTCAPABLE,
    );
    bed.errno(
        |c, m| fd_fdstat_set_rights(c, m, 0, less, Rights::FD_READ),
        Errno::NOTCAPABLE,
    );
    bed.errno(
        |c, m| fd_fdstat_set_rights(c, m, 3, less, Rights::NONE),
        Errno::BADF,
    );
}

#[test]
fn fd_close_frees_the_number() {
    let mut bed = TestBed::new();
    bed.ok(|c, m| fd_close(c, m, 1), &[]);
    bed.errno(|c, m| fd_close(c, m, 1), Errno::BADF);
    bed.errno(|c, m| fd_fdstat_get(c, m, 1, Ptr::new(0)), Errno::BADF);
    bed.ok(
        |c, m| fd_fdstat_get(c, m, 2, Ptr::new(0)),
        &[(0, &fdstat(0, 0x40))],
    );
    for fd in [3, u32::MAX] {
        bed.errno(|c, m| fd_close(c, m, fd), Errno::BADF);
    }
}

#[test]
fn fd_renumber_replaces() {
    let mut bed = TestBed::new();
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, 2, Fdflags::APPEND), &[]);
    bed.ok(|c, m| fd_renumber(c, m, 2, 0), &[]);
    bed.errno(|c, m| fd_fdstat_get(c, m, 2, Ptr::new(0)), Errno::BADF);
    // The flags and rights move with it.
    bed.ok(
        |c, m| fd_fdstat_get(c, m, 0, Ptr::new(0)),
        &[(0, &fdstat(1, 0x40))],
    );
}

#[test]
fn fd_renumber_to_itself_changes_nothing() {
    let mut bed = TestBed::new();
    bed.ok(|c, m| fd_renumber(c, m, 1, 1), &[]);
    bed.ok(
        |c, m| fd_fdstat_get(c, m, 1, Ptr::new(0)),
        &[(0, &fdstat(0, 0x40))],
    );
}

#[test]
fn fd_renumber_needs_both_to_be_open() {
    let mut bed = TestBed::new();
    for (fd, to) in [(0, 3), (3, 0), (3, 3), (0, u32::MAX), (u32::MAX, 0)] {
        bed.errno(|c, m| fd_renumber(c, m, fd, to), Errno::BADF);
    }
    bed.ok(|c, m| fd_close(c, m, 1), &[]);
    bed.errno(|c, m| fd_renumber(c, m, 2, 1), Errno::BADF);
    bed.errno(|c, m| fd_renumber(c, m, 1, 2), Errno::BADF);
    bed.ok(
        |c, m| fd_fdstat_get(c, m, 2, Ptr::new(0)),
        &[(0, &fdstat(0, 0x40))],
    );
}

#[test]
fn rights_of_a_stream_are_known_bits() {
    assert_eq!(
        Rights::from_raw(0x0820_000a),
        Ok(Rights::FD_READ
            .union(Rights::FD_FDSTAT_SET_FLAGS)
            .union(Rights::FD_FILESTAT_GET)
            .union(Rights::POLL_FD_READWRITE))
    );
}
