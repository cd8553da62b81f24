//! The `path_*` calls: what works on a path beneath a directory.
//!
//! Layer: calls. No descriptor is a directory yet; what these calls report is what they report on a descriptor
//! that is not one.

use core::convert::Infallible;

use super::check_times;
use crate::{
    abi::{
        Errno,
        layout::Filestat,
        types::{Fd, Fdflags, Fstflags, Lookupflags, Oflags, Rights, Size, Timestamp},
    },
    context::WasiCtx,
    error::Error,
    fd_table::{Descriptor, FdTable},
    memory::{GuestMemory, Ptr},
};

/// The directory that `fd` names; no kind of descriptor is one. NOTDIR for every call is POSIX's answer;
/// wasmtime gives it for `path_open` on a file only, else BADF.
fn directory(fds: &FdTable, fd: Fd) -> Result<Infallible, Errno> {
    match fds.get(fd)?.descriptor {
        Descriptor::Stdin | Descriptor::Output(_) => Err(Errno::NOTDIR),
    }
}

/// Creates a directory.
///
/// ```c
/// errno path_create_directory(fd fd, const uint8_t *path, size path_len);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `path`, `path_len`: the name of the new directory, in UTF-8, and its length in bytes.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - NOTDIR: `fd` is not a directory.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_create_directory>
pub fn path_create_directory<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _path: Ptr<u8>,
    _path_len: Size,
) -> Result<(), Error> {
    match directory(&ctx.fds, fd)? {}
}

/// Returns the attributes of a file or directory.
///
/// ```c
/// errno path_filestat_get(fd fd, lookupflags flags, const uint8_t *path, size path_len, filestat *buf);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `flags`: whether a symbolic link at the end is followed.
/// - `path`, `path_len`: the name, in UTF-8, and its length in bytes.
/// - `buf`: gets the attributes.
///
/// **Errors:**
/// - INVAL: `flags` has an unknown bit.
/// - BADF: `fd` is not open.
/// - NOTDIR: `fd` is not a directory.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_filestat_get>
pub fn path_filestat_get<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _flags: Lookupflags,
    _path: Ptr<u8>,
    _path_len: Size,
    _buf: Ptr<Filestat>,
) -> Result<(), Error> {
    match directory(&ctx.fds, fd)? {}
}

/// Sets the times of a file or directory.
///
/// ```c
/// errno path_filestat_set_times(fd fd, lookupflags flags, const uint8_t *path, size path_len,
///                               timestamp atim, timestamp mtim, fstflags fst_flags);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `flags`: whether a symbolic link at the end is followed.
/// - `path`, `path_len`: the name, in UTF-8, and its length in bytes.
/// - `atim`, `mtim`: times of access and of change, in nanoseconds since 1970.
/// - `fst_flags`: which of them to set, and whether to the value given or to now.
///
/// **Errors:**
/// - INVAL: `flags` or `fst_flags` has an unknown bit, or `fst_flags` asks for both the value and now.
/// - BADF: `fd` is not open.
/// - NOTDIR: `fd` is not a directory.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_filestat_set_times>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn path_filestat_set_times<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _flags: Lookupflags,
    _path: Ptr<u8>,
    _path_len: Size,
    _atim: Timestamp,
    _mtim: Timestamp,
    fst_flags: Fstflags,
) -> Result<(), Error> {
    check_times(fst_flags)?;
    match directory(&ctx.fds, fd)? {}
}

