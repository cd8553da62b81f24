//! Operations on what a path names, beneath an open directory.
//!
//! Layer: core. `path` resolves; these decide what an operation does with what it finds. A path comes as a
//! [`GuestPath`], so it has been checked. All of them have these errors in common, by which their own documentation
//! means "as for every path":
//!
//! - PERM: the path is absolute, or leads out of the directory: by `..`, or by a symbolic link, absolute or not.
//!   Whether there is something is not looked at.
//! - NOENT: a directory on the way is not there. NOTDIR: it is none. LOOP: more than 40 symbolic links.
//!   NAMETOOLONG: a component has more than 255 bytes.
//! - NOTDIR: slashes come after what is no directory.
//! - ROFS: the file system cannot be changed, and the operation would. NOSPC: it is full. IO and others: what it says.

use crate::{
    Errno,
    context::WasiCtx,
    descriptor::{Base, Descriptor, OpenDirectory, OpenFile},
    file::{Attributes, SetTimes},
    fs::{Access, Found, Node, Now},
    mounts::{MountId, Mounts},
    path::{FollowMode, GuestPath, PATH_MAX, Resolved, resolve},
    system::{System, wall_clock},
    types::Filetype,
};

/// Where the first path of an operation with two leads.
#[derive(Clone, Copy)]
pub struct Located {
    mount: MountId,
    at: Resolved,
}

impl Located {
    /// What is there.
    fn existing(&self) -> Result<Found, Errno> {
        self.at.existing()
    }
}

impl<S> WasiCtx<S> {
    /// Where `path` leads: for an operation with two paths, the first of them.
    ///
    /// # Errors
    /// As for every path.
    pub fn locate(&mut self, base: Base, path: GuestPath<'_>, mode: FollowMode) -> Result<Located, Errno> {
        self.mounts.get(base.mount)?.begin_call();
        self.locate_also(base, path, mode)
    }

    /// Where the second path leads.
    fn locate_also(&mut self, base: Base, path: GuestPath<'_>, mode: FollowMode) -> Result<Located, Errno> {
        let fs = self.mounts.get(base.mount)?;
        Ok(Located {
            mount: base.mount,
            at: resolve(fs, base.node, path, mode)?,
        })
    }

    /// Attributes of what a path names.
    ///
    /// # Errors
    /// As for every path; [`Errno::NOENT`] if nothing is there.
    pub fn attributes_at(
        &mut self,
        base: Base,
        path: GuestPath<'_>,
        mode: FollowMode,
    ) -> Result<Attributes, Errno> {
        let found = self.locate(base, path, mode)?.existing()?;
        self.node_attributes(base.mount, found.node, found.stat)
    }

    /// Reads the target of a symbolic link into `buf`.
    ///
    /// # Errors
    /// As for every path; [`Errno::NOENT`] if nothing is there, [`Errno::INVAL`] if it is no symbolic link,
    /// [`Errno::PERM`] if its target is absolute.
    pub fn read_link<'b>(
        &mut self,
        base: Base,
        path: GuestPath<'_>,
        buf: &'b mut [u8; PATH_MAX],
    ) -> Result<&'b [u8], Errno> {
        let found = self
            .locate(base, path, FollowMode::FollowBeforeSlash)?
            .existing()?;
        let len = self.mounts.get(base.mount)?.read_link(found.node, buf)?;
        let target = buf.get(..len).ok_or(Errno::NAMETOOLONG)?;
        if target.first() == Some(&b'/') {
            return Err(Errno::PERM);
        }
        Ok(target)
    }
}

impl<S: System> WasiCtx<S> {
    /// Sets the times of what a path names.
    ///
    /// # Errors
    /// As for every path; [`Errno::NOENT`] if nothing is there.
    pub fn set_times_at(
        &mut self,
        base: Base,
        path: GuestPath<'_>,
        mode: FollowMode,
        times: SetTimes,
    ) -> Result<(), Errno> {
        let found = self.locate(base, path, mode)?.existing()?;
        self.set_node_times(base.mount, found.node, times)
    }

    /// Creates a directory. Slashes may follow its name.
    ///
    /// # Errors
    /// As for every path; [`Errno::EXIST`] if something is there, be it a symbolic link that leads nowhere;
    /// [`Errno::MLINK`] if the directory above can hold no more of them.
    pub fn create_directory(&mut self, base: Base, path: GuestPath<'_>) -> Result<(), Errno> {
        match self.locate(base, path, FollowMode::Never)?.at {
            Resolved::Named {
                dir,
                name,
                found: None,
                ..
            } => self.change(base.mount, |fs, now| fs.create_dir(dir, name.as_bytes(), now)),
            Resolved::Passed(_) | Resolved::Named { .. } => Err(Errno::EXIST),
        }
    }

