//! Tests of `fd_read`, `fd_write`, `fd_pread`, `fd_pwrite`, `fd_seek` and `fd_tell` on files.

use wasi_core::fs::{
    Permission,
    mem::{Limits, MemFs},
};

use super::super::*;
use crate::{
    abi::{
        Errno,
        types::{Fdflags, Oflags, Rights, Whence},
    },
    calls::testbed::{SIZE, TestBed, le32, tree},
    memory::Ptr,
};

const IOVS: u32 = 64;
const COUNT: u32 = 32;
const POSITION: u32 = 40;
const READ: Rights = Rights::FD_READ;
const WRITE: Rights = Rights::FD_WRITE;
const BOTH: Rights = READ.union(WRITE);

/// With `f`, "hello", open as 4.
fn bed(rights: Rights, flags: Fdflags) -> TestBed {
    let mut bed = TestBed::with_tree();
    assert_eq!(bed.open("f", Oflags::NONE, rights, flags), 4);
    bed
}

fn iovs(bed: &mut TestBed, list: &[(u32, u32)]) -> u32 {
    bed.put_iovecs(IOVS, list);
    u32::try_from(list.len()).expect("short")
}

#[track_caller]
fn read(bed: &mut TestBed, list: &[(u32, u32)], data: &[(u32, &[u8])], count: u32) {
    let len = iovs(bed, list);
    let mut changes = data.to_vec();
    let count = le32(count);
    changes.push((COUNT, &count));
    bed.ok(
        |c, m| fd_read(c, m, 4, Ptr::new(IOVS), len, Ptr::new(COUNT)),
        &changes,
    );
}

#[track_caller]
fn write(bed: &mut TestBed, data: &[u8], count: u32) {
    bed.put(300, data);
    let len = u32::try_from(data.len()).expect("short");
    let iovs_len = iovs(bed, &[(300, len)]);
    bed.ok(
        |c, m| fd_write(c, m, 4, Ptr::new(IOVS), iovs_len, Ptr::new(COUNT)),
        &[(COUNT, &le32(count))],
    );
}

#[track_caller]
fn seek(bed: &mut TestBed, offset: i64, whence: Whence, position: u64) {
    bed.ok(
        |c, m| fd_seek(c, m, 4, offset, whence, Ptr::new(POSITION)),
        &[(POSITION, &position.to_le_bytes())],
    );
}

#[track_caller]
fn tell(bed: &mut TestBed, position: u64) {
    bed.ok(
        |c, m| fd_tell(c, m, 4, Ptr::new(POSITION)),
        &[(POSITION, &position.to_le_bytes())],
    );
}

/// All of the file `f`, by another descriptor.
#[track_caller]
fn contents(bed: &mut TestBed, expected: &[u8]) {
    let fd = bed.open("f", Oflags::NONE, READ, Fdflags::NONE);
    let memory = bed.memory.clone();
    let iovs_len = iovs(bed, &[(512, 512)]);
    let end = bed.run(|c, m| fd_read(c, m, fd, Ptr::new(IOVS), iovs_len, Ptr::new(COUNT)));
    assert_eq!(end, Ok(()));
    let len = usize::from(u16::from_le_bytes([bed.memory[32], bed.memory[33]]));
    assert_eq!(&bed.memory[512..512 + len], expected);
    bed.memory = memory;
    bed.ok(|c, m| fd_close(c, m, fd), &[]);
}

#[test]
fn reading_goes_on_where_it_was() {
    let mut bed = bed(READ, Fdflags::NONE);
    read(&mut bed, &[(200, 2)], &[(200, b"he")], 2);
    tell(&mut bed, 2);
    read(
        &mut bed,
        &[(200, 1), (u32::MAX, 0), (300, 100)],
        &[(200, b"l"), (300, b"lo")],
        3,
    );
    read(&mut bed, &[(200, 9)], &[], 0);
    read(&mut bed, &[], &[], 0);
    read(&mut bed, &[(u32::MAX, 0)], &[], 0);
    seek(&mut bed, 1, Whence::Set, 1);
    read(&mut bed, &[(SIZE - 4, 4)], &[(SIZE - 4, b"ello")], 4);
}

