//! `path_create_directory`, `path_remove_directory`, `path_rename`, `path_unlink_file`: names.
//!
//! Layer: calls.

use super::Base;
use crate::{
    abi::{
        Errno,
        types::{Fd, Filetype, Rights, Size},
    },
    context::WasiCtx,
    error::Error,
    memory::{GuestMemory, Ptr},
    path::{FollowMode, GuestPath, Resolved},
    system::{System, realtime},
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
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    path: Ptr<u8>,
    path_len: Size,
) -> Result<(), Error> {
    let base = Base::new(&ctx.fds, fd, Rights::PATH_CREATE_DIRECTORY)?;
    let path = super::guest_path(mem, path, path_len)?;
    match base.walk(&mut ctx.mounts, path, FollowMode::Never)? {
        Resolved::Named {
            dir,
            name,
            found: None,
            ..
        } => {
            let fs = ctx.mounts.writable(base.mount)?;
            let system = &mut ctx.system;
            Ok(fs.create_dir(dir, name.as_bytes(), &mut || realtime(system))?)
        }
        Resolved::Passed(_) | Resolved::Named { .. } => Err(Errno::EXIST.into()),
    }
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
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    path: Ptr<u8>,
    path_len: Size,
) -> Result<(), Error> {
    let base = Base::new(&ctx.fds, fd, Rights::PATH_REMOVE_DIRECTORY)?;
    let path = super::guest_path(mem, path, path_len)?;
    let place = base.walk(&mut ctx.mounts, path, FollowMode::Never)?;
    let Resolved::Named { dir, name, .. } = &place else {
        return Err(Errno::INVAL.into());
    };
    if place.existing()?.filetype != Filetype::Directory {
        return Err(Errno::NOTDIR.into());
    }
    let fs = ctx.mounts.writable(base.mount)?;
    let system = &mut ctx.system;
    Ok(fs.remove_dir(*dir, name.as_bytes(), &mut || realtime(system))?)
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
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    path: Ptr<u8>,
    path_len: Size,
) -> Result<(), Error> {
    let base = Base::new(&ctx.fds, fd, Rights::PATH_UNLINK_FILE)?;
    let path = super::guest_path(mem, path, path_len)?;
    let place = base.walk(&mut ctx.mounts, path, FollowMode::FollowBeforeSlash)?;
    let Resolved::Named { dir, name, .. } = &place else {
        return Err(Errno::ISDIR.into());
    };
    if place.existing()?.filetype == Filetype::Directory {
        return Err(Errno::ISDIR.into());
    }
    let fs = ctx.mounts.writable(base.mount)?;
    let system = &mut ctx.system;
    Ok(fs.unlink(*dir, name.as_bytes(), &mut || realtime(system))?)
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
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    old_path: Ptr<u8>,
    old_path_len: Size,
    new_fd: Fd,
    new_path: Ptr<u8>,
    new_path_len: Size,
) -> Result<(), Error> {
    let old = Base::new(&ctx.fds, fd, Rights::PATH_RENAME_SOURCE)?;
    let new = Base::new(&ctx.fds, new_fd, Rights::PATH_RENAME_TARGET)?;
    let old_path = super::bytes(mem, old_path, old_path_len)?;
    let new_path = super::bytes(mem, new_path, new_path_len)?;
    let from = old.walk(&mut ctx.mounts, GuestPath::new(old_path)?, FollowMode::Never)?;
    let new_path = GuestPath::new(new_path)?;
    if old.mount != new.mount {
        return Err(Errno::XDEV.into());
    }
    let fs = ctx.mounts.get(new.mount)?;
    let to = new.walk_further(fs, new_path, FollowMode::Never)?;
    let (
        Resolved::Named { dir, name, .. },
        Resolved::Named {
            dir: new_dir,
            name: new_name,
            slash: new_slash,
            ..
        },
    ) = (&from, &to)
    else {
        return Err(Errno::BUSY.into());
    };
    let is_dir = from.existing()?.filetype == Filetype::Directory;
    if *new_slash && !is_dir {
        return Err(Errno::NOTDIR.into());
    }
    let fs = ctx.mounts.writable(new.mount)?;
    let system = &mut ctx.system;
    Ok(
        fs.rename(*dir, name.as_bytes(), *new_dir, new_name.as_bytes(), &mut || {
            realtime(system)
        })?,
    )
}
