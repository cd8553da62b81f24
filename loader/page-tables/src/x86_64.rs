//! The entries of x86_64's page tables. Spec: Intel SDM volume 3, 4.5 (4-level paging).

use crate::{Format, Rights};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
/// Set in advance, so that the CPU need not.
const ACCESSED_DIRTY: u64 = 1 << 5 | 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// x86_64's four levels.
#[derive(Debug)]
pub struct Entries;

impl Format for Entries {
    const LEVELS: usize = 4;
    /// One second-level table reaches so far.
    const MAX_ADDRESS: u64 = 512 << 30;

    fn page(address: u64, rights: Rights, large: bool) -> u64 {
        let write = if rights.write { WRITABLE } else { 0 };
        let execute = if rights.execute { 0 } else { NO_EXECUTE };
        let large = if large { LARGE } else { 0 };
        address | PRESENT | ACCESSED_DIRTY | write | execute | large
    }

    fn table(address: u64) -> u64 {
        address | PRESENT | WRITABLE | ACCESSED_DIRTY
    }

    fn address(entry: u64) -> u64 {
        entry & ADDRESS
    }

    fn page_rights(entry: u64, level: usize) -> Option<Rights> {
        (level == 0 || entry & LARGE != 0).then(|| Self::table_rights(entry))
    }

    fn table_rights(entry: u64) -> Rights {
        Rights {
            write: entry & WRITABLE != 0,
            execute: entry & NO_EXECUTE == 0,
        }
    }

    fn is_present(entry: u64) -> bool {
        entry & PRESENT != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_bit_by_bit() {
        let rights = |write, execute| Rights { write, execute };
        assert_eq!(
            Entries::page(0x1234_5000, rights(true, false), false),
            0x8000_0000_1234_5063
        );
        assert_eq!(
            Entries::page(0x1234_5000, rights(false, true), false),
            0x1234_5061
        );
        assert_eq!(
            Entries::page(0x1220_0000, rights(false, false), true),
            0x8000_0000_1220_00e1
        );
        assert_eq!(Entries::table(0x1234_5000), 0x1234_5063);
    }
}
