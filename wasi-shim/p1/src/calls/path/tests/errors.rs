//! Errors that do not come from the path: rights, file systems, directories that are gone.

use wasi_core::{
    context::WasiCtxBuilder,
    fs::{
        Permission,
        mem::{Limits, MemFs},
    },
    testing::TestSystem,
};

use super::super::*;
use crate::{
    abi::types::{Fdflags, Fstflags, Lookupflags, Oflags},
    calls::{
        fd::fd_fdstat_set_rights,
        testbed::{TestBed, tree},
    },
    context::WasiP1Ctx,
};

const NONE: Lookupflags = Lookupflags::NONE;

type Call = fn(&mut WasiP1Ctx<TestSystem>, &mut GuestMemory<'_>, fd: u32) -> Result<(), Error>;

fn p() -> Ptr<u8> {
    Ptr::new(512)
}

fn q() -> Ptr<u8> {
    Ptr::new(600)
}

/// Each call on `sub` (or `lf`, for a link) and the new name `new`, with the right that it needs, and whether it
/// changes something.
const CALLS: [(Rights, bool, Call); 12] = [
    (Rights::PATH_CREATE_DIRECTORY, true, |c, m, fd| {
        path_create_directory(c, m, fd, q(), 3)
    }),
    (Rights::PATH_FILESTAT_GET, false, |c, m, fd| {
        path_filestat_get(c, m, fd, NONE, p(), 3, Ptr::new(64))
    }),
    (Rights::PATH_FILESTAT_SET_TIMES, true, |c, m, fd| {
        path_filestat_set_times(c, m, fd, NONE, p(), 3, 1, 1, Fstflags::ATIM)
    }),
    (Rights::PATH_LINK_SOURCE, true, |c, m, fd| {
        path_link(c, m, fd, NONE, link(), 2, fd, q(), 3)
    }),
    (Rights::PATH_LINK_TARGET, true, |c, m, fd| {
        path_link(c, m, fd, NONE, link(), 2, fd, q(), 3)
    }),
    (Rights::PATH_READLINK, false, |c, m, fd| {
        path_readlink(c, m, fd, link(), 2, Ptr::new(64), 8, Ptr::new(32))
    }),
    (Rights::PATH_REMOVE_DIRECTORY, true, |c, m, fd| {
        path_remove_directory(c, m, fd, Ptr::new(800), 5)
    }),
    (Rights::PATH_RENAME_SOURCE, true, |c, m, fd| {
        path_rename(c, m, fd, p(), 3, fd, q(), 3)
    }),
    (Rights::PATH_RENAME_TARGET, true, |c, m, fd| {
        path_rename(c, m, fd, p(), 3, fd, q(), 3)
    }),
    (Rights::PATH_SYMLINK, true, |c, m, fd| {
        path_symlink(c, m, p(), 3, fd, q(), 3)
    }),
    (Rights::PATH_UNLINK_FILE, true, |c, m, fd| {
        path_unlink_file(c, m, fd, link(), 2)
    }),
    (Rights::PATH_OPEN, false, |c, m, fd| {
        let (rights, flags) = (Rights::NONE, Fdflags::NONE);
        path_open(
            c,
            m,
            fd,
            NONE,
            p(),
            3,
            Oflags::NONE,
            rights,
            rights,
            flags,
            Ptr::new(32),
        )
    }),
];

fn link() -> Ptr<u8> {
    Ptr::new(700)
}

fn with_paths(mut bed: TestBed) -> TestBed {
    bed.put(512, b"sub");
    bed.put(600, b"new");
    bed.put(700, b"lf");
    bed.put(800, b"empty");
    bed
}

#[test]
fn each_call_needs_its_right() {
    for (right, _, call) in CALLS {
        let mut bed = with_paths(TestBed::with_tree());
        let entry = bed.ctx.fds.get(3).expect("open");
        let (base, inheriting) = (entry.rights_base().without(right), entry.rights_inheriting());
        bed.ok(|c, m| fd_fdstat_set_rights(c, m, 3, base, inheriting), &[]);
        bed.errno(|c, m| call(c, m, 3), Errno::NOTCAPABLE);
        // And no other.
        let mut bed = with_paths(TestBed::with_tree());
        let both = [Rights::PATH_LINK_SOURCE, Rights::PATH_LINK_TARGET];
        let renames = [Rights::PATH_RENAME_SOURCE, Rights::PATH_RENAME_TARGET];
        let base = [both, renames]
            .iter()
            .find(|pair| pair.contains(&right))
            .map_or(right, |pair| pair[0].union(pair[1]));
        bed.ok(|c, m| fd_fdstat_set_rights(c, m, 3, base, Rights::NONE), &[]);
        assert_eq!(bed.run(|c, m| call(c, m, 3)), Ok(()), "{right:?}");
    }
}

#[test]
fn what_is_read_only_is_not_changed() {
    for (right, changes, call) in CALLS {
        let mut bed = with_paths(TestBed::with_fs(tree(Limits::NONE), Permission::ReadOnly));
        if changes {
            bed.errno(|c, m| call(c, m, 3), Errno::ROFS);
        } else {
            assert_eq!(bed.run(|c, m| call(c, m, 3)), Ok(()), "{right:?}");
        }
    }
}

#[test]
fn a_full_file_system_takes_no_more_names() {
    let limits = Limits {
        bytes: u64::MAX,
        entries: 14,
    };
    let mut bed = with_paths(TestBed::with_fs(tree(limits), Permission::ReadWrite));
    bed.errno(|c, m| path_create_directory(c, m, 3, q(), 3), Errno::NOSPC);
    bed.errno(|c, m| path_symlink(c, m, p(), 3, 3, q(), 3), Errno::NOSPC);
    bed.errno(
        |c, m| path_link(c, m, 3, NONE, link(), 2, 3, q(), 3),
        Errno::NOSPC,
    );
    // Renaming needs none.
    bed.ok(|c, m| path_rename(c, m, 3, p(), 3, 3, q(), 3), &[]);
    // What goes makes room.
    bed.ok(|c, m| path_unlink_file(c, m, 3, link(), 2), &[]);
    bed.ok(|c, m| path_create_directory(c, m, 3, p(), 3), &[]);
    bed.put(600, b"one");
    bed.errno(|c, m| path_create_directory(c, m, 3, q(), 3), Errno::NOSPC);
}

#[test]
fn no_room_for_a_target() {
    // The tree's own data and targets.
    let used = tree(Limits::NONE).used().bytes;
    let limits = Limits {
        bytes: used + 2,
        entries: 100,
    };
    let mut bed = with_paths(TestBed::with_fs(tree(limits), Permission::ReadWrite));
    bed.errno(|c, m| path_symlink(c, m, p(), 3, 3, q(), 3), Errno::NOSPC);
    bed.ok(|c, m| path_symlink(c, m, p(), 2, 3, q(), 3), &[]);
}

#[test]
fn file_systems_are_apart() {
    let builder = WasiCtxBuilder::new()
        .preopen(tree(Limits::NONE), "/", Permission::ReadWrite)
        .and_then(|builder| builder.preopen(MemFs::new(Limits::NONE, 0), "/tmp", Permission::ReadWrite))
        .expect("good names");
    let mut bed = with_paths(TestBed::of(builder.build(TestSystem::default())));
    bed.errno(|c, m| path_rename(c, m, 3, p(), 3, 4, q(), 3), Errno::XDEV);
    bed.errno(|c, m| path_link(c, m, 3, NONE, link(), 2, 4, q(), 3), Errno::XDEV);
    bed.errno(
        |c, m| path_filestat_get(c, m, 4, NONE, p(), 3, Ptr::new(64)),
        Errno::NOENT,
    );
    // The same name is something else in each, on another device.
    bed.ok(|c, m| path_create_directory(c, m, 4, p(), 3), &[]);
    for (fd, dev) in [(3, 1), (4, 2)] {
        let end = bed.run(|c, m| path_filestat_get(c, m, fd, NONE, p(), 3, Ptr::new(64)));
        assert_eq!((end, bed.memory[64]), (Ok(()), dev));
    }
}

#[test]
fn in_a_directory_that_is_gone() {
    let mut bed = with_paths(TestBed::with_tree());
    let gone = bed.open("empty", Oflags::DIRECTORY, Rights::NONE, Fdflags::NONE);
    bed.ok(|c, m| path_remove_directory(c, m, 3, Ptr::new(800), 5), &[]);
    bed.errno(|c, m| path_create_directory(c, m, gone, q(), 3), Errno::NOENT);
    bed.errno(|c, m| path_symlink(c, m, p(), 3, gone, q(), 3), Errno::NOENT);
    bed.errno(
        |c, m| path_link(c, m, 3, NONE, link(), 2, gone, q(), 3),
        Errno::NOENT,
    );
    bed.errno(|c, m| path_rename(c, m, 3, p(), 3, gone, q(), 3), Errno::NOENT);
    bed.errno(|c, m| path_rename(c, m, gone, p(), 3, 3, q(), 3), Errno::NOENT);
    bed.errno(|c, m| path_unlink_file(c, m, gone, p(), 3), Errno::NOENT);
    let at = bed.open_at(gone, "new", Oflags::CREAT, Rights::NONE, Fdflags::NONE);
    assert_eq!(at, Err(Errno::NOENT));
    // It is still there itself.
    assert_eq!(
        bed.open_at(gone, ".", Oflags::NONE, Rights::NONE, Fdflags::NONE),
        Ok(5)
    );
}

#[test]
fn links_are_never_followed_by_path_link() {
    let mut bed = with_paths(TestBed::with_tree());
    let follow = Lookupflags::SYMLINK_FOLLOW;
    bed.errno(
        |c, m| path_link(c, m, 3, follow, link(), 2, 3, q(), 3),
        Errno::INVAL,
    );
}
