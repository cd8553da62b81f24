//! `sock_accept`, `sock_recv`, `sock_send`, `sock_shutdown`: sockets.
//!
//! Layer: calls. What these calls do with descriptors and lists of buffers is in `transfer`, for others that do the
//! same with other parameters.

pub(in crate::calls) mod transfer;

use wasi_core::{System, network::Direction};

use self::transfer::{accept, receive, require, send};
use crate::{
    abi::{
        Errno,
        layout::Iovec,
        types::{Fd, Fdflags, Riflags, Rights, Roflags, Sdflags, Siflags, Size},
    },
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Accepts a connection.
///
/// ```c
/// errno sock_accept(fd fd, fdflags flags, fd *result_fd);
/// ```
///
/// - `fd`: the listening socket.
/// - `flags`: flags of the new descriptor.
/// - `result_fd`: gets the new descriptor: the lowest number that is free.
///
/// It waits for a connection, unless `fd` is `nonblock`.
///
/// **Errors:**
/// - INVAL: `flags` has another bit than `nonblock`; `fd` does not listen.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
/// - NOTSUP: `fd` is a socket for datagrams.
/// - NOTCAPABLE: `fd` lacks the right `sock_accept`.
/// - AGAIN: `fd` is `nonblock`, and no connection waits.
/// - MFILE: too many descriptors are open. The connection still waits.
///
/// **Traps:** `result_fd` out of bounds or not a multiple of 4. The connection still waits.
///
/// **Deviations:** wasmtime (which has listeners up to version 46) accepts the connection before it looks at `flags`.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#sock_accept>
pub fn sock_accept<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    flags: Fdflags,
    result_fd: Ptr<Fd>,
) -> Result<(), Error> {
    if !Fdflags::NONBLOCK.contains(flags) {
        return Err(Errno::INVAL.into());
    }
    require(ctx, fd, Rights::SOCK_ACCEPT)?;
    mem.check(result_fd)?;
    let (number, _) = accept(ctx, fd, flags)?;
    mem.write(result_fd, number)
}

/// Receives a message.
///
/// ```c
/// errno sock_recv(fd fd, const iovec *ri_data, size ri_data_len, riflags ri_flags,
///                 size *ro_datalen, roflags *ro_flags);
/// ```
///
/// - `fd`: the socket.
/// - `ri_data`, `ri_data_len`: the buffers to fill in order, and their number.
/// - `ri_flags`: `recv_peek`: the bytes stay; a stream fills the first buffer that has room only. `recv_waitall`: waits
///   until all buffers are full, the stream ends or fails; unless the bytes are to stay, or `fd` is `nonblock`.
/// - `ro_datalen`: gets the number of bytes received; 0 at the end of a stream, or if there is no room at all.
/// - `ro_flags`: gets `recv_data_truncated` if a datagram was longer than the room for it, else 0.
///
/// It waits for the first byte, unless `fd` is `nonblock`; further buffers get what is there at once. A datagram is
/// received whole or cut off, and fills as many buffers as it needs.
///
/// **Errors:**
/// - INVAL: `ri_flags` has an unknown bit; the buffers together are longer than 4 GiB - 1.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
/// - NOTCAPABLE: `fd` lacks the right `fd_read`.
/// - NOTCONN: `fd` is a stream without a connection.
/// - AGAIN: `fd` is `nonblock`, and there is nothing to receive yet.
/// - CONNRESET, TIMEDOUT and others: what the network says, if no byte was received before.
///
/// **Traps:** the list, any buffer of at least one byte, `ro_datalen` or `ro_flags` out of bounds; `ri_data` or
/// `ro_datalen` not a multiple of 4, `ro_flags` of 2. Nothing is received then.
///
/// **Deviations:** wasmtime (which has sockets up to version 46) ends the guest where a stream ends before all buffers
/// are full with `recv_waitall`.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#sock_recv>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn sock_recv<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    ri_data: Ptr<Iovec>,
    ri_data_len: Size,
    ri_flags: Riflags,
    ro_datalen: Ptr<Size>,
    ro_flags: Ptr<Roflags>,
) -> Result<(), Error> {
    require(ctx, fd, Rights::FD_READ)?;
    mem.check(ro_datalen)?;
    mem.check(ro_flags)?;
    let received = receive(ctx, mem, fd, ri_data, ri_data_len, ri_flags)?;
    mem.write(ro_datalen, received.length)?;
    mem.write(ro_flags, received.flags)
}

/// Sends a message.
///
/// ```c
/// errno sock_send(fd fd, const ciovec *si_data, size si_data_len, siflags si_flags, size *so_datalen);
/// ```
///
/// - `fd`: the socket.
/// - `si_data`, `si_data_len`: the buffers to send, and their number. For a socket for datagrams they are one.
/// - `si_flags`: none is defined.
/// - `so_datalen`: gets the number of bytes sent.
///
/// It waits until all is taken, unless `fd` is `nonblock`.
///
/// **Errors:**
/// - INVAL: `si_flags` is not 0; the buffers together are longer than 4 GiB - 1.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
/// - NOTCAPABLE: `fd` lacks the right `fd_write`.
/// - NOTCONN: `fd` is a stream without a connection.
/// - DESTADDRREQ: `fd` is for datagrams and not connected.
/// - MSGSIZE: the datagram is too long.
/// - AGAIN: `fd` is `nonblock`, and nothing can be sent yet.
/// - PIPE: the stream is shut down for sending.
/// - CONNRESET, TIMEDOUT and others: what the network says, if no byte was sent before.
///
/// **Traps:** the list, any buffer of at least one byte, or `so_datalen` out of bounds; `si_data` or `so_datalen` not a
/// multiple of 4. Nothing is sent then.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#sock_send>
pub fn sock_send<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    si_data: Ptr<Iovec>,
    si_data_len: Size,
    _si_flags: Siflags,
    so_datalen: Ptr<Size>,
) -> Result<(), Error> {
    require(ctx, fd, Rights::FD_WRITE)?;
    mem.check(so_datalen)?;
    let count = send(ctx, mem, fd, si_data, si_data_len, None)?;
    mem.write(so_datalen, count)
}

/// Shuts down one or both directions of a socket.
///
/// ```c
/// errno sock_shutdown(fd fd, sdflags how);
/// ```
///
/// - `fd`: the socket.
/// - `how`: which directions. What was sent before still goes out; what comes is no longer received.
///
/// **Errors:**
/// - INVAL: `how` has an unknown bit, or none.
/// - BADF: `fd` is not open.
/// - NOTSOCK: `fd` is not a socket.
/// - NOTSUP: `fd` is a socket for datagrams.
/// - NOTCAPABLE: `fd` lacks the right `sock_shutdown`.
/// - NOTCONN: `fd` has no connection.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#sock_shutdown>
pub fn sock_shutdown<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    how: Sdflags,
) -> Result<(), Error> {
    let directions: &[Direction] = match [Sdflags::RD, Sdflags::WR].map(|flag| how.contains(flag)) {
        [false, false] => return Err(Errno::INVAL.into()),
        [true, false] => &[Direction::Receive],
        [false, true] => &[Direction::Send],
        [true, true] => &[Direction::Receive, Direction::Send],
    };
    require(ctx, fd, Rights::SOCK_SHUTDOWN)?;
    let socket = ctx.fds.get_mut(fd)?.descriptor.socket_mut()?;
    for direction in directions {
        ctx.core.shutdown(socket, *direction)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
