//! Tests of `fd_read` and `fd_write` on the standard streams.

use alloc::vec::Vec;

use wasi_core::testing::{Stdin, TestSystem};

use super::super::*;
use crate::{
    abi::{
        Errno,
        types::{Fdflags, Rights},
    },
    calls::{
        fd::{fd_fdstat_set_flags, fd_fdstat_set_rights, fd_renumber},
        testbed::{SIZE, TestBed, le32},
    },
    memory::Ptr,
};

/// Where the tests keep the list and the count.
const IOVS: u32 = 64;
const COUNT: u32 = 32;

fn read(bed: &mut TestBed, iovecs: &[(u32, u32)], changes: &[(u32, &[u8])]) {
    bed.put_iovecs(IOVS, iovecs);
    let len = u32::try_from(iovecs.len()).expect("a short list");
    bed.ok(
        |c, m| fd_read(c, m, 0, Ptr::new(IOVS), len, Ptr::new(COUNT)),
        changes,
    );
}

fn write(bed: &mut TestBed, fd: u32, iovecs: &[(u32, u32)], count: u32) {
    bed.put_iovecs(IOVS, iovecs);
    let len = u32::try_from(iovecs.len()).expect("a short list");
    bed.ok(
        |c, m| fd_write(c, m, fd, Ptr::new(IOVS), len, Ptr::new(COUNT)),
        &[(COUNT, &le32(count))],
    );
}

#[test]
fn fd_read_one_buffer() {
    let mut bed = TestBed::on(TestSystem::with_stdin(b"hello"));
    read(&mut bed, &[(200, 3)], &[(200, b"hel"), (COUNT, &le32(3))]);
    read(&mut bed, &[(200, 9)], &[(200, b"lo"), (COUNT, &le32(2))]);
    read(&mut bed, &[(200, 9)], &[(COUNT, &le32(0))]);
    assert_eq!(
        bed.ctx.core.system.polls,
        [],
        "one buffer asks nothing else of the machine"
    );
}

#[test]
fn fd_read_up_to_the_last_byte_of_memory() {
    let mut bed = TestBed::on(TestSystem::with_stdin(b"hello"));
    read(
        &mut bed,
        &[(SIZE - 5, 5)],
        &[(SIZE - 5, b"hello"), (COUNT, &le32(5))],
    );
}

#[test]
fn fd_read_scatters_what_is_there() {
    let mut bed = TestBed::on(TestSystem::with_stdin(b"hello world"));
    let iovecs = [(200, 2), (u32::MAX, 0), (300, 3), (400, 100)];
    let changes: &[(u32, &[u8])] = &[(200, b"he"), (300, b"llo"), (400, b" world"), (COUNT, &le32(11))];
    read(&mut bed, &iovecs, changes);
}

#[test]
fn fd_read_does_not_wait_for_further_buffers() {
    let stdin = [
        Stdin::Bytes(b"ab".to_vec()),
        Stdin::Pause(9),
        Stdin::Bytes(b"cd".to_vec()),
    ];
    let mut bed = TestBed::on(TestSystem {
        stdin: stdin.into(),
        ..TestSystem::default()
    });
    read(
        &mut bed,
        &[(200, 2), (300, 2)],
        &[(200, b"ab"), (COUNT, &le32(2))],
    );
    assert_eq!(bed.ctx.core.system.polls, [Some(0)]);
    // The next call does wait.
    let before = bed.ctx.core.system.monotonic;
    read(
        &mut bed,
        &[(200, 2), (300, 2)],
        &[(200, b"cd"), (COUNT, &le32(2))],
    );
    assert_eq!(bed.ctx.core.system.monotonic, before + 9);
}

#[test]
fn fd_read_keeps_what_it_has_when_the_machine_fails_later() {
    let stdin = [Stdin::Bytes(b"ab".to_vec()), Stdin::Fail(Errno::IO)];
    let mut bed = TestBed::on(TestSystem {
        stdin: stdin.into(),
        ..TestSystem::default()
    });
    read(
        &mut bed,
        &[(200, 2), (300, 2)],
        &[(200, b"ab"), (COUNT, &le32(2))],
    );
}

#[test]
fn fd_read_tells_a_failure_of_the_machine() {
    let mut bed = TestBed::on(TestSystem {
        stdin: [Stdin::Fail(Errno::IO)].into(),
        ..TestSystem::default()
    });
    bed.put_iovecs(IOVS, &[(200, 2)]);
    bed.errno(
        |c, m| fd_read(c, m, 0, Ptr::new(IOVS), 1, Ptr::new(COUNT)),
        Errno::IO,
    );
}