#[test]
fn writing_goes_on_where_it_was() {
    let mut bed = bed(BOTH, Fdflags::NONE);
    write(&mut bed, b"HE", 2);
    tell(&mut bed, 2);
    contents(&mut bed, b"HEllo");
    bed.put(200, b"XYZ");
    bed.put(300, b"123");
    let len = iovs(&mut bed, &[(200, 3), (SIZE, 0), (300, 3)]);
    bed.ok(
        |c, m| fd_write(c, m, 4, Ptr::new(IOVS), len, Ptr::new(COUNT)),
        &[(COUNT, &le32(6))],
    );
    tell(&mut bed, 8);
    contents(&mut bed, b"HEXYZ123");
    write(&mut bed, b"", 0);
    tell(&mut bed, 8);
}

#[test]
fn writing_beyond_the_end_leaves_zeros() {
    let mut bed = bed(BOTH, Fdflags::NONE);
    seek(&mut bed, 3, Whence::End, 8);
    read(&mut bed, &[(200, 4)], &[], 0);
    write(&mut bed, b"x", 1);
    contents(&mut bed, b"hello\0\0\0x");
}

#[test]
fn appending_writes_at_the_end() {
    let mut bed = bed(BOTH, Fdflags::APPEND);
    read(&mut bed, &[(200, 2)], &[(200, b"he")], 2);
    write(&mut bed, b"12", 2);
    tell(&mut bed, 7);
    // Where the file ends when it is written, not when it was opened.
    let other = bed.open("f", Oflags::NONE, WRITE, Fdflags::APPEND);
    bed.put(300, b"34");
    let len = iovs(&mut bed, &[(300, 2)]);
    bed.ok(
        |c, m| fd_write(c, m, other, Ptr::new(IOVS), len, Ptr::new(COUNT)),
        &[(COUNT, &le32(2))],
    );
    bed.put(300, b"567");
    let len = iovs(&mut bed, &[(300, 1), (301, 2)]);
    bed.ok(
        |c, m| fd_write(c, m, 4, Ptr::new(IOVS), len, Ptr::new(COUNT)),
        &[(COUNT, &le32(3))],
    );
    tell(&mut bed, 12);
    contents(&mut bed, b"hello1234567");
    // `fd_pwrite` too, whatever the offset, and it moves nothing.
    seek(&mut bed, 1, Whence::Set, 1);
    let len = iovs(&mut bed, &[(300, 1)]);
    for offset in [0, u64::MAX] {
        bed.ok(
            |c, m| fd_pwrite(c, m, 4, Ptr::new(IOVS), len, offset, Ptr::new(COUNT)),
            &[(COUNT, &le32(1))],
        );
    }
    tell(&mut bed, 1);
    contents(&mut bed, b"hello123456755");
    // Without the flag, no longer.
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, 4, Fdflags::NONE), &[]);
    write(&mut bed, b"E", 1);
    contents(&mut bed, b"hEllo123456755");
}

#[test]
fn pread_and_pwrite_move_nothing() {
    let mut bed = bed(BOTH, Fdflags::NONE);
    seek(&mut bed, 2, Whence::Set, 2);
    let len = iovs(&mut bed, &[(200, 2), (300, 100)]);
    let pread = |bed: &mut TestBed, offset, changes: &[(u32, &[u8])]| {
        bed.ok(
            |c, m| fd_pread(c, m, 4, Ptr::new(IOVS), len, offset, Ptr::new(COUNT)),
            changes,
        );
    };
    pread(&mut bed, 1, &[(200, b"el"), (300, b"lo"), (COUNT, &le32(4))]);
    pread(&mut bed, 5, &[(COUNT, &le32(0))]);
    pread(&mut bed, i64::MAX as u64 - 102, &[(COUNT, &le32(0))]);
    bed.put(200, b"XY");
    let len = iovs(&mut bed, &[(200, 2)]);
    bed.ok(
        |c, m| fd_pwrite(c, m, 4, Ptr::new(IOVS), len, 4, Ptr::new(COUNT)),
        &[(COUNT, &le32(2))],
    );
    contents(&mut bed, b"hellXY");
    tell(&mut bed, 2);
}

