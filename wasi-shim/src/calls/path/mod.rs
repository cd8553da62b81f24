//! The `path_*` calls: what works on a path beneath a directory.
//!
//! Layer: calls. `crate::path` resolves; these decide what a call does with what it finds. [`open`] opens,
//! [`attributes`] reads and sets attributes, [`entries`] makes and removes names, [`links`] makes and reads
//! links.
//!
//! All of them have these errors in common, by which their own documentation means "as for every path":
//!
//! - BADF: the descriptor is not open, or not a directory (wasmtime's choice; POSIX says NOTDIR).
//! - NOTCAPABLE: the descriptor lacks the right for the call.
//! - ILSEQ: the path is no UTF-8. INVAL: it contains a zero byte. NOENT: it is empty. NAMETOOLONG: it has 4,096
//!   bytes or more, or a component more than 255.
//! - PERM: it is absolute, or leads out of the directory: by `..`, or by a symbolic link, absolute or not.
//!   Whether there is something is not looked at.
//! - NOENT: a directory on the way is not there. NOTDIR: it is none. LOOP: more than 40 symbolic links.
//! - NOTDIR: slashes come after what is no directory.
//! - ROFS: the file system cannot be changed, and the call would. NOSPC: it is full. IO and others: what it says.
//!
//! And these traps: a path out of bounds.

pub mod attributes;
pub mod entries;
pub mod links;
pub mod open;

pub use self::{attributes::*, entries::*, links::*, open::*};
use crate::{
    abi::{
        Errno,
        types::{Fd, Rights, Size},
    },
    error::Error,
    fd_table::{Descriptor, FdTable},
    fs::{FileSystem, Node},
    memory::{GuestMemory, Ptr},
    mounts::{MountId, Mounts},
    path::{FollowMode, GuestPath, Resolved, resolve},
};

/// The directory that a path starts from.
#[derive(Clone, Copy)]
struct Base {
    mount: MountId,
    node: Node,
}

impl Base {
    /// The directory `fd`, which must have `rights`.
    fn new(fds: &FdTable, fd: Fd, rights: Rights) -> Result<Self, Errno> {
        let entry = fds.get(fd)?;
        let Descriptor::Directory(directory) = &entry.descriptor else {
            return Err(Errno::BADF);
        };
        entry.require(rights)?;
        Ok(Self {
            mount: directory.mount,
            node: directory.node,
        })
    }

    /// Walks a path in a call that has one.
    fn walk(self, mounts: &mut Mounts, path: GuestPath<'_>, mode: FollowMode) -> Result<Resolved, Errno> {
        let fs = mounts.get(self.mount)?;
        fs.begin_call();
        self.walk_further(fs, path, mode)
    }

    /// Walks a second path in the same call.
    fn walk_further(
        self,
        fs: &mut dyn FileSystem,
        path: GuestPath<'_>,
        mode: FollowMode,
    ) -> Result<Resolved, Errno> {
        resolve(fs, self.node, path, mode)
    }
}

/// The bytes of a path in guest memory; trap if they are out of bounds.
fn bytes<'m>(mem: &'m GuestMemory<'_>, path: Ptr<u8>, len: Size) -> Result<&'m [u8], Error> {
    mem.bytes(path, len)
}

/// A path in guest memory.
fn guest_path<'m>(mem: &'m GuestMemory<'_>, path: Ptr<u8>, len: Size) -> Result<GuestPath<'m>, Error> {
    Ok(GuestPath::new(bytes(mem, path, len)?)?)
}

#[cfg(test)]
mod tests;