#[test]
fn fd_read_without_room_reads_nothing() {
    let mut bed = TestBed::on(TestSystem::with_stdin(b"hello"));
    read(&mut bed, &[(200, 0), (u32::MAX, 0)], &[(COUNT, &le32(0))]);
    bed.ok(
        |c, m| fd_read(c, m, 0, Ptr::new(u32::MAX), 0, Ptr::new(COUNT)),
        &[],
    );
    assert_eq!(bed.ctx.core.system, TestSystem::with_stdin(b"hello"));
}

#[test]
fn fd_read_stops_where_it_has_overwritten_its_own_list() {
    // The first buffer is the second element of the list.
    let data = [le32(900), le32(4)].concat();
    let mut bed = TestBed::on(TestSystem::with_stdin(&[&data[..], b"rest"].concat()));
    read(
        &mut bed,
        &[(IOVS + 8, 8), (300, 4)],
        &[(IOVS + 8, &data), (COUNT, &le32(8))],
    );
    // Overwriting what is used up already is harmless.
    let mut bed = TestBed::on(TestSystem::with_stdin(b"abcdefghrest"));
    read(
        &mut bed,
        &[(IOVS, 8), (300, 4)],
        &[(IOVS, b"abcdefgh"), (300, b"rest"), (COUNT, &le32(12))],
    );
}

#[test]
fn fd_read_into_overlapping_buffers_fills_them_in_order() {
    let mut bed = TestBed::on(TestSystem::with_stdin(b"abcdef"));
    read(
        &mut bed,
        &[(200, 4), (202, 2)],
        &[(200, b"abef"), (COUNT, &le32(6))],
    );
}

#[test]
fn fd_read_nonblocking() {
    let stdin = [Stdin::Pause(5), Stdin::Bytes(b"x".to_vec())];
    let mut bed = TestBed::on(TestSystem {
        stdin: stdin.into(),
        ..TestSystem::default()
    });
    bed.ok(|c, m| fd_fdstat_set_flags(c, m, 0, Fdflags::NONBLOCK), &[]);
    bed.put_iovecs(IOVS, &[(200, 2)]);
    bed.errno(
        |c, m| fd_read(c, m, 0, Ptr::new(IOVS), 1, Ptr::new(COUNT)),
        Errno::AGAIN,
    );
    bed.ctx.core.system.stdin.pop_front();
    read(&mut bed, &[(200, 2)], &[(200, b"x"), (COUNT, &le32(1))]);
    // The end of the stream is not something to wait for.
    read(&mut bed, &[(200, 2)], &[(COUNT, &le32(0))]);
}

#[test]
fn fd_read_traps_before_it_reads() {
    let bad: [&[(u32, u32)]; 5] = [
        &[(SIZE - 1, 2)],
        &[(SIZE, 1)],
        &[(200, 4), (SIZE - 3, 4)],
        &[(200, 4), (u32::MAX, u32::MAX - 4)],
        &[(0, SIZE + 1)],
    ];
    for iovecs in bad {
        let mut bed = TestBed::on(TestSystem::with_stdin(b"hello"));
        bed.put_iovecs(IOVS, iovecs);
        let len = u32::try_from(iovecs.len()).expect("a short list");
        bed.trap(|c, m| fd_read(c, m, 0, Ptr::new(IOVS), len, Ptr::new(COUNT)));
    }
}

#[test]
fn fd_read_and_fd_write_trap_on_bad_lists_and_results() {
    let huge = u32::MAX / 8 + 1;
    let bad = [
        (IOVS, u32::MAX, COUNT),
        (IOVS, huge, COUNT),
        (SIZE - 4, 1, COUNT),
        (IOVS + 2, 1, COUNT),
        (IOVS, 1, SIZE - 3),
        (IOVS, 1, SIZE),
        (IOVS, 1, COUNT + 1),
    ];
    for (iovs, len, count) in bad {
        let mut bed = TestBed::on(TestSystem::with_stdin(b"hello"));
        bed.memory.fill(0);
        bed.put_iovecs(IOVS, &[(200, 2)]);
        bed.trap(|c, m| fd_read(c, m, 0, Ptr::new(iovs), len, Ptr::new(count)));
        bed.trap(|c, m| fd_write(c, m, 1, Ptr::new(iovs), len, Ptr::new(count)));
    }
}

#[test]
fn fd_read_and_fd_write_check_the_descriptor_first() {
    let (iovs, count) = (Ptr::new(1), Ptr::new(SIZE));
    for fd in [1, 2, 3, u32::MAX] {
        TestBed::new().errno(|c, m| fd_read(c, m, fd, iovs, 1, count), Errno::BADF);
    }
    for fd in [0, 3, u32::MAX] {
        TestBed::new().errno(|c, m| fd_write(c, m, fd, iovs, 1, count), Errno::BADF);
    }
    let mut bed = TestBed::new();
    for fd in 0..3 {
        bed.ok(
            |c, m| fd_fdstat_set_rights(c, m, fd, Rights::NONE, Rights::NONE),
            &[],
        );
    }
    bed.errno(|c, m| fd_read(c, m, 0, iovs, 1, count), Errno::NOTCAPABLE);
    bed.errno(|c, m| fd_write(c, m, 1, iovs, 1, count), Errno::NOTCAPABLE);
}

