//! Tests of `fd_readdir`, `fd_prestat_get` and `fd_prestat_dir_name`.

use alloc::{string::String, vec::Vec};

use wasi_core::{
    context::WasiCtxBuilder,
    fs::{
        FileSystem, Permission,
        mem::{Limits, MemFs},
    },
    testing::TestSystem,
};

use super::super::*;
use crate::{
    abi::{
        Errno,
        types::{Dircookie, Fdflags, Oflags, Rights},
    },
    calls::{
        path::{path_create_directory, path_rename, path_unlink_file},
        testbed::{SIZE, TestBed, le32, tree},
    },
    memory::Ptr,
};

const BUF: u32 = 64;
const USED: u32 = 32;

fn entry(next: u64, ino: u64, filetype: u8, name: &str) -> Vec<u8> {
    let namlen = u32::try_from(name.len()).expect("short");
    [
        &next.to_le_bytes()[..],
        &ino.to_le_bytes(),
        &namlen.to_le_bytes(),
        &[filetype, 0, 0, 0],
        name.as_bytes(),
    ]
    .concat()
}

#[track_caller]
fn readdir(bed: &mut TestBed, fd: u32, len: u32, cookie: Dircookie, expected: &[u8]) {
    let used = u32::try_from(expected.len()).expect("short");
    bed.ok(
        |c, m| fd_readdir(c, m, fd, Ptr::new(BUF), len, cookie, Ptr::new(USED)),
        &[(BUF, expected), (USED, &le32(used))],
    );
}

/// With `sub`, of which `g` is all, open as 4.
fn bed() -> (TestBed, [Vec<u8>; 3]) {
    let mut bed = TestBed::with_tree();
    assert_eq!(bed.open("sub", Oflags::NONE, Rights::NONE, Fdflags::NONE), 4);
    let entries = [entry(1, 3, 3, "."), entry(2, 3, 3, ".."), entry(3, 5, 4, "g")];
    (bed, entries)
}

#[test]
fn entries_from_each_cookie() {
    let (mut bed, entries) = bed();
    let [_, second, third] = &entries;
    readdir(&mut bed, 4, 500, 0, &entries.concat());
    readdir(&mut bed, 4, 500, 1, &[&second[..], third].concat());
    readdir(&mut bed, 4, 500, 2, third);
    for cookie in [3, 4, 1000, u64::MAX] {
        readdir(&mut bed, 4, 500, cookie, &[]);
    }
}

#[test]
fn the_last_entry_is_cut_off_where_the_buffer_ends() {
    let (_, entries) = bed();
    let all = entries.concat();
    for len in 0..=all.len() {
        let (mut bed, _) = bed();
        readdir(&mut bed, 4, u32::try_from(len).expect("short"), 0, &all[..len]);
    }
}

#[test]
fn the_buffer_may_end_with_memory() {
    let (mut bed, entries) = bed();
    let all = entries.concat();
    let len = u32::try_from(all.len()).expect("short");
    bed.ok(
        |c, m| fd_readdir(c, m, 4, Ptr::new(SIZE - len), len, 0, Ptr::new(USED)),
        &[(SIZE - len, &all), (USED, &le32(len))],
    );
    bed.trap(|c, m| fd_readdir(c, m, 4, Ptr::new(SIZE - len + 1), len, 0, Ptr::new(USED)));
    bed.trap(|c, m| fd_readdir(c, m, 4, Ptr::new(BUF), len, 0, Ptr::new(SIZE - 3)));
    bed.trap(|c, m| fd_readdir(c, m, 4, Ptr::new(BUF), len, 0, Ptr::new(USED + 1)));
    // An empty range is valid anywhere.
    bed.ok(
        |c, m| fd_readdir(c, m, 4, Ptr::new(u32::MAX), 0, 0, Ptr::new(USED)),
        &[(USED, &le32(0))],
    );
}

/// The names from `cookie` on, and the cookie after `count` of them.
fn names(bed: &mut TestBed, fd: u32, cookie: u64, count: usize) -> (Vec<String>, u64) {
    let memory = bed.memory.clone();
    bed.memory.resize(65536, 0);
    let end = bed.run(|c, m| fd_readdir(c, m, fd, Ptr::new(BUF), 65000, cookie, Ptr::new(USED)));
    assert_eq!(end, Ok(()));
    let used = u32::from_le_bytes(bed.memory[32..36].try_into().expect("4 bytes"));
    let mut rest = &bed.memory[64..64 + usize::try_from(used).expect("fits")];
    let (mut names, mut next) = (Vec::new(), cookie);
    while names.len() < count && !rest.is_empty() {
        next = u64::from_le_bytes(rest[..8].try_into().expect("8 bytes"));
        let len = usize::from(rest[16]);
        names.push(String::from_utf8_lossy(&rest[24..24 + len]).into_owned());
        rest = &rest[24 + len..];
    }
    bed.memory = memory;
    (names, next)
}

