//! Paths in an image, which is hostile: they are resolved as if its root were this process's, and nothing that lies
//! outside of it can be named, whatever its links say.
//!
//! Layer: system calls (`openat2`, Linux 5.6).

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

/// So many links does the kernel follow in a path.
const MOST_LINKS: usize = 40;

/// A directory that is somebody's root.
#[derive(Debug)]
pub(super) struct ImageRoot {
    root: OwnedFd,
}

/// What a path names.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it is beneath the root: no component is a link, or was one when it was looked at.
    pub(super) path: PathBuf,
    /// What it is; `None`: it is not there.
    pub(super) kind: Option<FileType>,
}

/// What something is mounted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A directory, with this mode where it is made.
    Directory(u32),
    File,
}

impl ImageRoot {
    /// The directory of this name. Links in it are the engine's.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::open(path, flags, Mode::empty())?,
        })
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = match path.as_os_str().is_empty() {
            true => Path::new("."),
            false => path,
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // The kernel gives up where something was renamed meanwhile.
        for _ in 0..8 {
            match rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Resolves a path. What is not there is taken as it is written, as somebody makes it who mounts something there.
    pub(super) fn find(&self, path: &Path) -> io::Result<Found> {
        walk(path, |at| self.kind(at), |at| self.target(at))
    }

    /// Where a link leads.
    pub(super) fn target(&self, path: &Path) -> io::Result<PathBuf> {
        let link = self.open(path, OFlags::PATH | OFlags::NOFOLLOW)?;
        let target = rustix::fs::readlinkat(&link, c"", Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// What is there, if it is; a link itself.
    pub(super) fn kind(&self, path: &Path) -> io::Result<Option<FileType>> {
        match self.open(path, OFlags::PATH | OFlags::NOFOLLOW) {
            Ok(file) => {
                let status = rustix::fs::statat(&file, c"", AtFlags::EMPTY_PATH)?;
                Ok(Some(FileType::from_raw_mode(status.st_mode)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file that was [found](Self::find) for reading. It is an error if a link stands in the way by now, and a
    /// FIFO is not waited for.
    pub(super) fn read(&self, found: &Path) -> io::Result<std::fs::File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let file = rustix::fs::openat2(&self.root, found, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        Ok(file.into())
    }

    /// Makes what something is to be mounted at, where it is not there: a directory, or an empty file. `path` was
    /// [found](Self::find). It is an error if a link stands in the way by now. What is new belongs to
    /// `owner`, and a directory that is mounted on has this mode: delegates give it to a file system in memory.
    pub(super) fn make(&self, path: &Path, place: Place, owner: Option<(u32, u32)>) -> io::Result<()> {
        let own = |file: &OwnedFd| match owner {
            Some((uid, gid)) => {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                rustix::fs::chownat(file, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
            }
            None => Ok(()),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = rustix::fs::openat(&self.root, ".", flags, Mode::empty())?;
        let mut names = components(path);
        let last = match place {
            Place::Directory(_) => None,
            Place::File => names.pop_back(),
        };
        while let Some(name) = names.pop_front() {
            let mut is_new = false;
            match rustix::fs::mkdirat(&at, &name, Mode::from_raw_mode(0o755)) {
                Ok(()) => is_new = true,
                Err(Errno::EXIST) => {}
                // Whether it is there is what counts.
                Err(Errno::ROFS | Errno::ACCESS)
                    if rustix::fs::accessat(&at, &name, rustix::fs::Access::EXISTS, AtFlags::empty())
                        .is_ok() => {}
                Err(error) => return Err(error.into()),
            }
            at = rustix::fs::openat(&at, &name, flags, Mode::empty())?;
            if is_new {
                own(&at)?;
            }
            if is_new {
                let mode = match place {
                    Place::Directory(mode) if names.is_empty() => mode,
                    _ => 0o755,
                };
                // Whatever the umask.
                rustix::fs::chmodat(&at, ".", Mode::from_raw_mode(mode), AtFlags::empty())?;
            }
        }
        let Some(name) = last else { return Ok(()) };
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&at, &name, create, Mode::from_raw_mode(0o644)) {
            Ok(file) => Ok(own(&file)?),
            Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Resolves a path as the kernel does it, in a tree of which `kind` says what is there, and `target` where a link leads.
pub(super) fn walk(
    path: &Path,
    kind: impl Fn(&Path) -> io::Result<Option<FileType>>,
    target: impl Fn(&Path) -> io::Result<PathBuf>,
) -> io::Result<Found> {
    let mut rest: VecDeque<OsString> = components(path);
    let mut at = PathBuf::new();
    let mut found = Some(FileType::Directory);
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            at.pop();
            found = kind(&at)?;
            continue;
        }
        let next = at.join(&name);
        match kind(&next)? {
            Some(FileType::Symlink) => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = target(&next)?;
                if target.is_absolute() {
                    at = PathBuf::new();
                }
                for name in components(&target).into_iter().rev() {
                    rest.push_front(name);
                }
                found = kind(&at)?;
            }
            other => (at, found) = (next, other),
        }
    }
    Ok(Found {
        path: at,
        kind: found,
    })
}

/// The names in a path, without those that do nothing.
fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_os_string()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn image() -> (tempfile::TempDir, ImageRoot) {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("root");
        fs::create_dir_all(root.join("bin/deep")).unwrap();
        fs::write(scratch.path().join("outside"), "outside").unwrap();
        fs::write(root.join("bin/app"), "inside").unwrap();
        let image = ImageRoot::new(&root).unwrap();
        (scratch, image)
    }

    #[test]
    fn links_stay_in_the_image() {
        let (scratch, image) = image();
        let root = scratch.path().join("root");
        symlink("/bin/app", root.join("absolute")).unwrap();
        symlink("../../../../bin", root.join("bin/up")).unwrap();
        symlink(scratch.path().join("outside"), root.join("out")).unwrap();
        symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
        for (path, expected, is_there) in [
            ("/bin/app", "bin/app", true),
            ("absolute", "bin/app", true),
            ("/bin/up/app", "bin/app", true),
            ("/../../bin/./app", "bin/app", true),
            ("/bin/deep/../app", "bin/app", true),
            ("/magic", "proc/self/root/etc/passwd", false),
            ("/new/place", "new/place", false),
            ("/", "", true),
        ] {
            let found = image.find(Path::new(path)).unwrap();
            assert_eq!(found.path, Path::new(expected), "{path}");
            assert_eq!(found.kind.is_some(), is_there, "{path}");
        }
        let out = image.find(Path::new("/out")).unwrap();
        assert_eq!(
            out.kind,
            None,
            "the host's file was found: {}",
            out.path.display()
        );
    }

    #[test]
    fn links_in_a_circle_end() {
        let (scratch, image) = image();
        symlink("b", scratch.path().join("root/a")).unwrap();
        symlink("a", scratch.path().join("root/b")).unwrap();
        let error = image.find(Path::new("/a")).unwrap_err();
        assert_eq!(Errno::from_io_error(&error), Some(Errno::LOOP));
    }

    #[test]
    fn what_became_a_link_is_not_followed() {
        let (scratch, image) = image();
        let root = scratch.path().join("root");
        symlink(scratch.path(), root.join("link")).unwrap();
        assert!(image.read(Path::new("link/outside")).is_err());
        assert!(
            image
                .make(Path::new("link/made"), Place::Directory(0o1777), None)
                .is_err()
        );
        assert!(!scratch.path().join("made").exists());
        assert!(image.read(Path::new("bin/app")).is_ok());
    }

    #[test]
    fn places_for_mounts_are_made() {
        let (scratch, image) = image();
        image
            .make(Path::new("etc/app/config"), Place::File, None)
            .unwrap();
        image
            .make(Path::new("data/deep"), Place::Directory(0o1777), None)
            .unwrap();
        // Again, and over what is there.
        image
            .make(Path::new("etc/app/config"), Place::File, None)
            .unwrap();
        image.make(Path::new("bin/app"), Place::File, None).unwrap();
        let root = scratch.path().join("root");
        let mode = |path: &str| {
            let metadata = root.join(path).metadata().unwrap();
            std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
        };
        assert_eq!((mode("data"), mode("data/deep")), (0o755, 0o1777));
        assert!(root.join("etc/app/config").is_file() && root.join("data/deep").is_dir());
        assert_eq!(fs::read(root.join("bin/app")).unwrap(), b"inside");
    }
}