#[test]
fn fd_write_goes_to_its_stream() {
    let mut bed = TestBed::new();
    bed.put(200, b"out\0\xff");
    bed.put(300, b"err");
    write(&mut bed, 1, &[(200, 5)], 5);
    write(&mut bed, 2, &[(300, 3)], 3);
    assert_eq!(
        (&bed.ctx.core.system.stdout[..], &bed.ctx.core.system.stderr[..]),
        (&b"out\0\xff"[..], &b"err"[..])
    );
    assert_eq!(
        bed.ctx.core.system.writes,
        [5, 3],
        "a buffer reaches the machine in one piece"
    );
    bed.ok(|c, m| fd_renumber(c, m, 2, 1), &[]);
    write(&mut bed, 1, &[(300, 1)], 1);
    assert_eq!(bed.ctx.core.system.stderr, b"erre");
}

#[test]
fn fd_write_gathers() {
    let mut bed = TestBed::new();
    bed.put(200, b"hello world");
    write(&mut bed, 1, &[(200, 6), (u32::MAX, 0), (206, 5), (200, 2)], 13);
    assert_eq!(bed.ctx.core.system.stdout, b"hello worldhe");
}

#[test]
fn fd_write_gathers_a_long_list() {
    let mut bed = TestBed::new();
    let iovecs: Vec<_> = (0..100).map(|index| (200 + index, 1)).collect();
    bed.memory.resize(1 << 16, 0);
    let bytes: Vec<u8> = (0..100).collect();
    bed.put(200, &bytes);
    bed.put_iovecs(4096, &iovecs);
    bed.ok(
        |c, m| fd_write(c, m, 1, Ptr::new(4096), 100, Ptr::new(0)),
        &[(0, &le32(100))],
    );
    assert_eq!(bed.ctx.core.system.stdout, bytes);
}

#[test]
fn fd_write_tells_a_partial_write() {
    let mut bed = TestBed::on(TestSystem {
        write_room: 4,
        ..TestSystem::default()
    });
    bed.put(200, b"abcdef");
    write(&mut bed, 1, &[(200, 3), (203, 3)], 4);
    assert_eq!(bed.ctx.core.system.stdout, b"abcd");
    bed.errno(
        |c, m| fd_write(c, m, 1, Ptr::new(IOVS), 2, Ptr::new(COUNT)),
        Errno::IO,
    );
    // The failure comes after a full buffer.
    let mut bed = TestBed::on(TestSystem {
        write_room: 3,
        ..TestSystem::default()
    });
    bed.put(200, b"abcdef");
    write(&mut bed, 1, &[(200, 3), (203, 3)], 3);
}

#[test]
fn fd_write_of_nothing_asks_nothing_of_the_machine() {
    let mut bed = TestBed::on(TestSystem {
        write_room: 0,
        ..TestSystem::default()
    });
    write(&mut bed, 1, &[(SIZE, 0), (0, 0)], 0);
    bed.ok(
        |c, m| fd_write(c, m, 2, Ptr::new(u32::MAX), 0, Ptr::new(COUNT)),
        &[],
    );
}

#[test]
fn fd_write_traps_before_it_writes() {
    let bad: [&[(u32, u32)]; 3] = [
        &[(SIZE - 1, 2)],
        &[(200, 4), (SIZE, 1)],
        &[(200, 4), (u32::MAX, 2)],
    ];
    for iovecs in bad {
        let mut bed = TestBed::new();
        bed.put_iovecs(IOVS, iovecs);
        let len = u32::try_from(iovecs.len()).expect("a short list");
        bed.trap(|c, m| fd_write(c, m, 1, Ptr::new(IOVS), len, Ptr::new(COUNT)));
    }
}

/// A list of regions that add up to more than a u32, each of them within memory: only possible by naming the same
/// bytes again and again.
#[test]
fn lengths_that_overflow_the_result_are_inval() {
    let mut bed = TestBed::on(TestSystem::with_stdin(b"hello"));
    let memory = 1 << 24;
    bed.memory = Vec::new();
    bed.memory.resize(memory, 0);
    let region = u32::try_from(memory).expect("16 MiB");
    bed.put_iovecs(0, &[(0, region); 256]);
    let result = Ptr::new(4096);
    bed.errno(|c, m| fd_write(c, m, 1, Ptr::new(0), 256, result), Errno::INVAL);
    bed.errno(|c, m| fd_read(c, m, 0, Ptr::new(0), 256, result), Errno::INVAL);
    assert_eq!(bed.ctx.core.system, TestSystem::with_stdin(b"hello"));
}
