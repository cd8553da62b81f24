//! `fd_advise`, `fd_allocate`, `fd_datasync`, `fd_sync`: a file's storage.
//!
//! Layer: calls.

use super::file;
use crate::{
    abi::types::{Advice, Fd, Filesize},
    context::WasiCtx,
    error::Error,
    memory::GuestMemory,
};

/// Tells how a part of a file will be used.
///
/// ```c
/// errno fd_advise(fd fd, filesize offset, filesize len, advice advice);
/// ```
///
/// - `fd`: the file.
/// - `offset`, `len`: the part, in bytes.
/// - `advice`: the use.
///
/// **Errors:**
/// - INVAL: no advice has this number.
/// - BADF: `fd` is not open, or is a stream.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_advise>
pub fn fd_advise<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _offset: Filesize,
    _len: Filesize,
    _advice: Advice,
) -> Result<(), Error> {
    match file(&ctx.fds, fd)? {}
}

/// Reserves space in a file.
///
/// ```c
/// errno fd_allocate(fd fd, filesize offset, filesize len);
/// ```
///
/// - `fd`: the file.
/// - `offset`, `len`: the part, in bytes.
///
/// **Errors:** BADF: `fd` is not open, or is a stream.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_allocate>
pub fn fd_allocate<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _offset: Filesize,
    _len: Filesize,
) -> Result<(), Error> {
    match file(&ctx.fds, fd)? {}
}

/// Brings a file's data to its storage.
///
/// ```c
/// errno fd_datasync(fd fd);
/// ```
///
/// - `fd`: the file.
///
/// **Errors:** BADF: `fd` is not open, or is a stream.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_datasync>
pub fn fd_datasync<S>(ctx: &mut WasiCtx<S>, _mem: &mut GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
    match file(&ctx.fds, fd)? {}
}

/// Brings a file's data and attributes to its storage.
///
/// ```c
/// errno fd_sync(fd fd);
/// ```
///
/// - `fd`: the file.
///
/// **Errors:** BADF: `fd` is not open, or is a stream.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_sync>
pub fn fd_sync<S>(ctx: &mut WasiCtx<S>, _mem: &mut GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
    match file(&ctx.fds, fd)? {}
}
