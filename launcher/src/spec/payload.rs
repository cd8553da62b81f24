//! The payload: the description of the run, the programs and copies of directories in one tar archive.
//!
//! Its form: `boot_protocol::payload`. A directory is read once, before the machine starts, and never written to.
//! Others may change it meanwhile: what is copied lies beneath it in any case ([`Beneath`]), and is a file, a directory
//! or a link.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use boot_protocol::payload as names;
use boot_protocol::run_spec::RunSpec;
use tar::{Builder, EntryType, Header};

use super::deadline::Deadline;
use super::mounts::MountError;
use super::program::Programs;
use crate::error::{Error, StartError};
use crate::host::beneath::{self, Beneath};
use crate::host::files::HostFile;
use crate::host::shown;
use crate::pack::Packed;

/// Unit of a tar archive.
const BLOCK: u64 = 512;
/// How much of a file is copied before the time is looked at again.
const PART: u64 = 16 << 20;
/// Most names that a message lists.
const NAMED: usize = 3;

/// What may stop the making of a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds<'a> {
    /// Most bytes: what does not fit into the machine need not be read.
    pub(crate) bytes: u64,
    /// When the run's time is over.
    pub(crate) deadline: &'a Deadline,
}

/// A payload.
#[derive(Debug)]
pub(crate) struct Payload {
    /// For QEMU's `-initrd`.
    pub(crate) file: HostFile,
    /// Its size in bytes.
    pub(crate) length: u64,
    /// What was left out, for people: a line for each directory of which something was.
    pub(crate) warnings: Vec<String>,
}

/// Puts the description, the programs and a copy of each of `directories` into one file, which has no name.
pub(crate) fn build(
    spec: &RunSpec,
    programs: &Programs<'_>,
    directories: &[&Path],
    bounds: Bounds<'_>,
) -> Result<Payload, Error> {
    let file = HostFile::empty("payload.tar").map_err(StartError::file(KEEP))?;
    let (length, warnings) = write(file.file(), Some(spec), programs, directories, bounds)?;
    file.finish().map_err(StartError::file(KEEP))?;
    Ok(Payload {
        file,
        length,
        warnings,
    })
}

/// A payload that was packed.
pub(crate) fn of_packed(packed: &Packed, deadline: &Deadline) -> Result<Payload, Error> {
    let file = HostFile::empty("payload.tar").map_err(StartError::file(KEEP))?;
    let written = packed.write_to(&mut file.file(), deadline);
    written.map_err(|error| error.into_error(KEEP))?;
    file.finish().map_err(StartError::file(KEEP))?;
    Ok(Payload {
        file,
        length: packed.length(),
        warnings: Vec::new(),
    })
}

const KEEP: &str = "keep the payload in memory for the hypervisor";

/// Writes the archive into `file`; its length, and what was left out. Without `spec`, words on the kernel command line
/// describe the run.
pub(crate) fn write(
    file: &File,
    spec: Option<&RunSpec>,
    programs: &Programs<'_>,
    directories: &[&Path],
    bounds: Bounds<'_>,
) -> Result<(u64, Vec<String>), Error> {
    let mut warnings = Vec::new();
    let cannot = |error: io::Error| StartError::file(KEEP)(error);
    if let Some(spec) = spec {
        member(file, names::RUN_SPEC, 1, |out| {
            out.write_all(&spec.encode()).map_err(cannot)
        })?;
    }
    for (name, alignment, program) in programs.members() {
        member(file, &name, alignment, |out| {
            let written = program.write_to(out, bounds.deadline);
            written.map_err(|error| error.into_error(KEEP))
        })?;
    }
    for (index, host) in directories.iter().enumerate() {
        member(file, &names::directory(index), 1, |out| {
            let mut copy = Copy {
                host,
                tree: open(host)?,
                archive: Builder::new(out),
                written: 0,
                bounds,
                links: HashMap::new(),
                left_out: Vec::new(),
            };
            copy.run()?;
            warnings.extend(copy.warning());
            copy.archive.into_inner().map(drop).map_err(cannot)
        })?;
    }
    Ok((end(file).map_err(cannot)?, warnings))
}

/// Ends the archive; its length.
pub(crate) fn end(mut file: &File) -> io::Result<u64> {
    // Two empty blocks.
    file.write_all(&[0; 1024])?;
    file.stream_position()
}

