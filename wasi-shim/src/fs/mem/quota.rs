//! How much of the machine's memory a RAM file system may take.
//!
//! Layer: file systems.

use crate::abi::Errno;

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

/// A limit, and how much of it is used.
#[derive(Debug)]
pub(super) struct Quota {
    limit: u64,
    used: u64,
}

impl Quota {
    pub(super) const fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// Takes `amount`, or nothing.
    pub(super) fn charge(&mut self, amount: u64) -> Result<(), Errno> {
        if amount > self.left() {
            return Err(Errno::NOSPC);
        }
        self.used = self.used.saturating_add(amount);
        Ok(())
    }

    /// Gives back what was taken.
    pub(super) fn refund(&mut self, amount: u64) {
        self.used = self.used.saturating_sub(amount);
    }

    pub(super) const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    pub(super) const fn used(&self) -> u64 {
        self.used
    }
}
