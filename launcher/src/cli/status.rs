//! `--status-file` and `--status-fd`: where the report of a run goes.
//!
//! The place is opened before anything starts, so that a run is not made in vain, and out of the guest's reach: it is
//! not one of the guest's own streams, and a file is replaced in one step when the machine has gone.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hermit_wasm_vm::host::{inherited, shown};
use hermit_wasm_vm::{Error, Report};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::run::usage;
use crate::stderr;

/// Where the report goes.
#[derive(Debug)]
pub(super) struct Status {
    /// As the user called it.
    name: String,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// A regular file, or none yet, of this name in this directory.
    Replaced(OwnedFd, OsString),
    /// A pipe, a terminal, a descriptor: written to at the end.
    Written(File),
}

/// How long to wait for the reader of a FIFO to open it.
const PATIENCE: Duration = Duration::from_secs(2);

impl Status {
    /// The file `path`, which must not lie in a `shared` directory: the guest may change those. A regular file says
    /// from now on that the run is unfinished.
    pub(super) fn file(path: &Path, shared: &[PathBuf]) -> Result<Self, Error> {
        let name = format!("--status-file: '{}'", shown::path(path));
        if let Some(directory) = shared.iter().find(|directory| leads_into(path, directory)) {
            return Err(usage(format!(
                "{name} lies in '{}', where the guest could move it away and write a status of its own; name a file \
                 elsewhere",
                shown::path(directory)
            )));
        }
        let cannot = |error: io::Error| usage(format!("{name} cannot be written: {error}"));
        // What is there; a link is followed, since /dev/stdout and /proc/self/fd/N are some.
        let there = match rustix::fs::stat(path) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            // Other users' links in /tmp among others, which the system does not follow.
            Err(error) => return Err(cannot(error.into())),
        };
        let is_file = there.is_none_or(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        if let Some(stat) = there {
            refuse_the_guests(&name, &stat)?;
        }
        let target = if is_file {
            if is_anothers_link(path) {
                return Err(usage(format!(
                    "{name} is a link that another user has made; name the file that it leads to"
                )));
            }
            // Links are resolved once, and the file's name is looked up in this directory for good.
            let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
            let (directory, file) = split(&path).ok_or_else(|| cannot(io::ErrorKind::IsADirectory.into()))?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory =
                rustix::fs::open(&directory, flags, Mode::empty()).map_err(|error| cannot(error.into()))?;
            let target = Target::Replaced(directory, file);
            target.put(&Report::unfinished_json()).map_err(cannot)?;
            target
        } else {
            Target::Written(open(path).map_err(cannot)?)
        };
        Ok(Self { name, target })
    }

    /// The descriptor that this program was started with.
    pub(super) fn descriptor(number: u16) -> Result<Self, Error> {
        let name = format!("--status-fd: descriptor {number}");
        let copy = inherited::writable(number).map_err(|_| {
            usage(format!(
                "{name} is not open for writing; a shell opens it by {number}>FILE"
            ))
        })?;
        let stat =
            rustix::fs::fstat(&copy).map_err(|error| usage(format!("{name}: {}", io::Error::from(error))))?;
        refuse_the_guests(&name, &stat)?;
        Ok(Self {
            name,
            target: Target::Written(copy.into()),
        })
    }

    /// Writes the report. Where that fails, it is said; the run is over anyway.
    pub(super) fn write(&self, report: &Report) {
        if let Err(error) = self.target.put(&report.to_json()) {
            stderr::say(&format!("{} cannot be written: {error}", self.name));
        }
    }
}

/// Opens the file that a recording goes to. The guest must not reach it either.
pub(super) fn recording(path: &Path, shared: &[PathBuf]) -> Result<File, Error> {
    let name = format!("--record: '{}'", shown::path(path));
    if let Some(directory) = shared.iter().find(|directory| leads_into(path, directory)) {
        return Err(usage(format!(
            "{name} lies in '{}', where the guest could change it; name a file elsewhere",
            shown::path(directory)
        )));
    }
    if is_anothers_link(path) {
        return Err(usage(format!(
            "{name} is a link that another user has made; name the file that it leads to"
        )));
    }
    let cannot = |error: io::Error| usage(format!("{name} cannot be written: {error}"));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let file =
        rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|error| cannot(error.into()))?;
    let stat = rustix::fs::fstat(&file).map_err(|error| cannot(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(cannot(io::Error::other("it is no regular file")));
    }
    refuse_the_guests(&name, &stat)?;
    keep_private(&file, &stat).map_err(|why| usage(format!("{name} {why}; name a new file")))?;
    Ok(file.into())
}

