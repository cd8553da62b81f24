//! A layer: an image's files, as a tar archive in which nothing is of the host: no times, no owners.
//!
//! It is not compressed. So its bytes depend on no compressor's version, its digest is what the image's configuration
//! names, and a payload in it is read from where it lies. Engines compress it when they push it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Component, Path};

use boot_protocol::shown::piece;
use tar::{EntryType, Header};

use super::WRITE;
use crate::error::{Error, StartError};
use crate::host::identity::sha256;

/// What such a name begins with in a layer says that a file of a lower one is gone.
const WHITEOUT: &str = ".wh.";

/// A layer that is complete.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) file: File,
    pub(super) length: u64,
    /// SHA-256, in hexadecimal digits.
    pub(super) digest: String,
}

/// A layer in the making.
pub(super) struct Builder {
    archive: tar::Builder<File>,
    directories: BTreeSet<String>,
    /// All else that it has.
    others: BTreeSet<String>,
}

impl Builder {
    /// One without files, in a file of `directory` that has no name.
    pub(super) fn new(directory: &Path) -> Result<Self, Error> {
        let file = tempfile::tempfile_in(directory).map_err(StartError::file(WRITE))?;
        Ok(Self {
            archive: tar::Builder::new(file),
            directories: BTreeSet::new(),
            others: BTreeSet::new(),
        })
    }

    /// Adds a directory, and those around it; it may be there already.
    pub(super) fn directory(&mut self, path: &str) -> Result<(), Error> {
        self.around(path)?;
        self.one_directory(path, 0o755)
    }

    /// Adds a file with `length` bytes of `data`.
    pub(super) fn file(
        &mut self,
        path: &str,
        mode: u32,
        length: u64,
        data: &mut dyn Read,
    ) -> Result<(), Error> {
        self.take(path)?;
        let mut header = header(EntryType::Regular, mode, length);
        let added = self.archive.append_data(&mut header, path, data.take(length));
        added.map_err(StartError::file(WRITE))
    }

    /// Adds what is in an archive, below the directory `place`; an empty name is the root.
    pub(super) fn tree(&mut self, place: &str, from: impl Read) -> Result<(), Error> {
        let cannot = |error| StartError::file("read what was copied")(error);
        let mut archive = tar::Archive::new(from);
        for entry in archive.entries().map_err(cannot)? {
            let mut entry = entry.map_err(cannot)?;
            let Some(path) = below(place, &entry.path().map_err(cannot)?)? else {
                continue;
            };
            let mode = entry.header().mode().map_err(cannot)? & 0o777;
            let kind = entry.header().entry_type();
            match kind {
                EntryType::Directory => {
                    self.around(&path)?;
                    self.one_directory(&path, mode)?;
                }
                EntryType::Regular => self.file(&path, mode, entry.size(), &mut entry)?,
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name().map_err(cannot)?.unwrap_or_default();
                    let target = match kind {
                        // Of the archive, where the file has its first name.
                        EntryType::Link => below(place, &target)?.unwrap_or_default(),
                        _ => target.to_string_lossy().into_owned(),
                    };
                    self.link(kind, &path, &target)?;
                }
                _ => return Err(refused(&path, "is neither a file nor a directory nor a link")),
            }
        }
        Ok(())
    }

    fn link(&mut self, kind: EntryType, path: &str, target: &str) -> Result<(), Error> {
        if kind == EntryType::Link && !self.others.contains(target) {
            return Err(refused(path, "is another name of a file that is not copied"));
        }
        self.take(path)?;
        let mut header = header(kind, 0o777, 0);
        let added = self.archive.append_link(&mut header, path, target);
        added.map_err(StartError::file(WRITE))
    }

    /// Takes a name for what is no directory.
    fn take(&mut self, path: &str) -> Result<(), Error> {
        self.around(path)?;
        let is_new = !self.directories.contains(path) && self.others.insert(path.to_string());
        match is_new {
            true => Ok(()),
            false => Err(refused(path, "would be there twice")),
        }
    }

    /// Adds the directories around `path` that are not there yet.
    fn around(&mut self, path: &str) -> Result<(), Error> {
        let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        for end in ends {
            self.one_directory(path.get(..end).unwrap_or_default(), 0o755)?;
        }
        Ok(())
    }

    fn one_directory(&mut self, path: &str, mode: u32) -> Result<(), Error> {
        if self.others.contains(path) {
            return Err(refused(path, "would be a directory, and is something else"));
        }
        if !self.directories.insert(path.to_string()) {
            return Ok(());
        }
        let name = path.rsplit('/').next().unwrap_or_default();
        check_name(path, name)?;
        let mut header = header(EntryType::Directory, mode, 0);
        let added = self
            .archive
            .append_data(&mut header, format!("{path}/"), io::empty());
        added.map_err(StartError::file(WRITE))
    }

    /// The layer.
    pub(super) fn finish(self) -> Result<Layer, Error> {
        let finish = || {
            let mut file = self.archive.into_inner()?;
            let length = file.stream_position()?;
            file.seek(SeekFrom::Start(0))?;
            let digest = sha256(&file)?;
            Ok(Layer { file, length, digest })
        };
        finish().map_err(StartError::file(WRITE))
    }
}

/// A header that says nothing of the host.
fn header(kind: EntryType, mode: u32, length: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(length);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// The path of an entry of an archive that is copied to `place`; `None`: that is the entry.
fn below(place: &str, path: &Path) -> Result<Option<String>, Error> {
    let mut whole = place.to_string();
    let mut is_place = true;
    for component in path.components() {
        let name = match component {
            Component::CurDir => continue,
            Component::Normal(name) => name.to_str(),
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => None,
        };
        let Some(name) = name else {
            return Err(refused(&path.to_string_lossy(), "leads out of its directory"));
        };
        check_name(&path.to_string_lossy(), name)?;
        if !whole.is_empty() {
            whole.push('/');
        }
        whole.push_str(name);
        is_place = false;
    }
    Ok((!is_place).then_some(whole))
}

fn check_name(path: &str, name: &str) -> Result<(), Error> {
    match name.starts_with(WHITEOUT) {
        true => Err(refused(
            path,
            "begins with '.wh.', which in an image says that a file is gone; give it another name",
        )),
        false => Ok(()),
    }
}

fn refused(path: &str, why: &str) -> Error {
    Error::Invalid(format!(
        "'/{}' cannot be in the image: it {why}",
        piece(path.trim_start_matches('/'))
    ))
}
