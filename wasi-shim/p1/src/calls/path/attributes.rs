//! `path_filestat_get`, `path_filestat_set_times`: attributes of what a path names.
//!
//! Layer: calls.

use wasi_core::System;

use crate::{
    abi::{
        layout::{Encode, Filestat},
        types::{Fd, Fstflags, Lookupflags, Rights, Size, Timestamp},
    },
    calls::set_times,
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Returns the attributes of a file or directory.
///
/// ```c
/// errno path_filestat_get(fd fd, lookupflags flags, const uint8_t *path, size path_len, filestat *buf);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `flags`: whether a symbolic link at the end is followed.
/// - `path`, `path_len`: the name, in UTF-8, and its length in bytes.
/// - `buf`: gets the attributes.
///
/// **Errors:** as for every path (see [the family](super)), and
/// - INVAL: `flags` has an unknown bit.
/// - NOENT: nothing is there.
///
/// **Traps:** `path` or `buf` out of bounds; `buf` not a multiple of 8.
///
/// **Layout:** as for [`fd_filestat_get`](crate::calls::fd::fd_filestat_get).
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_filestat_get>
pub fn path_filestat_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    flags: Lookupflags,
    path: Ptr<u8>,
    path_len: Size,
    buf: Ptr<Filestat>,
) -> Result<(), Error> {
    filestat_get(ctx, mem, fd, flags, path, path_len, buf)
}

/// [`path_filestat_get`] with any layout of the result.
pub(in crate::calls) fn filestat_get<S, const N: usize, F: Encode<N> + From<Filestat>>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    flags: Lookupflags,
    path: Ptr<u8>,
    path_len: Size,
    buf: Ptr<F>,
) -> Result<(), Error> {
    let base = super::base(&ctx.fds, fd, Rights::PATH_FILESTAT_GET)?;
    mem.check(buf)?;
    let path = super::guest_path(mem, path, path_len)?;
    let value = Filestat::from(ctx.core.attributes_at(base, path, super::follow_mode(flags))?);
    mem.write(buf, value.into())
}

/// Sets the times of a file or directory.
///
/// ```c
/// errno path_filestat_set_times(fd fd, lookupflags flags, const uint8_t *path, size path_len,
///                               timestamp atim, timestamp mtim, fstflags fst_flags);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `flags`: whether a symbolic link at the end is followed.
/// - `path`, `path_len`: the name, in UTF-8, and its length in bytes.
/// - `atim`, `mtim`: times of access and of change, in nanoseconds since 1970.
/// - `fst_flags`: which of them to set, and whether to the value given or to now.
///
/// **Errors:** as for every path (see [the family](super)), and
/// - INVAL: `flags` or `fst_flags` has an unknown bit, or `fst_flags` asks for both the value and now.
/// - NOENT: nothing is there.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_filestat_set_times>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn path_filestat_set_times<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    flags: Lookupflags,
    path: Ptr<u8>,
    path_len: Size,
    atim: Timestamp,
    mtim: Timestamp,
    fst_flags: Fstflags,
) -> Result<(), Error> {
    let times = set_times(atim, mtim, fst_flags)?;
    let base = super::base(&ctx.fds, fd, Rights::PATH_FILESTAT_SET_TIMES)?;
    let path = super::guest_path(mem, path, path_len)?;
    Ok(ctx
        .core
        .set_times_at(base, path, super::follow_mode(flags), times)?)
}