#[test]
fn positions_from_everywhere() {
    let mut bed = bed(READ, Fdflags::NONE);
    for (offset, whence, position) in [
        (3, Whence::Set, 3),
        (0, Whence::Cur, 3),
        (-3, Whence::Cur, 0),
        (-5, Whence::End, 0),
        (7, Whence::End, 12),
        (i64::MAX, Whence::Set, i64::MAX as u64),
        (i64::MAX, Whence::Cur, u64::MAX - 1),
        (1, Whence::Cur, u64::MAX),
        (i64::MIN, Whence::Cur, i64::MAX as u64),
    ] {
        seek(&mut bed, offset, whence, position);
        tell(&mut bed, position);
    }
    seek(&mut bed, 2, Whence::Set, 2);
    for (offset, whence) in [
        (-1, Whence::Set),
        (i64::MIN, Whence::Set),
        (-3, Whence::Cur),
        (i64::MIN, Whence::Cur),
        (-6, Whence::End),
        (i64::MIN, Whence::End),
    ] {
        bed.errno(
            |c, m| fd_seek(c, m, 4, offset, whence, Ptr::new(POSITION)),
            Errno::INVAL,
        );
    }
    tell(&mut bed, 2);
    seek(&mut bed, i64::MAX, Whence::Set, i64::MAX as u64);
    seek(&mut bed, i64::MAX, Whence::Cur, u64::MAX - 1);
    bed.errno(
        |c, m| fd_seek(c, m, 4, 2, Whence::Cur, Ptr::new(POSITION)),
        Errno::INVAL,
    );
    tell(&mut bed, u64::MAX - 1);
}

#[test]
fn offsets_near_the_ends() {
    let last = i64::MAX as u64;
    let largest = (1 << 44) - 4096;
    let mut bed = bed(BOTH, Fdflags::NONE);
    let len = iovs(&mut bed, &[(200, 4)]);
    let iovs = Ptr::new(IOVS);
    for offset in [last - 3, last, last + 1, u64::MAX - 3, u64::MAX] {
        bed.errno(
            |c, m| fd_pread(c, m, 4, iovs, len, offset, Ptr::new(COUNT)),
            Errno::INVAL,
        );
        bed.errno(
            |c, m| fd_pwrite(c, m, 4, iovs, len, offset, Ptr::new(COUNT)),
            Errno::INVAL,
        );
        // An empty range is valid at any offset.
        bed.ok(
            |c, m| fd_pread(c, m, 4, iovs, 0, offset, Ptr::new(COUNT)),
            &[(COUNT, &le32(0))],
        );
        bed.ok(
            |c, m| fd_pwrite(c, m, 4, iovs, 0, offset, Ptr::new(COUNT)),
            &[(COUNT, &le32(0))],
        );
    }
    for offset in [largest, last - 4] {
        bed.errno(
            |c, m| fd_pwrite(c, m, 4, iovs, len, offset, Ptr::new(COUNT)),
            Errno::FBIG,
        );
    }
    bed.ok(
        |c, m| fd_pwrite(c, m, 4, iovs, len, largest - 2, Ptr::new(COUNT)),
        &[(COUNT, &le32(2))],
    );
    for position in [last - 3, last] {
        seek(
            &mut bed,
            i64::try_from(position).expect("not beyond"),
            Whence::Set,
            position,
        );
        bed.errno(|c, m| fd_read(c, m, 4, iovs, len, Ptr::new(COUNT)), Errno::INVAL);
        bed.errno(|c, m| fd_write(c, m, 4, iovs, len, Ptr::new(COUNT)), Errno::INVAL);
    }
}

