//! `path_open`.

use alloc::{string::String, vec::Vec};

use wasi_core::{
    context::WasiCtxBuilder,
    descriptor::Descriptor,
    fs::{Permission, mem::Limits},
    testing::TestSystem,
};

use super::name;
use crate::{
    abi::{
        Errno,
        types::{Fdflags, Lookupflags, Oflags, Rights},
    },
    calls::{
        fd::{fd_close, fd_fdstat_get, fd_fdstat_set_rights},
        path::path_open,
        testbed::{SIZE, TestBed, le32, tree},
    },
    memory::Ptr,
};

/// Of each path, opened for reading: without flags, with `directory`, `creat`, `creat excl`, `creat directory`,
/// `trunc`, `directory trunc`, `excl`, `creat directory excl`; each without and with following links.
#[rustfmt::skip]
const ANSWERS: &[(&str, &str)] = &[
    ("f", "file file NOTDIR NOTDIR file file EXIST EXIST INVAL INVAL file file INVAL INVAL file file INVAL INVAL"),
    ("sub", "dir dir dir dir ISDIR ISDIR EXIST EXIST INVAL INVAL ISDIR ISDIR INVAL INVAL dir dir INVAL INVAL"),
    ("sub/", "dir dir dir dir ISDIR ISDIR ISDIR ISDIR INVAL INVAL ISDIR ISDIR INVAL INVAL dir dir INVAL INVAL"),
    ("f/", "NOTDIR NOTDIR NOTDIR NOTDIR ISDIR ISDIR ISDIR ISDIR INVAL INVAL NOTDIR NOTDIR INVAL INVAL NOTDIR NOTDIR INVAL INVAL"),
    ("lf", "LOOP file LOOP NOTDIR LOOP file EXIST EXIST INVAL INVAL LOOP file INVAL INVAL LOOP file INVAL INVAL"),
    ("lf/", "NOTDIR NOTDIR NOTDIR NOTDIR ISDIR ISDIR ISDIR ISDIR INVAL INVAL NOTDIR NOTDIR INVAL INVAL NOTDIR NOTDIR INVAL INVAL"),
    ("ld", "LOOP dir LOOP dir LOOP ISDIR EXIST EXIST INVAL INVAL LOOP ISDIR INVAL INVAL LOOP dir INVAL INVAL"),
    ("ld/", "dir dir dir dir ISDIR ISDIR ISDIR ISDIR INVAL INVAL ISDIR ISDIR INVAL INVAL dir dir INVAL INVAL"),
    ("dang", "LOOP NOENT LOOP NOENT LOOP file EXIST EXIST INVAL INVAL LOOP NOENT INVAL INVAL LOOP NOENT INVAL INVAL"),
    ("dang/", "NOENT NOENT NOENT NOENT ISDIR ISDIR ISDIR ISDIR INVAL INVAL NOENT NOENT INVAL INVAL NOENT NOENT INVAL INVAL"),
    ("loop", "LOOP LOOP LOOP LOOP LOOP LOOP EXIST EXIST INVAL INVAL LOOP LOOP INVAL INVAL LOOP LOOP INVAL INVAL"),
    ("loop/", "LOOP LOOP LOOP LOOP ISDIR ISDIR ISDIR ISDIR INVAL INVAL LOOP LOOP INVAL INVAL LOOP LOOP INVAL INVAL"),
    ("nope", "NOENT NOENT NOENT NOENT file file file file INVAL INVAL NOENT NOENT INVAL INVAL NOENT NOENT INVAL INVAL"),
    ("nope/", "NOENT NOENT NOENT NOENT ISDIR ISDIR ISDIR ISDIR INVAL INVAL NOENT NOENT INVAL INVAL NOENT NOENT INVAL INVAL"),
    ("abs", "LOOP PERM LOOP PERM LOOP PERM EXIST EXIST INVAL INVAL LOOP PERM INVAL INVAL LOOP PERM INVAL INVAL"),
    ("up", "LOOP PERM LOOP PERM LOOP PERM EXIST EXIST INVAL INVAL LOOP PERM INVAL INVAL LOOP PERM INVAL INVAL"),
    ("self", "LOOP dir LOOP dir LOOP ISDIR EXIST EXIST INVAL INVAL LOOP ISDIR INVAL INVAL LOOP dir INVAL INVAL"),
    (".", "dir dir dir dir ISDIR ISDIR EXIST EXIST INVAL INVAL ISDIR ISDIR INVAL INVAL dir dir INVAL INVAL"),
    ("..", "PERM PERM PERM PERM PERM PERM PERM PERM INVAL INVAL PERM PERM INVAL INVAL PERM PERM INVAL INVAL"),
    ("./", "dir dir dir dir ISDIR ISDIR EXIST EXIST INVAL INVAL ISDIR ISDIR INVAL INVAL dir dir INVAL INVAL"),
    ("sub/..", "dir dir dir dir ISDIR ISDIR EXIST EXIST INVAL INVAL ISDIR ISDIR INVAL INVAL dir dir INVAL INVAL"),
    ("sub/../..", "PERM PERM PERM PERM PERM PERM PERM PERM INVAL INVAL PERM PERM INVAL INVAL PERM PERM INVAL INVAL"),
    ("", "NOENT NOENT NOENT NOENT NOENT NOENT NOENT NOENT INVAL INVAL NOENT NOENT INVAL INVAL NOENT NOENT INVAL INVAL"),
    ("/", "PERM PERM PERM PERM PERM PERM PERM PERM INVAL INVAL PERM PERM INVAL INVAL PERM PERM INVAL INVAL"),
    ("/f", "PERM PERM PERM PERM PERM PERM PERM PERM INVAL INVAL PERM PERM INVAL INVAL PERM PERM INVAL INVAL"),
    ("f\0", "INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL"),
    ("\0", "INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL INVAL"),
    ("f/.", "NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR INVAL INVAL NOTDIR NOTDIR INVAL INVAL NOTDIR NOTDIR INVAL INVAL"),
    ("f/..", "NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR INVAL INVAL NOTDIR NOTDIR INVAL INVAL NOTDIR NOTDIR INVAL INVAL"),
    ("nope/..", "NOENT NOENT NOENT NOENT NOENT NOENT NOENT NOENT INVAL INVAL NOENT NOENT INVAL INVAL NOENT NOENT INVAL INVAL"),
    ("sub/../f", "file file NOTDIR NOTDIR file file EXIST EXIST INVAL INVAL file file INVAL INVAL file file INVAL INVAL"),
    ("lfd", "LOOP file LOOP NOTDIR LOOP file EXIST EXIST INVAL INVAL LOOP file INVAL INVAL LOOP file INVAL INVAL"),
    ("ld/g", "file file NOTDIR NOTDIR file file EXIST EXIST INVAL INVAL file file INVAL INVAL file file INVAL INVAL"),
    ("ld/../f", "file file NOTDIR NOTDIR file file EXIST EXIST INVAL INVAL file file INVAL INVAL file file INVAL INVAL"),
    ("self/f", "file file NOTDIR NOTDIR file file EXIST EXIST INVAL INVAL file file INVAL INVAL file file INVAL INVAL"),
    ("f/x", "NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR NOTDIR INVAL INVAL NOTDIR NOTDIR INVAL INVAL NOTDIR NOTDIR INVAL INVAL"),
    ("nope/x", "NOENT NOENT NOENT NOENT NOENT NOENT NOENT NOENT INVAL INVAL NOENT NOENT INVAL INVAL NOENT NOENT INVAL INVAL"),
];

