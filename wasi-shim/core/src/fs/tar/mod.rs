//! A tree from a tar archive in memory.
//!
//! Layer: file systems. The entries become nodes of a [`MemFs`]; the data of files stays where it is in the
//! archive, and is copied chunk by chunk only when a guest writes to it. So one file system serves for a
//! read-only tree (`Permission::ReadOnly`) and for a writable layer over one; docs/wasi.md says why there is no
//! other.

mod parse;

use alloc::vec::Vec;
use core::fmt;

use self::parse::{Entries, Entry, Kind, components};
use super::{
    FileSystem, Found, NAME_MAX, Node,
    mem::{Bytes, MemFs},
};
use crate::{Errno, path::PATH_MAX, types::Filetype};

/// What a header of an archive contains at [`MAGIC_AT`], but for those from before 1988.
const MAGIC: &[u8] = b"ustar";
/// Where.
const MAGIC_AT: usize = 257;

/// Why an archive cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TarError {
    /// Where in the archive, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub kind: TarErrorKind,
}

/// What is wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TarErrorKind {
    /// It ends in the middle of something, or without its end mark.
    Truncated,
    /// A header's checksum is wrong: it is no tar archive, or damaged.
    Checksum,
    /// A field of a header is no number, or one that is too large.
    Number(&'static str),
    /// Something in an extended header does not have the form that it should.
    Extended(&'static str),
    /// An entry is of a kind that is not supported: a device, a sparse file.
    Unsupported(u8),
    /// A path is empty, contains `..` or a zero byte, is no UTF-8, has a component that is too long, or is too long as
    /// a whole; or a link's target is.
    Path,
    /// A path leads through something that is no directory, or a directory's name is used for something else.
    Conflict,
    /// A hard link's target has not come before, or is a directory.
    NoTarget,
    /// The file system does not take the entry; NOSPC if it has more of them than the limits allow.
    FileSystem(Errno),
}

impl fmt::Display for TarError {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tar archive, at byte {}: ", self.offset)?;
        match self.kind {
            TarErrorKind::Truncated => f.write_str("it ends too early"),
            TarErrorKind::Checksum => f.write_str("wrong checksum; it is no tar archive, or damaged"),
            TarErrorKind::Number(field) => write!(f, "the field `{field}` is no number that fits"),
            TarErrorKind::Extended(what) => write!(f, "malformed {what} in an extended header"),
            TarErrorKind::Unsupported(flag) => {
                write!(f, "entries of type `{}` are not supported", flag.escape_ascii())
            }
            TarErrorKind::Path => {
                f.write_str("a path is empty, too long, no UTF-8, or contains `..` or a zero byte")
            }
            TarErrorKind::Conflict => f.write_str("a path that is a directory here is something else there"),
            TarErrorKind::NoTarget => f.write_str("a hard link to no file that came before"),
            TarErrorKind::FileSystem(errno) => write!(f, "the file system does not take the entry: {errno}"),
        }
    }
}

impl core::error::Error for TarError {}

/// Whether `bytes` begin like an archive of the kinds that programs write today (ustar, pax, GNU).
#[must_use]
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes
        .get(MAGIC_AT..)
        .is_some_and(|magic| magic.starts_with(MAGIC))
}

/// The data of the regular file `path` in an archive, without a file system; of several, the last. The whole
/// archive is looked through.
///
/// # Errors
/// [`TarError`] if the archive is damaged.
pub fn find_file<'a>(archive: &'a [u8], path: &str) -> Result<Option<&'a [u8]>, TarError> {
    find_files(archive, [path]).map(|[found]| found)
}

/// As [`find_file`], for several files at once.
///
/// # Errors
/// As [`find_file`].
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn find_files<'a, const N: usize>(
    archive: &'a [u8],
    paths: [&str; N],
) -> Result<[Option<&'a [u8]>; N], TarError> {
    let mut entries = Entries::new(archive);
    let mut found = [None; N];
    while let Some(entry) = entries.next()? {
        let Kind::File { data } = &entry.kind else {
            continue;
        };
        for (path, found) in paths.iter().zip(&mut found) {
            if entry.components().eq(components(path.as_bytes())) {
                *found = archive.get(data.clone());
            }
        }
    }
    Ok(found)
}

/// Puts the entries of an archive into a file system, beneath its root. Paths are relative to it, whether or
/// not they begin with a slash. Directories that are not in the archive but on the way are made; a later entry
/// replaces an earlier one of the same name, as when it is unpacked. Times are those of the archive.
///
/// # Errors
/// [`TarError`]; entries before the one that is at fault have been made then.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn load(fs: &mut MemFs, archive: &Bytes) -> Result<(), TarError> {
    let mut entries = Entries::new(archive.as_slice());
    // The times of directories are set last, since every entry in one changes them.
    let mut directories: Vec<(Node, u64)> = Vec::new();
    while let Some(entry) = entries.next()? {
        let fail = |kind| TarError {
            offset: entry.offset,
            kind,
        };
        let made = add(fs, archive, &entry).map_err(fail)?;
        if let Some(directory) = made {
            directories
                .try_reserve(1)
                .map_err(|_| fail(TarErrorKind::FileSystem(Errno::NOSPC)))?;
            directories.push((directory, entry.mtime));
        }
    }
    for (directory, mtime) in directories {
        let set = fs.set_times(directory, Some(mtime), Some(mtime), &mut || mtime);
        set.map_err(|errno| TarError {
            offset: 0,
            kind: TarErrorKind::FileSystem(errno),
        })?;
    }
    Ok(())
}