#[test]
fn what_was_opened_for_one_is_not_for_the_other() {
    let len = 0;
    let (iovs, count) = (Ptr::new(IOVS), Ptr::new(COUNT));
    let mut reader = bed(READ, Fdflags::NONE);
    reader.errno(|c, m| fd_write(c, m, 4, iovs, len, count), Errno::BADF);
    reader.errno(|c, m| fd_pwrite(c, m, 4, iovs, len, 0, count), Errno::BADF);
    let mut writer = bed(WRITE, Fdflags::NONE);
    writer.errno(|c, m| fd_read(c, m, 4, iovs, len, count), Errno::BADF);
    writer.errno(|c, m| fd_pread(c, m, 4, iovs, len, 0, count), Errno::BADF);
}

#[test]
fn rights_taken_away() {
    let (iovs, count) = (Ptr::new(IOVS), Ptr::new(COUNT));
    let without = |right: Rights| {
        let mut bed = bed(BOTH, Fdflags::NONE);
        let base = bed.ctx.fds.get(4).expect("open").rights_base().without(right);
        bed.ok(|c, m| fd_fdstat_set_rights(c, m, 4, base, Rights::NONE), &[]);
        bed
    };
    let missing = Errno::NOTCAPABLE;
    without(READ).errno(|c, m| fd_read(c, m, 4, iovs, 0, count), missing);
    without(READ).errno(|c, m| fd_pread(c, m, 4, iovs, 0, 0, count), missing);
    without(WRITE).errno(|c, m| fd_write(c, m, 4, iovs, 0, count), missing);
    without(WRITE).errno(|c, m| fd_pwrite(c, m, 4, iovs, 0, 0, count), missing);
    without(Rights::FD_SEEK).errno(|c, m| fd_pread(c, m, 4, iovs, 0, 0, count), missing);
    without(Rights::FD_SEEK).errno(|c, m| fd_pwrite(c, m, 4, iovs, 0, 0, count), missing);
    // To ask for the position, one of the two is enough.
    let (seek, at) = (Rights::FD_SEEK, Ptr::new(POSITION));
    let position = &[(POSITION, &[0; 8][..])];
    without(seek).errno(|c, m| fd_seek(c, m, 4, 0, Whence::Set, at), missing);
    without(seek).errno(|c, m| fd_seek(c, m, 4, 1, Whence::Cur, at), missing);
    without(seek).ok(|c, m| fd_seek(c, m, 4, 0, Whence::Cur, at), position);
    without(seek).ok(|c, m| fd_tell(c, m, 4, at), position);
    without(Rights::FD_TELL).ok(|c, m| fd_tell(c, m, 4, at), position);
    without(Rights::FD_TELL).ok(|c, m| fd_seek(c, m, 4, 0, Whence::Cur, at), position);
    let neither = seek.union(Rights::FD_TELL);
    without(neither).errno(|c, m| fd_tell(c, m, 4, at), missing);
    without(neither).errno(|c, m| fd_seek(c, m, 4, 0, Whence::Cur, at), missing);
}

#[test]
fn a_full_file_system_takes_what_it_can() {
    let used = tree(Limits::NONE).used().bytes;
    let limits = Limits {
        // `f` has 64 bytes to itself; 36 more can be had.
        bytes: used + 36,
        entries: 100,
    };
    let mut bed = TestBed::with_fs(tree(limits), Permission::ReadWrite);
    assert_eq!(bed.open("f", Oflags::NONE, BOTH, Fdflags::NONE), 4);
    write(&mut bed, &[b'x'; 200], 100);
    tell(&mut bed, 100);
    contents(&mut bed, &[b'x'; 100]);
    bed.put(300, b"y");
    let len = iovs(&mut bed, &[(300, 1)]);
    bed.errno(
        |c, m| fd_write(c, m, 4, Ptr::new(IOVS), len, Ptr::new(COUNT)),
        Errno::NOSPC,
    );
    // What is there can be overwritten.
    seek(&mut bed, 0, Whence::Set, 0);
    write(&mut bed, b"z", 1);
    // The first buffer's bytes are told, though the second has no room.
    seek(&mut bed, 99, Whence::Set, 99);
    let len = iovs(&mut bed, &[(300, 1), (300, 1)]);
    bed.ok(
        |c, m| fd_write(c, m, 4, Ptr::new(IOVS), len, Ptr::new(COUNT)),
        &[(COUNT, &le32(1))],
    );
}

