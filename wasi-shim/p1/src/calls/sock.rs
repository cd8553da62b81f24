//! `sock_accept`, `sock_recv`, `sock_send`, `sock_shutdown`: sockets.
//!
//! Layer: calls. No descriptor is a socket yet; what these calls report is what a socket call reports on a
//! descriptor that is not one.

use core::convert::Infallible;

use crate::{
    abi::{
        Errno,
        layout::Iovec,
        types::{Fd, Fdflags, Riflags, Roflags, Sdflags, Siflags, Size},
    },
    context::WasiP1Ctx,
    error::Error,
    fd_table::FdTable,
    memory::{GuestMemory, Ptr},
};

/// The socket that `fd` names; no kind of descriptor is one.
fn socket(fds: &FdTable, fd: Fd) -> Result<Infallible, Errno> {
    if fds.get(fd)?.descriptor.is_socket() {
        // No descriptor is one yet.
        return Err(Errno::NOTSUP);
    }
    Err(Errno::NOTSOCK)
}

/// Accepts a connection.
///
/// ```c
/// errno sock_accept(fd fd, fdflags flags, fd *result_fd);
/// ```
///
/// - `fd`: the listening socket.
/// - `flags`: flags of the new descriptor.
/// - `result_fd`: gets the new descriptor.
///
/// **Errors:**
/// - INVAL: `flags` has an unknown bit.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#sock_accept>
pub fn sock_accept<S>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _flags: Fdflags,
    _result_fd: Ptr<Fd>,
) -> Result<(), Error> {
    match socket(&ctx.fds, fd)? {}
}

/// Receives a message.
///
/// ```c
/// errno sock_recv(fd fd, const iovec *ri_data, size ri_data_len, riflags ri_flags,
///                 size *ro_datalen, roflags *ro_flags);
/// ```
///
/// - `fd`: the socket.
/// - `ri_data`, `ri_data_len`: the buffers to fill, and their number.
/// - `ri_flags`: how to receive.
/// - `ro_datalen`: gets the number of bytes received.
/// - `ro_flags`: gets flags of the message.
///
/// **Errors:**
/// - INVAL: `ri_flags` has an unknown bit.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#sock_recv>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn sock_recv<S>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _ri_data: Ptr<Iovec>,
    _ri_data_len: Size,
    _ri_flags: Riflags,
    _ro_datalen: Ptr<Size>,
    _ro_flags: Ptr<Roflags>,
) -> Result<(), Error> {
    match socket(&ctx.fds, fd)? {}
}

/// Sends a message.
///
/// ```c
/// errno sock_send(fd fd, const ciovec *si_data, size si_data_len, siflags si_flags, size *so_datalen);
/// ```
///
/// - `fd`: the socket.
/// - `si_data`, `si_data_len`: the buffers to send, and their number.
/// - `si_flags`: none is defined.
/// - `so_datalen`: gets the number of bytes sent.
///
/// **Errors:**
/// - INVAL: `si_flags` is not 0.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#sock_send>
pub fn sock_send<S>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _si_data: Ptr<Iovec>,
    _si_data_len: Size,
    _si_flags: Siflags,
    _so_datalen: Ptr<Size>,
) -> Result<(), Error> {
    match socket(&ctx.fds, fd)? {}
}

/// Shuts down one or both directions of a socket.
///
/// ```c
/// errno sock_shutdown(fd fd, sdflags how);
/// ```
///
/// - `fd`: the socket.
/// - `how`: which directions.
///
/// **Errors:**
/// - INVAL: `how` has an unknown bit.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#sock_shutdown>
pub fn sock_shutdown<S>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _how: Sdflags,
) -> Result<(), Error> {
    match socket(&ctx.fds, fd)? {}
}

#[cfg(test)]
mod tests {
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
}
