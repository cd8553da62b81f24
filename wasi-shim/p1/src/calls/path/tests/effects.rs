//! What the calls do when they succeed, byte for byte.

use alloc::vec::Vec;

use super::super::*;
use crate::{
    abi::types::{Fdflags, Fstflags, Lookupflags, Oflags},
    calls::{
        fd::{fd_close, fd_filestat_get, fd_read},
        testbed::{BIRTH, SIZE, TestBed, le32},
    },
};

const PATH: u32 = 512;
const OTHER: u32 = 600;
const NONE: Lookupflags = Lookupflags::NONE;
const FOLLOW: Lookupflags = Lookupflags::SYMLINK_FOLLOW;

/// A `filestat`: device 1, and the rest.
fn filestat(ino: u64, filetype: u64, nlink: u64, size: u64, times: [u64; 3]) -> Vec<u8> {
    let [atim, mtim, ctim] = times;
    [1, ino, filetype, nlink, size, atim, mtim, ctim]
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .collect()
}

#[track_caller]
fn stat(bed: &mut TestBed, flags: Lookupflags, path: &str, expected: &[u8]) {
    let (p, len) = bed.path(PATH, path);
    bed.ok(
        |c, m| path_filestat_get(c, m, 3, flags, p, len, Ptr::new(SIZE - 64)),
        &[(SIZE - 64, expected)],
    );
}

#[test]
fn path_filestat_get_of_each_kind() {
    let mut bed = TestBed::with_tree();
    let at_birth = [BIRTH; 3];
    stat(&mut bed, NONE, "f", &filestat(2, 4, 2, 5, at_birth));
    stat(&mut bed, NONE, "hard", &filestat(2, 4, 2, 5, at_birth));
    stat(&mut bed, NONE, "sub/g", &filestat(5, 4, 1, 1, at_birth));
    stat(&mut bed, NONE, "empty", &filestat(4, 3, 2, 0, at_birth));
    stat(&mut bed, NONE, ".", &filestat(1, 3, 4, 0, at_birth));
    stat(&mut bed, NONE, "lf", &filestat(6, 7, 1, 1, at_birth));
    stat(&mut bed, FOLLOW, "lf", &filestat(2, 4, 2, 5, at_birth));
    stat(&mut bed, NONE, "dang", &filestat(9, 7, 1, 7, at_birth));
}

#[test]
fn path_filestat_set_times_sets_what_is_asked_for() {
    let now = wasi_core::testing::TestSystem::default().realtime;
    let (a, m) = (0x0102_0304_0506_0708, u64::MAX);
    let cases = [
        (&[Fstflags::ATIM][..], [a, BIRTH]),
        (&[Fstflags::MTIM], [BIRTH, m]),
        (&[Fstflags::ATIM, Fstflags::MTIM], [a, m]),
        (&[Fstflags::ATIM_NOW], [now, BIRTH]),
        (&[Fstflags::MTIM_NOW], [BIRTH, now]),
        (&[Fstflags::ATIM_NOW, Fstflags::MTIM], [now, m]),
        (&[], [BIRTH, BIRTH]),
    ];
    for (flags, [atim, mtim]) in cases {
        let flags = flags.iter().fold(Fstflags::NONE, |all, flag| all.union(*flag));
        let mut bed = TestBed::with_tree();
        let (p, len) = bed.path(PATH, "lf");
        bed.ok(
            |c, mem| path_filestat_set_times(c, mem, 3, FOLLOW, p, len, a, m, flags),
            &[],
        );
        stat(&mut bed, FOLLOW, "lf", &filestat(2, 4, 2, 5, [atim, mtim, now]));
        stat(&mut bed, NONE, "lf", &filestat(6, 7, 1, 1, [BIRTH; 3]));
        // The link itself.
        let mut bed = TestBed::with_tree();
        bed.path(PATH, "lf");
        bed.ok(
            |c, mem| path_filestat_set_times(c, mem, 3, NONE, p, len, a, m, flags),
            &[],
        );
        stat(&mut bed, NONE, "lf", &filestat(6, 7, 1, 1, [atim, mtim, now]));
        stat(&mut bed, FOLLOW, "lf", &filestat(2, 4, 2, 5, [BIRTH; 3]));
    }
}

#[test]
fn path_readlink_cuts_off_what_does_not_fit() {
    for (len, expected) in [
        (7, &b"nowhere"[..]),
        (100, b"nowhere"),
        (6, b"nowher"),
        (1, b"n"),
        (0, b""),
    ] {
        let mut bed = TestBed::with_tree();
        let (p, p_len) = bed.path(PATH, "dang");
        let used = u32::try_from(expected.len()).expect("short");
        bed.ok(
            |c, m| path_readlink(c, m, 3, p, p_len, Ptr::new(100), len, Ptr::new(32)),
            &[(100, expected), (32, &le32(used))],
        );
    }
    // An empty range is valid at any address, and a buffer may end with memory.
    let mut bed = TestBed::with_tree();
    let (p, len) = bed.path(PATH, "dang");
    bed.ok(
        |c, m| path_readlink(c, m, 3, p, len, Ptr::new(u32::MAX), 0, Ptr::new(32)),
        &[(32, &le32(0))],
    );
    bed.ok(
        |c, m| path_readlink(c, m, 3, p, len, Ptr::new(SIZE - 7), 7, Ptr::new(32)),
        &[(SIZE - 7, b"nowhere"), (32, &le32(7))],
    );
}