#[test]
fn what_is_read_only_cannot_be_opened_for_writing() {
    let mut bed = TestBed::with_fs(tree(Limits::NONE), Permission::ReadOnly);
    let at = bed.open_at(3, "f", Oflags::NONE, WRITE, Fdflags::NONE);
    assert_eq!(at, Err(Errno::ROFS));
    assert_eq!(bed.open("f", Oflags::NONE, READ, Fdflags::NONE), 4);
    read(&mut bed, &[(200, 9)], &[(200, b"hello")], 5);
}

#[test]
fn a_directory_has_no_bytes() {
    let mut bed = TestBed::with_tree();
    let (iovs, count, at) = (Ptr::new(SIZE), Ptr::new(1), Ptr::new(SIZE));
    bed.errno(|c, m| fd_read(c, m, 3, iovs, 1, count), Errno::BADF);
    bed.errno(|c, m| fd_write(c, m, 3, iovs, 1, count), Errno::BADF);
    bed.errno(|c, m| fd_pread(c, m, 3, iovs, 1, 0, count), Errno::BADF);
    bed.errno(|c, m| fd_pwrite(c, m, 3, iovs, 1, 0, count), Errno::BADF);
    bed.errno(|c, m| fd_seek(c, m, 3, 0, Whence::Set, at), Errno::BADF);
    bed.errno(|c, m| fd_tell(c, m, 3, at), Errno::BADF);
}

#[test]
fn bad_pointers_trap_before_a_byte_moves() {
    let mut bed = bed(BOTH, Fdflags::NONE);
    let cases = [
        (&[(SIZE - 4, 5)][..], IOVS, COUNT),
        (&[(200, 1), (SIZE, 1)], IOVS, COUNT),
        (&[(200, 1)], IOVS, SIZE - 3),
        (&[(200, 1)], IOVS, COUNT + 2),
        (&[(200, 1)], SIZE - 4, COUNT),
        (&[(200, 1)], IOVS + 1, COUNT),
    ];
    for (list, at, count) in cases {
        let len = iovs(&mut bed, list);
        let (at, count) = (Ptr::new(at), Ptr::new(count));
        bed.trap(|c, m| fd_read(c, m, 4, at, len, count));
        bed.trap(|c, m| fd_write(c, m, 4, at, len, count));
        bed.trap(|c, m| fd_pread(c, m, 4, at, len, 0, count));
        bed.trap(|c, m| fd_pwrite(c, m, 4, at, len, 0, count));
    }
    for at in [SIZE - 7, SIZE, 4, u32::MAX] {
        bed.trap(|c, m| fd_seek(c, m, 4, 1, Whence::Set, Ptr::new(at)));
        bed.trap(|c, m| fd_tell(c, m, 4, Ptr::new(at)));
    }
    // More than the result could tell.
    let len = iovs(&mut bed, &[(0, SIZE)]);
    assert_eq!(len, 1);
    let mut bed = TestBed::with_fs(MemFs::new(Limits::NONE, 0), Permission::ReadWrite);
    bed.open("f", Oflags::CREAT, BOTH, Fdflags::NONE);
    bed.trap(|c, m| fd_write(c, m, 4, Ptr::new(IOVS), u32::MAX, Ptr::new(COUNT)));
}

#[test]
fn a_read_that_overwrites_its_own_list_ends_there() {
    let mut bed = bed(READ, Fdflags::NONE);
    // The first buffer is the second element of the list.
    let len = iovs(&mut bed, &[(IOVS + 8, 3), (300, 2)]);
    bed.ok(
        |c, m| fd_read(c, m, 4, Ptr::new(IOVS), len, Ptr::new(COUNT)),
        &[(IOVS + 8, b"hel"), (COUNT, &le32(3))],
    );
    tell(&mut bed, 3);
}
