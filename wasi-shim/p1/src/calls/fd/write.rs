//! `fd_write`, `fd_pwrite`: bytes to a descriptor.
//!
//! Layer: calls. Bytes go straight from guest memory to the machine or the file system; nothing is allocated
//! but what a file grows by.

use wasi_core::{System, descriptor::check_end, file::advance};

use super::iovec;
use crate::{
    abi::{
        layout::Iovec,
        types::{Fd, Fdflags, Filesize, Rights, Size},
    },
    calls::sock::transfer::send,
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Writes to a descriptor.
///
/// ```c
/// errno fd_write(fd fd, const ciovec *iovs, size iovs_len, size *nwritten);
/// ```
///
/// - `fd`: the descriptor.
/// - `iovs`, `iovs_len`: the buffers to write in order, and their number.
/// - `nwritten`: gets the number of bytes written; fewer than given if the machine took fewer, or a file system
///   had room for fewer.
///
/// A file is written where the last read or write ended; one that is `append`, at its end. Writing to a socket is
/// [`sock_send`](crate::calls::sock::sock_send).
///
/// **Errors:**
/// - BADF: `fd` is not open, or is not writable.
/// - NOTCAPABLE: `fd` lacks the right `fd_write`.
/// - NOTCONN, DESTADDRREQ, MSGSIZE, PIPE, AGAIN: of a socket.
/// - INVAL: the buffers together are longer than 4 GiB - 1, or reach beyond 2^63 - 1 in the file.
/// - NOSPC, FBIG: the file system has no room, or the file cannot be that large; if no byte was written before.
/// - ROFS: the file system cannot be changed.
/// - IO and others: what the machine says, if no byte was written before.
///
/// **Traps:** `nwritten`, the list, or any buffer of at least one byte out of bounds; `nwritten` or `iovs` not
/// a multiple of 4. No byte is written then.
///
/// **Layout:** as for [`fd_read`](super::fd_read).
///
/// **Deviations:** wasmtime writes the first buffer that is not empty only.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_write>
pub fn fd_write<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    nwritten: Ptr<Size>,
) -> Result<(), Error> {
    let entry = ctx.fds.get_mut(fd)?;
    entry.descriptor.check_writable()?;
    entry.require(Rights::FD_WRITE)?;
    mem.check(nwritten)?;
    if entry.descriptor.socket().is_ok() {
        let count = send(ctx, mem, fd, iovs, iovs_len, None)?;
        return mem.write(nwritten, count);
    }
    let total = iovec::check(mem, iovs, iovs_len)?;
    let append = entry.flags.contains(Fdflags::APPEND);
    if !append {
        entry.descriptor.check_end(total)?;
    }
    let count = iovec::gather(mem, iovs, iovs_len, |bytes| {
        ctx.core.write(&mut entry.descriptor, bytes, append)
    });
    ctx.check_limits()?;
    mem.write(nwritten, count?)
}

/// Writes to a file at an offset, without moving its position.
///
/// ```c
/// errno fd_pwrite(fd fd, const ciovec *iovs, size iovs_len, filesize offset, size *nwritten);
/// ```
///
/// - `fd`: the file.
/// - `iovs`, `iovs_len`: the buffers to write in order, and their number.
/// - `offset`: where to start, in bytes from the file's start; without meaning if `fd` is `append`.
/// - `nwritten`: gets the number of bytes written.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is not writable, or is a directory.
/// - SPIPE: `fd` is standard output or error or a socket, which have no positions.
/// - NOTCAPABLE: `fd` lacks the right `fd_write` or `fd_seek`.
/// - INVAL: the buffers together are longer than 4 GiB - 1, or reach beyond 2^63 - 1 in the file.
/// - NOSPC, FBIG, ROFS: as for [`fd_write`].
///
/// **Traps**, **Layout:** as for [`fd_read`](super::fd_read).
///
/// **Deviations:** an `append` descriptor writes at the file's end, as on Linux and in wasmtime; POSIX says at
/// `offset`.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_pwrite>
pub fn fd_pwrite<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    offset: Filesize,
    nwritten: Ptr<Size>,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    entry.descriptor.check_writable()?;
    entry.require(Rights::FD_WRITE)?;
    let file = entry.descriptor.seekable()?;
    entry.require(Rights::FD_SEEK)?;
    mem.check(nwritten)?;
    let total = iovec::check(mem, iovs, iovs_len)?;
    let append = entry.flags.contains(Fdflags::APPEND);
    if !append {
        check_end(offset, total)?;
    }
    let mut at = offset;
    let count = iovec::gather(mem, iovs, iovs_len, |bytes| {
        if append {
            return Ok(ctx.core.append(file, bytes)?.0);
        }
        let count = ctx.core.write_at(file, at, bytes)?;
        at = advance(at, count);
        Ok(count)
    });
    ctx.check_limits()?;
    mem.write(nwritten, count?)
}
