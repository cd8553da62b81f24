//! Tests of `poll_oneoff`.

mod sockets;

use alloc::vec::Vec;

use wasi_core::testing::{Stdin, TestSystem};

use super::*;
use crate::{
    abi::types::{Fdflags, Oflags, Whence},
    calls::{
        fd::{fd_close, fd_fdstat_set_rights, fd_seek},
        testbed::{SIZE, TestBed, le32},
    },
};

/// Where the tests keep subscriptions, events and their number.
const IN: u32 = 512;
const OUT: u32 = 64;
const COUNT: u32 = 8;

const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;
const ABSTIME: u16 = 1;
const MS: u64 = 1_000_000;

/// A subscription's bytes; what is padding is set, to show that nobody looks at it.
fn subscription(userdata: u64, tag: u8) -> [u8; 48] {
    let mut bytes = [0xee; 48];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[8] = tag;
    bytes
}

fn clock(userdata: u64, id: u32, timeout: u64, flags: u16) -> [u8; 48] {
    let mut bytes = subscription(userdata, 0);
    bytes[16..20].copy_from_slice(&id.to_le_bytes());
    bytes[24..32].copy_from_slice(&timeout.to_le_bytes());
    bytes[40..42].copy_from_slice(&flags.to_le_bytes());
    bytes
}

fn fd(userdata: u64, tag: u8, fd: u32) -> [u8; 48] {
    let mut bytes = subscription(userdata, tag);
    bytes[16..20].copy_from_slice(&fd.to_le_bytes());
    bytes
}