const PATH: u32 = 512;

fn flags(list: &[Oflags]) -> Oflags {
    list.iter().fold(Oflags::NONE, |all, flag| all.union(*flag))
}

#[test]
fn answers() {
    let (creat, dir, excl, trunc) = (Oflags::CREAT, Oflags::DIRECTORY, Oflags::EXCL, Oflags::TRUNC);
    let columns = [
        Oflags::NONE,
        dir,
        creat,
        flags(&[creat, excl]),
        flags(&[creat, dir]),
        trunc,
        flags(&[dir, trunc]),
        excl,
        flags(&[creat, dir, excl]),
    ];
    let mut differences = Vec::new();
    for (path, row) in ANSWERS {
        let expected: Vec<_> = row.split_whitespace().collect();
        assert_eq!(expected.len(), 18, "{path}");
        for (index, expected) in expected.into_iter().enumerate() {
            let oflags = columns[index / 2];
            let follow = [Lookupflags::NONE, Lookupflags::SYMLINK_FOLLOW][index % 2];
            let mut bed = TestBed::with_tree();
            let (p, len) = bed.path(PATH, path);
            let state = bed.state();
            let (read, none) = (Rights::FD_READ, Rights::NONE);
            let end = bed.run(|c, m| {
                path_open(
                    c,
                    m,
                    3,
                    follow,
                    p,
                    len,
                    oflags,
                    read,
                    none,
                    Fdflags::NONE,
                    Ptr::new(0),
                )
            });
            let found = match end {
                Ok(()) => {
                    assert_eq!(bed.memory[..4], le32(4), "the lowest that is free");
                    match bed.ctx.fds.get(4).expect("open").descriptor {
                        Descriptor::Directory(_) => "dir",
                        _ => "file",
                    }
                }
                Err(crate::error::Error::Errno(errno)) => {
                    assert_eq!(bed.state(), state, "a failure leaves no trace");
                    name(errno)
                }
                Err(other) => panic!("{other}"),
            };
            if found != expected {
                differences.push(alloc::format!(
                    "{path} {oflags:?} {follow:?}: {found}, not {expected}"
                ));
            }
        }
    }
    assert_eq!(differences, Vec::<String>::new());
}