/// Appends a member whose size is known only when `write` has written it. Its data starts at a multiple of `alignment`,
/// behind a member of padding if need be.
pub(crate) fn member(
    mut file: &File,
    name: &str,
    alignment: u64,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), Error>,
) -> Result<(), Error> {
    let cannot = |error: io::Error| StartError::file(KEEP)(error);
    let mut start = file.stream_position().map_err(cannot)?;
    let data = start.saturating_add(BLOCK).next_multiple_of(alignment.max(BLOCK));
    if let Some(zeros) = data.saturating_sub(start).checked_sub(2 * BLOCK) {
        put_header(file, names::PADDING, zeros).map_err(cannot)?;
        start = data.saturating_sub(BLOCK);
    }
    file.seek(SeekFrom::Start(data)).map_err(cannot)?;
    // Larger pieces, of which a module or its code comes, go past it without another copy.
    let mut out = BufWriter::with_capacity(1 << 16, file);
    write(&mut out)?;
    out.flush().map_err(cannot)?;
    drop(out);
    let end = file.stream_position().map_err(cannot)?;
    file.seek(SeekFrom::Start(start)).map_err(cannot)?;
    put_header(file, name, end.saturating_sub(data)).map_err(cannot)?;
    file.seek(SeekFrom::Start(end.next_multiple_of(BLOCK)))
        .map_err(cannot)?;
    Ok(())
}

/// Writes the header of a member of so many bytes.
fn put_header(mut file: &File, name: &str, size: u64) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    file.write_all(header.as_bytes())
}

/// Opens a directory that is to be copied.
fn open(host: &Path) -> Result<Beneath, Error> {
    Beneath::new(host).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::NotADirectory => "it is not a directory".to_string(),
            _ => error.to_string(),
        };
        MountError::Unusable {
            flag: "copy-dir",
            host: host.to_path_buf(),
            reason,
        }
        .into()
    })
}

/// What may happen to a directory between two steps of its copying: tests make it happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The names in a directory are known.
    Listed,
    /// An entry's kind is known.
    LookedAt,
    /// A file is open.
    Opened,
}

#[cfg(not(test))]
fn meanwhile(_: Step, _: &Path) {}
#[cfg(test)]
use tests::meanwhile;

/// The copying of one directory.
struct Copy<'a, 'b> {
    /// The directory, as the user named it.
    host: &'a Path,
    tree: Beneath,
    archive: Builder<&'a mut BufWriter<&'b File>>,
    /// Bytes so far, about.
    written: u64,
    bounds: Bounds<'a>,
    /// Files with several names: device and inode number, first name.
    links: HashMap<(u64, u64), PathBuf>,
    /// What could not be taken along, and why.
    left_out: Vec<(PathBuf, &'static str)>,
}

impl Copy<'_, '_> {
    /// Copies all that is in the directory, by names, so that the same directory makes the same archive.
    fn run(&mut self) -> Result<(), Error> {
        let root = Path::new("");
        let directory = self
            .tree
            .look(root)
            .map_err(|error| self.cannot_read(root, error))?;
        let metadata = directory
            .metadata()
            .map_err(|error| self.cannot_read(root, error))?;
        self.header(Path::new("./"), EntryType::Directory, &metadata, None, 0)?;
        // The directories around the next entry, with the names that are left in each.
        let mut around = vec![self.names(root, &directory)?];
        while let Some((path, names)) = around.last_mut() {
            match names.next().map(|name| path.join(name)) {
                Some(entry) => around.extend(self.entry(&entry)?),
                None => drop(around.pop()),
            }
        }
        Ok(())
    }

    /// Something in the directory cannot be read.
    fn cannot_read(&self, path: &Path, source: io::Error) -> Error {
        let path = self.host.join(path);
        MountError::Unreadable { path, source }.into()
    }

    /// More would be copied than fits.
    fn does_not_fit(&self, least: u64) -> Error {
        MountError::DoesNotFit {
            what: format!("the files in '{}'", shown::path(self.host)),
            memory: self.bounds.bytes,
            least,
        }
        .into()
    }

    /// The names in the directory `path`, which is relative to the one that was named. A directory may be without end,
    /// as those of a FUSE server: no more are taken than fit.
    fn names(&self, path: &Path, directory: &File) -> Result<(PathBuf, std::vec::IntoIter<OsString>), Error> {
        let names = beneath::names(directory, |count| {
            self.bounds.deadline.check().map_err(Stopped::Run)?;
            let count = u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1);
            let least = self.written.saturating_add(count.saturating_mul(BLOCK));
            if least > self.bounds.bytes {
                return Err(Stopped::Run(self.does_not_fit(least)));
            }
            Ok(())
        });
        let mut names = names.map_err(|stopped| match stopped {
            Stopped::Read(error) => self.cannot_read(path, error),
            Stopped::Run(error) => error,
        })?;
        names.sort();
        meanwhile(Step::Listed, path);
        Ok((path.to_path_buf(), names.into_iter()))
    }

