//! How much of the host's disk a directory takes.
//!
//! Layer: system calls through rustix. The walk holds two descriptors, however deep the machine has nested directories,
//! follows no link, and gives up on whatever it cannot read or is moved meanwhile: who asks then knows no better than
//! before, and lets nothing more in. Only the first walk passes over what this user may not read: what growth is added
//! to may be too small.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, Dir, Mode, OFlags, Stat};

/// What each name counts beyond its blocks: inodes and directory entries take room too, and a machine must not leave
/// behind a million empty files.
pub(super) const NAME: u64 = 4096;

/// `st_blocks` counts in this unit, whatever the file system's own is.
const BLOCK: u64 = 512;

/// What a directory takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Use {
    /// The blocks of each file once, and [`NAME`] for each name, in bytes.
    pub(super) bytes: u64,
    /// Whether files are among that which have no name any more: closing them makes room.
    pub(super) deleted: bool,
}

/// Everything in the directory. `daemon` is the process whose open files are looked at for those that have no name any
/// more.
pub(super) fn of(directory: &Path, daemon: Option<u32>) -> io::Result<Use> {
    let mut walk = Walk::default();
    walk.below(open(CWD, directory)?)?;
    if let Some(daemon) = daemon {
        walk.deleted_but_open(daemon)?;
    }
    Ok(walk.found)
}

/// What is in the directory at least: of a directory below that this user may not read, only itself.
pub(super) fn at_least(directory: &Path) -> io::Result<Use> {
    let mut walk = Walk {
        lenient: true,
        ..Walk::default()
    };
    walk.below(open(CWD, directory)?)?;
    Ok(walk.found)
}

fn open(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

/// A directory that the walk is in.
struct Level {
    identity: (u64, u64),
    /// Its directories that are still to be walked.
    rest: Vec<CString>,
}

/// Device and number.
fn identity(about: &Stat) -> (u64, u64) {
    (about.st_dev, about.st_ino)
}

#[derive(Default)]
struct Walk {
    /// Whether what may not be read is passed over.
    lenient: bool,
    found: Use,
    /// Devices that were met.
    devices: HashSet<u64>,
    /// Files with several names that were counted: device and number.
    counted: HashSet<(u64, u64)>,
}

impl Walk {
    fn below(&mut self, directory: OwnedFd) -> io::Result<()> {
        let mut here = directory;
        let mut levels = vec![self.level(&here)?];
        while let Some(level) = levels.last_mut() {
            if let Some(name) = level.rest.pop() {
                here = match self.enter(&here, &name) {
                    Ok(below) => below,
                    // Somebody else has deleted it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) if self.passes_over(&error) => continue,
                    Err(error) => return Err(error),
                };
                levels.push(self.level(&here)?);
                continue;
            }
            levels.pop();
            if let Some(above) = levels.last() {
                here = open(&here, c"..")?;
                if above.identity != identity(&rustix::fs::fstat(&here)?) {
                    return Err(io::Error::other("a directory was moved meanwhile"));
                }
            }
        }
        Ok(())
    }

    /// Opens a directory below, out of which the walk gets again.
    fn enter(&self, here: &OwnedFd, name: &CStr) -> io::Result<OwnedFd> {
        let below = open(here, name)?;
        if self.lenient {
            // `..` takes the right to search it. A strict walk fails there.
            rustix::fs::accessat(&below, c"..", Access::EXISTS, AtFlags::empty())?;
        }
        Ok(below)
    }

    /// Counts what stands in a directory, but nothing further down.
    fn level(&mut self, directory: &OwnedFd) -> io::Result<Level> {
        let identity = identity(&rustix::fs::fstat(directory)?);
        self.devices.insert(identity.0);
        let mut rest = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let about = match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(about) => about,
                // Somebody else has deleted it meanwhile.
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) if self.passes_over(&error.into()) => continue,
                Err(error) => return Err(error.into()),
            };
            self.count(&about);
            if rustix::fs::FileType::from_raw_mode(about.st_mode).is_dir() {
                rest.push(name.to_owned());
            }
        }
        Ok(Level { identity, rest })
    }

    fn passes_over(&self, error: &io::Error) -> bool {
        self.lenient && error.kind() == io::ErrorKind::PermissionDenied
    }

    fn count(&mut self, about: &Stat) {
        self.found.bytes = self.found.bytes.saturating_add(NAME);
        let several = about.st_nlink > 1 && !rustix::fs::FileType::from_raw_mode(about.st_mode).is_dir();
        if several && !self.counted.insert(identity(about)) {
            return;
        }
        let blocks = u64::try_from(about.st_blocks).unwrap_or(0);
        self.found.bytes = self.found.bytes.saturating_add(blocks.saturating_mul(BLOCK));
    }

    /// Files that a process holds open on the same devices, and that no name leads to.
    fn deleted_but_open(&mut self, process: u32) -> io::Result<()> {
        let mut seen = HashSet::new();
        for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
            // A descriptor that was closed meanwhile.
            let Ok(about) = rustix::fs::stat(entry?.path()) else {
                continue;
            };
            let deleted = about.st_nlink == 0 && self.devices.contains(&about.st_dev);
            if deleted && seen.insert(identity(&about)) {
                self.count(&about);
                self.found.deleted = true;
            }
        }
        Ok(())
    }
}

