//! `fd_read`, `fd_pread`: bytes from a descriptor.
//!
//! Layer: calls. Bytes go straight from the machine or the file system to guest memory; nothing is allocated.

use wasi_core::{
    System,
    descriptor::check_end,
    file::{Blocking, advance},
};

use super::iovec;
use crate::{
    abi::{
        layout::Iovec,
        types::{Fd, Fdflags, Filesize, Riflags, Rights, Size},
    },
    calls::sock::transfer::receive,
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Reads from a descriptor.
///
/// ```c
/// errno fd_read(fd fd, const iovec *iovs, size iovs_len, size *nread);
/// ```
///
/// - `fd`: the descriptor.
/// - `iovs`, `iovs_len`: the buffers to fill in order, and their number.
/// - `nread`: gets the number of bytes read; 0 at the end of the stream, or if there is no room at all.
///
/// A file is read where the last read or write ended. Standard input waits for the first byte, unless it is
/// `nonblock`; further buffers get what is there at once. Reading ends early after a buffer that overwrites the
/// part of the list not used yet. Reading a socket is [`sock_recv`](crate::calls::sock::sock_recv) without flags.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is not readable.
/// - NOTCAPABLE: `fd` lacks the right `fd_read`.
/// - NOTCONN: `fd` is a stream socket without a connection.
/// - INVAL: the buffers together are longer than 4 GiB - 1, or reach beyond 2^63 - 1 in the file.
/// - AGAIN: `fd` is `nonblock` and there is nothing to read yet.
/// - IO and others: what the machine says, if no byte was read before.
///
/// **Traps:** `nread`, the list, or any buffer of at least one byte out of bounds; `nread` or `iovs` not a
/// multiple of 4. No byte is read then.
///
/// **Layout:** an element of the list has 8 bytes: address u32le at 0, length u32le at 4.
///
/// **Deviations:** wasmtime uses the first buffer that has room only, and answers INTR if none has.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_read>
pub fn fd_read<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    nread: Ptr<Size>,
) -> Result<(), Error> {
    let entry = ctx.fds.get_mut(fd)?;
    entry.descriptor.check_readable()?;
    entry.require(Rights::FD_READ)?;
    mem.check(nread)?;
    if entry.descriptor.socket().is_ok() {
        let received = receive(ctx, mem, fd, iovs, iovs_len, Riflags::NONE)?;
        return mem.write(nread, received.length);
    }
    let total = iovec::check(mem, iovs, iovs_len)?;
    entry.descriptor.check_end(total)?;
    let mut blocking = if entry.flags.contains(Fdflags::NONBLOCK) {
        Blocking::Fail
    } else {
        Blocking::Wait
    };
    let count = iovec::scatter(mem, iovs, iovs_len, |room| {
        let count = ctx.core.read(&mut entry.descriptor, room, blocking);
        blocking = Blocking::Stop;
        count
    })?;
    mem.write(nread, count)
}

/// Reads from a file at an offset, without moving its position.
///
/// ```c
/// errno fd_pread(fd fd, const iovec *iovs, size iovs_len, filesize offset, size *nread);
/// ```
///
/// - `fd`: the file.
/// - `iovs`, `iovs_len`: the buffers to fill in order, and their number.
/// - `offset`: where to start, in bytes from the file's start.
/// - `nread`: gets the number of bytes read; 0 at the end of the file, or if there is no room at all.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is not readable, or is a directory.
/// - SPIPE: `fd` is standard input or a socket, which have no positions.
/// - NOTCAPABLE: `fd` lacks the right `fd_read` or `fd_seek`.
/// - INVAL: the buffers together are longer than 4 GiB - 1, or reach beyond 2^63 - 1 in the file.
///
/// **Traps**, **Layout:** as for [`fd_read`].
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_pread>
pub fn fd_pread<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    offset: Filesize,
    nread: Ptr<Size>,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    entry.descriptor.check_readable()?;
    entry.require(Rights::FD_READ)?;
    let file = entry.descriptor.seekable()?;
    entry.require(Rights::FD_SEEK)?;
    mem.check(nread)?;
    let total = iovec::check(mem, iovs, iovs_len)?;
    check_end(offset, total)?;
    let mut at = offset;
    let count = iovec::scatter(mem, iovs, iovs_len, |room| {
        let count = ctx.core.read_at(file, at, room)?;
        at = advance(at, count);
        Ok(Some(count))
    })?;
    mem.write(nread, count)
}