#[test]
fn path_symlink_keeps_any_relative_target() {
    for target in [
        "f",
        "..",
        "../../x",
        "f/",
        "a//b",
        "./.",
        "\u{43f}\u{443}\u{442}\u{44c}",
    ] {
        let mut bed = TestBed::with_tree();
        let (t, t_len) = bed.path(OTHER, target);
        let (p, len) = bed.path(PATH, "sub/new");
        bed.ok(|c, m| path_symlink(c, m, t, t_len, 3, p, len), &[]);
        bed.ok(
            |c, m| path_readlink(c, m, 3, p, len, Ptr::new(100), 100, Ptr::new(32)),
            &[(100, target.as_bytes()), (32, &le32(t_len))],
        );
    }
}

#[test]
fn path_link_is_another_name_of_the_same() {
    let now = wasi_core::testing::TestSystem::default().realtime;
    let mut bed = TestBed::with_tree();
    let (p, p_len) = bed.path(PATH, "sub/g");
    let (q, q_len) = bed.path(OTHER, "new");
    bed.ok(|c, m| path_link(c, m, 3, NONE, p, p_len, 3, q, q_len), &[]);
    let both = filestat(5, 4, 2, 1, [BIRTH, BIRTH, now]);
    stat(&mut bed, NONE, "sub/g", &both);
    stat(&mut bed, NONE, "new", &both);
    let (p, len) = bed.path(PATH, "sub/g");
    bed.ok(|c, m| path_unlink_file(c, m, 3, p, len), &[]);
    stat(&mut bed, NONE, "new", &filestat(5, 4, 1, 1, [BIRTH, BIRTH, now]));
    // Of a symbolic link, the link itself.
    let (p, p_len) = bed.path(PATH, "dang");
    let (q, q_len) = bed.path(OTHER, "gnad");
    bed.ok(|c, m| path_link(c, m, 3, NONE, p, p_len, 3, q, q_len), &[]);
    stat(&mut bed, NONE, "gnad", &filestat(9, 7, 2, 7, [BIRTH, BIRTH, now]));
}

#[test]
fn directories_count_those_in_them() {
    let now = wasi_core::testing::TestSystem::default().realtime;
    let mut bed = TestBed::with_tree();
    let (p, len) = bed.path(PATH, "sub/new/");
    bed.ok(|c, m| path_create_directory(c, m, 3, p, len), &[]);
    stat(&mut bed, NONE, "sub", &filestat(3, 3, 3, 0, [BIRTH, now, now]));
    stat(&mut bed, NONE, "sub/new", &filestat(15, 3, 2, 0, [now; 3]));
    let (p, p_len) = bed.path(PATH, "sub/new");
    let (q, q_len) = bed.path(OTHER, "empty");
    bed.ok(|c, m| path_rename(c, m, 3, p, p_len, 3, q, q_len), &[]);
    stat(&mut bed, NONE, "sub", &filestat(3, 3, 2, 0, [BIRTH, now, now]));
    stat(&mut bed, NONE, "empty", &filestat(15, 3, 2, 0, [now; 3]));
    stat(&mut bed, NONE, ".", &filestat(1, 3, 4, 0, [BIRTH, now, now]));
    let (p, len) = bed.path(PATH, "empty/");
    bed.ok(|c, m| path_remove_directory(c, m, 3, p, len), &[]);
    stat(&mut bed, NONE, ".", &filestat(1, 3, 3, 0, [BIRTH, now, now]));
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let mut bed = TestBed::with_tree();
    let fd = bed.open("sub/g", Oflags::NONE, Rights::FD_READ, Fdflags::NONE);
    let (p, len) = bed.path(PATH, "sub/g");
    bed.ok(|c, m| path_unlink_file(c, m, 3, p, len), &[]);
    let now = wasi_core::testing::TestSystem::default().realtime;
    bed.ok(
        |c, m| fd_filestat_get(c, m, fd, Ptr::new(0)),
        &[(0, &filestat(5, 4, 0, 1, [BIRTH, BIRTH, now]))],
    );
    bed.put_iovecs(100, &[(200, 9)]);
    bed.ok(
        |c, m| fd_read(c, m, fd, Ptr::new(100), 1, Ptr::new(32)),
        &[(200, b"g"), (32, &le32(1))],
    );
    // Its place is not given to another while it is open, nor its number ever.
    bed.open("new", Oflags::CREAT, Rights::NONE, Fdflags::NONE);
    stat(&mut bed, NONE, "new", &filestat(15, 4, 1, 0, [now; 3]));
    bed.ok(|c, m| fd_close(c, m, fd), &[]);
    bed.open("newer", Oflags::CREAT, Rights::NONE, Fdflags::NONE);
    stat(&mut bed, NONE, "newer", &filestat(16, 4, 1, 0, [now; 3]));
}

#[test]
fn what_a_rename_replaces_lives_while_it_is_open() {
    let mut bed = TestBed::with_tree();
    let fd = bed.open("sub/g", Oflags::NONE, Rights::FD_READ, Fdflags::NONE);
    let (p, p_len) = bed.path(PATH, "f");
    let (q, q_len) = bed.path(OTHER, "sub/g");
    bed.ok(|c, m| path_rename(c, m, 3, p, p_len, 3, q, q_len), &[]);
    bed.put_iovecs(100, &[(200, 9)]);
    bed.ok(
        |c, m| fd_read(c, m, fd, Ptr::new(100), 1, Ptr::new(32)),
        &[(200, b"g"), (32, &le32(1))],
    );
    let now = wasi_core::testing::TestSystem::default().realtime;
    stat(
        &mut bed,
        NONE,
        "sub/g",
        &filestat(2, 4, 2, 5, [BIRTH, BIRTH, now]),
    );
    assert_eq!(
        bed.open_at(3, "f", Oflags::NONE, Rights::NONE, Fdflags::NONE),
        Err(Errno::NOENT)
    );
}