/// The size in which a file system gives out room.
pub(super) fn unit(directory: &Path) -> io::Result<u64> {
    let about = rustix::fs::fstatvfs(File::open(directory)?)?;
    Ok(about.f_frsize.max(about.f_bsize).clamp(NAME, 1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_counts_once_and_each_name_too() {
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path();
        let empty = of(place, None).unwrap().bytes;
        assert_eq!(empty, 0);
        fs::write(place.join("a"), vec![1; 100_000]).unwrap();
        let one = of(place, None).unwrap().bytes;
        assert!((100_000 + NAME..200_000).contains(&one), "{one}");
        fs::hard_link(place.join("a"), place.join("b")).unwrap();
        assert_eq!(of(place, None).unwrap().bytes, one + NAME);
        // A link out of it and a file that is all hole.
        std::os::unix::fs::symlink("/", place.join("out")).unwrap();
        File::create(place.join("hole"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        let more = of(place, None).unwrap().bytes;
        assert!(more < one + 100_000, "{more}");
        // Deep directories are walked, and what cannot be walked is an error.
        fs::create_dir_all(place.join("x/y/z")).unwrap();
        fs::write(place.join("x/y/z/deep"), vec![1; 500_000]).unwrap();
        assert!(of(place, None).unwrap().bytes > more + 500_000);
        assert!(of(&place.join("missing"), None).is_err());
        assert!(of(&place.join("a"), None).is_err());
        assert!(of(&place.join("out"), None).is_err());
    }

    #[test]
    fn what_may_not_be_read_is_passed_over_at_first_only() {
        use std::os::unix::fs::PermissionsExt as _;
        if rustix::process::geteuid().is_root() {
            eprintln!("SKIP: root may read every directory");
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let closed = scratch.path().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("f"), vec![1; 500_000]).unwrap();
        fs::write(scratch.path().join("g"), vec![1; 100_000]).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let (first, later) = (at_least(scratch.path()), of(scratch.path(), None));
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let first = first.unwrap().bytes;
        assert!((100_000..500_000).contains(&first), "{first}");
        assert!(later.is_err());
        assert_eq!(
            at_least(scratch.path()).unwrap(),
            of(scratch.path(), None).unwrap()
        );
    }

    #[test]
    fn deleted_files_count_while_they_are_open() {
        let scratch = tempfile::tempdir().unwrap();
        let file = File::create(scratch.path().join("f")).unwrap();
        io::Write::write_all(&mut &file, &vec![1; 100_000]).unwrap();
        fs::remove_file(scratch.path().join("f")).unwrap();
        let own = Some(std::process::id());
        let held = of(scratch.path(), own).unwrap();
        assert!(held.bytes >= 100_000 && held.deleted, "{held:?}");
        assert_eq!(of(scratch.path(), None).unwrap(), Use::default());
    }

    #[test]
    fn a_unit_is_a_page_at_least() {
        assert!(unit(Path::new("/")).unwrap() >= NAME);
    }
}
