//! Files that a hypervisor opens by name although they have none.
//!
//! QEMU gets everything as `/proc/self/fd/N`, an inherited descriptor: no commas, spaces or dashes of a user's path
//! reach its option parser, what was checked is what is booted, and nothing is left behind. Where memory files or
//! /proc are missing, a temporary file takes their place.
//!
//! Every descriptor here is closed on exec. A process inherits those that [`crate::jail::start`] is told to pass on,
//! so that machines which run at the same time see nothing of each other.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, MemfdFlags, Mode, OFlags, SealFlags};

/// A file for a hypervisor, alive as long as this value.
#[derive(Debug)]
pub(crate) struct HostFile {
    /// What to call it on the hypervisor's command line.
    name: PathBuf,
    /// The descriptor behind a `/proc/self/fd` name.
    file: File,
    /// To be deleted at the end.
    temporary: bool,
}

impl HostFile {
    /// A file with these bytes. `label` is seen in /proc and in the name of a temporary file.
    pub(crate) fn from_bytes(label: &str, bytes: &[u8]) -> io::Result<Self> {
        let this = Self::empty(label)?;
        this.file().write_all(bytes)?;
        this.finish()?;
        Ok(this)
    }

    /// An empty file, to be written and [finished](Self::finish) before the hypervisor is started.
    pub(crate) fn empty(label: &str) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        if let Ok(descriptor) = rustix::fs::memfd_create(label, flags) {
            let file = File::from(descriptor);
            if let Some(name) = proc_name(&file) {
                return Ok(Self {
                    name,
                    file,
                    temporary: false,
                });
            }
        }
        Self::temporary(&std::env::temp_dir(), label)
    }

    /// Nothing more is written. In memory, the file can only become smaller from now on: a hypervisor that was taken
    /// over makes no room of it for itself.
    pub(crate) fn finish(&self) -> io::Result<()> {
        if !self.temporary {
            rustix::fs::fcntl_add_seals(&self.file, SealFlags::GROW | SealFlags::SEAL)?;
        }
        Ok(())
    }

    /// A file in `directory` that is deleted with this value, or by [`sweep`] if this process is killed before.
    pub(crate) fn temporary(directory: &Path, label: &str) -> io::Result<Self> {
        let mut attempt = 0u32;
        loop {
            let name = directory.join(format!("hermit-wasm-{}-{attempt}-{label}", std::process::id()));
            match File::options()
                .write(true)
                .read(true)
                .create_new(true)
                // Whatever the umask: it may hold the guest's environment.
                .mode(0o600)
                .open(&name)
            {
                Ok(file) => {
                    // The system releases the lock with this process, whatever ends it.
                    let _ = rustix::fs::flock(&file, FlockOperation::LockExclusive);
                    if file.metadata()?.nlink() > 0 {
                        return Ok(Self {
                            name,
                            file,
                            temporary: true,
                        });
                    }
                    // Somebody's sweep came between.
                    attempt = attempt.saturating_add(1);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives a temporary file this name for good, in place of what has it.
    pub(crate) fn rename(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.name, path)?;
        self.temporary = false;
        Ok(())
    }

    /// The file itself.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives its memory back to the system although a hypervisor may still have it open. One that reads it again ends.
    pub(crate) fn give_back(self) {
        // A file that cannot be cut takes its memory until the run's end, and nothing else is wrong.
        let _ = self.file.set_len(0);
    }

    /// The descriptor that the hypervisor must inherit to find the file by its name.
    pub(crate) fn inherit(&self) -> Option<BorrowedFd<'_>> {
        (!self.temporary).then(|| self.file.as_fd())
    }

    /// Where the hypervisor must be let in to find the file by its name.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.temporary.then_some(self.name.as_path())
    }

    /// What to call it on the hypervisor's command line.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }
}

impl Drop for HostFile {
    fn drop(&mut self) {
        if self.temporary {
            // Nothing can be done about a file that somebody else has deleted.
            let _ = fs::remove_file(&self.name);
        }
    }
}

/// Deletes this user's temporary files of this label in `directory` whose processes were killed before they could.
pub(crate) fn sweep(directory: &Path, label: &str) {
    let end = format!("-{label}");
    let own = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("hermit-wasm-") || !name.ends_with(&end) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(entry.path(), flags, Mode::empty()).map(File::from) else {
            continue;
        };
        let is_own = file
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.uid() == own);
        if is_own && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Where files lie best that a program opens by their names and nobody else should see: a directory of this user's
