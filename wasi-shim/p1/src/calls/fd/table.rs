//! `fd_close`, `fd_renumber`: descriptor numbers.
//!
//! Layer: calls.

use wasi_core::System;

use crate::{abi::types::Fd, context::WasiP1Ctx, error::Error, memory::GuestMemory};

/// Closes a descriptor.
///
/// ```c
/// errno fd_close(fd fd);
/// ```
///
/// - `fd`: the descriptor. The standard streams can be closed too; the machine's console stays as it is. So can
///   preopens; what was opened through one stays open. What was sent through a socket still goes out.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - IO, NOSPC and others: what was written earlier could not be stored after all, as a host's file system may say
///   only now. The descriptor is closed nevertheless, as on Linux.
///
/// **Deviations:** wasmtime does not tell of such errors.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_close>
pub fn fd_close<S: System>(ctx: &mut WasiP1Ctx<S>, _mem: &mut GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
    let entry = ctx.fds.remove(fd)?;
    let flushed = ctx.core.flush(&entry.descriptor);
    ctx.core.close(entry.descriptor);
    Ok(flushed?)
}

/// Moves a descriptor to another number, replacing what was there.
///
/// ```c
/// errno fd_renumber(fd fd, fd to);
/// ```
///
/// - `fd`: the descriptor to move; closed afterwards. Flags, rights and position move with it, and that it is a
///   preopen.
/// - `to`: the number to replace; what it named is closed. If it is `fd`, nothing changes.
///
/// **Errors:** BADF: `fd` or `to` is not open. Unlike `dup2`, the call makes no new number, as in wasmtime.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_renumber>
pub fn fd_renumber<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    to: Fd,
) -> Result<(), Error> {
    if let Some(replaced) = ctx.fds.renumber(fd, to)? {
        ctx.core.close(replaced.descriptor);
    }
    Ok(())
}
