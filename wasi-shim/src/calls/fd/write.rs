//! `fd_write`, `fd_pwrite`: bytes to a descriptor.
//!
//! Layer: calls. Bytes go straight from guest memory to the [`System`] or the file system; nothing is allocated
//! but what a file grows by.

use super::iovec;
use crate::{
    abi::{
        Errno,
        layout::Iovec,
        types::{Fd, Fdflags, Filesize, Rights, Size},
    },
    context::WasiCtx,
    error::Error,
    fd_table::{Descriptor, Entry},
    fs::Now,
    memory::{GuestMemory, Ptr},
    system::{System, realtime},
};

/// Fails unless `entry` can be written, and may.
pub(in crate::calls) fn check_writable(entry: &Entry) -> Result<(), Errno> {
    match &entry.descriptor {
        Descriptor::Output { .. } => {}
        Descriptor::File(file) if file.access.write => {}
        Descriptor::File(_) | Descriptor::Stdin { .. } | Descriptor::Directory(_) => return Err(Errno::BADF),
    }
    entry.require(Rights::FD_WRITE)
}

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
/// A file is written where the last read or write ended; one that is `append`, at its end.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is not writable.
/// - NOTCAPABLE: `fd` lacks the right `fd_write`.
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
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    nwritten: Ptr<Size>,
) -> Result<(), Error> {
    let WasiCtx {
        system, fds, mounts, ..
    } = ctx;
    let entry = fds.get_mut(fd)?;
    check_writable(entry)?;
    mem.check(nwritten)?;
    let total = iovec::check(mem, iovs, iovs_len)?;
    let append = entry.flags.contains(Fdflags::APPEND);
    let count = match &mut entry.descriptor {
        Descriptor::Output { stream, .. } => {
            gather(mem, iovs, iovs_len, |bytes| system.console_write(*stream, bytes))?
        }
        Descriptor::File(file) => {
            let fs = mounts.writable(file.mount)?;
            let now: Now<'_> = &mut || realtime(system);
            if append {
                gather(mem, iovs, iovs_len, |bytes| {
                    let (count, end) = fs.append(file.handle, bytes, now)?;
                    file.position = end;
                    Ok(count)
                })?
            } else {
                iovec::check_end(file.position, total)?;
                gather(mem, iovs, iovs_len, |bytes| {
                    let count = fs.write(file.handle, file.position, bytes, now)?;
                    file.position = advance(file.position, count);
                    Ok(count)
                })?
            }
        }
        // `check_writable` has refused them.
        Descriptor::Stdin { .. } | Descriptor::Directory(_) => return Err(Errno::BADF.into()),
    };
    mem.write(nwritten, count)
}

fn advance(offset: Filesize, count: usize) -> Filesize {
    offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX))
}

/// Hands the buffers of a checked list to `write` until it takes less than all. Returns what it took.
fn gather(
    mem: &GuestMemory<'_>,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    mut write: impl FnMut(&[u8]) -> Result<usize, Errno>,
) -> Result<Size, Error> {
    let mut total: Size = 0;
    for index in 0..iovs_len {
        let Iovec { buf, buf_len } = mem.read(iovs.element(index)?)?;
        if buf_len == 0 {
            continue;
        }
        let count = match write(mem.bytes(Ptr::new(buf), buf_len)?) {
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
    Ok(total)
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
/// - SPIPE: `fd` is standard output or error, which have no positions.
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
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    offset: Filesize,
    nwritten: Ptr<Size>,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    check_writable(entry)?;
    let Descriptor::File(file) = &entry.descriptor else {
        return Err(Errno::SPIPE.into());
    };
    entry.require(Rights::FD_SEEK)?;
    mem.check(nwritten)?;
    let total = iovec::check(mem, iovs, iovs_len)?;
    let append = entry.flags.contains(Fdflags::APPEND);
    if !append {
        iovec::check_end(offset, total)?;
    }
    let fs = ctx.mounts.writable(file.mount)?;
    let system = &mut ctx.system;
    let now: Now<'_> = &mut || realtime(system);
    let mut at = offset;
    let count = gather(mem, iovs, iovs_len, |bytes| {
        if append {
            return Ok(fs.append(file.handle, bytes, now)?.0);
        }
        let count = fs.write(file.handle, at, bytes, now)?;
        at = advance(at, count);
        Ok(count)
    })?;
    mem.write(nwritten, count)
}
