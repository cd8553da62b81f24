//! `path_open`: descriptors of files and directories.
//!
//! Layer: calls.

use super::Base;
use crate::{
    abi::{
        Errno,
        types::{Fd, Fdflags, Filetype, Lookupflags, Oflags, Rights, Size},
    },
    context::WasiCtx,
    error::Error,
    fd_table::{Descriptor, Entry, OpenDirectory, OpenFile},
    fs::{Access, Found, Node, Now},
    memory::{GuestMemory, Ptr},
    mounts::{MountId, Mounts},
    path::{FollowMode, GuestPath, Resolved},
    system::{System, realtime},
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
    ctx: &mut WasiCtx<S>,
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
    let how = How::new(oflags, fs_rights_base);
    let entry = ctx.fds.get(fd)?;
    if matches!(entry.descriptor, Descriptor::File(_)) {
        return Err(Errno::NOTDIR.into());
    }
    let base = Base::new(&ctx.fds, fd, how.rights())?;
    if !Fdflags::APPEND.union(Fdflags::NONBLOCK).contains(fdflags) {
        return Err(Errno::NOTSUP.into());
    }
    // As in wasmtime; POSIX leaves `excl` without `creat` undefined, and it means nothing without `directory`.
    if how.directory && (how.creat || how.trunc || oflags.contains(Oflags::EXCL)) {
        return Err(Errno::INVAL.into());
    }
    let inherited = entry.rights_inheriting();
    if !inherited.contains(fs_rights_base.union(fs_rights_inheriting)) {
        return Err(Errno::NOTCAPABLE.into());
    }
    mem.check(opened_fd)?;
    let path = super::guest_path(mem, path, path_len)?;
    let number = ctx.fds.vacancy()?;

    let place = base.walk(&mut ctx.mounts, path, how.follow(dirflags, path))?;
    let system = &mut ctx.system;
    let descriptor = how.open(&mut ctx.mounts, base.mount, &place, &mut || realtime(system))?;
    let flags = match descriptor {
        Descriptor::Directory(_) => Fdflags::NONE,
        _ => fdflags,
    };
    ctx.fds.insert(Entry::opened(descriptor, flags, inherited));
    mem.write(opened_fd, number)
}

/// How to open.
struct How {
    creat: bool,
    excl: bool,
    trunc: bool,
    directory: bool,
    access: Access,
}

impl How {
    fn new(oflags: Oflags, rights: Rights) -> Self {
        let [creat, excl, trunc, directory] =
            [Oflags::CREAT, Oflags::EXCL, Oflags::TRUNC, Oflags::DIRECTORY].map(|flag| oflags.contains(flag));
        let [read, write] = [Rights::FD_READ, Rights::FD_WRITE].map(|right| rights.contains(right));
        Self {
            creat,
            excl: creat && excl,
            trunc,
            directory,
            access: Access {
                read: read || !write,
                write: write || (!read && (creat || trunc)),
            },
        }
    }

    /// The rights that the directory must have.
    fn rights(&self) -> Rights {
        let mut rights = Rights::PATH_OPEN;
        if self.creat {
            rights = rights.union(Rights::PATH_CREATE_FILE);
        }
        if self.trunc {
            rights = rights.union(Rights::PATH_FILESTAT_SET_SIZE);
        }
        rights
    }

    /// What to do about a symbolic link at the end of `path`. What is to be created is not looked for behind one
    /// if it must not be there, nor if slashes follow, since that fails whatever is there.
    fn follow(&self, dirflags: Lookupflags, path: GuestPath<'_>) -> FollowMode {
        match FollowMode::of(dirflags) {
            _ if self.excl || (self.creat && path.ends_in_slash()) => FollowMode::Never,
            mode => mode,
        }
    }

    fn open(
        &self,
        mounts: &mut Mounts,
        mount: MountId,
        place: &Resolved,
        now: Now<'_>,
    ) -> Result<Descriptor, Errno> {
        let found = match place {
            Resolved::Named { slash: true, .. } if self.creat => return Err(Errno::ISDIR),
            Resolved::Named {
                found: None,
                dir,
                name,
                ..
            } if self.creat => {
                let fs = mounts.writable(mount)?;
                match fs.create(*dir, name.as_bytes(), now) {
                    Ok(node) => return self.open_file(mounts, mount, node, now),
                    // Somebody else was quicker, on a host's file system: then it is there.
                    Err(Errno::EXIST) if !self.excl => fs.lookup(*dir, name.as_bytes())?,
                    Err(errno) => return Err(errno),
                }
            }
            place => place.existing()?,
        };
        if self.excl {
            return Err(Errno::EXIST);
        }
        match found.filetype {
            Filetype::SymbolicLink => Err(Errno::LOOP),
            Filetype::Directory => self.open_directory(mounts, mount, &found),
            _ if self.directory => Err(Errno::NOTDIR),
            Filetype::RegularFile => self.open_file(mounts, mount, found.node, now),
            // A device or a socket in a file system: not something that preview1 opens.
            _ => Err(Errno::NOTSUP),
        }
    }

    fn open_directory(
        &self,
        mounts: &mut Mounts,
        mount: MountId,
        found: &Found,
    ) -> Result<Descriptor, Errno> {
        if self.creat || self.trunc || self.access.write {
            return Err(Errno::ISDIR);
        }
        let handle = mounts.get(mount)?.open(found.node, Access::READ)?;
        Ok(Descriptor::Directory(OpenDirectory {
            mount,
            node: found.node,
            handle,
            preopen: None,
        }))
    }

    fn open_file(
        &self,
        mounts: &mut Mounts,
        mount: MountId,
        node: Node,
        now: Now<'_>,
    ) -> Result<Descriptor, Errno> {
        let fs = if self.access.write || self.trunc {
            mounts.writable(mount)?
        } else {
            mounts.get(mount)?
        };
        let handle = fs.open(node, self.access)?;
        if self.trunc
            && let Err(errno) = fs.set_size(handle, 0, now)
        {
            fs.close(handle);
            return Err(errno);
        }
        Ok(Descriptor::File(OpenFile {
            mount,
            node,
            handle,
            access: self.access,
            position: 0,
        }))
    }
}
