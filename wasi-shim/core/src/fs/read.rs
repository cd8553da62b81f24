//! A file of a file system, read whole: for the embedder, before there is a guest.
//!
//! Layer: file systems.

use alloc::vec::Vec;

use super::{Access, FileSystem};
use crate::{
    Errno,
    path::{FollowMode, GuestPath, resolve},
    types::Filetype,
};

/// Reads the regular file at `path`, which starts from the root of `fs` and is held to it as a guest's is. Symbolic
/// links are followed.
///
/// # Errors
/// What is wrong with the path, as for a guest; [`Errno::ISDIR`], and [`Errno::NOTSUP`] for what is neither file nor
/// directory; [`Errno::NOMEM`] if its bytes do not fit into memory.
pub fn read_file(fs: &mut dyn FileSystem, path: &[u8]) -> Result<Vec<u8>, Errno> {
    let path = GuestPath::new(path)?;
    fs.begin_call();
    let root = fs.root();
    let found = resolve(fs, root, path, FollowMode::Follow)?.existing()?;
    match found.filetype {
        Filetype::RegularFile => {}
        Filetype::Directory => return Err(Errno::ISDIR),
        _ => return Err(Errno::NOTSUP),
    }
    let size = match found.stat {
        Some(stat) => stat.size,
        None => fs.stat(found.node)?.size,
    };
    let size = usize::try_from(size).map_err(|_| Errno::NOMEM)?;
    let mut bytes = Vec::new();
    // One more, so that the end is seen where it was expected.
    let room = size.checked_add(1).ok_or(Errno::NOMEM)?;
    bytes.try_reserve_exact(room).map_err(|_| Errno::NOMEM)?;
    bytes.resize(room, 0);

    let handle = fs.open(found.node, Access::READ)?;
    let mut now = || 0;
    let count = fs.read(handle, 0, &mut bytes, &mut now);
    fs.close(handle);
    let count = count?;
    // Somebody writes to it at this moment: nobody could say what it is.
    if count != size {
        return Err(Errno::AGAIN);
    }
    bytes.truncate(size);
    Ok(bytes)
}
