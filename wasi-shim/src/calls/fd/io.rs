//! `fd_read`, `fd_write`, `fd_pread`, `fd_pwrite`, `fd_seek`, `fd_tell`: bytes and positions.
//!
//! Layer: calls. Bytes go straight between guest memory and the [`System`]; nothing is allocated.

use super::iovec;
use crate::{
    abi::{
        Errno,
        layout::Iovec,
        types::{Fd, Fdflags, Filedelta, Filesize, Rights, Size, Whence},
    },
    context::WasiCtx,
    error::Error,
    fd_table::{Descriptor, FdTable},
    memory::{GuestMemory, Ptr},
    system::{StdinState, System},
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
/// Standard input waits for the first byte, unless it is `nonblock`; further buffers get what is there at once.
/// Reading ends early after a buffer that overwrites the part of the list not used yet.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is not readable.
/// - NOTCAPABLE: `fd` lacks the right `fd_read`.
/// - INVAL: the buffers together are longer than 4 GiB - 1.
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
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    nread: Ptr<Size>,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    match entry.descriptor {
        Descriptor::Stdin => entry.require(Rights::FD_READ)?,
        Descriptor::Output(_) => return Err(Errno::BADF.into()),
    }
    let nonblock = entry.flags.contains(Fdflags::NONBLOCK);
    mem.check(nread)?;
    iovec::check(mem, iovs, iovs_len)?;
    let count = read_stdin(&mut ctx.system, mem, iovs, iovs_len, nonblock)?;
    mem.write(nread, count)
}

fn read_stdin<S: System>(
    system: &mut S,
    mem: &mut GuestMemory<'_>,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    nonblock: bool,
) -> Result<Size, Error> {
    let mut total: Size = 0;
    for index in 0..iovs_len {
        let Iovec { buf, buf_len } = mem.read(iovs.element(index)?)?;
        if buf_len == 0 {
            continue;
        }
        if total == 0 {
            if nonblock && system.poll_stdin(Some(0))? == StdinState::NotReady {
                return Err(Errno::AGAIN.into());
            }
        } else if !matches!(
            system.poll_stdin(Some(0)),
            Ok(StdinState::Ready { bytes: 1.., .. })
        ) {
            break;
        }
        let room = mem.bytes_mut(Ptr::new(buf), buf_len)?;
        let count = match system.console_read(room) {
            Ok(count) => Size::try_from(count).unwrap_or(buf_len).min(buf_len),
            // What was read before is not lost; the error comes again if it lasts.
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno.into()),
        };
        // Within u32: iovec::check has added up all lengths.
        total = total.saturating_add(count);
        let next = index.saturating_add(1);
        if count < buf_len || iovec::overwrites(buf, count, iovs, next, iovs_len) {
            break;
        }
    }
    Ok(total)
}

/// Writes to a descriptor.
///
/// ```c
/// errno fd_write(fd fd, const ciovec *iovs, size iovs_len, size *nwritten);
/// ```
///
/// - `fd`: the descriptor.
/// - `iovs`, `iovs_len`: the buffers to write in order, and their number.
/// - `nwritten`: gets the number of bytes written; fewer than given if the machine took fewer.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is not writable.
/// - NOTCAPABLE: `fd` lacks the right `fd_write`.
/// - INVAL: the buffers together are longer than 4 GiB - 1.
/// - IO and others: what the machine says, if no byte was written before.
///
/// **Traps:** `nwritten`, the list, or any buffer of at least one byte out of bounds; `nwritten` or `iovs` not
/// a multiple of 4. No byte is written then.
///
/// **Layout:** as for [`fd_read`].
///
/// **Deviations:** wasmtime writes the first buffer that is not empty only.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_write>
pub fn fd_write<S: System>(
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    nwritten: Ptr<Size>,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    let stream = match entry.descriptor {
        Descriptor::Output(stream) => stream,
        Descriptor::Stdin => return Err(Errno::BADF.into()),
    };
    entry.require(Rights::FD_WRITE)?;
    mem.check(nwritten)?;
    iovec::check(mem, iovs, iovs_len)?;
    let mut total: Size = 0;
    for index in 0..iovs_len {
        let Iovec { buf, buf_len } = mem.read(iovs.element(index)?)?;
        if buf_len == 0 {
            continue;
        }
        let count = match ctx
            .system
            .console_write(stream, mem.bytes(Ptr::new(buf), buf_len)?)
        {
            Ok(count) => Size::try_from(count).unwrap_or(buf_len).min(buf_len),
            // What was written before is told; the error comes again if it lasts.
            Err(_) if total > 0 => break,
            Err(errno) => return Err(errno.into()),
        };
        // Within u32: iovec::check has added up all lengths.
        total = total.saturating_add(count);
        if count < buf_len {
            break;
        }
    }
    mem.write(nwritten, total)
}