/// Found by the differential test: wasmtime refuses this before it looks at the path.
#[test]
fn a_directory_is_never_opened_exclusively() {
    for (path, _) in ANSWERS {
        let mut bed = TestBed::with_tree();
        let (p, len) = bed.path(PATH, path);
        let state = bed.state();
        let oflags = Oflags::DIRECTORY.union(Oflags::EXCL);
        let end = bed.run(|c, m| {
            let (follow, none) = (Lookupflags::NONE, Rights::NONE);
            path_open(
                c,
                m,
                3,
                follow,
                p,
                len,
                oflags,
                none,
                none,
                Fdflags::NONE,
                Ptr::new(0),
            )
        });
        assert!(
            matches!(end, Err(crate::error::Error::Errno(Errno::INVAL))),
            "{path}"
        );
        assert_eq!(bed.state(), state, "a failure leaves no trace");
    }
}

/// The access that a file gets: by the rights asked for, and what creating and truncating add.
#[test]
fn the_rights_asked_for_say_how_to_open() {
    let (r, w, rw) = (
        Rights::FD_READ,
        Rights::FD_WRITE,
        Rights::FD_READ.union(Rights::FD_WRITE),
    );
    let other = Rights::FD_FILESTAT_GET;
    let cases = [
        (Rights::NONE, Oflags::NONE, (true, false)),
        (other, Oflags::NONE, (true, false)),
        (r, Oflags::NONE, (true, false)),
        (w, Oflags::NONE, (false, true)),
        (rw, Oflags::NONE, (true, true)),
        (Rights::NONE, Oflags::CREAT, (true, true)),
        (Rights::NONE, Oflags::TRUNC, (true, true)),
        (r, Oflags::TRUNC, (true, false)),
        (w, Oflags::CREAT, (false, true)),
    ];
    for (rights, oflags, (read, write)) in cases {
        let mut bed = TestBed::with_tree();
        let fd = bed.open("f", oflags, rights, Fdflags::NONE);
        let entry = bed.ctx.fds.get(fd).expect("open");
        assert_eq!(entry.rights_base().contains(r), read, "{rights:?} {oflags:?}");
        assert_eq!(entry.rights_base().contains(w), write, "{rights:?} {oflags:?}");
    }
}