fn event(userdata: u64, errno: u16, r#type: u8, nbytes: u64, flags: u16) -> Vec<u8> {
    let [errno, flags] = [errno.to_le_bytes(), flags.to_le_bytes()];
    [
        &userdata.to_le_bytes()[..],
        &errno,
        &[r#type],
        &[0; 5],
        &nbytes.to_le_bytes(),
        &flags,
        &[0; 6],
    ]
    .concat()
}

fn poll(bed: &mut TestBed, subscriptions: &[[u8; 48]], events: &[Vec<u8>]) {
    bed.put(IN, &subscriptions.concat());
    let n = u32::try_from(subscriptions.len()).expect("a short list");
    let count = u32::try_from(events.len()).expect("a short list");
    let changes: &[(u32, &[u8])] = &[(OUT, &events.concat()), (COUNT, &le32(count))];
    bed.ok(
        |c, m| poll_oneoff(c, m, Ptr::new(IN), Ptr::new(OUT), n, Ptr::new(COUNT)),
        changes,
    );
}

fn poll_errno(bed: &mut TestBed, subscriptions: &[[u8; 48]], errno: Errno) {
    bed.put(IN, &subscriptions.concat());
    let n = u32::try_from(subscriptions.len()).expect("a short list");
    bed.errno(
        |c, m| poll_oneoff(c, m, Ptr::new(IN), Ptr::new(OUT), n, Ptr::new(COUNT)),
        errno,
    );
}

fn stdin(steps: &[Stdin]) -> TestBed {
    TestBed::on(TestSystem {
        stdin: steps.to_vec().into(),
        ..TestSystem::default()
    })
}

#[test]
fn no_subscriptions_are_inval_whatever_the_pointers() {
    let mut bed = TestBed::new();
    bed.errno(
        |c, m| poll_oneoff(c, m, Ptr::new(1), Ptr::new(SIZE), 0, Ptr::new(SIZE)),
        Errno::INVAL,
    );
}

#[test]
fn a_relative_time_passes_on_the_monotonic_clock() {
    for id in [REALTIME, MONOTONIC] {
        let mut bed = TestBed::new();
        poll(&mut bed, &[clock(7, id, 50 * MS, 0)], &[event(7, 0, 0, 0, 0)]);
        assert_eq!(bed.ctx.core.system.sleeps, [50 * MS]);
    }
}

#[test]
fn an_absolute_time_is_on_its_own_clock() {
    let TestSystem {
        realtime, monotonic, ..
    } = TestSystem::default();
    for (id, now) in [(REALTIME, realtime), (MONOTONIC, monotonic)] {
        let mut bed = TestBed::new();
        poll(
            &mut bed,
            &[clock(7, id, now + 20 * MS, ABSTIME)],
            &[event(7, 0, 0, 0, 0)],
        );
        assert_eq!(bed.ctx.core.system.sleeps, [20 * MS]);
        // A time that has passed happens at once.
        let mut bed = TestBed::new();
        poll(&mut bed, &[clock(7, id, now, ABSTIME)], &[event(7, 0, 0, 0, 0)]);
        poll(&mut bed, &[clock(7, id, 0, ABSTIME)], &[event(7, 0, 0, 0, 0)]);
        assert_eq!(bed.ctx.core.system.sleeps, []);
    }
}

#[test]
fn no_time_at_all_does_not_sleep() {
    let mut bed = TestBed::new();
    poll(&mut bed, &[clock(7, MONOTONIC, 0, 0)], &[event(7, 0, 0, 0, 0)]);
    assert_eq!(bed.ctx.core.system.sleeps, []);
}

#[test]
fn a_machine_that_wakes_early_is_sent_to_sleep_again() {
    let mut bed = TestBed::on(TestSystem {
        sleep_short: 10,
        ..TestSystem::default()
    });
    poll(&mut bed, &[clock(7, MONOTONIC, 25, 0)], &[event(7, 0, 0, 0, 0)]);
    assert_eq!(bed.ctx.core.system.sleeps, [25, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn only_what_has_happened_is_told_in_order() {
    let mut bed = TestBed::new();
    let subscriptions = [
        clock(1, MONOTONIC, 30, 0),
        clock(2, REALTIME, 10, 0),
        clock(3, MONOTONIC, 10, 0),
    ];
    poll(
        &mut bed,
        &subscriptions,
        &[event(2, 0, 0, 0, 0), event(3, 0, 0, 0, 0)],
    );
    assert_eq!(bed.ctx.core.system.sleeps, [10]);
}

#[test]
fn times_near_the_end_of_the_clock_do_not_wrap() {
    let mut bed = TestBed::new();
    let subscriptions = [
        clock(1, MONOTONIC, u64::MAX, 0),
        clock(2, MONOTONIC, u64::MAX, ABSTIME),
        fd(3, 2, 1),
    ];
    poll(&mut bed, &subscriptions, &[event(3, 0, 2, 1, 0)]);
}

#[test]
fn stdin_with_bytes_is_readable() {
    let mut bed = stdin(&[Stdin::Bytes(b"abc".to_vec())]);
    poll(
        &mut bed,
        &[fd(9, 1, 0), clock(1, MONOTONIC, MS, 0)],
        &[event(9, 0, 1, 3, 0)],
    );
    assert_eq!(
        (&bed.ctx.core.system.polls[..], &bed.ctx.core.system.sleeps[..]),
        (&[Some(MS)][..], &[][..])
    );
}

#[test]
fn stdin_alone_waits_without_end() {
    let mut bed = stdin(&[Stdin::Pause(MS), Stdin::Bytes(b"a".to_vec())]);
    poll(&mut bed, &[fd(9, 1, 0)], &[event(9, 0, 1, 1, 0)]);
    assert_eq!(bed.ctx.core.system.polls, [None]);
}

#[test]
fn the_end_of_stdin_is_readable_and_hung_up() {
    let mut bed = stdin(&[]);
    poll(
        &mut bed,
        &[fd(9, 1, 0), fd(10, 1, 0)],
        &[event(9, 0, 1, 0, 1), event(10, 0, 1, 0, 1)],
    );
}

#[test]
fn stdin_that_stays_quiet_lets_the_clock_win() {
    let mut bed = stdin(&[Stdin::Pause(10 * MS), Stdin::Bytes(b"a".to_vec())]);
    poll(
        &mut bed,
        &[fd(9, 1, 0), clock(1, MONOTONIC, 3 * MS, 0)],
        &[event(1, 0, 0, 0, 0)],
    );
    assert_eq!(bed.ctx.core.system.polls, [Some(3 * MS)]);
}

#[test]
fn what_has_happened_already_keeps_stdin_from_waiting() {
    let mut bed = stdin(&[Stdin::Pause(MS)]);
    poll(
        &mut bed,
        &[fd(9, 1, 0), fd(4, 2, 1), clock(1, MONOTONIC, 0, 0)],
        &[event(4, 0, 2, 1, 0), event(1, 0, 0, 0, 0)],
    );
    assert_eq!(bed.ctx.core.system.polls, [Some(0)]);
}

#[test]
fn a_failing_stdin_is_an_event() {
    let mut bed = stdin(&[Stdin::Fail(Errno::IO)]);
    poll(&mut bed, &[fd(9, 1, 0)], &[event(9, Errno::IO.raw(), 1, 0, 0)]);
}

#[test]
fn output_is_writable_at_once() {
    let mut bed = TestBed::new();
    let subscriptions = [clock(1, MONOTONIC, MS, 0), fd(2, 2, 1), fd(3, 2, 2)];
    poll(
        &mut bed,
        &subscriptions,
        &[event(2, 0, 2, 1, 0), event(3, 0, 2, 1, 0)],
    );
    assert_eq!(bed.ctx.core.system.sleeps, []);
}

#[test]
fn wrong_descriptors_fail_the_call() {
    let mut bed = TestBed::new();
    for (tag, number) in [(1, 1), (1, 2), (2, 0), (1, 3), (2, u32::MAX)] {
        poll_errno(&mut bed, &[fd(5, tag, number)], Errno::BADF);
        // Whatever else could happen.
        poll_errno(
            &mut bed,
            &[fd(6, 2, 1), clock(1, MONOTONIC, 0, 0), fd(5, tag, number)],
            Errno::BADF,
        );
    }
    bed.ok(|c, m| fd_close(c, m, 0), &[]);
    poll_errno(&mut bed, &[clock(1, MONOTONIC, MS, 0), fd(5, 1, 0)], Errno::BADF);
    assert_eq!(bed.ctx.core.system, TestSystem::default());
}

#[test]
fn the_first_fault_is_told() {
    let mut bed = TestBed::new();
    poll_errno(&mut bed, &[fd(5, 1, 9), subscription(1, 3)], Errno::BADF);
    poll_errno(&mut bed, &[subscription(1, 3), fd(5, 1, 9)], Errno::INVAL);
}

#[test]
fn files_are_always_ready() {
    let (read, write) = (Rights::FD_READ, Rights::FD_WRITE);
    for rights in [read, write, read.union(write)] {
        let mut bed = TestBed::with_tree();
        let f = bed.open("f", Oflags::NONE, rights, Fdflags::NONE);
        let subscriptions = [fd(1, 1, f), clock(2, MONOTONIC, MS, 0), fd(3, 2, f)];
        poll(
            &mut bed,
            &subscriptions,
            &[event(1, 0, 1, 5, 0), event(3, 0, 2, 1, 0)],
        );
        for (position, left, flags) in [(2_i64, 3, 0), (5, 0, 1), (9, 0, 1)] {
            bed.ok(
                |c, m| fd_seek(c, m, f, position, Whence::Set, Ptr::new(0)),
                &[(0, &position.to_le_bytes())],
            );
            poll(&mut bed, &[fd(1, 1, f)], &[event(1, 0, 1, left, flags)]);
        }
        assert_eq!(
            (&bed.ctx.core.system.sleeps[..], &bed.ctx.core.system.polls[..]),
            (&[][..], &[][..])
        );
    }
}

#[test]
fn a_file_keeps_stdin_from_waiting() {
    let mut bed = TestBed::with_tree();
    bed.ctx.core.system.stdin = [Stdin::Pause(MS), Stdin::Bytes(b"a".to_vec())].into();
    let f = bed.open("f", Oflags::NONE, Rights::NONE, Fdflags::NONE);
    poll(&mut bed, &[fd(1, 1, 0), fd(2, 1, f)], &[event(2, 0, 1, 5, 0)]);
    assert_eq!(bed.ctx.core.system.polls, [Some(0)]);
}

#[test]
fn directories_cannot_be_waited_for() {
    let mut bed = TestBed::with_tree();
    poll_errno(&mut bed, &[fd(1, 1, 3)], Errno::BADF);
    poll_errno(&mut bed, &[fd(1, 2, 3)], Errno::BADF);
    let f = bed.open("f", Oflags::NONE, Rights::NONE, Fdflags::NONE);
    bed.ok(
        |c, m| fd_fdstat_set_rights(c, m, f, Rights::FD_READ, Rights::NONE),
        &[],
    );
    poll_errno(&mut bed, &[fd(1, 1, f)], Errno::NOTCAPABLE);
    poll_errno(&mut bed, &[fd(1, 2, f)], Errno::NOTCAPABLE);
}

#[test]
fn missing_rights_fail_the_call() {
    let mut bed = TestBed::new();
    bed.ok(
        |c, m| fd_fdstat_set_rights(c, m, 0, Rights::FD_READ, Rights::NONE),
        &[],
    );
    bed.ok(
        |c, m| fd_fdstat_set_rights(c, m, 1, Rights::POLL_FD_READWRITE, Rights::NONE),
        &[],
    );
    poll_errno(&mut bed, &[fd(5, 1, 0)], Errno::NOTCAPABLE);
    poll_errno(&mut bed, &[fd(6, 2, 1)], Errno::NOTCAPABLE);
}

#[test]
fn clocks_that_cannot_be_waited_for_fail_the_call() {
    let mut bed = TestBed::on(TestSystem {
        cpu_time: Some(0),
        ..TestSystem::default()
    });
    for id in [2, 3] {
        poll_errno(&mut bed, &[clock(5, id, MS, 0), fd(6, 2, 1)], Errno::INVAL);
    }
}

#[test]
fn malformed_subscriptions_fail_the_call() {
    let bad = [
        subscription(1, 3),
        subscription(1, 255),
        clock(1, 4, 0, 0),
        clock(1, MONOTONIC, 0, 2),
    ];
    for one in bad {
        let mut bed = TestBed::new();
        poll_errno(&mut bed, &[one], Errno::INVAL);
        poll_errno(&mut bed, &[fd(2, 2, 1), one], Errno::INVAL);
        assert_eq!(bed.ctx.core.system, TestSystem::default());
    }
}

#[test]
fn bad_pointers_trap_before_any_time_passes() {
    let n = 2;
    let bad = [
        (SIZE - 95, OUT, n, COUNT),
        (SIZE - 88, OUT, n, COUNT),
        (IN, SIZE - 56, n, COUNT),
        (IN, OUT, n, SIZE),
        (IN, OUT, n, SIZE - 3),
        (IN + 4, OUT, n, COUNT),
        (IN, OUT + 4, n, COUNT),
        (IN, OUT, n, COUNT + 2),
        (IN, OUT, u32::MAX, COUNT),
        (IN, OUT, u32::MAX / 48 + 1, COUNT),
        (u32::MAX - 7, OUT, 1, COUNT),
        (IN, u32::MAX - 7, 1, COUNT),
    ];
    for (r#in, out, n, count) in bad {
        let mut bed = TestBed::new();
        bed.put(
            IN,
            &[clock(1, MONOTONIC, MS, 0), clock(2, MONOTONIC, MS, 0)].concat(),
        );
        bed.trap(|c, m| poll_oneoff(c, m, Ptr::new(r#in), Ptr::new(out), n, Ptr::new(count)));
    }
}

#[test]
fn events_may_replace_their_subscriptions() {
    let subscriptions = [fd(1, 2, 1), fd(2, 2, 2), clock(3, MONOTONIC, 0, 0)].concat();
    let events = [event(1, 0, 2, 1, 0), event(2, 0, 2, 1, 0), event(3, 0, 0, 0, 0)].concat();
    for back in [0, 8, 40] {
        let mut bed = TestBed::new();
        bed.put(IN, &subscriptions);
        let changes: &[(u32, &[u8])] = &[(IN - back, &events), (COUNT, &le32(3))];
        bed.ok(
            |c, m| poll_oneoff(c, m, Ptr::new(IN), Ptr::new(IN - back), 3, Ptr::new(COUNT)),
            changes,
        );
    }
}

#[test]
fn events_that_would_overwrite_later_subscriptions_are_inval() {
    let subscriptions = [fd(1, 2, 1), fd(2, 2, 2), fd(3, 2, 1)].concat();
    for forward in [8, 48, 136] {
        let mut bed = TestBed::new();
        bed.put(IN, &subscriptions);
        let (r#in, out) = (Ptr::new(IN), Ptr::new(IN + forward));
        bed.errno(
            |c, m| poll_oneoff(c, m, r#in, out, 3, Ptr::new(COUNT)),
            Errno::INVAL,
        );
    }
    let mut bed = TestBed::new();
    bed.put(IN, &subscriptions);
    let events = [event(1, 0, 2, 1, 0), event(2, 0, 2, 1, 0), event(3, 0, 2, 1, 0)].concat();
    let changes: &[(u32, &[u8])] = &[(IN + 144, &events), (COUNT, &le32(3))];
    bed.ok(
        |c, m| poll_oneoff(c, m, Ptr::new(IN), Ptr::new(IN + 144), 3, Ptr::new(COUNT)),
        changes,
    );
}
