//! Tests of the calls on sockets.

use super::*;
use crate::calls::testbed::{FDS, TestBed};

#[test]
fn sock_calls_on_what_is_not_a_socket() {
    for (fd, errno) in FDS.map(|fd| (fd, if fd < 3 { Errno::NOTSOCK } else { Errno::BADF })) {
        let mut bed = TestBed::new();
        bed.errno(
            |ctx, mem| sock_accept(ctx, mem, fd, Fdflags::NONE, Ptr::new(8)),
            errno,
        );
        bed.errno(
            |ctx, mem| {
                sock_recv(
                    ctx,
                    mem,
                    fd,
                    Ptr::new(0),
                    1,
                    Riflags::NONE,
                    Ptr::new(8),
                    Ptr::new(16),
                )
            },
            errno,
        );
        bed.errno(
            |ctx, mem| sock_send(ctx, mem, fd, Ptr::new(0), 1, 0, Ptr::new(8)),
            errno,
        );
        bed.errno(|ctx, mem| sock_shutdown(ctx, mem, fd, Sdflags::RD), errno);
    }
}

#[test]
fn pointers_are_not_followed_before_the_descriptor_is_known_to_be_a_socket() {
    let (far, odd) = (u32::MAX, 1);
    let mut bed = TestBed::new();
    bed.errno(
        |ctx, mem| sock_accept(ctx, mem, 0, Fdflags::NONE, Ptr::new(far)),
        Errno::NOTSOCK,
    );
    bed.errno(
        |ctx, mem| {
            sock_recv(
                ctx,
                mem,
                0,
                Ptr::new(odd),
                far,
                Riflags::NONE,
                Ptr::new(odd),
                Ptr::new(far),
            )
        },
        Errno::NOTSOCK,
    );
}