#[test]
fn fdstat_of_files_and_directories() {
    // Type, flags, rights, rights passed on.
    let file: [u8; 24] = [
        4, 0, 5, 0, 0, 0, 0, 0, 0xff, 0x01, 0xe0, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let dir: [u8; 24] = [
        3, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xbf, 0x07, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x3f, 0, 0, 0, 0,
    ];
    let mut bed = TestBed::with_tree();
    let both = Fdflags::APPEND.union(Fdflags::NONBLOCK);
    let rw = Rights::FD_READ.union(Rights::FD_WRITE);
    assert_eq!(bed.open("f", Oflags::NONE, rw, both), 4);
    assert_eq!(bed.open("sub", Oflags::DIRECTORY, Rights::NONE, both), 5);
    for (fd, stat) in [(4, &file), (3, &dir), (5, &dir)] {
        bed.ok(|c, m| fd_fdstat_get(c, m, fd, Ptr::new(0)), &[(0, stat)]);
    }
    // Writing only: neither FD_READ; reading only: neither FD_WRITE, FD_ALLOCATE, FD_FILESTAT_SET_SIZE.
    assert_eq!(bed.open("f", Oflags::NONE, Rights::FD_WRITE, Fdflags::NONE), 6);
    assert_eq!(bed.open("f", Oflags::NONE, Rights::FD_READ, Fdflags::NONE), 7);
    let [write, read] = [6, 7].map(|fd| bed.ctx.fds.get(fd).expect("open").rights_base().raw());
    assert_eq!((write, read), (0x08e0_01fd, 0x08a0_00bf));
}

#[test]
fn synchronized_descriptors_are_notsup() {
    for flag in [Fdflags::DSYNC, Fdflags::RSYNC, Fdflags::SYNC, Fdflags::ALL] {
        let mut bed = TestBed::with_tree();
        let at = bed.open_at(3, "new", Oflags::CREAT, Rights::NONE, flag);
        assert_eq!(at, Err(Errno::NOTSUP));
    }
}

#[test]
fn a_file_is_no_directory_to_start_from() {
    let mut bed = TestBed::with_tree();
    let fd = bed.open("f", Oflags::NONE, Rights::NONE, Fdflags::NONE);
    for path in ["f", "", "/"] {
        let at = bed.open_at(fd, path, Oflags::NONE, Rights::NONE, Fdflags::NONE);
        assert_eq!(at, Err(Errno::NOTDIR));
    }
    for fd in [0, 1, 2, 99] {
        let at = bed.open_at(fd, "f", Oflags::NONE, Rights::NONE, Fdflags::NONE);
        assert_eq!(at, Err(Errno::BADF));
    }
}

#[test]
fn beneath_an_open_directory() {
    let mut bed = TestBed::with_tree();
    let dir = bed.open("ld", Oflags::NONE, Rights::NONE, Fdflags::NONE);
    let open = |bed: &mut TestBed, path| bed.open_at(dir, path, Oflags::NONE, Rights::NONE, Fdflags::NONE);
    assert_eq!(open(&mut bed, "g"), Ok(5));
    assert_eq!(open(&mut bed, "."), Ok(6));
    // What is above it is not its own, though the guest could get there from elsewhere.
    for path in ["..", "../f", "./../f", "../sub/g"] {
        assert_eq!(open(&mut bed, path), Err(Errno::PERM), "{path}");
    }
}

#[test]
fn what_was_truncated_is_empty_and_what_was_not_is_not() {
    let mut bed = TestBed::with_tree();
    let size = |bed: &mut TestBed, path: &str| {
        let fd = bed.open(path, Oflags::NONE, Rights::NONE, Fdflags::NONE);
        let entry = bed.ctx.fds.get(fd).expect("open");
        let file = entry.descriptor.file().expect("a file");
        bed.ctx.core.size(file).expect("there")
    };
    bed.open("f", Oflags::CREAT, Rights::FD_WRITE, Fdflags::NONE);
    assert_eq!(size(&mut bed, "f"), 5);
    bed.open("f", Oflags::TRUNC, Rights::FD_READ, Fdflags::NONE);
    assert_eq!((size(&mut bed, "f"), size(&mut bed, "hard")), (0, 0));
}

#[test]
fn rights_that_are_not_passed_on() {
    let mut bed = TestBed::with_tree();
    let (read, write) = (Rights::FD_READ, Rights::FD_WRITE);
    let entry = bed.ctx.fds.get(3).expect("open");
    let (base, inheriting) = (entry.rights_base(), entry.rights_inheriting().without(write));
    bed.ok(|c, m| fd_fdstat_set_rights(c, m, 3, base, inheriting), &[]);
    let open =
        |bed: &mut TestBed, fd, path, rights| bed.open_at(fd, path, Oflags::NONE, rights, Fdflags::NONE);
    assert_eq!(open(&mut bed, 3, "f", write), Err(Errno::NOTCAPABLE));
    assert_eq!(open(&mut bed, 3, "f", read), Ok(4));
    // Nor does a directory beneath pass it on.
    assert_eq!(open(&mut bed, 3, "sub", Rights::NONE), Ok(5));
    assert_eq!(open(&mut bed, 5, "g", write), Err(Errno::NOTCAPABLE));
    // What is asked for to be passed on further counts too.
    let (p, len) = bed.path(PATH, "f");
    bed.errno(
        |c, m| {
            let (none, flags) = (Lookupflags::NONE, Fdflags::NONE);
            path_open(
                c,
                m,
                3,
                none,
                p,
                len,
                Oflags::NONE,
                read,
                write,
                flags,
                Ptr::new(0),
            )
        },
        Errno::NOTCAPABLE,
    );
}

#[test]
fn rights_that_are_missing() {
    let cases = [
        (Rights::PATH_OPEN, Oflags::NONE),
        (Rights::PATH_CREATE_FILE, Oflags::CREAT),
        (Rights::PATH_FILESTAT_SET_SIZE, Oflags::TRUNC),
    ];
    for (right, oflags) in cases {
        let mut bed = TestBed::with_tree();
        let entry = bed.ctx.fds.get(3).expect("open");
        let (base, inheriting) = (entry.rights_base().without(right), entry.rights_inheriting());
        bed.ok(|c, m| fd_fdstat_set_rights(c, m, 3, base, inheriting), &[]);
        let state = bed.state();
        let at = bed.open_at(3, "f", oflags, Rights::NONE, Fdflags::NONE);
        assert_eq!(at, Err(Errno::NOTCAPABLE), "{oflags:?}");
        assert_eq!(bed.state(), state);
    }
}

#[test]
fn nothing_is_written_on_what_is_read_only() {
    let mut bed = TestBed::with_fs(tree(Limits::NONE), Permission::ReadOnly);
    let mut open = |path, oflags, rights| bed.open_at(3, path, oflags, rights, Fdflags::NONE);
    assert_eq!(open("new", Oflags::CREAT, Rights::FD_READ), Err(Errno::ROFS));
    assert_eq!(open("f", Oflags::TRUNC, Rights::FD_READ), Err(Errno::ROFS));
    assert_eq!(open("f", Oflags::NONE, Rights::FD_WRITE), Err(Errno::ROFS));
    assert_eq!(open("f", Oflags::CREAT, Rights::FD_READ), Ok(4));
    assert_eq!(open("f", Oflags::NONE, Rights::NONE), Ok(5));
    assert_eq!(open("sub", Oflags::DIRECTORY, Rights::NONE), Ok(6));
    // What is not there is not there.
    assert_eq!(open("new", Oflags::NONE, Rights::FD_WRITE), Err(Errno::NOENT));
}

#[test]
fn descriptors_run_out() {
    let fs = tree(Limits::NONE);
    let builder = WasiCtxBuilder::new()
        .max_descriptors(6)
        .preopen(fs, "/", Permission::ReadWrite)
        .expect("a good name");
    let mut bed = TestBed::of(builder.build(TestSystem::default()));
    let open = |bed: &mut TestBed, path, oflags| bed.open_at(3, path, oflags, Rights::NONE, Fdflags::NONE);
    assert_eq!(open(&mut bed, "f", Oflags::NONE), Ok(4));
    assert_eq!(open(&mut bed, "f", Oflags::NONE), Ok(5));
    let state = bed.state();
    // Nothing is created that could not be opened.
    assert_eq!(open(&mut bed, "new", Oflags::CREAT), Err(Errno::MFILE));
    assert_eq!(bed.state(), state);
    bed.ok(|c, m| fd_close(c, m, 4), &[]);
    bed.ok(|c, m| fd_close(c, m, 0), &[]);
    assert_eq!(open(&mut bed, "f", Oflags::NONE), Ok(0), "the lowest first");
    assert_eq!(open(&mut bed, "f", Oflags::NONE), Ok(4));
    assert_eq!(open(&mut bed, "f", Oflags::NONE), Err(Errno::MFILE));
}

#[test]
fn a_full_file_system_creates_nothing() {
    let limits = Limits {
        bytes: u64::MAX,
        entries: 14,
    };
    // The tree has 14 names.
    let mut bed = TestBed::with_fs(tree(limits), Permission::ReadWrite);
    let state = bed.state();
    let at = bed.open_at(3, "new", Oflags::CREAT, Rights::NONE, Fdflags::NONE);
    assert_eq!((at, bed.state()), (Err(Errno::NOSPC), state));
    assert_eq!(
        bed.open_at(3, "f", Oflags::CREAT, Rights::NONE, Fdflags::NONE),
        Ok(4)
    );
}

#[test]
fn bad_pointers_trap_before_anything_is_created() {
    let mut bed = TestBed::with_tree();
    let (p, len) = bed.path(PATH, "new");
    let (none, rights, flags) = (Lookupflags::NONE, Rights::NONE, Fdflags::NONE);
    for out in [SIZE - 3, SIZE, 2, u32::MAX] {
        bed.trap(|c, m| {
            path_open(
                c,
                m,
                3,
                none,
                p,
                len,
                Oflags::CREAT,
                rights,
                rights,
                flags,
                Ptr::new(out),
            )
        });
    }
    let out = Ptr::new(SIZE - 4);
    bed.trap(|c, m| {
        path_open(
            c,
            m,
            3,
            none,
            p,
            SIZE - PATH + 1,
            Oflags::CREAT,
            rights,
            rights,
            flags,
            out,
        )
    });
    bed.ok(
        |c, m| path_open(c, m, 3, none, p, len, Oflags::CREAT, rights, rights, flags, out),
        &[(SIZE - 4, &le32(4))],
    );
}
