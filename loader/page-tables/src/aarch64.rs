//! The entries of aarch64's page tables. Spec: Arm Architecture Reference Manual, D8.3 (VMSAv8-64 descriptors), with
//! pages of 4 KiB and addresses of 48 bits.
//!
//! The kernel (0.11.0, `src/arch/aarch64/mm/paging.rs`) reaches all tables through an entry of the root that names the
//! root itself. So an entry for a table must be right for a page too, and attributes must have the kernel's numbers.

use crate::{Format, Rights};

const VALID: u64 = 1 << 0;
/// A table, or a page of 4 KiB; without it, a larger page.
const TABLE_OR_SMALL: u64 = 1 << 1;
/// Attributes number 0 and 4; `entry.rs` says what they are.
const DEVICE: u64 = 0 << 2;
const NORMAL: u64 = 4 << 2;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
/// For EL1, where the kernel runs.
const EXECUTE_NEVER_KERNEL: u64 = 1 << 53;
/// For EL1 and for EL0.
const EXECUTE_NEVER: u64 = EXECUTE_NEVER_KERNEL | 1 << 54;
/// In a table's entry, of all pages behind it.
const TABLE_EXECUTE_NEVER_KERNEL: u64 = 1 << 59;
const TABLE_READ_ONLY: u64 = 1 << 62;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// The root's entry for itself.
const SELF_INDEX: usize = 511;

/// Below it are devices, from it on memory: QEMU's `virt`, `hw/arm/virt.c`.
const MEMORY_START: u64 = 1 << 30;

/// aarch64's four levels.
#[derive(Debug)]
pub struct Entries;

impl Format for Entries {
    const LEVELS: usize = 4;
    /// One second-level table reaches so far.
    const MAX_ADDRESS: u64 = 512 << 30;

    fn page(address: u64, rights: Rights, large: bool) -> u64 {
        let kind = if address < MEMORY_START { DEVICE } else { NORMAL };
        let size = if large { 0 } else { TABLE_OR_SMALL };
        let write = if rights.write { 0 } else { READ_ONLY };
        let execute = if rights.execute { 0 } else { EXECUTE_NEVER };
        address | VALID | size | kind | INNER_SHAREABLE | ACCESSED | write | execute
    }

    fn table(address: u64) -> u64 {
        address | VALID | TABLE_OR_SMALL | NORMAL | INNER_SHAREABLE | ACCESSED | EXECUTE_NEVER
    }

    fn address(entry: u64) -> u64 {
        entry & ADDRESS
    }

    fn page_rights(entry: u64, level: usize) -> Option<Rights> {
        let is_small = entry & TABLE_OR_SMALL != 0;
        (is_small == (level == 0)).then_some(Rights {
            write: entry & READ_ONLY == 0,
            execute: entry & EXECUTE_NEVER_KERNEL == 0,
        })
    }

    fn table_rights(entry: u64) -> Rights {
        Rights {
            write: entry & TABLE_READ_ONLY == 0,
            execute: entry & TABLE_EXECUTE_NEVER_KERNEL == 0,
        }
    }

    fn is_present(entry: u64) -> bool {
        entry & VALID != 0
    }

    fn extra(address: u64) -> Option<(usize, u64)> {
        Some((SELF_INDEX, Self::table(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_bit_by_bit() {
        let rights = |write, execute| Rights { write, execute };
        assert_eq!(
            Entries::page(0x4234_5000, rights(true, false), false),
            0x0060_0000_4234_5713
        );
        assert_eq!(
            Entries::page(0x4234_5000, rights(false, true), false),
            0x4234_5793
        );
        assert_eq!(
            Entries::page(0x0900_0000, rights(true, false), true),
            0x0060_0000_0900_0701,
            "a device"
        );
        assert_eq!(Entries::table(0x4234_5000), 0x0060_0000_4234_5713);
        assert_eq!(Entries::extra(0x4234_5000), Some((511, 0x0060_0000_4234_5713)));
    }
}