    /// Removes an empty directory. Slashes may follow its name.
    ///
    /// # Errors
    /// As for every path; [`Errno::NOENT`] if nothing is there; [`Errno::NOTDIR`] if it is something else, be it a
    /// symbolic link to a directory; [`Errno::NOTEMPTY`]; [`Errno::INVAL`] if the path ends in `.` or `..`.
    pub fn remove_directory(&mut self, base: Base, path: GuestPath<'_>) -> Result<(), Errno> {
        let located = self.locate(base, path, FollowMode::Never)?;
        let Resolved::Named { dir, name, .. } = &located.at else {
            return Err(Errno::INVAL);
        };
        if located.existing()?.filetype != Filetype::Directory {
            return Err(Errno::NOTDIR);
        }
        self.change(base.mount, |fs, now| fs.remove_dir(*dir, name.as_bytes(), now))
    }

    /// Removes a name of a file; of a symbolic link, its own. A file that is open lives on until it is closed.
    ///
    /// # Errors
    /// As for every path; [`Errno::NOENT`] if nothing is there, [`Errno::ISDIR`] if a directory is.
    pub fn unlink_file(&mut self, base: Base, path: GuestPath<'_>) -> Result<(), Errno> {
        let located = self.locate(base, path, FollowMode::FollowBeforeSlash)?;
        let Resolved::Named { dir, name, .. } = &located.at else {
            return Err(Errno::ISDIR);
        };
        if located.existing()?.filetype == Filetype::Directory {
            return Err(Errno::ISDIR);
        }
        self.change(base.mount, |fs, now| fs.unlink(*dir, name.as_bytes(), now))
    }

    /// Renames what is at `from`, which was located without following a link at its end, replacing what has the new
    /// name. If both name the same file or directory, nothing happens.
    ///
    /// # Errors
    /// As for every path; [`Errno::XDEV`] if the directories are in different file systems; [`Errno::BUSY`] if a path
    /// ends in `.` or `..`; [`Errno::NOENT`] if nothing is at `from`; [`Errno::NOTDIR`] if slashes come after a path
    /// of what is no directory, or only what is at `from` is one; [`Errno::ISDIR`] if only what is at `path` is one;
    /// [`Errno::NOTEMPTY`] if that has entries; [`Errno::INVAL`] if `path` is beneath the directory at `from`.
    pub fn rename(&mut self, from: &Located, base: Base, path: GuestPath<'_>) -> Result<(), Errno> {
        if from.mount != base.mount {
            return Err(Errno::XDEV);
        }
        let to = self.locate_also(base, path, FollowMode::Never)?;
        let (
            Resolved::Named { dir, name, .. },
            Resolved::Named {
                dir: new_dir,
                name: new_name,
                slash: new_slash,
                ..
            },
        ) = (&from.at, &to.at)
        else {
            return Err(Errno::BUSY);
        };
        let is_dir = from.existing()?.filetype == Filetype::Directory;
        if *new_slash && !is_dir {
            return Err(Errno::NOTDIR);
        }
        self.change(base.mount, |fs, now| {
            fs.rename(*dir, name.as_bytes(), *new_dir, new_name.as_bytes(), now)
        })
    }

    /// Gives what is at `from` another name.
    ///
    /// # Errors
    /// As for every path; [`Errno::XDEV`] if the directories are in different file systems; [`Errno::NOENT`] if nothing
    /// is at `from`, or slashes come after `path`, where nothing is; [`Errno::EXIST`] if something is at `path`;
    /// [`Errno::PERM`] if a directory is at `from`; [`Errno::MLINK`] if the file can have no more names.
    pub fn hard_link(&mut self, from: &Located, base: Base, path: GuestPath<'_>) -> Result<(), Errno> {
        if from.mount != base.mount {
            return Err(Errno::XDEV);
        }
        let to = self.locate_also(base, path, FollowMode::FollowBeforeSlash)?;
        let found = from.existing()?;
        let (dir, name) = vacant(&to)?;
        if found.filetype == Filetype::Directory {
            return Err(Errno::PERM);
        }
        self.change(base.mount, |fs, now| fs.hard_link(found.node, dir, name, now))
    }

