//! A layout: an image's blobs, each by its digest, and where to begin.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tar::{EntryType, Header};

use super::super::packed::{Member, Packed};
use super::super::section::Section;
use super::super::write::parent;
use super::WRITE;
use super::layer::Layer;
use crate::error::{Error, StartError};
use crate::host::identity::sha256;
use crate::host::shown;

/// What a layout begins with.
pub(super) const INDEX: &str = "index.json";

/// What says that it is one.
pub(super) const MARK: &str = "oci-layout";

/// What is in that file.
const VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Where blobs lie whose digests are SHA-256.
pub(super) const BLOBS: &str = "blobs/sha256";

/// The bytes of a blob.
#[derive(Debug)]
enum Source<'a> {
    Bytes(Vec<u8>),
    File(File),
    Part(&'a Packed, u64),
}

/// A blob.
#[derive(Debug)]
pub(super) struct Blob<'a> {
    source: Source<'a>,
    pub(super) length: u64,
    /// SHA-256, in hexadecimal digits.
    pub(super) digest: String,
}

impl Blob<'_> {
    /// A document.
    pub(super) fn document(bytes: Vec<u8>) -> io::Result<Self> {
        Ok(Self {
            length: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            digest: sha256(bytes.as_slice())?,
            source: Source::Bytes(bytes),
        })
    }

    /// A layer.
    pub(super) fn layer(layer: Layer) -> Self {
        Self {
            length: layer.length,
            digest: layer.digest,
            source: Source::File(layer.file),
        }
    }
}

impl<'a> Blob<'a> {
    /// A member of what was packed.
    pub(super) fn part(packed: &'a Packed, member: &Member) -> io::Result<Self> {
        Ok(Self {
            length: member.length,
            digest: sha256(packed.part(member.start, member.length))?,
            source: Source::Part(packed, member.start),
        })
    }

    fn reader(&self) -> Box<dyn Read + '_> {
        match &self.source {
            Source::Bytes(bytes) => Box::new(bytes.as_slice()),
            Source::File(file) => Box::new(Section::of(file, 0, self.length)),
            Source::Part(packed, start) => Box::new(packed.part(*start, self.length)),
        }
    }
}

/// An image.
#[derive(Debug, Default)]
pub(super) struct Layout<'a> {
    /// By digest, so that they have an order, and each is there once.
    blobs: BTreeMap<String, Blob<'a>>,
    /// The document that it begins with.
    pub(super) index: Vec<u8>,
}

impl<'a> Layout<'a> {
    /// Adds a blob.
    pub(super) fn add(&mut self, blob: Blob<'a>) {
        self.blobs.insert(blob.digest.clone(), blob);
    }

    /// Makes the directory `output` at once, or not at all. It must not be there.
    pub(super) fn directory(&self, output: &Path) -> Result<(), Error> {
        let new = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(parent(output))
            .map_err(StartError::file(WRITE))?;
        self.fill(new.path()).map_err(StartError::file(WRITE))?;
        match renameat_with(CWD, new.path(), CWD, output, RenameFlags::NOREPLACE) {
            Ok(()) => {
                // Its name is gone: nothing is to be removed.
                let _ = new.keep();
                Ok(())
            }
            Err(rustix::io::Errno::EXIST) => Err(Error::Invalid(format!(
                "-o: '{}' is there already; name a directory to make, or remove it",
                shown::path(output)
            ))),
            Err(error) => Err(StartError::file(WRITE)(error.into())),
        }
    }

    fn fill(&self, directory: &Path) -> io::Result<()> {
        let create = |name: &str| File::create_new(directory.join(name));
        fs::create_dir_all(directory.join(BLOBS))?;
        create(MARK)?.write_all(VERSION)?;
        create(INDEX)?.write_all(&self.index)?;
        for (digest, blob) in &self.blobs {
            io::copy(&mut blob.reader(), &mut create(&format!("{BLOBS}/{digest}"))?)?;
        }
        Ok(())
    }

    /// Makes the archive `output` at once, or not at all.
    pub(super) fn archive(&self, output: &Path) -> Result<(), Error> {
        let write = || {
            let new = tempfile::Builder::new()
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(parent(output))?;
            self.put(new.as_file())?;
            new.persist(output).map_err(|error| error.error)
        };
        write().map(drop).map_err(StartError::file(WRITE))
    }

    fn put(&self, file: &File) -> io::Result<()> {
        let mut archive = tar::Builder::new(file);
        let mut add = |kind: EntryType, name: &str, length: u64, data: &mut dyn Read| {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(match kind {
                EntryType::Directory => 0o755,
                _ => 0o644,
            });
            header.set_size(length);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            archive.append_data(&mut header, name, data)
        };
        for directory in ["blobs/", "blobs/sha256/"] {
            add(EntryType::Directory, directory, 0, &mut io::empty())?;
        }
        for (digest, blob) in &self.blobs {
            let name = format!("{BLOBS}/{digest}");
            add(EntryType::Regular, &name, blob.length, &mut blob.reader())?;
        }
        for (name, bytes) in [(INDEX, self.index.as_slice()), (MARK, VERSION)] {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            add(EntryType::Regular, name, length, &mut { bytes })?;
        }
        archive.finish()
    }
}
