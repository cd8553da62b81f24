//! Tests of the functions of `wasi_unstable` that have layouts of their own.

use alloc::vec::Vec;

use wasi_core::testing::TestSystem;

use super::*;
use crate::{
    abi::{
        Errno,
        types::{Fdflags, Oflags, Param, Rights},
    },
    calls::testbed::{BIRTH, SIZE, TestBed, le32},
};

const NONE: Lookupflags = Lookupflags::NONE;

fn filestat(ino: u64, filetype: u8, nlink: u32, size: u64) -> Vec<u8> {
    let mut bytes = [1, ino].map(u64::to_le_bytes).concat();
    bytes.extend([filetype, 0, 0, 0]);
    bytes.extend(nlink.to_le_bytes());
    bytes.extend([size, BIRTH, BIRTH, BIRTH].map(u64::to_le_bytes).concat());
    assert_eq!(bytes.len(), 56);
    bytes
}

#[test]
fn filestat_has_56_bytes() {
    let mut bed = TestBed::with_tree();
    let f = bed.open("f", Oflags::NONE, Rights::NONE, Fdflags::NONE);
    bed.ok(
        |c, m| fd_filestat_get(c, m, f, Ptr::new(SIZE - 56)),
        &[(SIZE - 56, &filestat(2, 4, 2, 5))],
    );
    bed.trap(|c, m| fd_filestat_get(c, m, f, Ptr::new(SIZE - 48)));
    bed.trap(|c, m| fd_filestat_get(c, m, f, Ptr::new(4)));
    bed.errno(|c, m| fd_filestat_get(c, m, 99, Ptr::new(0)), Errno::BADF);
    let (p, len) = bed.path(512, "lf");
    bed.ok(
        |c, m| path_filestat_get(c, m, 3, NONE, p, len, Ptr::new(8)),
        &[(8, &filestat(6, 7, 1, 1))],
    );
    bed.trap(|c, m| path_filestat_get(c, m, 3, NONE, p, len, Ptr::new(SIZE - 48)));
    // A stream.
    let stream = [0; 56];
    bed.ok(|c, m| fd_filestat_get(c, m, 1, Ptr::new(8)), &[(8, &stream)]);
}

#[test]
fn whence_is_in_another_order() {
    let mut bed = TestBed::with_tree();
    let f = bed.open("f", Oflags::NONE, Rights::NONE, Fdflags::NONE);
    for (raw, offset, position) in [(2, 3_i64, 3_u64), (0, -1, 2), (1, -1, 4)] {
        let whence = Whence::from_raw(raw).expect("known");
        bed.ok(
            |c, m| fd_seek(c, m, f, offset, whence, Ptr::new(8)),
            &[(8, &position.to_le_bytes())],
        );
    }
    for raw in [3, 256, u32::MAX] {
        assert_eq!(Whence::from_raw(raw), Err(Errno::INVAL));
    }
}

/// A subscription of 56 bytes; what is not used is set.
fn clock(userdata: u64, id: u32, timeout: u64, flags: u16) -> [u8; 56] {
    let mut bytes = [0xee; 56];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[8] = 0;
    bytes[24..28].copy_from_slice(&id.to_le_bytes());
    bytes[32..40].copy_from_slice(&timeout.to_le_bytes());
    bytes[48..50].copy_from_slice(&flags.to_le_bytes());
    bytes
}

fn fd(userdata: u64, tag: u8, fd: u32) -> [u8; 56] {
    let mut bytes = [0xee; 56];
    bytes[..8].copy_from_slice(&userdata.to_le_bytes());
    bytes[8] = tag;
    bytes[16..20].copy_from_slice(&fd.to_le_bytes());
    bytes
}

#[test]
fn subscriptions_have_56_bytes() {
    let mut bed = TestBed::on(TestSystem::default());
    let (r#in, out, count) = (Ptr::new(512), Ptr::new(64), Ptr::new(8));
    bed.put(
        512,
        &[clock(1, 1, 50, 0), clock(2, 0, 0, 1), fd(3, 2, 1)].concat(),
    );
    let event = |userdata: u64, tag: u8, nbytes: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&userdata.to_le_bytes());
        bytes[10] = tag;
        bytes[16..24].copy_from_slice(&nbytes.to_le_bytes());
        bytes
    };
    bed.ok(
        |c, m| poll_oneoff(c, m, r#in, out, 3, count),
        &[(64, &[event(2, 0, 0), event(3, 2, 1)].concat()), (8, &le32(2))],
    );
    bed.ok(
        |c, m| poll_oneoff(c, m, r#in, out, 1, count),
        &[(64, &event(1, 0, 0)), (8, &le32(1))],
    );
    assert_eq!(bed.ctx.core.system.sleeps, [50]);
    bed.put(512, &fd(3, 1, 99));
    bed.errno(|c, m| poll_oneoff(c, m, r#in, out, 1, count), Errno::BADF);
    bed.errno(|c, m| poll_oneoff(c, m, r#in, out, 0, count), Errno::INVAL);
    // Just too little room for two.
    bed.trap(|c, m| poll_oneoff(c, m, Ptr::new(SIZE - 104), out, 2, count));
    // Events would overwrite the last subscription, in the larger layout only.
    bed.put(512, &[fd(1, 2, 1), fd(2, 2, 1)].concat());
    bed.errno(
        |c, m| poll_oneoff(c, m, r#in, Ptr::new(512 + 104), 2, count),
        Errno::INVAL,
    );
}
