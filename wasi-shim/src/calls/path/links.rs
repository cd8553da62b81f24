//! `path_link`, `path_symlink`, `path_readlink`: links.
//!
//! Layer: calls.

use super::Base;
use crate::{
    abi::{
        Errno,
        types::{Fd, Filetype, Lookupflags, Rights, Size},
    },
    context::WasiCtx,
    error::Error,
    memory::{GuestMemory, Ptr},
    path::{FollowMode, GuestPath, PATH_MAX, Resolved},
    system::{System, realtime},
};

/// Creates a hard link.
///
/// ```c
/// errno path_link(fd old_fd, lookupflags old_flags, const uint8_t *old_path, size old_path_len,
///                 fd new_fd, const uint8_t *new_path, size new_path_len);
/// ```
///
/// - `old_fd`: the directory that `old_path` starts from.
/// - `old_flags`: nothing; see INVAL.
/// - `old_path`, `old_path_len`: the name of the file, in UTF-8, and its length in bytes. Of a symbolic link,
///   the link itself gets another name.
/// - `new_fd`: the directory that `new_path` starts from.
/// - `new_path`, `new_path_len`: the name of the link, likewise.
///
/// **Errors:** as for every path (see [the family](super)), and
/// - INVAL: `old_flags` is not 0. Following is refused as in wasmtime, and as the conformance suite has it.
/// - NOENT: nothing is at `old_path`; or slashes come after `new_path`, and nothing is there.
/// - PERM: a directory is at `old_path`.
/// - EXIST: something is at `new_path`.
/// - XDEV: the directories are in different file systems.
/// - MLINK: the file can have no more names.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_link>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn path_link<S: System>(
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    old_fd: Fd,
    old_flags: Lookupflags,
    old_path: Ptr<u8>,
    old_path_len: Size,
    new_fd: Fd,
    new_path: Ptr<u8>,
    new_path_len: Size,
) -> Result<(), Error> {
    if old_flags != Lookupflags::NONE {
        return Err(Errno::INVAL.into());
    }
    let old = Base::new(&ctx.fds, old_fd, Rights::PATH_LINK_SOURCE)?;
    let new = Base::new(&ctx.fds, new_fd, Rights::PATH_LINK_TARGET)?;
    let old_path = super::bytes(mem, old_path, old_path_len)?;
    let new_path = super::bytes(mem, new_path, new_path_len)?;
    let from = old.walk(
        &mut ctx.mounts,
        GuestPath::new(old_path)?,
        FollowMode::FollowBeforeSlash,
    )?;
    let new_path = GuestPath::new(new_path)?;
    if old.mount != new.mount {
        return Err(Errno::XDEV.into());
    }
    let fs = ctx.mounts.get(new.mount)?;
    let to = new.walk_further(fs, new_path, FollowMode::FollowBeforeSlash)?;
    let found = from.existing()?;
    let (dir, name) = vacant(&to)?;
    if found.filetype == Filetype::Directory {
        return Err(Errno::PERM.into());
    }
    let fs = ctx.mounts.writable(new.mount)?;
    let system = &mut ctx.system;
    Ok(fs.hard_link(found.node, dir, name, &mut || realtime(system))?)
}

/// Creates a symbolic link.
///
/// ```c
/// errno path_symlink(const uint8_t *old_path, size old_path_len, fd fd,
///                    const uint8_t *new_path, size new_path_len);
/// ```
///
/// - `old_path`, `old_path_len`: what the link contains, in UTF-8, and its length in bytes. Nothing needs to be
///   there, and it may lead anywhere: that is looked at when it is followed.
/// - `fd`: the directory that `new_path` starts from.
/// - `new_path`, `new_path_len`: the name of the link, likewise.
///
/// **Errors:** as for every path (see [the family](super)), for `old_path` too, and
/// - PERM: `old_path` is absolute.
/// - EXIST: something is at `new_path`.
/// - NOENT: slashes come after `new_path`, and nothing is there.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_symlink>
pub fn path_symlink<S: System>(
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    old_path: Ptr<u8>,
    old_path_len: Size,
    fd: Fd,
    new_path: Ptr<u8>,
    new_path_len: Size,
) -> Result<(), Error> {
    let base = Base::new(&ctx.fds, fd, Rights::PATH_SYMLINK)?;
    let target = super::bytes(mem, old_path, old_path_len)?;
    let path = super::bytes(mem, new_path, new_path_len)?;
    let target = GuestPath::new(target)?;
    let path = GuestPath::new(path)?;
    if target.is_absolute() {
        return Err(Errno::PERM.into());
    }
    let place = base.walk(&mut ctx.mounts, path, FollowMode::FollowBeforeSlash)?;
    let (dir, name) = vacant(&place)?;
    let fs = ctx.mounts.writable(base.mount)?;
    let system = &mut ctx.system;
    Ok(fs.create_link(dir, name, target.as_bytes(), &mut || realtime(system))?)
}

/// A place for a new name that is no directory's: nothing is there, and no slashes ask for a directory.
fn vacant(place: &Resolved) -> Result<(crate::fs::Node, &[u8]), Errno> {
    match place {
        Resolved::Named {
            dir,
            name,
            found: None,
            slash: false,
        } => Ok((*dir, name.as_bytes())),
        Resolved::Named { found: None, .. } => Err(Errno::NOENT),
        place => Err(place.existing().err().unwrap_or(Errno::EXIST)),
    }
}

/// Reads where a symbolic link points to.
///
/// ```c
/// errno path_readlink(fd fd, const uint8_t *path, size path_len, uint8_t *buf, size buf_len,
///                     size *bufused);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `path`, `path_len`: the name of the link, in UTF-8, and its length in bytes.
/// - `buf`, `buf_len`: the buffer for what it contains, and its length in bytes. What does not fit is cut off.
/// - `bufused`: gets the number of bytes stored.
///
/// **Errors:** as for every path (see [the family](super)), and
/// - NOENT: nothing is there.
/// - INVAL: something else than a symbolic link is there.
/// - PERM: the link is absolute, as in wasmtime: where it leads is none of the guest's business.
///
/// **Traps:** `path`, the buffer or `bufused` out of bounds; `bufused` not a multiple of 4.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_readlink>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn path_readlink<S>(
    ctx: &mut WasiCtx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    path: Ptr<u8>,
    path_len: Size,
    buf: Ptr<u8>,
    buf_len: Size,
    bufused: Ptr<Size>,
) -> Result<(), Error> {
    let base = Base::new(&ctx.fds, fd, Rights::PATH_READLINK)?;
    mem.check(bufused)?;
    mem.bytes(buf, buf_len)?;
    let path = super::guest_path(mem, path, path_len)?;
    let found = base
        .walk(&mut ctx.mounts, path, FollowMode::FollowBeforeSlash)?
        .existing()?;
    let mut target = [0; PATH_MAX];
    let len = ctx.mounts.get(base.mount)?.read_link(found.node, &mut target)?;
    let target = target.get(..len).ok_or(Errno::NAMETOOLONG)?;
    if target.first() == Some(&b'/') {
        return Err(Errno::PERM.into());
    }
    let room = mem.bytes_mut(buf, buf_len)?;
    room.iter_mut().zip(target).for_each(|(to, from)| *to = *from);
    let used = Size::try_from(len).unwrap_or(buf_len).min(buf_len);
    mem.write(bufused, used)
}
