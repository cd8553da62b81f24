//! `path_link`, `path_symlink`, `path_readlink`: links.
//!
//! Layer: calls.

use wasi_core::{
    System,
    path::{FollowMode, GuestPath, PATH_MAX},
};

use crate::{
    abi::{
        Errno,
        types::{Fd, Lookupflags, Rights, Size},
    },
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
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
    ctx: &mut WasiP1Ctx<S>,
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
    let old = super::base(&ctx.fds, old_fd, Rights::PATH_LINK_SOURCE)?;
    let new = super::base(&ctx.fds, new_fd, Rights::PATH_LINK_TARGET)?;
    let old_path = mem.bytes(old_path, old_path_len)?;
    let new_path = mem.bytes(new_path, new_path_len)?;
    let from = ctx
        .core
        .locate(old, GuestPath::new(old_path)?, FollowMode::FollowBeforeSlash)?;
    Ok(ctx.core.hard_link(&from, new, GuestPath::new(new_path)?)?)
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
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    old_path: Ptr<u8>,
    old_path_len: Size,
    fd: Fd,
    new_path: Ptr<u8>,
    new_path_len: Size,
) -> Result<(), Error> {
    let base = super::base(&ctx.fds, fd, Rights::PATH_SYMLINK)?;
    let target = mem.bytes(old_path, old_path_len)?;
    let path = mem.bytes(new_path, new_path_len)?;
    let target = GuestPath::new(target)?;
    let path = GuestPath::new(path)?;
    Ok(ctx.core.create_link(target, base, path)?)
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
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    path: Ptr<u8>,
    path_len: Size,
    buf: Ptr<u8>,
    buf_len: Size,
    bufused: Ptr<Size>,
) -> Result<(), Error> {
    let base = super::base(&ctx.fds, fd, Rights::PATH_READLINK)?;
    mem.check(bufused)?;
    mem.bytes(buf, buf_len)?;
    let path = super::guest_path(mem, path, path_len)?;
    let mut target = [0; PATH_MAX];
    let target = ctx.core.read_link(base, path, &mut target)?;
    let room = mem.bytes_mut(buf, buf_len)?;
    room.iter_mut().zip(target).for_each(|(to, from)| *to = *from);
    let used = Size::try_from(target.len()).unwrap_or(buf_len).min(buf_len);
    mem.write(bufused, used)
}
