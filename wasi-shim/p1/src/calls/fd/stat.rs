//! `fd_fdstat_*`, `fd_filestat_*`: attributes of a descriptor and of what it names.
//!
//! Layer: calls.

use wasi_core::System;

use crate::{
    abi::{
        Errno,
        layout::{Encode, Fdstat, Filestat},
        types::{Fd, Fdflags, Filesize, Fstflags, Rights, Timestamp},
    },
    calls::set_times,
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Returns type, flags and rights of a descriptor.
///
/// ```c
/// errno fd_fdstat_get(fd fd, fdstat *stat);
/// ```
///
/// - `fd`: the descriptor. A standard stream with a terminal behind it is a character device, else of unknown
///   type; see [`Terminals`](wasi_core::Terminals). A listener is a stream socket, as a connection is.
/// - `stat`: gets the attributes.
///
/// **Errors:** BADF: `fd` is not open.
///
/// **Traps:** `stat` out of bounds or not a multiple of 8.
///
/// **Layout:** 24 bytes: type u8 at 0, flags u16le at 2, base rights u64le at 8, inheriting rights u64le at 16.
///
/// **Deviations:** wasmtime gives streams the right to read or to write only.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_fdstat_get>
pub fn fd_fdstat_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    stat: Ptr<Fdstat>,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    let value = Fdstat {
        fs_filetype: entry.descriptor.filetype(),
        fs_flags: entry.flags,
        fs_rights_base: entry.rights_base(),
        fs_rights_inheriting: entry.rights_inheriting(),
    };
    mem.write(stat, value)
}

/// Sets the flags of a descriptor.
///
/// ```c
/// errno fd_fdstat_set_flags(fd fd, fdflags flags);
/// ```
///
/// - `fd`: the descriptor.
/// - `flags`: the new flags. `nonblock` makes what would wait for standard input or a socket report AGAIN instead, and
///   means nothing to a file; `append` means nothing to a standard stream.
///
/// **Errors:**
/// - INVAL: `flags` has an unknown bit, or one of `dsync`, `rsync`, `sync`, which cannot be changed; of a socket also
///   `append`.
/// - BADF: `fd` is not open, or is a directory (wasmtime's choice).
/// - NOTCAPABLE: `fd` lacks the right `fd_fdstat_set_flags`.
///
/// **Deviations:** wasmtime answers BADF on a stream.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_fdstat_set_flags>
pub fn fd_fdstat_set_flags<S>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    flags: Fdflags,
) -> Result<(), Error> {
    let entry = ctx.fds.get_mut(fd)?;
    if entry.descriptor.directory().is_ok() {
        return Err(Errno::BADF.into());
    }
    entry.require(Rights::FD_FDSTAT_SET_FLAGS)?;
    let settable = match entry.descriptor.socket() {
        Ok(_) => Fdflags::NONBLOCK,
        Err(_) => Fdflags::APPEND.union(Fdflags::NONBLOCK),
    };
    if !settable.contains(flags) {
        return Err(Errno::INVAL.into());
    }
    entry.flags = flags;
    Ok(())
}

/// Removes rights from a descriptor.
///
/// ```c
/// errno fd_fdstat_set_rights(fd fd, rights fs_rights_base, rights fs_rights_inheriting);
/// ```
///
/// - `fd`: the descriptor.
/// - `fs_rights_base`, `fs_rights_inheriting`: the rights to keep.
///
/// **Errors:**
/// - INVAL: an unknown right.
/// - BADF: `fd` is not open.
/// - NOTCAPABLE: it would add a right; nothing is changed then.
///
/// **Deviations:** wasmtime has no rights to remove: NOTSUP on files, BADF on streams.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_fdstat_set_rights>
pub fn fd_fdstat_set_rights<S>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    fs_rights_base: Rights,
    fs_rights_inheriting: Rights,
) -> Result<(), Error> {
    Ok(ctx
        .fds
        .get_mut(fd)?
        .set_rights(fs_rights_base, fs_rights_inheriting)?)
}

/// Returns the attributes of what a descriptor names.
///
/// ```c
/// errno fd_filestat_get(fd fd, filestat *buf);
/// ```
///
/// - `fd`: the descriptor.
/// - `buf`: gets the attributes. Of a standard stream and a socket all are 0 but the type. Of others, `dev` counts the
///   file systems of the guest from 1.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - NOTCAPABLE: `fd` lacks the right `fd_filestat_get`.
///
/// **Traps:** `buf` out of bounds or not a multiple of 8.
///
/// **Layout:** 64 bytes: dev u64le at 0, ino u64le at 8, type u8 at 16, nlink u64le at 24, size u64le at 32,
/// atim, mtim, ctim u64le (nanoseconds since 1970) at 40, 48, 56.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_filestat_get>
pub fn fd_filestat_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    buf: Ptr<Filestat>,
) -> Result<(), Error> {
    filestat_get(ctx, mem, fd, buf)
}

/// [`fd_filestat_get`] with any layout of the result.
pub(in crate::calls) fn filestat_get<S, const N: usize, F: Encode<N> + From<Filestat>>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    buf: Ptr<F>,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    entry.require(Rights::FD_FILESTAT_GET)?;
    mem.check(buf)?;
    let value = match ctx.core.attributes(&entry.descriptor)? {
        Some(attributes) => attributes.into(),
        None => Filestat::of_stream(entry.descriptor.filetype()),
    };
    mem.write(buf, value.into())
}

/// Sets the size of a file.
///
/// ```c
/// errno fd_filestat_set_size(fd fd, filesize size);
/// ```
///
/// - `fd`: the file.
/// - `size`: the new size in bytes; new bytes are zero.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is no regular file.
/// - INVAL: `fd` is not open for writing (POSIX's answer, and wasmtime's), or `size` is beyond 2^63 - 1.
/// - NOTCAPABLE: `fd` lacks the right `fd_filestat_set_size`.
/// - FBIG: `size` is beyond the largest size of a file.
/// - ROFS: the file system cannot be changed.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_filestat_set_size>
pub fn fd_filestat_set_size<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    size: Filesize,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    let file = entry.descriptor.file()?;
    file.check_resizable(size)?;
    entry.require(Rights::FD_FILESTAT_SET_SIZE)?;
    let result = ctx.core.set_size(file, size);
    ctx.check_limits()?;
    Ok(result?)
}

/// Sets the times of a file or directory.
///
/// ```c
/// errno fd_filestat_set_times(fd fd, timestamp atim, timestamp mtim, fstflags fst_flags);
/// ```
///
/// - `fd`: the file or directory, however it was opened.
/// - `atim`, `mtim`: times of access and of change, in nanoseconds since 1970.
/// - `fst_flags`: which of them to set, and whether to the value given or to now.
///
/// **Errors:**
/// - INVAL: `fst_flags` has an unknown bit, or asks for both the value and now.
/// - BADF: `fd` is not open, or is a stream or a socket.
/// - NOTCAPABLE: `fd` lacks the right `fd_filestat_set_times`.
/// - ROFS: the file system cannot be changed.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_filestat_set_times>
pub fn fd_filestat_set_times<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    atim: Timestamp,
    mtim: Timestamp,
    fst_flags: Fstflags,
) -> Result<(), Error> {
    let times = set_times(atim, mtim, fst_flags)?;
    let entry = ctx.fds.get(fd)?;
    if entry.descriptor.is_stream() {
        return Err(Errno::BADF.into());
    }
    entry.require(Rights::FD_FILESTAT_SET_TIMES)?;
    Ok(ctx.core.set_times(&entry.descriptor, times)?)
}