/// Creates a hard link.
///
/// ```c
/// errno path_link(fd old_fd, lookupflags old_flags, const uint8_t *old_path, size old_path_len,
///                 fd new_fd, const uint8_t *new_path, size new_path_len);
/// ```
///
/// - `old_fd`: the directory that `old_path` starts from.
/// - `old_flags`: whether a symbolic link at the end of `old_path` is followed.
/// - `old_path`, `old_path_len`: the name of the file, in UTF-8, and its length in bytes.
/// - `new_fd`: the directory that `new_path` starts from.
/// - `new_path`, `new_path_len`: the name of the link, likewise.
///
/// **Errors:**
/// - INVAL: `old_flags` has an unknown bit.
/// - BADF: `old_fd` or `new_fd` is not open.
/// - NOTDIR: `old_fd` or `new_fd` is not a directory.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_link>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn path_link<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    old_fd: Fd,
    _old_flags: Lookupflags,
    _old_path: Ptr<u8>,
    _old_path_len: Size,
    new_fd: Fd,
    _new_path: Ptr<u8>,
    _new_path_len: Size,
) -> Result<(), Error> {
    ctx.fds.get(new_fd)?;
    match directory(&ctx.fds, old_fd)? {}
}

/// Opens a file or directory.
///
/// ```c
/// errno path_open(fd fd, lookupflags dirflags, const uint8_t *path, size path_len, oflags oflags,
///                 rights fs_rights_base, rights fs_rights_inheriting, fdflags fdflags, fd *opened_fd);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `dirflags`: whether a symbolic link at the end is followed.
/// - `path`, `path_len`: the name, in UTF-8, and its length in bytes.
/// - `oflags`: how to open.
/// - `fs_rights_base`, `fs_rights_inheriting`: the rights wanted.
/// - `fdflags`: flags of the new descriptor.
/// - `opened_fd`: gets the new descriptor.
///
/// **Errors:**
/// - INVAL: `dirflags`, `oflags`, `fdflags` or a set of rights has an unknown bit.
/// - BADF: `fd` is not open.
/// - NOTDIR: `fd` is not a directory.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_open>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn path_open<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _dirflags: Lookupflags,
    _path: Ptr<u8>,
    _path_len: Size,
    _oflags: Oflags,
    _fs_rights_base: Rights,
    _fs_rights_inheriting: Rights,
    _fdflags: Fdflags,
    _opened_fd: Ptr<Fd>,
) -> Result<(), Error> {
    match directory(&ctx.fds, fd)? {}
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
/// - `buf`, `buf_len`: the buffer for what it contains, and its length in bytes.
/// - `bufused`: gets the number of bytes stored.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - NOTDIR: `fd` is not a directory.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_readlink>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn path_readlink<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _path: Ptr<u8>,
    _path_len: Size,
    _buf: Ptr<u8>,
    _buf_len: Size,
    _bufused: Ptr<Size>,
) -> Result<(), Error> {
    match directory(&ctx.fds, fd)? {}
}

/// Removes an empty directory.
///
/// ```c
/// errno path_remove_directory(fd fd, const uint8_t *path, size path_len);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `path`, `path_len`: the name, in UTF-8, and its length in bytes.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - NOTDIR: `fd` is not a directory.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_remove_directory>
pub fn path_remove_directory<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _path: Ptr<u8>,
    _path_len: Size,
) -> Result<(), Error> {
    match directory(&ctx.fds, fd)? {}
}

/// Renames a file or directory.
///
/// ```c
/// errno path_rename(fd fd, const uint8_t *old_path, size old_path_len,
///                   fd new_fd, const uint8_t *new_path, size new_path_len);
/// ```
///
/// - `fd`: the directory that `old_path` starts from.
/// - `old_path`, `old_path_len`: the old name, in UTF-8, and its length in bytes.
/// - `new_fd`: the directory that `new_path` starts from.
/// - `new_path`, `new_path_len`: the new name, likewise.
///
/// **Errors:**
/// - BADF: `fd` or `new_fd` is not open.
/// - NOTDIR: `fd` or `new_fd` is not a directory.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_rename>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn path_rename<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _old_path: Ptr<u8>,
    _old_path_len: Size,
    new_fd: Fd,
    _new_path: Ptr<u8>,
    _new_path_len: Size,
) -> Result<(), Error> {
    ctx.fds.get(new_fd)?;
    match directory(&ctx.fds, fd)? {}
}

