//! The cache's directory and its key: whose they are, and that nobody else has rights in them.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aot_config::trailer::DIGEST;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::rand::GetRandomFlags;

use super::Cache;
use crate::error::{Error, StartError};

impl Cache {
    /// The key, which is made if there is none.
    pub(super) fn file_key(&self) -> io::Result<[u8; DIGEST]> {
        const NAME: &str = "key";
        for _ in 0..3 {
            match self.open_file(NAME) {
                Ok(file) => match read_key(file)? {
                    Some(key) => return Ok(key),
                    None => self.remove(NAME),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if is_unfit(&error) => self.remove(NAME),
                // All that was ever compiled here is worth nothing without it.
                Err(error) => return Err(error),
            }
            let temporary = format!("key-{}-{:?}", std::process::id(), std::thread::current().id());
            let mut file = self.make_file(&temporary)?;
            let made = file.write_all(&random()?).and_then(|()| file.sync_all());
            // If another process was faster, its key is the one.
            let linked = made.map(|()| {
                let _ = rustix::fs::linkat(
                    &self.directory,
                    &*temporary,
                    &self.directory,
                    NAME,
                    AtFlags::empty(),
                );
            });
            self.remove(&temporary);
            linked?;
        }
        Err(io::Error::other("its key cannot be kept"))
    }
}

/// The key in its file; `None` if it is not whole, or others can read it.
fn read_key(mut file: File) -> io::Result<Option<[u8; DIGEST]>> {
    let metadata = file.metadata()?;
    if metadata.len() != DIGEST as u64 || metadata.mode() & 0o077 != 0 {
        return Ok(None);
    }
    let mut key = [0; DIGEST];
    file.read_exact(&mut key)?;
    Ok(Some(key))
}

/// Whether an entry cannot be opened because of what it is: a link, no file, or one that others may change. Anything
/// else (no descriptor or no memory left, a disk that fails) is the moment's doing, and says nothing about it.
pub(super) fn is_unfit(error: &io::Error) -> bool {
    // Only what `open_file` says itself is not the system's.
    match Errno::from_io_error(error) {
        None => true,
        Some(errno) => matches!(errno, Errno::LOOP | Errno::NXIO | Errno::ISDIR),
    }
}

pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory in another one, which is made if it is not there. No link is followed.
pub(super) fn subdirectory(above: &OwnedFd, name: &Path) -> io::Result<OwnedFd> {
    let flags = DIRECTORY | OFlags::NOFOLLOW;
    match rustix::fs::openat(above, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return Ok(opened?),
    }
    match rustix::fs::mkdirat(above, name, Mode::RWXU) {
        // Another process was faster.
        Ok(()) | Err(Errno::EXIST) => Ok(rustix::fs::openat(above, name, flags, Mode::empty())?),
        Err(error) => Err(error.into()),
    }
}

/// A directory, if it is this user's and others have none of these rights.
pub(super) fn is_ours(directory: OwnedFd, others: u32) -> io::Result<OwnedFd> {
    let file = File::from(directory);
    let metadata = file.metadata()?;
    if !is_own(&metadata) {
        return Err(io::Error::other(OTHERS));
    }
    match metadata.mode() & others {
        0 => Ok(file.into()),
        _ => Err(io::Error::other("other users have rights in it")),
    }
}

/// A directory, if it is this user's. Others' rights to write there, which a umask of 002 leaves, are taken away.
pub(super) fn ours_alone(directory: OwnedFd) -> io::Result<OwnedFd> {
    let directory = is_ours(directory, 0)?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&directory)?.st_mode);
    let others = Mode::WGRP | Mode::WOTH;
    if mode.intersects(others) {
        rustix::fs::fchmod(&directory, mode - others)?;
    }
    Ok(directory)
}

/// Whether what is made at this path, with all that is missing above it, would be this user's by right: not root's in
/// the home of another user, who could not write to it then.
pub(super) fn would_be_ours(path: &Path) -> io::Result<()> {
    let there = path.ancestors().find_map(|path| path.metadata().ok());
    let owner = there.map_or(0, |metadata| metadata.uid());
    match owner == 0 || owner == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(io::Error::other(OTHERS)),
    }
}

const OTHERS: &str = "it, or the directory above it, belongs to another user";

pub(super) fn is_own(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}

/// A file that somebody names, for reading: nobody waits for a pipe's writer.
pub(in crate::compile) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a file")),
    }
}

/// Bytes that nobody can guess.
pub(super) fn random() -> io::Result<[u8; DIGEST]> {
    let mut key = [0; DIGEST];
    let count = rustix::rand::getrandom(&mut key, GetRandomFlags::empty())?;
    match count == key.len() {
        true => Ok(key),
        false => Err(io::Error::other("the system has no random bytes")),
    }
}

/// A key that is used once.
pub(in crate::compile) fn new_key() -> Result<[u8; DIGEST], Error> {
    random().map_err(StartError::file("get random bytes"))
}
