//! `fd_close`, `fd_renumber`: descriptor numbers.
//!
//! Layer: calls.

use crate::{abi::types::Fd, context::WasiCtx, error::Error, memory::GuestMemory};

/// Closes a descriptor.
///
/// ```c
/// errno fd_close(fd fd);
/// ```
///
/// - `fd`: the descriptor. The standard streams can be closed too; the machine's console stays as it is.
///
/// **Errors:** BADF: `fd` is not open.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_close>
pub fn fd_close<S>(ctx: &mut WasiCtx<S>, _mem: &mut GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
    ctx.fds.remove(fd)?;
    Ok(())
}

/// Moves a descriptor to another number, replacing what was there.
///
/// ```c
/// errno fd_renumber(fd fd, fd to);
/// ```
///
/// - `fd`: the descriptor to move; closed afterwards.
/// - `to`: the number to replace; what it named is closed. If it is `fd`, nothing changes.
///
/// **Errors:** BADF: `fd` or `to` is not open. Unlike `dup2`, the call makes no new number, as in wasmtime.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_renumber>
pub fn fd_renumber<S>(ctx: &mut WasiCtx<S>, _mem: &mut GuestMemory<'_>, fd: Fd, to: Fd) -> Result<(), Error> {
    ctx.fds.renumber(fd, to)?;
    Ok(())
}
