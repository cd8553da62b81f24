//! `fd_prestat_get`, `fd_prestat_dir_name`, `fd_readdir`: directories and preopens.
//!
//! Layer: calls.

use super::file;
use crate::{
    abi::{
        Errno,
        layout::Prestat,
        types::{Dircookie, Fd, Size},
    },
    context::WasiCtx,
    error::Error,
    fd_table::Descriptor,
    memory::{GuestMemory, Ptr},
};

/// Describes a preopened descriptor. A libc calls this for 3, 4, … until BADF to find its preopens.
///
/// ```c
/// errno fd_prestat_get(fd fd, prestat *buf);
/// ```
///
/// - `fd`: the descriptor.
/// - `buf`: gets its description.
///
/// **Errors:** BADF: `fd` is not open, or not a preopen.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_prestat_get>
pub fn fd_prestat_get<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _buf: Ptr<Prestat>,
) -> Result<(), Error> {
    match file(&ctx.fds, fd)? {}
}

/// Returns the name of a preopened directory.
///
/// ```c
/// errno fd_prestat_dir_name(fd fd, uint8_t *path, size path_len);
/// ```
///
/// - `fd`: the descriptor.
/// - `path`, `path_len`: the buffer for the name, and its length in bytes.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - NOTDIR: `fd` is not a preopen, as in wasmtime.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_prestat_dir_name>
pub fn fd_prestat_dir_name<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _path: Ptr<u8>,
    _path_len: Size,
) -> Result<(), Error> {
    match ctx.fds.get(fd)?.descriptor {
        Descriptor::Stdin | Descriptor::Output(_) => Err(Errno::NOTDIR.into()),
    }
}

/// Reads the entries of a directory.
///
/// ```c
/// errno fd_readdir(fd fd, uint8_t *buf, size buf_len, dircookie cookie, size *bufused);
/// ```
///
/// - `fd`: the directory.
/// - `buf`, `buf_len`: the buffer for the entries, and its length in bytes.
/// - `cookie`: where to start; 0 for the beginning.
/// - `bufused`: gets the number of bytes stored.
///
/// **Errors:** BADF: `fd` is not open, or is a stream (wasmtime's choice).
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_readdir>
pub fn fd_readdir<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _buf: Ptr<u8>,
    _buf_len: Size,
    _cookie: Dircookie,
    _bufused: Ptr<Size>,
) -> Result<(), Error> {
    match file(&ctx.fds, fd)? {}
}
