//! `fd_close`, `fd_renumber`: descriptor numbers.
//!
//! Layer: calls.

use crate::{
    abi::types::Fd,
    context::WasiCtx,
    error::Error,
    fd_table::{Descriptor, Entry},
    memory::GuestMemory,
    mounts::Mounts,
};

/// Closes a descriptor.
///
/// ```c
/// errno fd_close(fd fd);
/// ```
///
/// - `fd`: the descriptor. The standard streams can be closed too; the machine's console stays as it is. So can
///   preopens; what was opened through one stays open.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - IO, NOSPC and others: what was written earlier could not be stored after all, as a host's file system may say
///   only now. The descriptor is closed nevertheless, as on Linux.
///
/// **Deviations:** wasmtime does not tell of such errors.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_close>
pub fn fd_close<S>(ctx: &mut WasiCtx<S>, _mem: &mut GuestMemory<'_>, fd: Fd) -> Result<(), Error> {
    let entry = ctx.fds.remove(fd)?;
    let flushed = match &entry.descriptor {
        Descriptor::File(file) => ctx.mounts.get(file.mount)?.flush(file.handle),
        Descriptor::Directory(_) | Descriptor::Stdin { .. } | Descriptor::Output { .. } => Ok(()),
    };
    release(&mut ctx.mounts, &entry);
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
pub fn fd_renumber<S>(ctx: &mut WasiCtx<S>, _mem: &mut GuestMemory<'_>, fd: Fd, to: Fd) -> Result<(), Error> {
    if let Some(replaced) = ctx.fds.renumber(fd, to)? {
        release(&mut ctx.mounts, &replaced);
    }
    Ok(())
}

/// Closes what a descriptor named.
fn release(mounts: &mut Mounts, entry: &Entry) {
    let (mount, handle) = match &entry.descriptor {
        Descriptor::Stdin { .. } | Descriptor::Output { .. } => return,
        Descriptor::File(file) => (file.mount, file.handle),
        Descriptor::Directory(directory) => (directory.mount, directory.handle),
    };
    if let Ok(fs) = mounts.get(mount) {
        fs.close(handle);
    }
}
