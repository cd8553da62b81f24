//! `path_create_directory`, `path_remove_directory`, `path_rename`, `path_unlink_file`: names.
//!
//! Layer: calls.

use wasi_core::{
    System,
    path::{FollowMode, GuestPath},
};

use crate::{
    abi::types::{Fd, Rights, Size},
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Creates a directory.
///
/// ```c
/// errno path_create_directory(fd fd, const uint8_t *path, size path_len);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `path`, `path_len`: the name of the new directory, in UTF-8, and its length in bytes. Slashes may follow.
///
/// **Errors:** as for every path (see [the family](super)), and
/// - EXIST: something is there, be it a symbolic link that leads nowhere.
/// - MLINK: the directory above can hold no more of them.
///
/// **Deviations:** wasmtime 50 answers NOENT if slashes follow; POSIX, to which the specification refers,
/// allows them.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_create_directory>
pub fn path_create_directory<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    path: Ptr<u8>,
    path_len: Size,
) -> Result<(), Error> {
    let base = super::base(&ctx.fds, fd, Rights::PATH_CREATE_DIRECTORY)?;
    let path = super::guest_path(mem, path, path_len)?;
    Ok(ctx.core.create_directory(base, path)?)
}

/// Removes an empty directory.
///
/// ```c
/// errno path_remove_directory(fd fd, const uint8_t *path, size path_len);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `path`, `path_len`: the name, in UTF-8, and its length in bytes. Slashes may follow.
///
/// **Errors:** as for every path (see [the family](super)), and
/// - NOENT: nothing is there.
/// - NOTDIR: something else than a directory is there, be it a symbolic link to one.
/// - NOTEMPTY: the directory has entries.
/// - INVAL: the path ends in `.` or `..`.
///
/// **Deviations:** wasmtime 50 answers INVAL if slashes follow; POSIX, to which the specification refers,
/// allows them.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_remove_directory>
pub fn path_remove_directory<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    path: Ptr<u8>,
    path_len: Size,
) -> Result<(), Error> {
    let base = super::base(&ctx.fds, fd, Rights::PATH_REMOVE_DIRECTORY)?;
    let path = super::guest_path(mem, path, path_len)?;
    Ok(ctx.core.remove_directory(base, path)?)
}

/// Removes a file.
///
/// ```c
/// errno path_unlink_file(fd fd, const uint8_t *path, size path_len);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `path`, `path_len`: the name, in UTF-8, and its length in bytes. Of a symbolic link, the link itself goes.
///
/// A file that is open lives on until it is closed.
///
/// **Errors:** as for every path (see [the family](super)), and
/// - NOENT: nothing is there.
/// - ISDIR: a directory is there.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_unlink_file>
pub fn path_unlink_file<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    path: Ptr<u8>,
    path_len: Size,
) -> Result<(), Error> {
    let base = super::base(&ctx.fds, fd, Rights::PATH_UNLINK_FILE)?;
    let path = super::guest_path(mem, path, path_len)?;
    Ok(ctx.core.unlink_file(base, path)?)
}

/// Renames a file or directory, replacing what has the new name.
///
/// ```c
/// errno path_rename(fd fd, const uint8_t *old_path, size old_path_len,
///                   fd new_fd, const uint8_t *new_path, size new_path_len);
/// ```
///
/// - `fd`: the directory that `old_path` starts from.
/// - `old_path`, `old_path_len`: the old name, in UTF-8, and its length in bytes. Symbolic links are not followed.
/// - `new_fd`: the directory that `new_path` starts from.
/// - `new_path`, `new_path_len`: the new name, likewise.
///
/// If both name the same file or directory, nothing happens.
///
/// **Errors:** as for every path (see [the family](super)), and
/// - BUSY: a path ends in `.` or `..`.
/// - NOENT: nothing is at `old_path`.
/// - NOTDIR: slashes come after a path, and no directory is at `old_path`; or only what is at `old_path` is a
///   directory.
/// - ISDIR: only what is at `new_path` is a directory.
/// - NOTEMPTY: a directory with entries is at `new_path`.
/// - INVAL: `new_path` is beneath the directory at `old_path`.
/// - XDEV: the directories are in different file systems.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_rename>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn path_rename<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    old_path: Ptr<u8>,
    old_path_len: Size,
    new_fd: Fd,
    new_path: Ptr<u8>,
    new_path_len: Size,
) -> Result<(), Error> {
    let old = super::base(&ctx.fds, fd, Rights::PATH_RENAME_SOURCE)?;
    let new = super::base(&ctx.fds, new_fd, Rights::PATH_RENAME_TARGET)?;
    let old_path = mem.bytes(old_path, old_path_len)?;
    let new_path = mem.bytes(new_path, new_path_len)?;
    let from = ctx
        .core
        .locate(old, GuestPath::new(old_path)?, FollowMode::Never)?;
    Ok(ctx.core.rename(&from, new, GuestPath::new(new_path)?)?)
}