/// Makes a file that is there already one that this user alone can open, or says why it is none.
fn keep_private(file: &OwnedFd, about: &rustix::fs::Stat) -> Result<(), String> {
    if about.st_uid != rustix::process::geteuid().as_raw() {
        return Err("is another user's, who could read the recording".into());
    }
    if about.st_nlink > 1 {
        return Err("has other names (hard links), which may be anybody's".into());
    }
    rustix::fs::fchmod(file, Mode::RUSR | Mode::WUSR)
        .map_err(|error| format!("cannot be made this user's alone: {}", io::Error::from(error)))
}

/// Refuses the file or pipe that is one of the guest's streams: there, the guest could write the report.
fn refuse_the_guests(name: &str, status: &rustix::fs::Stat) -> Result<(), Error> {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let streams = [
        (stdout.as_fd(), "standard output"),
        (stderr.as_fd(), "standard error"),
    ];
    let null = rustix::fs::stat("/dev/null").ok();
    let is = |other: &rustix::fs::Stat| (other.st_dev, other.st_ino) == (status.st_dev, status.st_ino);
    if null.as_ref().is_some_and(is) {
        return Ok(());
    }
    for (stream, called) in streams {
        if rustix::fs::fstat(stream).is_ok_and(|stat| is(&stat)) {
            return Err(usage(format!(
                "{name} is {called}, where the guest could write a status of its own; name another file or descriptor"
            )));
        }
    }
    Ok(())
}

/// Whether a path is a link of neither this user's nor root's. Resolved by hand, as here, links are followed where the
/// system would not do it (`fs.protected_symlinks`).
fn is_anothers_link(path: &Path) -> bool {
    let own = [rustix::process::geteuid().as_raw(), 0];
    rustix::fs::lstat(path).is_ok_and(|about| {
        FileType::from_raw_mode(about.st_mode) == FileType::Symlink && !own.contains(&about.st_uid)
    })
}

/// Whether a path goes through a directory or ends in it, with links and without.
fn leads_into(path: &Path, directory: &Path) -> bool {
    let (Ok(directory), Ok(path)) = (directory.canonicalize(), std::path::absolute(path)) else {
        return false;
    };
    let mut parts = path.ancestors();
    parts.any(|part| part.canonicalize().is_ok_and(|part| part.starts_with(&directory)))
}

/// The directory and the name in it.
fn split(path: &Path) -> Option<(PathBuf, OsString)> {
    let name = path.file_name()?.to_os_string();
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    Some((directory, name))
}

/// Opens what is no regular file. A FIFO must have a reader, or get one soon.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let start = Instant::now();
    loop {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => return Ok(file.into()),
            Err(Errno::NXIO) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            Err(Errno::NXIO) => return Err(io::Error::other("nobody reads it")),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Target {
    fn put(&self, text: &str) -> io::Result<()> {
        match self {
            Self::Written(file) => {
                let shared = file.as_fd().try_clone_to_owned()?;
                stderr::write_patiently(shared, text.as_bytes(), stderr::PATIENCE)
            }
            Self::Replaced(directory, name) => replace(directory, name, text),
        }
    }
}

/// Replaces a file in one step, for this user alone: who reads it sees all of the text, or what was there before.
fn replace(directory: &OwnedFd, name: &OsString, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for attempt in 0u32..1000 {
        let new = format!(".hermit-wasm-status-{}-{attempt}", std::process::id());
        let mut file = match rustix::fs::openat(directory, &new, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => File::from(file),
            Err(Errno::EXIST) => continue,
            Err(error) => return Err(error.into()),
        };
        let result = file
            .write_all(text.as_bytes())
            .and_then(|()| Ok(rustix::fs::renameat(directory, &new, directory, name)?));
        if result.is_err() {
            // Nothing can be done about what somebody else has deleted.
            let _ = rustix::fs::unlinkat(directory, &new, AtFlags::empty());
        }
        return result;
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_recording_is_this_users_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let new = directory.path().join("new");
        recording(&new, &[]).unwrap();
        assert_eq!(mode(&new), 0o600);
        let there = directory.path().join("there");
        fs::write(&there, "before").unwrap();
        fs::set_permissions(&there, Permissions::from_mode(0o666)).unwrap();
        recording(&there, &[]).unwrap();
        assert_eq!(mode(&there), 0o600);
    }

    #[test]
    fn a_recording_does_not_go_to_a_file_of_several_names() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
        fs::write(&one, "before").unwrap();
        fs::set_permissions(&one, Permissions::from_mode(0o644)).unwrap();
        fs::hard_link(&one, other).unwrap();
        let error = recording(&one, &[]).unwrap_err().to_string();
        assert!(error.contains("hard links"), "{error}");
        // It is refused as it was.
        assert_eq!(fs::read(&one).unwrap(), b"before");
        assert_eq!(fs::metadata(&one).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_recording_does_not_go_to_another_users_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        let file = OwnedFd::from(File::open(&path).unwrap());
        let mut about = rustix::fs::fstat(&file).unwrap();
        about.st_uid += 1;
        assert!(keep_private(&file, &about).unwrap_err().contains("another user"));
    }
}
