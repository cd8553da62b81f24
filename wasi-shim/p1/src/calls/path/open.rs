//! `path_open`: descriptors of files and directories.
//!
//! Layer: calls.

use wasi_core::{System, fs::Access, tree::OpenHow};

use crate::{
    abi::{
        Errno,
        types::{Fd, Fdflags, Lookupflags, Oflags, Rights, Size},
    },
    context::WasiP1Ctx,
    error::Error,
    fd_table::Entry,
    memory::{GuestMemory, Ptr},
};

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
/// - `oflags`: how to open: `creat` makes a regular file where there is nothing, with `excl` there must be
///   nothing; `directory` wants a directory; `trunc` empties a file.
/// - `fs_rights_base`: what to open for: `fd_read`, `fd_write` or both; with neither, reading, and writing too if
///   `oflags` has `creat` or `trunc`.
/// - `fs_rights_inheriting`: checked, and not used otherwise.
/// - `fdflags`: flags of the new descriptor; without meaning for a directory.
/// - `opened_fd`: gets the new descriptor, the lowest that is free. It has all rights that mean something for
///   what it names and for what it was opened for, as far as `fd` passes them on.
///
/// **Errors:** as for every path (see [the family](super)), but NOTDIR if `fd` is a file, and
/// - INVAL: `dirflags`, `oflags`, `fdflags` or a set of rights has an unknown bit; `directory` with `creat`,
///   `excl` or `trunc`.
/// - NOTSUP: `dsync`, `rsync` or `sync`, as in wasmtime.
/// - NOTCAPABLE: `fd` lacks the right `path_open`, with `creat` `path_create_file`, with `trunc`
///   `path_filestat_set_size`; or rights are asked for that `fd` does not pass on.
/// - NOENT: nothing is there, without `creat`. EXIST: something is, with `excl`.
/// - LOOP: a symbolic link is there and not to be followed.
/// - ISDIR: a directory is there, and is to be written, truncated or created; or slashes come after what is to be
///   created.
/// - NOTDIR: no directory is there, with `directory`.
/// - ROFS: the file system cannot be changed, with `creat`, `trunc` or for writing.
/// - MFILE: too many descriptors are open.
///
/// **Traps:** `path` or `opened_fd` out of bounds; `opened_fd` not a multiple of 4.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#path_open>
#[expect(clippy::too_many_arguments, reason = "the specification's")]
pub fn path_open<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    dirflags: Lookupflags,
    path: Ptr<u8>,
    path_len: Size,
    oflags: Oflags,
    fs_rights_base: Rights,
    fs_rights_inheriting: Rights,
    fdflags: Fdflags,
    opened_fd: Ptr<Fd>,
) -> Result<(), Error> {
    let how = how(oflags, fs_rights_base);
    let entry = ctx.fds.get(fd)?;
    if entry.descriptor.file().is_ok() {
        return Err(Errno::NOTDIR.into());
    }
    let base = super::base(&ctx.fds, fd, needed(&how))?;
    if !Fdflags::APPEND.union(Fdflags::NONBLOCK).contains(fdflags) {
        return Err(Errno::NOTSUP.into());
    }
    // As in wasmtime; POSIX leaves `excl` without `creat` undefined, and it means nothing without `directory`.
    if how.directory && (how.create || how.truncate || oflags.contains(Oflags::EXCL)) {
        return Err(Errno::INVAL.into());
    }
    let inherited = entry.rights_inheriting();
    if !inherited.contains(fs_rights_base.union(fs_rights_inheriting)) {
        return Err(Errno::NOTCAPABLE.into());
    }
    mem.check(opened_fd)?;
    let path = super::guest_path(mem, path, path_len)?;
    let number = ctx.vacancy()?;

    let descriptor = ctx.core.open(base, path, super::follow_mode(dirflags), &how)?;
    let flags = if descriptor.directory().is_ok() {
        Fdflags::NONE
    } else {
        fdflags
    };
    ctx.fds.insert(Entry::opened(descriptor, flags, inherited));
    mem.write(opened_fd, number)
}

/// How to open.
fn how(oflags: Oflags, rights: Rights) -> OpenHow {
    let [create, exclusive, truncate, directory] =
        [Oflags::CREAT, Oflags::EXCL, Oflags::TRUNC, Oflags::DIRECTORY].map(|flag| oflags.contains(flag));
    let [read, write] = [Rights::FD_READ, Rights::FD_WRITE].map(|right| rights.contains(right));
    OpenHow {
        create,
        exclusive: create && exclusive,
        truncate,
        directory,
        access: Access {
            read: read || !write,
            write: write || (!read && (create || truncate)),
        },
    }
}

/// The rights that the directory must have.
fn needed(how: &OpenHow) -> Rights {
    let mut rights = Rights::PATH_OPEN;
    if how.create {
        rights = rights.union(Rights::PATH_CREATE_FILE);
    }
    if how.truncate {
        rights = rights.union(Rights::PATH_FILESTAT_SET_SIZE);
    }
    rights
}