    /// Copies an entry; of a directory gives the names in it, to be copied next.
    fn entry(&mut self, path: &Path) -> Result<Option<(PathBuf, std::vec::IntoIter<OsString>)>, Error> {
        self.bounds.deadline.check()?;
        if path.to_str().is_none() {
            self.left_out.push((path.to_path_buf(), "its name is not UTF-8"));
            return Ok(None);
        }
        let look = || {
            let source = self.tree.look(path)?;
            let metadata = source.metadata()?;
            Ok((source, metadata))
        };
        let (source, metadata) = look().map_err(|error| self.cannot_read(path, error))?;
        meanwhile(Step::LookedAt, path);
        if metadata.is_dir() {
            self.header(&path.join(""), EntryType::Directory, &metadata, None, 0)?;
            return self.names(path, &source).map(Some);
        }
        if metadata.is_symlink() {
            let target = beneath::target(&source).map_err(|error| self.cannot_read(path, error))?;
            if target.to_str().is_none() {
                self.left_out
                    .push((path.to_path_buf(), "a link whose target is not UTF-8"));
                return Ok(None);
            }
            self.header(path, EntryType::Symlink, &metadata, Some(Path::new(&target)), 0)?;
        } else if metadata.is_file() {
            self.content(path)?
                .map_err(|error| self.cannot_read(path, error))?;
        } else {
            self.left_out
                .push((path.to_path_buf(), "neither a file nor a directory nor a link"));
        }
        Ok(None)
    }

    /// Copies a file with its data: as much as it had when it was opened. The inner error is about reading it.
    fn content(&mut self, path: &Path) -> Result<io::Result<()>, Error> {
        let open = || {
            let file = self.tree.read(path)?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Err(io::Error::other("it was replaced while it was copied"));
            }
            Ok((file, metadata))
        };
        let (file, metadata) = match open() {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        if metadata.nlink() > 1 {
            let key = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&key).cloned() {
                return self
                    .header(path, EntryType::Link, &metadata, Some(&first), 0)
                    .map(Ok);
            }
            self.links.insert(key, path.to_path_buf());
        }
        meanwhile(Step::Opened, path);
        let size = metadata.len();
        self.header(path, EntryType::Regular, &metadata, None, size)?;
        let out = self.archive.get_mut();
        let mut copied = 0u64;
        while copied < size {
            self.bounds.deadline.check()?;
            let part = size.saturating_sub(copied).min(PART);
            match io::copy(&mut (&file).take(part), out) {
                Ok(0) => return Ok(Err(io::Error::other("it became shorter while it was copied"))),
                Ok(length) => copied = copied.saturating_add(length),
                Err(error) => return Ok(Err(error)),
            }
        }
        let padding = size.next_multiple_of(BLOCK).saturating_sub(size);
        Ok(io::copy(&mut io::repeat(0).take(padding), out).map(drop))
    }

    /// Writes an entry's header. Data of `size` bytes is to follow.
    fn header(
        &mut self,
        path: &Path,
        kind: EntryType,
        metadata: &Metadata,
        target: Option<&Path>,
        size: u64,
    ) -> Result<(), Error> {
        self.written = self.written.saturating_add(size).saturating_add(BLOCK);
        if self.written > self.bounds.bytes {
            return Err(self.does_not_fit(self.written));
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(metadata.mode() & 0o7777);
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
        header.set_size(size);
        let result = self.append(&mut header, path, metadata, target);
        result.map_err(|source| {
            let path = self.host.join(path);
            MountError::Pack { path, source }.into()
        })
    }

    fn append(
        &mut self,
        header: &mut Header,
        path: &Path,
        metadata: &Metadata,
        target: Option<&Path>,
    ) -> io::Result<()> {
        // What an old header has no room for goes into an extended one: nanoseconds and long names.
        let mut extended: Vec<(&str, Vec<u8>)> = Vec::new();
        if metadata.mtime_nsec() != 0 && metadata.mtime() >= 0 {
            let time = format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec());
            extended.push(("mtime", time.into_bytes()));
        }
        if header.set_path(path).is_err() {
            extended.push(("path", path.as_os_str().as_encoded_bytes().to_vec()));
            header.set_path("long-name")?;
        }
        if let Some(target) = target
            && header
                .set_link_name_literal(target.as_os_str().as_encoded_bytes())
                .is_err()
        {
            extended.push(("linkpath", target.as_os_str().as_encoded_bytes().to_vec()));
        }
        if !extended.is_empty() {
            let bytes: usize = extended.iter().map(|(_, value)| value.len()).sum();
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(BLOCK);
            self.written = self.written.saturating_add(bytes.next_multiple_of(BLOCK));
            let records = extended.iter().map(|(key, value)| (*key, value.as_slice()));
            self.archive.append_pax_extensions(records)?;
        }
        header.set_cksum();
        self.archive.get_mut().write_all(header.as_bytes())
    }

    /// Names what was left out.
    fn warning(&self) -> Option<String> {
        let (first, why) = self.left_out.first()?;
        let names: Vec<_> = self
            .left_out
            .iter()
            .take(NAMED)
            .map(|(path, _)| format!("'{}'", shown::path(path)))
            .collect();
        let more = match self.left_out.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "--copy-dir: of '{}' these are left out: {}{more} ('{}': {why})",
            shown::path(self.host),
            names.join(", "),
            shown::path(first),
        ))
    }
}

/// Why a directory's listing ended early.
enum Stopped {
    Read(io::Error),
    Run(Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