/// Adds one entry; the node, if it is a directory.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn add(fs: &mut MemFs, archive: &Bytes, entry: &Entry<'_>) -> Result<Option<Node>, TarErrorKind> {
    let now = &mut || entry.mtime;
    check_length(entry)?;
    let mut path = entry.components();
    let mut dir = fs.root();
    let Some(mut name) = path.next() else {
        // The root itself, as `./`.
        return match entry.kind {
            Kind::Directory => Ok(Some(dir)),
            _ => Err(TarErrorKind::Path),
        };
    };
    for next in path {
        dir = enter(fs, dir, name, entry.mtime)?;
        name = next;
    }
    check_name(name)?;
    if entry.kind == Kind::Directory {
        return enter(fs, dir, name, entry.mtime).map(Some);
    }
    // Before what it replaces goes: it may be that itself.
    let target = match entry.kind {
        Kind::HardLink { target } => Some(find(fs, target)?),
        _ => None,
    };
    match fs.lookup(dir, name) {
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(TarErrorKind::FileSystem(errno)),
        Ok(Found { node, .. }) if Some(node) == target => return Ok(None),
        Ok(Found {
            filetype: Filetype::Directory,
            ..
        }) => return Err(TarErrorKind::Conflict),
        Ok(_) => fs.unlink(dir, name, now).map_err(TarErrorKind::FileSystem)?,
    }
    match (&entry.kind, target) {
        (Kind::File { data }, _) => fs
            .create_shared(dir, name, archive.clone(), data.clone(), now)
            .map(|_| ()),
        (Kind::SymbolicLink { target }, _) => {
            if target.is_empty() || target.contains(&0) || core::str::from_utf8(target).is_err() {
                return Err(TarErrorKind::Path);
            }
            fs.create_link(dir, name, target, now)
        }
        (Kind::HardLink { .. }, Some(node)) => fs.hard_link(node, dir, name, now),
        // Done above.
        (Kind::Directory | Kind::HardLink { .. }, _) => Ok(()),
    }
    .map_err(TarErrorKind::FileSystem)?;
    Ok(None)
}

/// An extended header that holds for the whole archive gives every entry behind it the same path and target. Were they
/// of any length, each block of 512 bytes could cost as much time and memory as the whole archive has bytes.
fn check_length(entry: &Entry<'_>) -> Result<(), TarErrorKind> {
    let [prefix, name] = entry.path;
    let target = match entry.kind {
        Kind::SymbolicLink { target } | Kind::HardLink { target } => target,
        Kind::File { .. } | Kind::Directory => &[],
    };
    if prefix.len().saturating_add(name.len()) >= PATH_MAX || target.len() >= PATH_MAX {
        return Err(TarErrorKind::Path);
    }
    Ok(())
}

/// The directory `name` in `dir`, made if it is not there.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn enter(fs: &mut MemFs, dir: Node, name: &[u8], mtime: u64) -> Result<Node, TarErrorKind> {
    check_name(name)?;
    match fs.lookup(dir, name) {
        Err(Errno::NOENT) => {
            fs.create_dir(dir, name, &mut || mtime)
                .map_err(TarErrorKind::FileSystem)?;
            let found = fs.lookup(dir, name).map_err(TarErrorKind::FileSystem)?;
            Ok(found.node)
        }
        Ok(Found {
            node,
            filetype: Filetype::Directory,
            ..
        }) => Ok(node),
        Ok(_) => Err(TarErrorKind::Conflict),
        Err(errno) => Err(TarErrorKind::FileSystem(errno)),
    }
}

/// What a hard link is a link to.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn find(fs: &mut MemFs, path: &[u8]) -> Result<Node, TarErrorKind> {
    let mut found = Found {
        node: fs.root(),
        filetype: Filetype::Directory,
        stat: None,
    };
    for name in components(path) {
        if found.filetype != Filetype::Directory {
            return Err(TarErrorKind::NoTarget);
        }
        found = fs.lookup(found.node, name).map_err(|_| TarErrorKind::NoTarget)?;
    }
    match found.filetype {
        Filetype::Directory => Err(TarErrorKind::NoTarget),
        _ => Ok(found.node),
    }
}

/// A name that a guest could use too. `.` and empty components are not among those that come here.
fn check_name(name: &[u8]) -> Result<(), TarErrorKind> {
    if name.len() > NAME_MAX || name == b".." || name.contains(&0) || core::str::from_utf8(name).is_err() {
        return Err(TarErrorKind::Path);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
