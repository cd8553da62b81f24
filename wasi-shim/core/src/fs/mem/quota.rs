//! How much of the machine's memory a RAM file system may take.
//!
//! Layer: file systems.

use alloc::rc::Rc;
use core::cell::Cell;

use crate::Errno;

/// The most that a RAM file system may hold. Whatever the limits, memory that runs out is NOSPC too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes for the data of files and the targets of symbolic links. Holes, and data that is still as it came
    /// from an archive, count nothing.
    pub bytes: u64,
    /// Names: files, directories, links of both kinds. A file that is open without a name counts too.
    pub entries: u64,
}

impl Limits {
    /// No limit but memory itself.
    pub const NONE: Self = Self {
        bytes: u64::MAX,
        entries: u64::MAX,
    };
}

/// What one or several RAM file systems may take together: clones share what is left of the limits.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: Rc<Cell<u64>>,
    entries: Rc<Cell<u64>>,
}

impl From<Limits> for Budget {
    fn from(limits: Limits) -> Self {
        Self {
            bytes: Rc::new(Cell::new(limits.bytes)),
            entries: Rc::new(Cell::new(limits.entries)),
        }
    }
}

impl Budget {
    /// The two counters of a file system on this budget: bytes and entries.
    pub(super) fn quotas(self) -> (Quota, Quota) {
        let quota = |pool| Quota { pool, used: 0 };
        (quota(self.bytes), quota(self.entries))
    }
}

/// One file system's use of a pool. What it has used goes back with it.
#[derive(Debug)]
pub(super) struct Quota {
    /// What is left, for all who share it.
    pool: Rc<Cell<u64>>,
    used: u64,
}

impl Quota {
    /// Takes `amount`, or nothing.
    pub(super) fn charge(&mut self, amount: u64) -> Result<(), Errno> {
        let left = self.left().checked_sub(amount).ok_or(Errno::NOSPC)?;
        self.pool.set(left);
        self.used = self.used.saturating_add(amount);
        Ok(())
    }

    /// Gives back what was taken.
    pub(super) fn refund(&mut self, amount: u64) {
        let amount = amount.min(self.used);
        self.pool.set(self.left().saturating_add(amount));
        self.used = self.used.saturating_sub(amount);
    }

    pub(super) fn left(&self) -> u64 {
        self.pool.get()
    }

    pub(super) const fn used(&self) -> u64 {
        self.used
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.refund(self.used);
    }
}
