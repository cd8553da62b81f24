//! Digests that were taken of large modules: reading 50 megabytes at each start would take longer than all else.
//!
//! A digest is believed as long as the file is what it was: device, number, length, and both times of change. It is noted
//! only if the file had been left alone for some time before it was read, since a change within the same tick of the
//! system's clock would leave no trace; and only on file systems that note every change ([`tells_changes`]). Each note
//! bears a keyed digest of its own.
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
}
