//! The cache's bound: what was used longest ago makes room for what comes.

use std::io;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, Stat};

use super::{Cache, REFUSED};

/// What the cache may take on the disk, in bytes.
pub(super) const BOUND: u64 = 2 << 30;

/// Notes of digests that are kept.
const NOTES: usize = 1000;

/// What belongs to nothing else goes after this.
const ORPHANED: Duration = Duration::from_secs(24 * 60 * 60);

/// Who writes code does not pause for so long.
const WRITTEN: Duration = Duration::from_secs(10 * 60);

/// A file of the cache's.
struct Entry {
    /// Without its extension.
    name: String,
    length: u64,
    used: SystemTime,
}

impl Cache {
    /// Makes room for `length` bytes that come under `name`.
    pub(super) fn make_room(&self, name: &str, length: u64) {
        self.make_room_within(name, length, BOUND, NOTES, SystemTime::now());
    }

    /// The same with other bounds.
    pub(super) fn make_room_within(
        &self,
        name: &str,
        length: u64,
        bound: u64,
        notes: usize,
        now: SystemTime,
    ) {
        // What cannot be listed cannot be bounded, nor, most likely, be added to.
        let Ok(files) = self.files() else { return };
        let of = |extension: &str| -> Vec<Entry> {
            let mut entries: Vec<Entry> = files
                .iter()
                .filter_map(|(file, status)| {
                    let name = file.strip_suffix(extension)?.to_string();
                    let used = self
                        .modified(&format!("{name}.lock"))
                        .unwrap_or_else(|| modified(status));
                    Some(Entry {
                        name,
                        length: u64::try_from(status.st_size).unwrap_or(0),
                        used,
                    })
                })
                .collect();
            entries.sort_by_key(|entry| entry.used);
            entries
        };
        let codes = of(".cwasm");
        let unfinished = self.remove_unfinished(name, &of(".new"), now);
        let mut total = codes
            .iter()
            .filter(|code| code.name != name)
            .fold(length.saturating_add(unfinished), |total, code| {
                total.saturating_add(code.length)
            });
        for code in codes.iter().filter(|code| code.name != name) {
            if total <= bound {
                break;
            }
            // Whoever compiles it right now makes a new one.
            if let Some(_lock) = self.try_lock(&code.name) {
                self.remove(&format!("{}.cwasm", code.name));
                self.remove(&format!("{}.lock", code.name));
                total = total.saturating_sub(code.length);
            }
        }
        for note in of(".digest").iter().rev().skip(notes) {
            self.remove(&format!("{}.digest", note.name));
        }
        let old = |used: SystemTime| is_orphaned(used, now);
        for failure in of(".failed").iter().filter(|failure| old(failure.used)) {
            self.remove(&format!("{}.failed", failure.name));
        }
        for (refusal, status) in files.iter().filter(|(file, _)| file.contains(REFUSED)) {
            if old(modified(status)) {
                self.remove(refusal);
            }
        }
        for lock in of(".lock") {
            let belongs = codes.iter().any(|code| code.name == lock.name) || lock.name == name;
            if !belongs
                && old(lock.used)
                && let Some(_lock) = self.try_lock(&lock.name)
            {
                self.remove(&format!("{}.lock", lock.name));
            }
        }
    }

    /// Removes code that was not written to its end, by processes that were killed; the length of the rest, which
    /// others are writing. The caller may have the lock of `name`.
    fn remove_unfinished(&self, name: &str, files: &[Entry], now: SystemTime) -> u64 {
        let mut length = 0u64;
        for file in files {
            // Before the writer's own part of it.
            let code = file.name.rsplit_once('.').map_or(&*file.name, |(code, _)| code);
            let still = now.duration_since(file.used).is_ok_and(|ago| ago > WRITTEN);
            let left = match code == name {
                true => still,
                false => is_orphaned(file.used, now) || self.try_lock(code).is_some(),
            };
            match left {
                true => self.remove(&format!("{}.new", file.name)),
                false => length = length.saturating_add(file.length),
            }
        }
        length
    }

    /// Its files, but for those whose names are not ours.
    fn files(&self) -> io::Result<Vec<(String, Stat)>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = rustix::fs::openat(&self.directory, ".", flags, Mode::empty())?;
        let mut files = Vec::new();
        for entry in Dir::new(open)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            let status = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
            if let Ok(status) = status {
                files.push((name.to_string(), status));
            }
        }
        Ok(files)
    }

    fn modified(&self, name: &str) -> Option<SystemTime> {
        let status = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        Some(modified(&status.ok()?))
    }
}

fn is_orphaned(used: SystemTime, now: SystemTime) -> bool {
    now.duration_since(used).is_ok_and(|ago| ago > ORPHANED)
}

fn modified(status: &Stat) -> SystemTime {
    let seconds = u64::try_from(status.st_mtime).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
