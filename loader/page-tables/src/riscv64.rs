//! The entries of riscv64's page tables. Spec: The RISC-V Instruction Set Manual volume II, 12.4 (Sv39).

use crate::{Format, Rights};

const VALID: u64 = 1 << 0;
const READABLE: u64 = 1 << 1;
const WRITABLE: u64 = 1 << 2;
const EXECUTABLE: u64 = 1 << 3;
const GLOBAL: u64 = 1 << 5;
/// Set in advance, so that the processor need not, or trap where it does not.
const ACCESSED_DIRTY: u64 = 1 << 6 | 1 << 7;
/// Bits 10 to 53 are the address from bit 12 on.
const ADDRESS: u64 = ((1 << 44) - 1) << 10;

/// riscv64's three levels.
#[derive(Debug)]
pub struct Entries;

impl Format for Entries {
    const LEVELS: usize = 3;
    /// The lower half of 512 GiB: in the upper one, addresses begin with ones.
    const MAX_ADDRESS: u64 = 256 << 30;

    fn page(address: u64, rights: Rights, _large: bool) -> u64 {
        // That the entry lets something be done makes it a page's, whatever the level.
        let write = if rights.write { WRITABLE } else { 0 };
        let execute = if rights.execute { EXECUTABLE } else { 0 };
        address >> 2 | VALID | READABLE | GLOBAL | ACCESSED_DIRTY | write | execute
    }

    fn table(address: u64) -> u64 {
        address >> 2 | VALID
    }

    fn address(entry: u64) -> u64 {
        (entry & ADDRESS) << 2
    }

    fn page_rights(entry: u64, _level: usize) -> Option<Rights> {
        (entry & (READABLE | EXECUTABLE) != 0).then_some(Rights {
            write: entry & WRITABLE != 0,
            execute: entry & EXECUTABLE != 0,
        })
    }

    fn is_present(entry: u64) -> bool {
        entry & VALID != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_bit_by_bit() {
        let rights = |write, execute| Rights { write, execute };
        assert_eq!(
            Entries::page(0x8020_1000, rights(true, false), false),
            0x2008_04e7
        );
        assert_eq!(
            Entries::page(0x8020_1000, rights(false, true), false),
            0x2008_04eb
        );
        assert_eq!(
            Entries::page(0x8020_0000, rights(false, false), true),
            0x2008_00e3
        );
        assert_eq!(Entries::table(0x8020_1000), 0x2008_0401);
    }
}