/// Creates a symbolic link.
///
/// ```c
/// errno path_symlink(const uint8_t *old_path, size old_path_len, fd fd,
///                    const uint8_t *new_path, size new_path_len);
/// ```
///
/// - `old_path`, `old_path_len`: what the link contains, in UTF-8, and its length in bytes.
/// - `fd`: the directory that `new_path` starts from.
/// - `new_path`, `new_path_len`: the name of the link, likewise.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - NOTDIR: `fd` is not a directory.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_symlink>
pub fn path_symlink<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    _old_path: Ptr<u8>,
    _old_path_len: Size,
    fd: Fd,
    _new_path: Ptr<u8>,
    _new_path_len: Size,
) -> Result<(), Error> {
    match directory(&ctx.fds, fd)? {}
}

/// Removes a file.
///
/// ```c
/// errno path_unlink_file(fd fd, const uint8_t *path, size path_len);
/// ```
///
/// - `fd`: the directory that `path` starts from.
/// - `path`, `path_len`: the name, in UTF-8, and its length in bytes.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - NOTDIR: `fd` is not a directory.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_unlink_file>
pub fn path_unlink_file<S>(
    ctx: &mut WasiCtx<S>,
    _mem: &mut GuestMemory<'_>,
    fd: Fd,
    _path: Ptr<u8>,
    _path_len: Size,
) -> Result<(), Error> {
    match directory(&ctx.fds, fd)? {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::testbed::{Bed, FDS};

    #[test]
    fn path_calls_on_what_is_not_a_directory() {
        let follow = Lookupflags::SYMLINK_FOLLOW;
        let none = Rights::NONE;
        for (fd, errno) in FDS.map(|fd| (fd, if fd < 3 { Errno::NOTDIR } else { Errno::BADF })) {
            let mut bed = Bed::new();
            let (p, q) = (Ptr::new(8), Ptr::new(u32::MAX));
            bed.errno(|c, m| path_create_directory(c, m, fd, p, 1), errno);
            bed.errno(
                |c, m| path_filestat_get(c, m, fd, follow, q, 1, Ptr::new(3)),
                errno,
            );
            bed.errno(
                |c, m| path_filestat_set_times(c, m, fd, follow, p, 1, 0, 0, Fstflags::ATIM),
                errno,
            );
            bed.errno(|c, m| path_link(c, m, fd, follow, p, 1, fd, p, 1), errno);
            bed.errno(
                |c, m| {
                    path_open(
                        c,
                        m,
                        fd,
                        follow,
                        q,
                        1,
                        Oflags::CREAT,
                        none,
                        none,
                        Fdflags::NONE,
                        Ptr::new(3),
                    )
                },
                errno,
            );
            bed.errno(|c, m| path_readlink(c, m, fd, p, 1, p, 1, Ptr::new(3)), errno);
            bed.errno(|c, m| path_remove_directory(c, m, fd, p, 1), errno);
            bed.errno(|c, m| path_rename(c, m, fd, p, 1, fd, p, 1), errno);
            bed.errno(|c, m| path_symlink(c, m, p, 1, fd, p, 1), errno);
            bed.errno(|c, m| path_unlink_file(c, m, fd, p, 1), errno);
        }
    }

    #[test]
    fn calls_with_two_directories_need_both() {
        let p = Ptr::new(8);
        for (old, new, errno) in [(0, 99, Errno::BADF), (99, 0, Errno::BADF), (0, 1, Errno::NOTDIR)] {
            Bed::new().errno(
                |c, m| path_link(c, m, old, Lookupflags::NONE, p, 1, new, p, 1),
                errno,
            );
            Bed::new().errno(|c, m| path_rename(c, m, old, p, 1, new, p, 1), errno);
        }
    }

    #[test]
    fn times_that_contradict_themselves_are_inval_before_all_else() {
        for flags in [
            Fstflags::ATIM.union(Fstflags::ATIM_NOW),
            Fstflags::MTIM.union(Fstflags::MTIM_NOW),
        ] {
            let p = Ptr::new(8);
            Bed::new().errno(
                |c, m| path_filestat_set_times(c, m, 99, Lookupflags::NONE, p, 1, 0, 0, flags),
                Errno::INVAL,
            );
        }
    }
}
