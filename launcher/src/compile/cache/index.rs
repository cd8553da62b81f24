//! Digests that were taken of large modules: reading 50 megabytes at each start would take longer than all else.
//!
//! A digest is believed as long as the file is what it was: device, number, length, and both times of change. It is
//! noted only if the file had been left alone for some time before it was read, since a change within the same tick of
//! the system's clock would leave no trace; and only on file systems that note every change ([`tells_changes`]). Each
//! note bears a keyed digest of its own.
//!
//! A module whose owner hides a change all the same gets the code of what it was before, and no other module does.
//! Whether code is what was sealed is never a matter of these notes: that is seen each time, of all its bytes.
//!
//! Small modules are read each time.

use std::fs::{File, Metadata};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use aot_config::trailer::DIGEST;
use rustix::fs::FsWord;

use super::Cache;

/// Files up to this are read each time: it takes half a millisecond.
const SMALL: u64 = 1 << 20;

/// Whether a file's times show every change of its bytes: on the usual file systems of a disk, also a change through a
/// mapping. In memory (tmpfs) that leaves no trace; clocks of other machines say nothing here; and a disk that can be
/// taken out is written elsewhere, by whatever clock.
pub(super) fn tells_changes(file: impl AsFd) -> bool {
    const EXT: FsWord = 0xef53;
    const XFS: FsWord = 0x5846_5342;
    const BTRFS: FsWord = 0x9123_683e;
    const F2FS: FsWord = 0xf2f5_2010;
    const ZFS: FsWord = 0x2fc1_2fc1;
    const OVERLAY: FsWord = 0x794c_7630;
    rustix::fs::fstatfs(file).is_ok_and(|stat| [EXT, XFS, BTRFS, F2FS, ZFS, OVERLAY].contains(&stat.f_type))
}

/// How long a file must have been left alone: longer than a tick of the clock of any file system.
const QUIET: Duration = Duration::from_secs(3);

/// The state of a file: what changes if its bytes do. Device, number, length, the times of change of bytes and of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp([i128; 7]);

/// A note: stamp, digest, and a keyed digest of both.
const NOTE: usize = 7 * 16 + DIGEST + DIGEST;

/// The notes of a cache, at this time.
#[derive(Debug)]
pub(super) struct Index<'a>(pub(super) &'a Cache, pub(super) SystemTime);

impl Index<'_> {
    /// The state of a file that is worth a note, if it is still of that length.
    pub(super) fn stamp(&self, file: &File, length: u64) -> Option<Stamp> {
        let stamp = Stamp::of(file).filter(|_| length > SMALL)?;
        (stamp.0[2] == i128::from(length)).then_some(stamp)
    }

    fn name(stamp: &Stamp) -> String {
        format!("{:x}-{:x}.digest", stamp.0[0], stamp.0[1])
    }

    /// The keyed digest of a note's beginning.
    fn proof(&self, bytes: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(&self.0.note_key, bytes)
    }

    /// The digest of a file in this state.
    pub(super) fn find(&self, stamp: &Stamp) -> Option<[u8; DIGEST]> {
        let mut note = [0; NOTE];
        let mut file = self.0.open_file(&Self::name(stamp)).ok()?;
        file.read_exact(&mut note).ok()?;
        let (bytes, proof) = note.split_last_chunk::<DIGEST>()?;
        let (state, digest) = bytes.split_last_chunk::<DIGEST>()?;
        // In constant time.
        (self.proof(bytes) == *proof && state == stamp.bytes()).then_some(*digest)
    }

    /// Notes the digest that was taken of `file` since it was in this state.
    pub(super) fn note(&self, file: &File, before: &Stamp, digest: &[u8; DIGEST]) {
        if Stamp::of(file).as_ref() != Some(before) || !before.is_quiet(self.1) {
            return;
        }
        let mut note = before.bytes();
        note.extend(digest);
        let proof = self.proof(&note);
        note.extend(proof.as_bytes());
        // Without it, the file is read again.
        let _ = self
            .0
            .make_file(&Self::name(before))
            .and_then(|mut file| file.write_all(&note));
    }
}

impl Stamp {
    /// Of a file as it is now.
    fn of(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok().filter(Metadata::is_file)?;
        Some(Self([
            metadata.dev().into(),
            metadata.ino().into(),
            metadata.len().into(),
            metadata.mtime().into(),
            metadata.mtime_nsec().into(),
            metadata.ctime().into(),
            metadata.ctime_nsec().into(),
        ]))
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|field| field.to_le_bytes()).collect()
    }

    /// Whether the file was left alone for some time before `now`.
    fn is_quiet(&self, now: SystemTime) -> bool {
        let [.., changed, _, status, _] = self.0;
        let last = u64::try_from(changed.max(status)).unwrap_or(u64::MAX);
        let last = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(last).saturating_add(QUIET));
        last.is_some_and(|last| last <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt as _;
    use std::thread;

    use super::*;

    #[test]
    fn a_file_is_quiet_some_time_after_its_last_change() {
        let at = |changed, status| Stamp([1, 2, 3, changed, 0, status, 0]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert!(at(97, 97).is_quiet(now));
        for (changed, status) in [(98, 1), (1, 98), (200, 1), (1, i128::MAX)] {
            assert!(!at(changed, status).is_quiet(now), "{changed} {status}");
        }
    }

    /// Large files are read once, and again as soon as anything about them differs.
    #[test]
    fn a_digest_is_believed_as_long_as_the_file_is_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let cache = |name: &str| Cache::at(&directory.path().join(name)).unwrap();
        let (cache, other) = (cache("one"), cache("two"));
        let path = directory.path().join("m.wasm");
        fs::write(&path, vec![0; 2 << 20]).unwrap();
        let file = File::open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        let later = SystemTime::now() + Duration::from_secs(10);
        let (now, then) = (Index(&cache, SystemTime::now()), Index(&cache, later));
        let stamp = now.stamp(&file, length).unwrap();
        assert_eq!(now.stamp(&file, length - 1), None);
        // Just written: another change might leave no trace.
        now.note(&file, &stamp, &[1; DIGEST]);
        assert_eq!(now.find(&stamp), None);
        then.note(&file, &stamp, &[1; DIGEST]);
        assert_eq!(then.find(&stamp), Some([1; DIGEST]));
        // One byte, with the time of its change put back.
        let modified = file.metadata().unwrap().modified().unwrap();
        thread::sleep(Duration::from_millis(20));
        let writer = File::options().write(true).open(&path).unwrap();
        writer.write_all_at(b"x", 1000).unwrap();
        writer.set_modified(modified).unwrap();
        let changed = then.stamp(&file, length).unwrap();
        assert_ne!(changed, stamp);
        assert_eq!(then.find(&changed), None);
        // A change while it was read.
        then.note(&file, &stamp, &[2; DIGEST]);
        assert_eq!(then.find(&changed), None);
        // A note that is damaged, or of another cache.
        then.note(&file, &changed, &[3; DIGEST]);
        assert_eq!(then.find(&changed), Some([3; DIGEST]));
        let note = fs::read_dir(&cache.path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|extension| extension == "digest"))
            .unwrap();
        let good = fs::read(&note).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x80;
            fs::write(&note, bad).unwrap();
            assert_eq!(then.find(&changed), None, "byte {at}");
        }
        fs::write(&note, &good).unwrap();
        assert_eq!(then.find(&changed), Some([3; DIGEST]));
        fs::copy(&note, other.path.join(note.file_name().unwrap())).unwrap();
        assert_eq!(Index(&other, later).find(&changed), None);
    }
}