/// Reads from a file at an offset, without moving its position.
///
/// ```c
/// errno fd_pread(fd fd, const iovec *iovs, size iovs_len, filesize offset, size *nread);
/// ```
///
/// - `fd`: the file.
/// - `iovs`, `iovs_len`: the buffers to fill, and their number.
/// - `offset`: where to start, in bytes from the file's start.
/// - `nread`: gets the number of bytes read.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is not readable.
/// - SPIPE: `fd` is standard input, which has no positions.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_pread>
pub fn fd_pread<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _iovs: Ptr<Iovec>,
    _iovs_len: Size,
    _offset: Filesize,
    _nread: Ptr<Size>,
) -> Result<(), Error> {
    match ctx.fds.get(fd)?.descriptor {
        Descriptor::Stdin => Err(Errno::SPIPE.into()),
        Descriptor::Output(_) => Err(Errno::BADF.into()),
    }
}

/// Writes to a file at an offset, without moving its position.
///
/// ```c
/// errno fd_pwrite(fd fd, const ciovec *iovs, size iovs_len, filesize offset, size *nwritten);
/// ```
///
/// - `fd`: the file.
/// - `iovs`, `iovs_len`: the buffers to write, and their number.
/// - `offset`: where to start, in bytes from the file's start.
/// - `nwritten`: gets the number of bytes written.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is not writable.
/// - SPIPE: `fd` is standard output or error, which have no positions.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_pwrite>
pub fn fd_pwrite<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _iovs: Ptr<Iovec>,
    _iovs_len: Size,
    _offset: Filesize,
    _nwritten: Ptr<Size>,
) -> Result<(), Error> {
    match ctx.fds.get(fd)?.descriptor {
        Descriptor::Output(_) => Err(Errno::SPIPE.into()),
        Descriptor::Stdin => Err(Errno::BADF.into()),
    }
}

/// A descriptor with a position; no kind has one.
fn seekable(fds: &FdTable, fd: Fd) -> Result<core::convert::Infallible, Errno> {
    match fds.get(fd)?.descriptor {
        Descriptor::Stdin | Descriptor::Output(_) => Err(Errno::SPIPE),
    }
}

/// Moves the position of a file.
///
/// ```c
/// errno fd_seek(fd fd, filedelta offset, whence whence, filesize *newoffset);
/// ```
///
/// - `fd`: the file.
/// - `offset`: how far, in bytes.
/// - `whence`: from where.
/// - `newoffset`: gets the new position, in bytes from the file's start.
///
/// **Errors:**
/// - INVAL: no whence has this number.
/// - BADF: `fd` is not open.
/// - SPIPE: `fd` is a stream.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_seek>
pub fn fd_seek<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _offset: Filedelta,
    _whence: Whence,
    _newoffset: Ptr<Filesize>,
) -> Result<(), Error> {
    match seekable(&ctx.fds, fd)? {}
}

/// Returns the position of a file.
///
/// ```c
/// errno fd_tell(fd fd, filesize *offset);
/// ```
///
/// - `fd`: the file.
/// - `offset`: gets the position, in bytes from the file's start.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - SPIPE: `fd` is a stream.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_tell>
pub fn fd_tell<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _offset: Ptr<Filesize>,
) -> Result<(), Error> {
    match seekable(&ctx.fds, fd)? {}
}

#[cfg(test)]
mod tests;
