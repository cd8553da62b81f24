//! What was compiled before: a directory of this user's alone.
//!
//! `<cache>/hermit-wasm/wasmtime-<version>/` has mode 0700, and its owner is checked; no link in it is followed. It has
//!
//! - `key`: 32 random bytes, mode 0600: whoever has it can make code that is taken;
//! - `NAME.cwasm`: code, whose trailer holds a keyed digest of the whole file. [`name`] is the module's digest, the
//!   target and the number of the settings;
//! - `NAME.*.new`: code that is being written;
//! - `NAME.lock`: held by whoever compiles it; its time of change is that of the last use;
//! - `NAME.failed`: why it cannot be compiled; worth a day;
//! - `NAME.refused-HOST`: why this host's machines do not take it; as long;
//! - `*.digest`: digests that were taken of large modules ([`index`]).
//!
//! What is not as it should be is removed, and compiled again.
//!
//! - `digest`: digests of modules and of code.
//! - `directory`: the directory and its key.
//! - `evict`: the bound.
//! - `index`: digests that were taken before.

mod digest;
mod directory;
mod evict;
mod index;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use aot_config::WASMTIME_VERSION;
use aot_config::compatibility::COMPATIBILITY;
use aot_config::trailer::{DIGEST, Sealer, Trailer};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use rustix::io::Errno;

use super::code::tail;
use super::{Code, Target};
use crate::error::Error;
use crate::host::files;
use crate::host::shown;
use crate::spec::deadline::Deadline;
use crate::spec::module::Module;
pub(crate) use digest::digest;
pub(super) use digest::{Digest, seal};
use directory::{DIRECTORY, is_ours, is_own, is_unfit, ours_alone, subdirectory, would_be_ours};
pub(super) use directory::{new_key, open_file};

/// A cache that is open.
#[derive(Debug)]
pub(super) struct Cache {
    directory: OwnedFd,
    path: PathBuf,
    /// Of this compiler's settings: made of the file's.
    key: [u8; DIGEST],
    /// The same for notes of digests.
    note_key: [u8; DIGEST],
}

/// What is kept under a name.
#[derive(Debug)]
pub(super) enum Found {
    /// Code.
    Code(Code),
    /// Something that cannot be used, and was removed: why.
    Refused(String),
    Nothing,
}

/// The right to compile what has a name. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Who has the right to compile what has a name.
#[derive(Debug)]
pub(super) enum Right {
    /// This process.
    Ours(#[expect(dead_code, reason = "it is held")] Lock),
    /// Another process, which may take long, or be stopped.
    Others,
    /// This file system has no locks: something may be compiled twice.
    Nobodys,
}

/// How long a failure is believed.
const FAILURE: Duration = Duration::from_secs(24 * 60 * 60);

/// A use is noted if the last one is longer ago than this.
const USE: Duration = Duration::from_secs(60 * 60);

/// Bytes of a failure that are read.
const LONGEST_FAILURE: u64 = 4096;

/// The name of a module's code.
pub(super) fn name(digest: &[u8; DIGEST], target: Target) -> String {
    let digest = blake3::Hash::from_bytes(*digest).to_hex();
    let fuel = if target.options.fuel { "-fuel" } else { "" };
    let deterministic = if target.options.deterministic {
        "-deterministic"
    } else {
        ""
    };
    let (arch, level) = (target.level.arch().name(), target.level.name());
    format!("{digest}-{arch}-{level}{fuel}{deterministic}-{COMPATIBILITY:016x}")
}

/// What stands between a name and a host's.
const REFUSED: &str = ".refused-";

/// The file that says why the machines of this host do not take the code of this name.
fn refusal(name: &str) -> String {
    let host = blake3::hash(rustix::system::uname().nodename().to_bytes()).to_hex();
    format!("{name}{REFUSED}{}", host.get(..16).unwrap_or_default())
}

/// A name for code that is not whole yet: two processes have the same lock where the file system has none.
fn temporary(name: &str) -> io::Result<String> {
    let [a, b, c, d, ..] = directory::random()?;
    let random = u32::from_le_bytes([a, b, c, d]);
    Ok(format!("{name}.{}-{random:08x}.new", std::process::id()))
}

impl Cache {
    /// This user's; why there is none.
    pub(super) fn open() -> Result<Self, String> {
        let path = files::cache_directory().ok_or("neither XDG_CACHE_HOME nor HOME names a directory")?;
        Self::at(&path)
    }

