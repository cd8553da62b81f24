//! `fd_advise`, `fd_allocate`, `fd_datasync`, `fd_sync`: a file's storage.
//!
//! Layer: calls.

use wasi_core::System;

use crate::{
    abi::{
        Errno,
        types::{Advice, Fd, Filesize, Rights},
    },
    context::WasiP1Ctx,
    error::Error,
    memory::GuestMemory,
};

/// Tells how a part of a file will be used. No file system here makes use of it.
///
/// ```c
/// errno fd_advise(fd fd, filesize offset, filesize len, advice advice);
/// ```
///
/// - `fd`: the file.
/// - `offset`, `len`: the part, in bytes; 0 for `len` means to the end.
/// - `advice`: the use.
///
/// **Errors:**
/// - INVAL: no advice has this number, or `len` is beyond 2^63 - 1.
/// - BADF: `fd` is not open, or is no regular file.
/// - NOTCAPABLE: `fd` lacks the right `fd_advise`.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_advise>
pub fn fd_advise<S>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _offset: Filesize,
    len: Filesize,
    _advice: Advice,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    entry.descriptor.file()?;
    entry.require(Rights::FD_ADVISE)?;
    // What the kernels say of a negative length, and so wasmtime.
    i64::try_from(len).map_err(|_| Errno::INVAL)?;
    Ok(())
}

/// Reserves space in a file, which grows to hold it.
///
/// ```c
/// errno fd_allocate(fd fd, filesize offset, filesize len);
/// ```
///
/// - `fd`: the file.
/// - `offset`, `len`: the part, in bytes.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is no regular file, or not open for writing.
/// - NOTCAPABLE: `fd` lacks the right `fd_allocate`.
/// - INVAL: `len` is 0.
/// - FBIG: the part reaches beyond the largest size of a file.
/// - NOSPC: there is not so much space.
/// - NOTSUP: the file system cannot do this.
/// - ROFS: the file system cannot be changed.
///
/// **Deviations:** wasmtime answers NOTSUP always; the specification describes `posix_fallocate`, and this is
/// that.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_allocate>
pub fn fd_allocate<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    offset: Filesize,
    len: Filesize,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    let file = entry.descriptor.file()?;
    if !file.access.write {
        return Err(Errno::BADF.into());
    }
    entry.require(Rights::FD_ALLOCATE)?;
    if len == 0 {
        return Err(Errno::INVAL.into());
    }
    let result = ctx.core.allocate(file, offset, len);
    ctx.check_limits()?;
    Ok(result?)
}

/// Brings a file's data to its storage.
///
/// ```c
/// errno fd_datasync(fd fd);
/// ```
///
/// - `fd`: the file.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is no regular file.
/// - NOTCAPABLE: `fd` lacks the right `fd_datasync`.
/// - IO and others: what the storage says.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_datasync>
pub fn fd_datasync<S>(ctx: &mut WasiP1Ctx<S>, _mem: &mut GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
    sync(ctx, fd, Rights::FD_DATASYNC, true)
}

/// Brings a file's data and attributes to its storage.
///
/// ```c
/// errno fd_sync(fd fd);
/// ```
///
/// - `fd`: the file.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is no regular file.
/// - NOTCAPABLE: `fd` lacks the right `fd_sync`.
/// - IO and others: what the storage says.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_sync>
pub fn fd_sync<S>(ctx: &mut WasiP1Ctx<S>, _mem: &mut GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
    sync(ctx, fd, Rights::FD_SYNC, false)
}

fn sync<S>(ctx: &mut WasiP1Ctx<S>, fd: Fd, right: Rights, data_only: bool) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    let file = entry.descriptor.file()?;
    entry.require(right)?;
    Ok(ctx.core.sync(file, data_only)?)
}
