//! The payload in a container image: in a layout that is a directory or an archive, whoever made it.
//!
//! Nothing is unpacked: the payload of an image that `hermit-wasm pack` made lies in it as it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use tar::EntryType;

use super::super::Format;
use super::super::find::Found;
use super::document::WASM_CONFIG;
use super::layout::{BLOBS, INDEX, MARK};
use super::{OciImage, OciKind, PAYLOAD};
use crate::host::beneath::Beneath;

/// Longest document that is read, in bytes. Those of `pack` have some hundred.
const LONGEST: u64 = 4 << 20;

/// Most entries of an archive that are looked at.
const ENTRIES: usize = 1 << 16;

/// Where the name of a tar archive's kind lies in its first block.
const KIND: std::ops::Range<usize> = 257..262;

/// What is in a place where a layout may be.
pub(crate) enum Image {
    /// No layout.
    None,
    /// One without a payload that could be read, and why.
    Without(&'static str),
    /// One with a payload.
    With(Found),
}

const NO_PAYLOAD: &str = "is a container image, and none with a sealed payload: container engines run it, \
    'skopeo inspect' shows what it is, and 'umoci unpack' takes it apart";

const COMPRESSED: &str = "is a container image whose files are compressed: 'umoci unpack' takes it apart, and what is \
    called app.hermit in it is a packed file";

const ARTIFACT: &str = "is a Wasm artifact, and none with a sealed payload: it holds a module alone, the blob that \
    'skopeo inspect --raw' shows as its layer";

const DAMAGED: &str = "is a container image whose documents cannot be read; pack it again";

/// Looks for a payload in a directory, which may be a layout.
pub(crate) fn in_directory(path: &Path) -> io::Result<Image> {
    find(Store::Directory(Beneath::new(path)?))
}

/// Looks for a payload in a file, which may be a layout's archive.
pub(crate) fn in_file(file: File) -> io::Result<Image> {
    match members(&file)? {
        Some(members) => find(Store::Archive(file, members)),
        None => Ok(Image::None),
    }
}

fn find(store: Store) -> io::Result<Image> {
    if store.get(MARK)?.is_none() {
        return Ok(Image::None);
    }
    match store.payload() {
        Ok(Ok(found)) => Ok(Image::With(found)),
        Ok(Err(why)) => Ok(Image::Without(why)),
        // Whatever is wrong with it, reading it would not have been.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Image::Without(DAMAGED)),
        Err(error) => Err(error),
    }
}

/// A layout.
enum Store {
    Directory(Beneath),
    /// An archive.
    Archive(File, Members),
}

/// Where the data of each file of an archive start, and their length.
type Members = BTreeMap<String, (u64, u64)>;

impl Store {
    /// A file of it.
    fn get(&self, name: &str) -> io::Result<Option<Slice>> {
        match self {
            Self::Directory(beneath) => match beneath.read(Path::new(name)) {
                Ok(file) => {
                    let about = file.metadata()?;
                    Ok(about.is_file().then(|| Slice::new(file, 0, about.len())))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Self::Archive(file, members) => match members.get(name) {
                Some((start, length)) => Ok(Some(Slice::new(file.try_clone()?, *start, *length))),
                None => Ok(None),
            },
        }
    }

    /// A file that must be there.
    fn needed(&self, name: &str) -> io::Result<Slice> {
        self.get(name)?.ok_or(io::ErrorKind::InvalidData.into())
    }

    fn document<T>(&self, name: &str, read: impl FnOnce(&[u8]) -> oci_spec::Result<T>) -> io::Result<T> {
        let mut file = self.needed(name)?;
        if file.length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        read(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
    }

    /// The payload, or why it is not to be had.
    fn payload(&self) -> io::Result<Result<Found, &'static str>> {
        let index = self.document(INDEX, |bytes| ImageIndex::from_reader(bytes))?;
        let Some(mut first) = index.manifests().first().cloned() else {
            return Ok(Err(NO_PAYLOAD));
        };
        // Images of several architectures share their files.
        if *first.media_type() == MediaType::ImageIndex {
            let index = self.document(&blob(&first)?, |bytes| ImageIndex::from_reader(bytes))?;
            match index.manifests().first() {
                Some(manifest) => first = manifest.clone(),
                None => return Ok(Err(NO_PAYLOAD)),
            }
        }
        let manifest = self.document(&blob(&first)?, |bytes| ImageManifest::from_reader(bytes))?;
        let mut why = match manifest.config().media_type() {
            MediaType::Other(kind) if kind == WASM_CONFIG => ARTIFACT,
            _ => NO_PAYLOAD,
        };
        for layer in manifest.layers().iter().rev() {
            match layer.media_type() {
                MediaType::ImageLayer => {
                    if let Some(found) = in_layer(self.needed(&blob(layer)?)?)? {
                        return Ok(Ok(found));
                    }
                }
                MediaType::ImageLayerGzip | MediaType::ImageLayerZstd => why = COMPRESSED,
                _ => {}
            }
        }
        Ok(Err(why))
    }
}

/// Where a blob lies.
fn blob(descriptor: &Descriptor) -> io::Result<String> {
    let digest = descriptor.as_digest_sha256();
    let digest = digest.ok_or(io::ErrorKind::InvalidData)?;
    Ok(format!("{BLOBS}/{digest}"))
}

/// The payload in a layer.
fn in_layer(layer: Slice) -> io::Result<Option<Found>> {
    let (file, start) = (layer.file.try_clone()?, layer.start);
    let mut archive = tar::Archive::new(layer);
    // As they are: an extension's text, such as a long name's, would be kept in memory whatever its length.
    let entries = archive.entries_with_seek().map_err(damaged)?.raw(true);
    for entry in entries.take(ENTRIES) {
        let entry = entry.map_err(damaged)?;
        let is_it = plain(&entry.path_bytes()).is_some_and(|name| name == PAYLOAD);
        if !is_it || entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let at = start.checked_add(entry.raw_file_position());
        let at = at.ok_or(io::ErrorKind::InvalidData)?;
        return Ok(Some(Found {
            file,
            payload: (at, entry.size()),
            format: Format::Oci(OciImage {
                kind: OciKind::Sealed,
                ..OciImage::DEFAULT
            }),
            arch: None,
            memory: None,
        }));
    }
    Ok(None)
}

/// The files of an archive; `None`: it is none.
fn members(file: &File) -> io::Result<Option<Members>> {
    let length = file.metadata()?.len();
    let mut block = [0; 512];
    match file.read_exact_at(&mut block, 0) {
        Ok(()) if block.get(KIND) == Some(b"ustar") => {}
        Ok(()) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut archive = tar::Archive::new(Slice::new(file.try_clone()?, 0, length));
    let mut members = BTreeMap::new();
    // What is no archive to its end is no layout; whoever reads it otherwise says what is wrong.
    let Ok(entries) = archive.entries_with_seek() else {
        return Ok(None);
    };
    for entry in entries.raw(true).take(ENTRIES) {
        let Ok(entry) = entry else {
            return Ok(None);
        };
        let Some(name) = plain(&entry.path_bytes()).map(ToString::to_string) else {
            continue;
        };
        let (start, size) = (entry.raw_file_position(), entry.size());
        let is_within = start.checked_add(size).is_some_and(|end| end <= length);
        if entry.header().entry_type() == EntryType::Regular && is_within {
            members.insert(name, (start, size));
        }
    }
    Ok(Some(members))
}

/// A member's name without the directory that it is said to be in.
fn plain(path: &[u8]) -> Option<&str> {
    let name = str::from_utf8(path).ok()?;
    Some(name.strip_prefix("./").unwrap_or(name))
}

fn damaged(error: io::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// A part of a file, to read and to go to and fro in.
struct Slice {
    file: File,
    start: u64,
    length: u64,
    at: u64,
}

impl Slice {
    fn new(file: File, start: u64, length: u64) -> Self {
        Self {
            file,
            start,
            length,
            at: 0,
        }
    }
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let at = self.start.saturating_add(self.at);
        let count = self
            .file
            .read_at(buffer.get_mut(..most).unwrap_or_default(), at)?;
        self.at = self.at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

impl Seek for Slice {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
