//! Copies of directories and files of the host, for the payload.
//!
//! A directory is read once, before the machine starts, and never written to. Others may change it meanwhile: what is
//! copied lies beneath it in any case ([`Beneath`]), and is a file, a directory or a link.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::mounts::{CopiedFile, MountError};
use super::payload::{BLOCK, Bounds, KEEP};
use crate::error::{Error, StartError};
use crate::host::beneath::{self, Beneath};
use crate::host::shown;

/// How much of a file is copied before the time is looked at again.
const PART: u64 = 16 << 20;
/// Most names that a message lists.
const NAMED: usize = 3;

/// What makes a directory of copies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Copied<'a> {
    /// All that is in this one.
    Directory(&'a Path),
    /// These files.
    Files(&'a [CopiedFile]),
}

/// Writes the archive of `copied`; what was left out, for people.
pub(super) fn copy(
    copied: Copied<'_>,
    out: &mut BufWriter<&File>,
    bounds: Bounds<'_>,
) -> Result<Option<String>, Error> {
    let host = match copied {
        Copied::Directory(host) => host,
        Copied::Files(_) => Path::new("/"),
    };
    let mut copy = Copy {
        host: host.into(),
        tree: open(host)?,
        archive: Builder::new(out),
        written: 0,
        bounds,
        links: HashMap::new(),
        left_out: Vec::new(),
    };
    match copied {
        Copied::Directory(_) => copy.run()?,
        Copied::Files(files) => copy.files(files)?,
    }
    let warning = copy.warning();
    let ended = copy.archive.into_inner();
    ended.map_err(StartError::file(KEEP))?;
    Ok(warning)
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
pub(super) enum Step {
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
use super::payload::tests::meanwhile;

/// What is said of an entry besides its content.
#[derive(Clone, Copy, Debug)]
struct Attributes {
    mode: u32,
    /// When it changed, since 1970.
    seconds: u64,
    nanoseconds: u64,
}

impl Attributes {
    /// Those of the directory around files that are copied one by one: it is none of the host's.
    const OF_FILES: Self = Self {
        mode: 0o755,
        seconds: 0,
        nanoseconds: 0,
    };

    /// Those that the host says. Nothing is older than 1970.
    fn of(metadata: &Metadata) -> Self {
        let seconds = u64::try_from(metadata.mtime());
        Self {
            mode: metadata.mode() & 0o7777,
            seconds: seconds.unwrap_or(0),
            nanoseconds: seconds.map_or(0, |_| u64::try_from(metadata.mtime_nsec()).unwrap_or(0)),
        }
    }
}

/// The copying of one directory.
struct Copy<'a, 'b> {
    /// The directory, as the user named it.
    host: PathBuf,
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
        self.header(
            Path::new("./"),
            EntryType::Directory,
            &Attributes::of(&metadata),
            None,
            0,
        )?;
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

    /// Copies files, each from where it is.
    fn files(&mut self, files: &[CopiedFile]) -> Result<(), Error> {
        self.header(
            Path::new("./"),
            EntryType::Directory,
            &Attributes::OF_FILES,
            None,
            0,
        )?;
        for file in files {
            let cannot_read = |source: io::Error| MountError::Unreadable {
                path: file.host.clone(),
                source,
            };
            // Links are the user's own, and followed; none that comes to be there afterwards is.
            let path = file.host.canonicalize().map_err(cannot_read)?;
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(cannot_read(io::ErrorKind::IsADirectory.into()).into());
            };
            self.tree = Beneath::new(parent).map_err(cannot_read)?;
            self.host = parent.into();
            self.content(Path::new(name), Path::new(&file.name))?
                .map_err(cannot_read)?;
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
            what: format!("the files in '{}'", shown::path(&self.host)),
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
            self.header(
                &path.join(""),
                EntryType::Directory,
                &Attributes::of(&metadata),
                None,
                0,
            )?;
            return self.names(path, &source).map(Some);
        }
        if metadata.is_symlink() {
            let target = beneath::target(&source).map_err(|error| self.cannot_read(path, error))?;
            if target.to_str().is_none() {
                self.left_out
                    .push((path.to_path_buf(), "a link whose target is not UTF-8"));
                return Ok(None);
            }
            self.header(
                path,
                EntryType::Symlink,
                &Attributes::of(&metadata),
                Some(Path::new(&target)),
                0,
            )?;
        } else if metadata.is_file() {
            self.content(path, path)?
                .map_err(|error| self.cannot_read(path, error))?;
        } else {
            self.left_out
                .push((path.to_path_buf(), "neither a file nor a directory nor a link"));
        }
        Ok(None)
    }

    /// Copies a file with its data as `name`: as much as it had when it was opened. The inner error is about reading it.
    fn content(&mut self, path: &Path, name: &Path) -> Result<io::Result<()>, Error> {
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
                    .header(name, EntryType::Link, &Attributes::of(&metadata), Some(&first), 0)
                    .map(Ok);
            }
            self.links.insert(key, name.to_path_buf());
        }
        meanwhile(Step::Opened, path);
        let size = metadata.len();
        self.header(name, EntryType::Regular, &Attributes::of(&metadata), None, size)?;
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
        attributes: &Attributes,
        target: Option<&Path>,
        size: u64,
    ) -> Result<(), Error> {
        self.written = self.written.saturating_add(size).saturating_add(BLOCK);
        if self.written > self.bounds.bytes {
            return Err(self.does_not_fit(self.written));
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(attributes.mode);
        header.set_mtime(attributes.seconds);
        header.set_size(size);
        let result = self.append(&mut header, path, attributes, target);
        result.map_err(|source| {
            let path = self.host.join(path);
            MountError::Pack { path, source }.into()
        })
    }

    fn append(
        &mut self,
        header: &mut Header,
        path: &Path,
        attributes: &Attributes,
        target: Option<&Path>,
    ) -> io::Result<()> {
        // What an old header has no room for goes into an extended one: nanoseconds and long names.
        let mut extended: Vec<(&str, Vec<u8>)> = Vec::new();
        if attributes.nanoseconds != 0 {
            let time = format!("{}.{:09}", attributes.seconds, attributes.nanoseconds);
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
            shown::path(&self.host),
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
mod tests {
    use std::collections::BTreeMap;

    use boot_protocol::run_spec::RunSpec;

    use super::*;
    use crate::spec::deadline::Deadline;
    use crate::spec::module::Module;
    use crate::spec::payload::build;
    use crate::spec::payload::tests::{Scratch, members, outer};
    use crate::spec::program::Program;

    #[test]
    fn files_are_copied_by_themselves() {
        let scratch = Scratch::new("files");
        scratch.write("d/a", b"first");
        scratch.write("b", b"second");
        std::os::unix::fs::symlink("d/a", scratch.0.join("link")).unwrap();
        let files = |names: [(&str, &str); 3]| {
            names.map(|(host, name)| CopiedFile {
                host: scratch.0.join(host),
                name: name.into(),
            })
        };
        let deadline = &Deadline::never();
        let make = |files: &[CopiedFile], bytes| {
            build(
                &RunSpec::default(),
                &Program::Module(&Module::greeting()).into(),
                &[Copied::Files(files)],
                Bounds { bytes, deadline },
            )
        };
        let copied = |files: &[CopiedFile]| members(&outer(&make(files, 1 << 20).unwrap())["dir-0.tar"].1);
        let regular = |data: &[u8]| (EntryType::Regular, data.to_vec());
        let tree = copied(&files([
            ("d/a", "one"),
            ("b", "a name of its own"),
            ("link", "other"),
        ]));
        assert_eq!(
            tree,
            BTreeMap::from([
                ("./".into(), (EntryType::Directory, Vec::new())),
                ("one".into(), regular(b"first")),
                ("a name of its own".into(), regular(b"second")),
                // The same file.
                ("other".into(), regular(b"first")),
            ])
        );
        for (missing, reason) in [
            ("nothing", "No such file"),
            ("d", "replaced"),
            ("d/..", "replaced"),
        ] {
            let files = files([("d/a", "a"), (missing, "x"), ("b", "b")]);
            let message = make(&files, 1 << 20).unwrap_err().to_string();
            assert!(message.contains(missing) && message.contains(reason), "{message}");
        }
        let message = make(&files([("d/a", "a"), ("b", "b"), ("b", "c")]), 2048).unwrap_err();
        assert!(message.to_string().contains("machine"), "{message}");
    }
}