    /// The one in the directory `path`, which is made with what lies above it.
    pub(super) fn at(path: &Path) -> Result<Self, String> {
        let text = |error: io::Error| format!("'{}': {error}", shown::path(path));
        let above = path.parent().unwrap_or(Path::new("/"));
        would_be_ours(above).map_err(text)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(above)
            .map_err(text)?;
        // Links on the way to it are the user's own.
        let above = rustix::fs::open(above, DIRECTORY, Mode::empty()).map_err(io::Error::from);
        let above = is_ours(above.map_err(text)?, 0).map_err(text)?;
        let name = path.file_name().unwrap_or_default();
        let ours = ours_alone(subdirectory(&above, Path::new(name)).map_err(text)?).map_err(text)?;
        let version = format!("wasmtime-{WASMTIME_VERSION}");
        let directory = subdirectory(&ours, Path::new(&version)).map_err(text)?;
        let directory = is_ours(directory, 0o077).map_err(text)?;
        let mut this = Self {
            directory,
            path: path.join(version),
            key: [0; DIGEST],
            note_key: [0; DIGEST],
        };
        let file_key = this.file_key().map_err(text)?;
        // Code that other settings made bears another digest.
        this.key = *blake3::keyed_hash(&file_key, &COMPATIBILITY.to_le_bytes()).as_bytes();
        // No note can be taken for a trailer, whatever is in it.
        this.note_key = blake3::derive_key("hermit-wasm: notes of modules' digests", &this.key);
        Ok(this)
    }

    /// The key that code is sealed with.
    pub(super) fn key(&self) -> &[u8; DIGEST] {
        &self.key
    }

    /// Whether something can be kept; why not.
    pub(super) fn is_writable(&self) -> Result<(), String> {
        rustix::fs::accessat(
            &self.directory,
            ".",
            rustix::fs::Access::WRITE_OK,
            AtFlags::EACCESS,
        )
        .map_err(|error| format!("'{}' cannot be written: {error}", shown::path(&self.path)))
    }

    /// A file in it, if it is a file of this user's that nobody else may change.
    fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.directory, name, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        match metadata.is_file() && is_own(&metadata) && metadata.mode() & 0o022 == 0 {
            true => Ok(file),
            false => Err(io::Error::other(
                "it is not a file that this user alone can change",
            )),
        }
    }

