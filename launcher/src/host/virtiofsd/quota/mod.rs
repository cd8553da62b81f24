//! `--dir HOST,quota=SIZE`: a directory on the host grows by so much and no more, whatever the machine does.
//!
//! The kernel asks the launcher before virtiofsd writes or makes anything ([`super::keeper`]). Each such call is
//! charged with the most that it can take. When that would be too much, the directory is measured again, and what the
//! calls really took counts. So a call that might go beyond the quota fails, with EDQUOT, and none goes beyond it.
//!
//! Layer: the account is arithmetic; what a call does is read from the caller's memory.

mod measure;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use self::measure::Use;
use crate::jail::ask::Question;

/// The most that virtiofsd writes by one call: it takes no larger request of FUSE's.
const LARGEST_WRITE: u64 = 1 << 20;

/// As many pieces a write has at most (IOV_MAX).
const MOST_PIECES: u64 = 1024;

/// What a directory may take, and what it takes at most now.
#[derive(Debug)]
struct Account {
    /// Bytes that it may take.
    limit: u64,
    /// Bytes that it takes at most.
    most: u64,
    /// Whether it may take less than that: calls were charged, or something was deleted.
    doubtful: bool,
}

impl Account {
    const fn new(now: u64, quota: u64) -> Self {
        Self {
            limit: now.saturating_add(quota),
            most: now,
            doubtful: false,
        }
    }

    /// Charges a call with its cost, if there is room for it. `measure` tells what the directory takes now, if it can.
    fn charge(&mut self, cost: u64, measure: impl FnOnce() -> Option<Use>) -> bool {
        if !self.has_room(cost) {
            if !self.doubtful {
                return false;
            }
            let Some(now) = measure() else {
                return false;
            };
            self.most = now.bytes;
            self.doubtful = now.deleted;
            if !self.has_room(cost) {
                return false;
            }
        }
        self.most = self.most.saturating_add(cost);
        self.doubtful = true;
        true
    }

    fn has_room(&self, cost: u64) -> bool {
        self.most.saturating_add(cost) <= self.limit
    }

    /// Something may have been deleted, or is about to be.
    const fn freed(&mut self) {
        self.doubtful = true;
    }
}

/// What a call does to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// Writes so many bytes.
    Bytes(u64),
    /// Writes what this list of so many pieces in the caller's memory says.
    Pieces(u64, u64),
    /// Makes a name, or a file's end elsewhere in its block.
    Name,
    /// Deletes only.
    Less,
}

/// What a call does, by its number and arguments; `flags` are those of a call that opens.
fn effect(question: &Question, flags: Option<u64>) -> Effect {
    let [first, second, third, fourth, fifth, _] = question.arguments;
    match question.call {
        _ if flags.is_some_and(|flags| !creates(flags)) => Effect::Less,
        libc::SYS_ftruncate if size(question.thread, first).is_some_and(|size| second <= size) => {
            Effect::Less
        }
        libc::SYS_pwrite64 => Effect::Bytes(third),
        libc::SYS_pwritev | libc::SYS_pwritev2 => Effect::Pieces(second, third),
        libc::SYS_copy_file_range => Effect::Bytes(fifth),
        // Some of its modes give room back, some move what is there.
        libc::SYS_fallocate => Effect::Bytes(fourth),
        libc::SYS_unlinkat => Effect::Less,
        _ => Effect::Name,
    }
}

/// Whether flags for opening may make a file.
pub(super) fn creates(flags: u64) -> bool {
    // The bit that O_TMPFILE has more than O_DIRECTORY.
    let bits = libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY);
    flags & u64::from(bits.cast_unsigned()) != 0
}

/// How large a file is that a thread has open.
fn size(thread: u32, descriptor: u64) -> Option<u64> {
    let about = rustix::fs::stat(format!("/proc/{thread}/fd/{descriptor}")).ok()?;
    u64::try_from(about.st_size).ok()
}

/// The most that `bytes` written at once can take: the blocks that they touch, and what the file system needs to find
/// them again.
const fn most_for(bytes: u64, unit: u64) -> u64 {
    let blocks = bytes.div_ceil(unit).saturating_add(2);
    blocks.saturating_mul(unit).saturating_add(bytes / 64)
}

/// A new name: itself, a block more of its directory, and of the file system's own lists.
const fn most_for_a_name(unit: u64) -> u64 {
    unit.saturating_mul(3).saturating_add(measure::NAME)
}

/// One directory's quota.
#[derive(Debug)]
pub(super) struct Quota {
    directory: PathBuf,
    unit: u64,
    account: Account,
    met: Arc<AtomicBool>,
}

impl Quota {
    /// Measures the directory, which may grow by `quota` from now on.
    pub(super) fn new(directory: &Path, quota: u64) -> io::Result<Self> {
        Ok(Self {
            directory: directory.to_path_buf(),
            unit: measure::unit(directory)?,
            account: Account::new(measure::at_least(directory)?.bytes, quota),
            met: Arc::default(),
        })
    }

