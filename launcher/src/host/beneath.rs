//! Opens what lies beneath a directory, and nothing else, whatever happens to names there meanwhile.
//!
//! Paths are resolved from the directory's descriptor, and no symbolic link is followed: a name that became one since
//! it was listed is an error, not a way out. The kernel does so since Linux 5.6 (`openat2`); where it cannot, or a
//! seccomp filter forbids it (as old container runtimes' do), each component is opened by itself.

use std::cell::Cell;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Longest path that Linux takes at once, in bytes. Where paths are resolved by component it holds too: it is what
/// bounds the depth of a tree.
const LONGEST_PATH: usize = 4095;

/// A directory of the host's, held open.
#[derive(Debug)]
pub(crate) struct Beneath {
    root: OwnedFd,
    /// Whether the kernel resolves whole paths as is wanted here, as far as is known.
    by_kernel: Cell<bool>,
}

impl Beneath {
    /// The directory of this name. Links in it are the user's own, and are followed.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::open(path, flags, Mode::empty())?,
            by_kernel: Cell::new(true),
        })
    }

    /// Resolves paths component by component, as on a host without `openat2`.
    #[cfg(test)]
    pub(crate) fn by_component(self) -> Self {
        self.by_kernel.set(false);
        self
    }

    /// What `path` names, to be looked at: a file of any kind, a link itself. Nothing is opened for reading.
    pub(crate) fn look(&self, path: &Path) -> io::Result<File> {
        Ok(self.open(path, OFlags::PATH)?.into())
    }

    /// Opens a file for reading. It may turn out to be anything but a link; nobody waits for a FIFO's writer.
    pub(crate) fn read(&self, path: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(self.open(path, flags)?.into())
    }

    fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if path.as_os_str().len() > LONGEST_PATH {
            return Err(Errno::NAMETOOLONG.into());
        }
        if path.as_os_str().is_empty() {
            return Ok(rustix::fs::openat(&self.root, ".", flags, Mode::empty())?);
        }
        if self.by_kernel.get() {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve) {
                Err(Errno::NOSYS | Errno::PERM) => self.by_kernel.set(false),
                // Names were moved while it resolved `..`, which none of our paths has; it may still say so.
                Err(Errno::AGAIN) => {}
                opened => return Ok(opened?),
            }
        }
        let mut directory: Option<OwnedFd> = None;
        let mut names = path.iter().peekable();
        while let Some(name) = names.next() {
            if matches!(name.as_bytes(), b".." | b"/") {
                return Err(Errno::XDEV.into());
            }
            let flags = match names.peek() {
                None => flags,
                Some(_) => OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            };
            let from: BorrowedFd<'_> = directory.as_ref().unwrap_or(&self.root).as_fd();
            directory = Some(rustix::fs::openat(from, name, flags, Mode::empty())?);
        }
        directory.ok_or_else(|| Errno::NOENT.into())
    }
}

/// The names in a directory that was [looked at](Beneath::look), in no order. `each` is told before each name how many
/// there are already; its errors end the listing.
pub(crate) fn names<E: From<io::Error>>(
    directory: &File,
    mut each: impl FnMut(usize) -> Result<(), E>,
) -> Result<Vec<OsString>, E> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::openat(directory, ".", flags, Mode::empty()).map_err(io::Error::from)?;
    let mut names = Vec::new();
    for entry in Dir::new(open).map_err(io::Error::from)? {
        let entry = entry.map_err(io::Error::from)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            each(names.len())?;
            names.push(OsStr::from_bytes(name).to_os_string());
        }
    }
    Ok(names)
}

/// The target of a link that was [looked at](Beneath::look).
pub(crate) fn target(link: &File) -> io::Result<OsString> {
    const ITSELF: &CStr = c"";
    let target = rustix::fs::readlinkat(link, ITSELF, Vec::new())?;
    Ok(OsString::from_vec(target.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    /// Runs `test` for both ways of resolving.
    fn both_ways(test: impl Fn(&Path, &Beneath)) {
        for by_component in [false, true] {
            let scratch = tempfile::tempdir().unwrap();
            let root = scratch.path().join("root");
            fs::create_dir_all(root.join("a/b")).unwrap();
            fs::create_dir_all(scratch.path().join("outside/b")).unwrap();
            fs::write(root.join("a/b/file"), "inside").unwrap();
            fs::write(scratch.path().join("outside/b/file"), "outside").unwrap();
            let beneath = Beneath::new(&root).unwrap();
            let beneath = if by_component {
                beneath.by_component()
            } else {
                beneath
            };
            test(&root, &beneath);
        }
    }

    fn text(file: io::Result<File>) -> String {
        let mut text = String::new();
        file.unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn files_directories_and_links_are_found() {
        both_ways(|root, beneath| {
            symlink("b/file", root.join("a/link")).unwrap();
            assert_eq!(text(beneath.read(Path::new("a/b/file"))), "inside");
            let count = |directory: &str| {
                let directory = beneath.look(Path::new(directory)).unwrap();
                names(&directory, |_| Ok::<_, io::Error>(())).unwrap().len()
            };
            assert_eq!([count(""), count("a"), count("a/b")], [1, 2, 1]);
            let link = beneath.look(Path::new("a/link")).unwrap();
            assert!(link.metadata().unwrap().is_symlink());
            assert_eq!(target(&link).unwrap(), "b/file");
        });
    }

    #[test]
    fn links_lead_nowhere() {
        both_ways(|root, beneath| {
            symlink("../outside", root.join("out")).unwrap();
            symlink("a", root.join("in")).unwrap();
            symlink("/etc/passwd", root.join("absolute")).unwrap();
            for path in ["out/b/file", "in/b/file", "out/b", "absolute"] {
                assert!(beneath.read(Path::new(path)).is_err(), "{path}");
            }
            for path in ["out/b/file", "in/b/file"] {
                assert!(beneath.look(Path::new(path)).is_err(), "{path}");
            }
        });
    }

    #[test]
    fn paths_do_not_climb() {
        both_ways(|_, beneath| {
            for path in ["..", "../outside/b/file", "a/../../outside", "/etc/passwd"] {
                assert!(beneath.look(Path::new(path)).is_err(), "{path}");
            }
        });
    }

    #[test]
    fn a_fifo_is_opened_without_waiting_for_its_writer() {
        both_ways(|root, beneath| {
            rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
            let fifo = beneath.read(Path::new("fifo")).unwrap();
            assert!(!fifo.metadata().unwrap().is_file());
        });
    }

    #[test]
    fn a_path_beyond_the_longest_is_refused() {
        both_ways(|_, beneath| {
            let deep = "a/".repeat(LONGEST_PATH / 2 + 1);
            let error = beneath.look(Path::new(&deep)).unwrap_err();
            assert_eq!(Errno::from_io_error(&error), Some(Errno::NAMETOOLONG));
        });
    }
}