    /// A new file in it, in place of what had the name.
    fn make_file(&self, name: &str) -> io::Result<File> {
        self.remove(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(rustix::fs::openat(&self.directory, name, flags, mode)?.into())
    }

    fn remove(&self, name: &str) {
        // What cannot be removed stays, and is refused again.
        let _ = rustix::fs::unlinkat(&self.directory, name, AtFlags::empty());
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.directory, from, &self.directory, to)?)
    }

    /// The right to compile what has this name, as soon as nobody else has it. `waiting` is told now and then that
    /// somebody has it.
    pub(super) fn lock(
        &self,
        name: &str,
        deadline: &Deadline,
        waiting: &mut dyn FnMut(),
    ) -> Result<Right, Error> {
        /// How often it is asked for.
        const MOMENT: Duration = Duration::from_millis(20);
        loop {
            deadline.check()?;
            match self.right(name) {
                Right::Others => {
                    waiting();
                    deadline.wait(None, Some(Instant::now() + MOMENT))?;
                }
                right => return Ok(right),
            }
        }
    }

    /// The same as it is now.
    pub(super) fn right(&self, name: &str) -> Right {
        loop {
            match self.attempt(name) {
                Ok(Some(lock)) => return Right::Ours(lock),
                // Somebody has removed the file meanwhile.
                Ok(None) => {}
                Err(Errno::WOULDBLOCK) => return Right::Others,
                Err(_) => return Right::Nobodys,
            }
        }
    }

    /// The right, if it can be had.
    pub(super) fn try_lock(&self, name: &str) -> Option<Lock> {
        self.attempt(name).ok().flatten()
    }

    /// `None`: somebody has removed the file meanwhile.
    fn attempt(&self, name: &str) -> Result<Option<Lock>, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.directory, format!("{name}.lock"), flags, mode)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        let there = rustix::fs::fstat(&file)?.st_nlink > 0;
        Ok(there.then(|| Lock { _file: file.into() }))
    }

    /// The code of this name: of this module, for this target. That it was sealed here shows when it is handed over.
    pub(super) fn find(&self, name: &str, source: &[u8; DIGEST], target: Target) -> Found {
        let entry = format!("{name}.cwasm");
        let reason = match self.open_file(&entry) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            // Nothing is wrong with it.
            Err(error) if !is_unfit(&error) => return Found::Nothing,
            Err(error) => error.to_string(),
            Ok(file) => match self.check(file, &entry, source, target) {
                Ok(code) => {
                    self.note_use(name);
                    return Found::Code(code);
                }
                Err(reason) => reason,
            },
        };
        self.remove(&entry);
        Found::Refused(format!("the code that was kept is refused: {reason}"))
    }

    fn check(&self, file: File, entry: &str, source: &[u8; DIGEST], target: Target) -> Result<Code, String> {
        let read = file.metadata().and_then(|metadata| {
            let length = metadata.len();
            Ok((tail(&file, length)?, length))
        });
        let (tail, length) = read.map_err(|error| error.to_string())?;
        let trailer = Trailer::parse(&tail, length).map_err(|error| error.to_string())?;
        let found = Target {
            level: trailer.level,
            options: trailer.options,
        };
        if (&trailer.source, found) != (source, target) {
            return Err("it was compiled from another module, or for another processor".to_string());
        }
        Ok(Code {
            file: file.into(),
            length,
            trailer,
            path: self.path.join(entry),
            sealer: Some(Box::new(self.sealer())),
        })
    }

    /// The code of this name, if every byte of it is as it was kept; where it is not, it is removed.
    pub(super) fn find_whole(
        &self,
        name: &str,
        source: &[u8; DIGEST],
        target: Target,
        deadline: &Deadline,
    ) -> Result<Option<Code>, Error> {
        let Found::Code(code) = self.find(name, source, target) else {
            return Ok(None);
        };
        if code.is_whole(deadline)? {
            return Ok(Some(code));
        }
        self.forget(name);
        Ok(None)
    }

    /// Removes the code of this name.
    pub(super) fn forget(&self, name: &str) {
        self.remove(&format!("{name}.cwasm"));
    }

    /// For whoever looks at the bytes of code that this cache has sealed, or is to have.
    pub(super) fn sealer(&self) -> Sealer {
        Sealer::new(&self.key)
    }

    /// The digest of a module.
    pub(super) fn digest(&self, module: &Module, deadline: &Deadline) -> Result<[u8; DIGEST], Error> {
        let known = module.file().filter(|(file, _)| index::tells_changes(&**file));
        let stamp = known.and_then(|(file, length)| self.index().stamp(file, length));
        if let Some(digest) = stamp.as_ref().and_then(|stamp| self.index().find(stamp)) {
            return Ok(digest);
        }
        let digest = digest(module, deadline)?;
        if let (Some((file, _)), Some(stamp)) = (known, stamp) {
            self.index().note(file, &stamp, &digest);
        }
        Ok(digest)
    }

    fn index(&self) -> index::Index<'_> {
        index::Index(self, SystemTime::now())
    }

    /// Keeps code under this name, for whoever has its lock.
    pub(super) fn keep(&self, name: &str, code: &Code) -> io::Result<()> {
        if code.length > evict::BOUND {
            return Err(io::Error::other("it is longer than all that is kept may be"));
        }
        let (new, entry) = (temporary(name)?, format!("{name}.cwasm"));
        self.make_room(name, code.length);
        let mut file = self.make_file(&new)?;
        let kept = code.write_to(&mut file).and_then(|()| self.rename(&new, &entry));
        if kept.is_err() {
            self.remove(&new);
        }
        self.remove(&format!("{name}.failed"));
        self.remove(&refusal(name));
        self.note_use(name);
        kept
    }

    /// Notes that what has this name was used: the time of its lock's file.
    fn note_use(&self, name: &str) {
        let lock = format!("{name}.lock");
        let long_ago = |status: rustix::fs::Stat| {
            let used =
                SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(status.st_mtime).unwrap_or(0));
            SystemTime::now()
                .duration_since(used)
                .map_or(true, |ago| ago > USE)
        };
        match rustix::fs::statat(&self.directory, &*lock, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) if !long_ago(status) => {}
            Ok(_) => {
                let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
                let times = Timestamps {
                    last_access: time(UTIME_OMIT),
                    last_modification: time(UTIME_NOW),
                };
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                let _ = rustix::fs::utimensat(&self.directory, &*lock, &times, flags);
            }
            // It is made.
            Err(_) => drop(self.try_lock(name)),
        }
    }

    /// Why what has this name could not be compiled, if it was tried not long ago.
    pub(super) fn failure(&self, name: &str, now: SystemTime) -> Option<String> {
        self.reason(&format!("{name}.failed"), now)
    }

    /// Why the machines of this host do not take what has this name, if that was seen not long ago.
    pub(super) fn refusal(&self, name: &str, now: SystemTime) -> Option<String> {
        self.reason(&refusal(name), now)
    }

    /// What stands in a file, if that is not old.
    fn reason(&self, file: &str, now: SystemTime) -> Option<String> {
        let file = self.open_file(file).ok()?;
        let tried = file.metadata().ok()?.modified().ok()?;
        // A clock that was put back makes it worthless too.
        if now.duration_since(tried).ok()? > FAILURE {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(LONGEST_FAILURE).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Notes why the machines of this host do not take the code of this name. Those of another host that has the same
    /// cache, and perhaps another processor, may.
    pub(super) fn note_refusal(&self, name: &str, reason: &str) {
        self.note(name, &refusal(name), reason);
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Notes why what has this name cannot be compiled.
    pub(super) fn note_failure(&self, name: &str, reason: &str) {
        self.note(name, &format!("{name}.failed"), reason);
    }

    fn note(&self, name: &str, file: &str, reason: &str) {
        self.make_room(name, 0);
        // Without it, it is tried again.
        let _ = self
            .make_file(file)
            .and_then(|mut file| file.write_all(reason.as_bytes()));
    }
}
