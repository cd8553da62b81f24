//! The `path_*` calls: what works on a path beneath a directory.
//!
//! Layer: calls. `wasi_core::tree` acts; these check, decode and encode. [`open`] opens,
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

use wasi_core::{
    descriptor::Base,
    path::{FollowMode, GuestPath},
};

pub use self::{attributes::*, entries::*, links::*, open::*};
use crate::{
    abi::{
        Errno,
        types::{Fd, Lookupflags, Rights, Size},
    },
    error::Error,
    fd_table::FdTable,
    memory::{GuestMemory, Ptr},
};

/// The directory `fd`, which must have `rights`.
fn base(fds: &FdTable, fd: Fd, rights: Rights) -> Result<Base, Errno> {
    let entry = fds.get(fd)?;
    let directory = entry.descriptor.directory()?;
    entry.require(rights)?;
    Ok(directory.base())
}

/// A path in guest memory; trap if it is out of bounds.
fn guest_path<'m>(mem: &'m GuestMemory<'_>, path: Ptr<u8>, len: Size) -> Result<GuestPath<'m>, Error> {
    Ok(GuestPath::new(mem.bytes(path, len)?)?)
}

/// What `flags` say of a symbolic link at the end of a path.
const fn follow_mode(flags: Lookupflags) -> FollowMode {
    if flags.contains(Lookupflags::SYMLINK_FOLLOW) {
        FollowMode::Follow
    } else {
        FollowMode::FollowBeforeSlash
    }
}

#[cfg(test)]
mod tests;
