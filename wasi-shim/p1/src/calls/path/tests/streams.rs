//! Tests of the `path_*` calls on what is no directory.

use super::super::*;
use crate::abi::{
    Errno,
    types::{Fdflags, Fstflags, Lookupflags, Oflags},
};
use crate::calls::testbed::{FDS, TestBed};

#[test]
fn path_calls_on_what_is_not_a_directory() {
    let follow = Lookupflags::SYMLINK_FOLLOW;
    let none = Rights::NONE;
    let errno = Errno::BADF;
    for fd in FDS {
        let mut bed = TestBed::new();
        let (p, q) = (Ptr::new(8), Ptr::new(u32::MAX));
        bed.errno(|c, m| path_create_directory(c, m, fd, p, 1), errno);
        bed.errno(
            |c, m| path_filestat_get(c, m, fd, follow, q, 1, Ptr::new(3)),
            errno,
        );
        bed.errno(
            |c, m| path_filestat_set_times(c, m, fd, follow, p, 1, 0, 0, Fstflags::ATIM),
            errno,
        );
        bed.errno(
            |c, m| path_link(c, m, fd, Lookupflags::NONE, p, 1, fd, p, 1),
            errno,
        );
        bed.errno(
            |c, m| {
                path_open(
                    c,
                    m,
                    fd,
                    follow,
                    q,
                    1,
                    Oflags::CREAT,
                    none,
                    none,
                    Fdflags::NONE,
                    Ptr::new(3),
                )
            },
            errno,
        );
        bed.errno(|c, m| path_readlink(c, m, fd, p, 1, p, 1, Ptr::new(3)), errno);
        bed.errno(|c, m| path_remove_directory(c, m, fd, p, 1), errno);
        bed.errno(|c, m| path_rename(c, m, fd, p, 1, fd, p, 1), errno);
        bed.errno(|c, m| path_symlink(c, m, p, 1, fd, p, 1), errno);
        bed.errno(|c, m| path_unlink_file(c, m, fd, p, 1), errno);
    }
}

#[test]
fn calls_with_two_directories_need_both() {
    let p = Ptr::new(8);
    let errno = Errno::BADF;
    for (old, new) in [(0, 99), (99, 0), (0, 1)] {
        TestBed::new().errno(
            |c, m| path_link(c, m, old, Lookupflags::NONE, p, 1, new, p, 1),
            errno,
        );
        TestBed::new().errno(|c, m| path_rename(c, m, old, p, 1, new, p, 1), errno);
    }
}

#[test]
fn times_that_contradict_themselves_are_inval_before_all_else() {
    for flags in [
        Fstflags::ATIM.union(Fstflags::ATIM_NOW),
        Fstflags::MTIM.union(Fstflags::MTIM_NOW),
    ] {
        let p = Ptr::new(8);
        TestBed::new().errno(
            |c, m| path_filestat_set_times(c, m, 99, Lookupflags::NONE, p, 1, 0, 0, flags),
            Errno::INVAL,
        );
    }
}
