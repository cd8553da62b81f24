//! Files that QEMU opens by name although they have none, or one that QEMU would misread.
//!
//! QEMU gets everything as `/proc/self/fd/N`, an inherited descriptor: no commas, spaces or dashes of a user's path
//! reach its option parser, what was checked is what is booted, and nothing is left behind. Where memory files or
//! /proc are missing, a temporary file takes their place.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;

/// A file for QEMU, alive as long as this value.
#[derive(Debug)]
pub(crate) struct QemuFile {
    /// What to call it on QEMU's command line.
    name: PathBuf,
    /// The descriptor behind a `/proc/self/fd` name.
    file: File,
    /// To be deleted at the end.
    temporary: bool,
}

impl QemuFile {
    /// Hands an open file to QEMU; `path` is its name, for systems without /proc.
    pub(crate) fn open(file: File, path: &Path) -> io::Result<Self> {
        let name = match inherited(&file) {
            Some(name) => name,
            // A relative path may begin with a dash; an absolute one never does.
            None => fs::canonicalize(path)?,
        };
        Ok(Self {
            name,
            file,
            temporary: false,
        })
    }

    /// Hands bytes to QEMU. `label` is seen in /proc and in the name of a temporary file.
    pub(crate) fn from_bytes(label: &str, bytes: &[u8]) -> io::Result<Self> {
        let this = Self::empty(label)?;
        this.file().write_all(bytes)?;
        Ok(this)
    }

    /// An empty file, to be written before QEMU is started.
    pub(crate) fn empty(label: &str) -> io::Result<Self> {
        if let Ok(descriptor) = rustix::fs::memfd_create(label, MemfdFlags::CLOEXEC) {
            let file = File::from(descriptor);
            if let Some(name) = inherited(&file) {
                return Ok(Self {
                    name,
                    file,
                    temporary: false,
                });
            }
        }
        Self::temporary(&std::env::temp_dir(), label)
    }

    /// A file in `directory` that is deleted with this value.
    pub(crate) fn temporary(directory: &Path, label: &str) -> io::Result<Self> {
        let mut attempt = 0u32;
        loop {
            let name = directory.join(format!("hermit-wasm-{}-{attempt}-{label}", std::process::id()));
            match File::options()
                .write(true)
                .read(true)
                .create_new(true)
                .open(&name)
            {
                Ok(file) => {
                    return Ok(Self {
                        name,
                        file,
                        temporary: true,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// What to call it on QEMU's command line.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }
}

impl Drop for QemuFile {
    fn drop(&mut self) {
        if self.temporary {
            // Nothing can be done about a file that somebody else has deleted.
            let _ = fs::remove_file(&self.name);
        }
    }
}

/// Lets children inherit `file` and returns the name under which they find it; `None` without /proc.
pub(crate) fn inherited(file: &File) -> Option<PathBuf> {
    let name = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    // Opening it by that name is what QEMU will do.
    File::open(&name).ok()?;
    rustix::io::fcntl_setfd(file, FdFlags::empty()).ok()?;
    Some(name)
}

/// The directory in which this program remembers things between runs: `$XDG_CACHE_HOME/hermit-wasm`, or the same in
/// `~/.cache`. `None` if neither is known.
pub(crate) fn cache_directory() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("hermit-wasm"))
}

/// Writes a file in one step: who reads it sees all of it, or what was there before.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let mut temporary = QemuFile::temporary(directory, "new")?;
    temporary.file().write_all(bytes)?;
    fs::rename(&temporary.name, path)?;
    temporary.temporary = false;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("hermit-wasm-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// What a child reads under the name of `file`.
    fn seen_by_a_child(file: &QemuFile) -> Vec<u8> {
        let mut child = Command::new("cat")
            .arg(file.name())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut bytes = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut bytes).unwrap();
        assert!(child.wait().unwrap().success());
        bytes
    }

    #[test]
    fn a_child_reads_what_was_handed_over() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let file = QemuFile::from_bytes("test", &bytes).unwrap();
        assert!(file.name().starts_with("/proc/self/fd"));
        // Twice: each opening starts at the beginning.
        assert!(seen_by_a_child(&file) == bytes);
        assert!(seen_by_a_child(&file) == bytes);
    }

    #[test]
    fn an_open_file_goes_over_whatever_its_name() {
        let directory = scratch("names");
        for name in ["-dash", "a,b", "a b", "a=b", "ä", "new\nline"] {
            let path = directory.join(name);
            fs::write(&path, name).unwrap();
            let file = QemuFile::open(File::open(&path).unwrap(), &path).unwrap();
            assert_eq!(seen_by_a_child(&file), name.as_bytes());
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_temporary_file_is_deleted() {
        let directory = scratch("temporary");
        let first = QemuFile::temporary(&directory, "label").unwrap();
        let second = QemuFile::temporary(&directory, "label").unwrap();
        first.file().write_all(b"one").unwrap();
        second.file().write_all(b"two").unwrap();
        assert_eq!(seen_by_a_child(&first), b"one");
        assert_eq!(seen_by_a_child(&second), b"two");
        drop((first, second));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_is_written_whole() {
        let directory = scratch("whole");
        let path = directory.join("a").join("b");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::remove_dir_all(directory).unwrap();
    }
}