    /// Creates a symbolic link. Nothing needs to be where it leads: that is looked at when it is followed.
    ///
    /// # Errors
    /// As for every path; [`Errno::PERM`] if `target` is absolute; [`Errno::EXIST`] if something is at `path`;
    /// [`Errno::NOENT`] if slashes come after it, and nothing is there.
    pub fn create_link(
        &mut self,
        target: GuestPath<'_>,
        base: Base,
        path: GuestPath<'_>,
    ) -> Result<(), Errno> {
        if target.is_absolute() {
            return Err(Errno::PERM);
        }
        let located = self.locate(base, path, FollowMode::FollowBeforeSlash)?;
        let (dir, name) = vacant(&located)?;
        self.change(base.mount, |fs, now| {
            fs.create_link(dir, name, target.as_bytes(), now)
        })
    }

    /// Opens a file or directory.
    ///
    /// # Errors
    /// As for every path, and
    /// - [`Errno::NOENT`]: nothing is there, without `create`. [`Errno::EXIST`]: something is, with `exclusive`.
    /// - [`Errno::LOOP`]: a symbolic link is there and not to be followed.
    /// - [`Errno::ISDIR`]: a directory is there, and is to be written, truncated or created; or slashes come after what
    ///   is to be created.
    /// - [`Errno::NOTDIR`]: no directory is there, with `directory`.
    /// - [`Errno::ROFS`]: with `create`, `truncate` or for writing.
    /// - [`Errno::NOTSUP`]: a device or a socket is there.
    pub fn open(
        &mut self,
        base: Base,
        path: GuestPath<'_>,
        mode: FollowMode,
        how: &OpenHow,
    ) -> Result<Descriptor, Errno> {
        let at = self.locate(base, path, how.mode(mode, path))?.at;
        let now = &mut wall_clock(&mut self.system);
        how.open(&mut self.mounts, base.mount, &at, now)
    }
}

/// The name that a link gets, which nothing has yet.
fn vacant(located: &Located) -> Result<(Node, &[u8]), Errno> {
    match &located.at {
        Resolved::Named {
            dir,
            name,
            found: None,
            slash: false,
        } => Ok((*dir, name.as_bytes())),
        Resolved::Named { found: None, .. } => Err(Errno::NOENT),
        resolved => Err(resolved.existing().err().unwrap_or(Errno::EXIST)),
    }
}

/// How to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHow {
    /// Make a regular file where there is nothing.
    pub create: bool,
    /// There must be nothing; with `create` only.
    pub exclusive: bool,
    /// Empty the file.
    pub truncate: bool,
    /// There must be a directory.
    pub directory: bool,
    /// What to open for.
    pub access: Access,
}

impl OpenHow {
    /// What to do about a symbolic link at the end of `path`. What is to be created is not looked for behind one
    /// if it must not be there, nor if slashes follow, since that fails whatever is there.
    fn mode(&self, mode: FollowMode, path: GuestPath<'_>) -> FollowMode {
        if self.exclusive || (self.create && path.ends_in_slash()) {
            FollowMode::Never
        } else {
            mode
        }
    }

    fn open(
        &self,
        mounts: &mut Mounts,
        mount: MountId,
        resolved: &Resolved,
        now: Now<'_>,
    ) -> Result<Descriptor, Errno> {
        let found = match resolved {
            Resolved::Named { slash: true, .. } if self.create => return Err(Errno::ISDIR),
            Resolved::Named {
                found: None,
                dir,
                name,
                ..
            } if self.create => {
                let fs = mounts.writable(mount)?;
                match fs.create(*dir, name.as_bytes(), now) {
                    Ok(node) => return self.open_file(mounts, mount, node, now),
                    // Somebody else was quicker, on a host's file system: then it is there.
                    Err(Errno::EXIST) if !self.exclusive => fs.lookup(*dir, name.as_bytes())?,
                    Err(errno) => return Err(errno),
                }
            }
            resolved => resolved.existing()?,
        };
        if self.exclusive {
            return Err(Errno::EXIST);
        }
        match found.filetype {
            Filetype::SymbolicLink => Err(Errno::LOOP),
            Filetype::Directory => self.open_directory(mounts, mount, &found),
            _ if self.directory => Err(Errno::NOTDIR),
            Filetype::RegularFile => self.open_file(mounts, mount, found.node, now),
            // A device or a socket in a file system: not something that WASI opens.
            _ => Err(Errno::NOTSUP),
        }
    }

    fn open_directory(
        &self,
        mounts: &mut Mounts,
        mount: MountId,
        found: &Found,
    ) -> Result<Descriptor, Errno> {
        if self.create || self.truncate || self.access.write {
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
        let fs = if self.access.write || self.truncate {
            mounts.writable(mount)?
        } else {
            mounts.get(mount)?
        };
        let handle = fs.open(node, self.access)?;
        if self.truncate
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
