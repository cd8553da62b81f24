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
    /// What each of them may take for itself.
    each: Limits,
}

impl From<Limits> for Budget {
    fn from(limits: Limits) -> Self {
        Self {
            bytes: Rc::new(Cell::new(limits.bytes)),
            entries: Rc::new(Cell::new(limits.entries)),
            each: Limits::NONE,
        }
    }
}

impl Budget {
    /// The same, of which a file system takes no more than `limits` for itself.
    #[must_use]
    pub const fn each(mut self, limits: Limits) -> Self {
        self.each = limits;
        self
    }

    /// The two counters of a file system on this budget: bytes and entries.
    pub(super) fn quotas(self) -> (Quota, Quota) {
        let quota = |pool, most| Quota { pool, used: 0, most };
        (
            quota(self.bytes, self.each.bytes),
            quota(self.entries, self.each.entries),
        )
    }
}

/// One file system's use of a pool. What it has used goes back with it.
#[derive(Debug)]
pub(super) struct Quota {
    /// What is left, for all who share it.
    pool: Rc<Cell<u64>>,
    used: u64,
    /// The most that it may use.
    most: u64,
}

impl Quota {
    /// Takes `amount`, or nothing.
    pub(super) fn charge(&mut self, amount: u64) -> Result<(), Errno> {
        if amount > self.left() {
            return Err(Errno::NOSPC);
        }
        self.pool.set(self.pool.get().saturating_sub(amount));
        self.used = self.used.saturating_add(amount);
        Ok(())
    }

    /// Gives back what was taken.
    pub(super) fn refund(&mut self, amount: u64) {
        let amount = amount.min(self.used);
        self.pool.set(self.pool.get().saturating_add(amount));
        self.used = self.used.saturating_sub(amount);
    }

    pub(super) fn left(&self) -> u64 {
        self.pool.get().min(self.most.saturating_sub(self.used))
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