/// alone, in memory, or else the usual one for temporary files.
pub(crate) fn private_directory() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| {
            path.is_absolute()
                && path.metadata().is_ok_and(|metadata| {
                    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
                    metadata.is_dir() && is_own && metadata.mode() & 0o077 == 0
                })
        })
        .unwrap_or_else(std::env::temp_dir)
}

/// The name under which a process that has the same descriptor finds `file`; `None` without /proc.
pub(crate) fn proc_name(file: &File) -> Option<PathBuf> {
    let name = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    // Opening it by that name is what the hypervisor will do.
    File::open(&name).ok()?;
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
    // This user's alone, whatever the umask: others' rights to write there would be rights in what is kept.
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let temporary = HostFile::temporary(directory, "new")?;
    temporary.file().write_all(bytes)?;
    temporary.rename(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jail::{self, Confinement};
    use crate::spec::deadline::Deadline;
    use std::process::{Command, Stdio};

    fn scratch(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("hermit-wasm-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    /// What a child reads under the name of `file`.
    fn seen_by_a_child(file: &HostFile) -> Vec<u8> {
        let inherit: Vec<_> = file.inherit().into_iter().collect();
        let arguments = [file.name().as_os_str().to_owned()];
        let confinement = file
            .path()
            .into_iter()
            .fold(Confinement::default(), Confinement::read);
        jail::output(
            Path::new("/bin/cat"),
            &arguments,
            &inherit,
            &confinement,
            &Deadline::never(),
            std::time::Duration::from_secs(60),
        )
        .unwrap()
        .unwrap()
    }

    #[test]
    fn a_child_reads_what_was_handed_over() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let file = HostFile::from_bytes("test", &bytes).unwrap();
        assert!(file.name().starts_with("/proc/self/fd"));
        // Twice: each opening starts at the beginning.
        assert!(seen_by_a_child(&file) == bytes);
        assert!(seen_by_a_child(&file) == bytes);
    }

    #[test]
    fn a_child_that_is_not_given_the_file_does_not_see_it() {
        let file = HostFile::from_bytes("test", b"secret").unwrap();
        let status = Command::new("cat")
            .arg(file.name())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(!status.unwrap().success());
    }

    #[test]
    fn what_is_given_back_takes_no_memory() {
        use std::os::unix::fs::MetadataExt as _;
        let file = HostFile::from_bytes("test", &vec![1; 1 << 20]).unwrap();
        let other = file.file().try_clone().unwrap();
        assert!(other.metadata().unwrap().blocks() > 0);
        file.give_back();
        assert_eq!(other.metadata().unwrap().blocks(), 0);
    }

    #[test]
    fn a_temporary_file_is_deleted() {
        let directory = scratch("temporary");
        let first = HostFile::temporary(&directory, "label").unwrap();
        let second = HostFile::temporary(&directory, "label").unwrap();
        first.file().write_all(b"one").unwrap();
        second.file().write_all(b"two").unwrap();
        assert_eq!(seen_by_a_child(&first), b"one");
        assert_eq!(seen_by_a_child(&second), b"two");
        drop((first, second));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_nothing_else() {
        let directory = scratch("sweep");
        let alive = HostFile::temporary(&directory, "run.spec").unwrap();
        let other = HostFile::temporary(&directory, "module.wasm").unwrap();
        for name in ["hermit-wasm-1-0-run.spec", "somebody-else-s-run.spec"] {
            fs::write(directory.join(name), "left").unwrap();
        }
        std::os::unix::fs::symlink("/dev/null", directory.join("hermit-wasm-1-1-run.spec")).unwrap();
        sweep(&directory, "run.spec");
        for kept in [
            alive.name(),
            other.name(),
            &directory.join("somebody-else-s-run.spec"),
        ] {
            assert!(kept.exists(), "{}", kept.display());
        }
        assert!(!directory.join("hermit-wasm-1-0-run.spec").exists());
        assert!(directory.join("hermit-wasm-1-1-run.spec").is_symlink());
        // Dropped without its end, as after SIGKILL.
        let name = alive.name().to_path_buf();
        let HostFile { file, .. } = &alive;
        rustix::fs::flock(file, FlockOperation::Unlock).unwrap();
        sweep(&directory, "run.spec");
        assert!(!name.exists());
        drop((alive, other));
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
