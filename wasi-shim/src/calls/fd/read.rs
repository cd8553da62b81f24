//! `fd_read`, `fd_pread`: bytes from a descriptor.
//!
//! Layer: calls. Bytes go straight from the [`System`] or the file system to guest memory; nothing is allocated.

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
    fs::{FileSystem, Handle, Now},
    memory::{GuestMemory, Ptr},
    system::{StdinState, System, realtime},
};

/// Fails unless `entry` can be read, and may.
pub(in crate::calls) fn check_readable(entry: &Entry) -> Result<(), Errno> {
    match &entry.descriptor {
        Descriptor::Stdin { .. } => {}
        Descriptor::File(file) if file.access.read => {}
        Descriptor::File(_) | Descriptor::Output { .. } | Descriptor::Directory(_) => {
            return Err(Errno::BADF);
        }
    }
    entry.require(Rights::FD_READ)
}

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
/// part of the list not used yet.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is not readable.
/// - NOTCAPABLE: `fd` lacks the right `fd_read`.
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
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    nread: Ptr<Size>,
) -> Result<(), Error> {
    let WasiCtx {
        system, fds, mounts, ..
    } = ctx;
    let entry = fds.get_mut(fd)?;
    check_readable(entry)?;
    mem.check(nread)?;
    let total = iovec::check(mem, iovs, iovs_len)?;
    let count = match &mut entry.descriptor {
        Descriptor::Stdin { .. } => {
            let nonblock = entry.flags.contains(Fdflags::NONBLOCK);
            read_stdin(system, mem, iovs, iovs_len, nonblock)?
        }
        Descriptor::File(file) => {
            iovec::check_end(file.position, total)?;
            let fs = mounts.get(file.mount)?;
            let now: Now<'_> = &mut || realtime(system);
            let count = read_file(fs, file.handle, file.position, mem, iovs, iovs_len, now)?;
            file.position = file.position.saturating_add(u64::from(count));
            count
        }
        // `check_readable` has refused them.
        Descriptor::Output { .. } | Descriptor::Directory(_) => return Err(Errno::BADF.into()),
    };
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

fn read_file(
    fs: &mut dyn FileSystem,
    file: Handle,
    offset: Filesize,
    mem: &mut GuestMemory<'_>,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    now: Now<'_>,
) -> Result<Size, Error> {
    let mut total: Size = 0;
    for index in 0..iovs_len {
        let Iovec { buf, buf_len } = mem.read(iovs.element(index)?)?;
        if buf_len == 0 {
            continue;
        }
        let room = mem.bytes_mut(Ptr::new(buf), buf_len)?;
        let count = match fs.read(file, offset.saturating_add(u64::from(total)), room, now) {
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
/// - SPIPE: `fd` is standard input, which has no positions.
/// - NOTCAPABLE: `fd` lacks the right `fd_read` or `fd_seek`.
/// - INVAL: the buffers together are longer than 4 GiB - 1, or reach beyond 2^63 - 1 in the file.
///
/// **Traps**, **Layout:** as for [`fd_read`].
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_pread>
pub fn fd_pread<S: System>(
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    iovs: Ptr<Iovec>,
    iovs_len: Size,
    offset: Filesize,
    nread: Ptr<Size>,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    check_readable(entry)?;
    let Descriptor::File(file) = &entry.descriptor else {
        return Err(Errno::SPIPE.into());
    };
    entry.require(Rights::FD_SEEK)?;
    mem.check(nread)?;
    let total = iovec::check(mem, iovs, iovs_len)?;
    iovec::check_end(offset, total)?;
    let fs = ctx.mounts.get(file.mount)?;
    let system = &mut ctx.system;
    let now: Now<'_> = &mut || realtime(system);
    let count = read_file(fs, file.handle, offset, mem, iovs, iovs_len, now)?;
    mem.write(nread, count)
}