    /// Becomes true when a call was refused.
    pub(super) fn met(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.met)
    }

    /// Whether there is room for a call.
    pub(super) fn judge(&mut self, question: &Question, flags: Option<u64>) -> Result<(), Errno> {
        let effect = effect(question, flags);
        let unit = self.unit;
        let cost = match effect {
            Effect::Bytes(bytes) => most_for(bytes, unit),
            Effect::Pieces(list, pieces) => most_for(length(question.thread, list, pieces), unit),
            Effect::Name => most_for_a_name(unit),
            Effect::Less => {
                self.account.freed();
                return Ok(());
            }
        };
        let directory = &self.directory;
        let measured = || measure::of(directory, Some(question.thread)).ok();
        let room = self.account.charge(cost, measured);
        // Renaming, opening and changing sizes may delete, whether they were let or not.
        self.account.doubtful |= effect == Effect::Name && room;
        if room {
            return Ok(());
        }
        self.met.store(true, Ordering::Relaxed);
        Err(Errno::DQUOT)
    }
}

/// How many bytes a list of pieces in a thread's memory has. Nothing can be written into that memory by the machine.
fn length(thread: u32, list: u64, pieces: u64) -> u64 {
    const PIECE: usize = size_of::<libc::iovec>();
    let read = || {
        let mut bytes = vec![0; PIECE.checked_mul(usize::try_from(pieces.min(MOST_PIECES)).ok()?)?];
        let memory = File::open(format!("/proc/{thread}/mem")).ok()?;
        memory.read_exact_at(&mut bytes, list).ok()?;
        let lengths = bytes.chunks_exact(PIECE).map(|piece| {
            let length = piece.get(PIECE / 2..).and_then(|length| length.first_chunk());
            length.map_or(u64::MAX, |length| u64::from_ne_bytes(*length))
        });
        Some(lengths.fold(0, u64::saturating_add))
    };
    // Where the system does not let this process look.
    read().unwrap_or(LARGEST_WRITE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_charges_the_worst_and_measures_when_that_is_too_much() {
        let takes = |bytes| {
            Some(Use {
                bytes,
                deleted: false,
            })
        };
        let mut account = Account::new(1000, 100);
        assert!(account.charge(60, || panic!("there is room")));
        // 60 were charged, and 10 taken.
        assert!(account.charge(60, || takes(1010)));
        assert!(!account.charge(60, || takes(1050)));
        // Nothing has happened since, so nothing is measured.
        assert!(!account.charge(60, || panic!("nothing has changed")));
        assert!(account.charge(50, || panic!("there is room")));
        account.freed();
        assert!(!account.charge(1, || None));
        assert!(account.charge(100, || takes(900)));
        assert!(!account.charge(u64::MAX, || takes(0)));
    }

    #[test]
    fn files_that_are_deleted_and_open_may_be_gone_the_next_time() {
        let mut account = Account::new(90, 10);
        account.freed();
        let deleted = || {
            Some(Use {
                bytes: 90,
                deleted: true,
            })
        };
        assert!(!account.charge(20, deleted));
        assert!(!account.charge(20, deleted));
        assert!(account.charge(20, || Some(Use::default())));
    }

    #[test]
    fn the_most_that_a_call_takes_is_never_less_than_what_it_writes() {
        for bytes in [0, 1, 4096, 4097, 1 << 20, u64::MAX] {
            assert!(most_for(bytes, 4096) >= bytes);
        }
        assert_eq!(most_for(1, 4096), 3 * 4096);
        assert!(most_for_a_name(4096) > measure::NAME);
    }

    #[test]
    fn what_takes_no_room_is_told_from_what_does() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100).unwrap();
        let descriptor = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&file)).unwrap();
        for (call, arguments, opens, expected) in [
            (libc::SYS_ftruncate, [descriptor, 100, 0], None, Effect::Less),
            (libc::SYS_ftruncate, [descriptor, 101, 0], None, Effect::Name),
            (libc::SYS_openat, [0; 3], Some(libc::O_TRUNC), Effect::Less),
            (
                libc::SYS_openat,
                [0; 3],
                Some(libc::O_TRUNC | libc::O_CREAT),
                Effect::Name,
            ),
            (libc::SYS_openat2, [0; 3], Some(libc::O_TMPFILE), Effect::Name),
            (libc::SYS_unlinkat, [0; 3], None, Effect::Less),
            (libc::SYS_pwrite64, [0, 0, 7], None, Effect::Bytes(7)),
            (libc::SYS_pwritev2, [0, 7, 8], None, Effect::Pieces(7, 8)),
            (libc::SYS_renameat2, [0; 3], None, Effect::Name),
        ] {
            let [first, second, third] = arguments;
            let question = Question::new(std::process::id(), call, [first, second, third, 0, 0, 0]);
            let flags = opens.map(|flags| u64::from(flags.cast_unsigned()));
            assert_eq!(effect(&question, flags), expected, "{call}");
        }
    }

    #[test]
    fn pieces_are_read_from_the_callers_memory() {
        let pieces = [[0usize, 100], [0, 23]];
        let list = u64::try_from(pieces.as_ptr().expose_provenance()).unwrap();
        assert_eq!(length(std::process::id(), list, 2), 123);
        // Where nothing can be read, the worst is assumed.
        assert_eq!(length(std::process::id(), 8, 2), LARGEST_WRITE);
        assert_eq!(length(0, list, 2), LARGEST_WRITE);
    }
}