#[test]
fn cookies_survive_changes() {
    let mut bed = TestBed::with_fs(MemFs::new(Limits::NONE, 0), Permission::ReadWrite);
    let make = |bed: &mut TestBed, name: &str| {
        let (p, len) = bed.path(512, name);
        bed.ok(|c, m| path_create_directory(c, m, 3, p, len), &[]);
    };
    for index in 0..50 {
        make(&mut bed, &alloc::format!("d{index}"));
    }
    let (first, cookie) = names(&mut bed, 3, 0, 22);
    assert_eq!(first.len(), 22);
    assert_eq!(first[21], "d19");
    // What was read goes, what was not goes, new ones come, names change; all before and after the cookie.
    let removed: Vec<_> = (0..15).chain(30..45).collect();
    for index in &removed {
        let (p, len) = bed.path(512, alloc::format!("d{index}"));
        bed.ok(
            |c, m| crate::calls::path::path_remove_directory(c, m, 3, p, len),
            &[],
        );
    }
    make(&mut bed, "new");
    let (p, p_len) = bed.path(512, "d46");
    let (q, q_len) = bed.path(600, "d47");
    bed.ok(|c, m| path_rename(c, m, 3, p, p_len, 3, q, q_len), &[]);
    let (rest, end) = names(&mut bed, 3, cookie, 1000);
    let expected: Vec<_> = (20..30)
        .chain([45, 47, 48, 49])
        .map(|index| alloc::format!("d{index}"))
        .chain([String::from("new")])
        .collect();
    assert_eq!(rest, expected);
    // At the end there is nothing, until something comes.
    assert_eq!(names(&mut bed, 3, end, 9).0, Vec::<String>::new());
    make(&mut bed, "last");
    assert_eq!(names(&mut bed, 3, end, 9).0, ["last"]);
}

#[test]
fn a_directory_that_is_gone_is_empty() {
    let mut bed = TestBed::with_tree();
    let fd = bed.open("empty", Oflags::NONE, Rights::NONE, Fdflags::NONE);
    let (p, len) = bed.path(512, "empty");
    bed.ok(
        |c, m| crate::calls::path::path_remove_directory(c, m, 3, p, len),
        &[],
    );
    assert_eq!(names(&mut bed, fd, 0, 9).0, [".", ".."]);
}

#[test]
fn what_is_removed_while_it_is_read_is_not_told() {
    let (mut bed, _) = bed();
    let (p, len) = bed.path(512, "sub/g");
    bed.ok(|c, m| path_unlink_file(c, m, 3, p, len), &[]);
    assert_eq!(names(&mut bed, 4, 2, 9).0, Vec::<String>::new());
}

#[test]
fn fd_readdir_errors() {
    let (mut bed, _) = bed();
    let file = bed.open("f", Oflags::NONE, Rights::FD_READ, Fdflags::NONE);
    for fd in [0, 1, file, 99] {
        bed.errno(
            |c, m| fd_readdir(c, m, fd, Ptr::new(SIZE), 1, 0, Ptr::new(SIZE)),
            Errno::BADF,
        );
    }
    let base = bed.ctx.fds.get(4).expect("open").rights_base();
    let base = base.without(Rights::FD_READDIR);
    bed.ok(|c, m| fd_fdstat_set_rights(c, m, 4, base, Rights::NONE), &[]);
    bed.errno(
        |c, m| fd_readdir(c, m, 4, Ptr::new(BUF), 1, 0, Ptr::new(USED)),
        Errno::NOTCAPABLE,
    );
}

#[test]
fn a_hundred_thousand_entries() {
    let mut fs = MemFs::new(Limits::NONE, 0);
    let root = fs.root();
    let now = &mut || 0;
    for index in 0..100_000 {
        let name = alloc::format!("entry-{index}");
        fs.create(root, name.as_bytes(), now).expect("there is room");
    }
    let mut bed = TestBed::with_fs(fs, Permission::ReadWrite);
    let (mut count, mut cookie) = (0, 0);
    loop {
        let (read, next) = names(&mut bed, 3, cookie, 1000);
        if read.is_empty() {
            break;
        }
        count += read.len();
        cookie = next;
    }
    assert_eq!(count, 100_002);
    assert_eq!(
        bed.open("entry-99999", Oflags::NONE, Rights::NONE, Fdflags::NONE),
        4
    );
}

#[test]
fn preopens_have_names_in_order() {
    let builder = WasiCtxBuilder::new()
        .preopen(tree(Limits::NONE), "/", Permission::ReadWrite)
        .and_then(|builder| builder.preopen(tree(Limits::NONE), "a/b", Permission::ReadOnly))
        .expect("good names");
    let mut bed = TestBed::of(builder.build(TestSystem::default()));
    for (fd, name) in [(3, &b"/"[..]), (4, b"a/b")] {
        let len = u32::try_from(name.len()).expect("short");
        let prestat = [le32(0), le32(len)].concat();
        bed.ok(
            |c, m| fd_prestat_get(c, m, fd, Ptr::new(SIZE - 8)),
            &[(SIZE - 8, &prestat)],
        );
        for room in [len, len + 1, 100] {
            bed.ok(
                |c, m| fd_prestat_dir_name(c, m, fd, Ptr::new(200), room),
                &[(200, name)],
            );
        }
        bed.ok(
            |c, m| fd_prestat_dir_name(c, m, fd, Ptr::new(SIZE - len), len),
            &[(SIZE - len, name)],
        );
        for room in 0..len {
            bed.errno(
                |c, m| fd_prestat_dir_name(c, m, fd, Ptr::new(200), room),
                Errno::NAMETOOLONG,
            );
        }
        bed.trap(|c, m| fd_prestat_dir_name(c, m, fd, Ptr::new(SIZE - len + 1), len));
        for at in [SIZE - 7, SIZE - 4, 2] {
            bed.trap(|c, m| fd_prestat_get(c, m, fd, Ptr::new(at)));
        }
    }
    bed.errno(|c, m| fd_prestat_get(c, m, 5, Ptr::new(0)), Errno::BADF);
}

#[test]
fn what_was_opened_is_no_preopen() {
    let (mut bed, _) = bed();
    let file = bed.open("f", Oflags::NONE, Rights::FD_READ, Fdflags::NONE);
    for fd in [4, file] {
        bed.errno(|c, m| fd_prestat_get(c, m, fd, Ptr::new(SIZE)), Errno::BADF);
        bed.errno(
            |c, m| fd_prestat_dir_name(c, m, fd, Ptr::new(SIZE), 1),
            Errno::NOTDIR,
        );
    }
}
