//! Page tables of each architecture: how entries are written, and a walk through all that is mapped.
//!
//! Layer: pure. All three architectures have tables of 512 entries for pages of 4 KiB, 2 MiB and 1 GiB; they differ in
//! depth and in the bits of an entry, which each says in its [`Format`].

#![no_std]
#![forbid(unsafe_code)]

pub mod aarch64;
pub mod riscv64;
pub mod x86_64;

/// How many entries a table has.
pub const ENTRIES: usize = 512;

/// What may be done with a page that is mapped, by the kernel; reading always may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Whether it may be written to.
    pub write: bool,
    /// Whether it may be executed.
    pub execute: bool,
}

impl Rights {
    /// All of them.
    pub const ALL: Self = Self {
        write: true,
        execute: true,
    };

    /// What both allow.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            write: self.write && other.write,
            execute: self.execute && other.execute,
        }
    }
}

/// How an architecture writes its entries. A level counts from 0, that of the small pages.
pub trait Format {
    /// How many levels of tables there are: 4, or 3 with a root whose entries are for 1 GiB each.
    const LEVELS: usize;
    /// Where addresses end that can be mapped to themselves.
    const MAX_ADDRESS: u64;

    /// An entry for the page at `address`, a large one or a small one.
    fn page(address: u64, rights: Rights, large: bool) -> u64;
    /// An entry for the table at `address`.
    fn table(address: u64) -> u64;
    /// The address in an entry.
    fn address(entry: u64) -> u64;
    /// What may be done with the page of an entry of that level; [`None`] if it is for a table.
    fn page_rights(entry: u64, level: usize) -> Option<Rights>;
    /// What an entry for a table leaves of the rights of the pages behind it.
    fn table_rights(_entry: u64) -> Rights {
        Rights::ALL
    }
    /// Whether an entry maps anything.
    fn is_present(entry: u64) -> bool;
    /// What else the kernel expects in the root, which lies at `address`: an index and an entry.
    fn extra(_address: u64) -> Option<(usize, u64)> {
        None
    }
}

/// An entry that maps something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first address that it is for, without the ones in front of addresses of the upper half.
    pub address: u64,
    /// How many it is for.
    pub size: u64,
    /// The physical address of the page, or of the table.
    pub target: u64,
    /// The page's rights, or what is left of those of the pages behind the table.
    pub rights: Rights,
    /// Whether it is for a table.
    pub is_table: bool,
}

/// Visits every entry that maps something, in the order of addresses, as the processor goes from `root` on. `read`
/// gives the entry of a number in the table at an address. [`None`] if it cannot.
pub fn walk<F: Format>(
    root: u64,
    read: &mut dyn FnMut(u64, usize) -> Option<u64>,
    visit: &mut dyn FnMut(Mapping),
) -> Option<()> {
    walk_table::<F>(root, F::LEVELS - 1, 0, Rights::ALL, read, visit)
}

fn walk_table<F: Format>(
    table: u64,
    level: usize,
    mut address: u64,
    allowed: Rights,
    read: &mut dyn FnMut(u64, usize) -> Option<u64>,
    visit: &mut dyn FnMut(Mapping),
) -> Option<()> {
    let size = 1 << (12 + 9 * level);
    for index in 0..ENTRIES {
        let entry = read(table, index)?;
        if F::is_present(entry) {
            let page = F::page_rights(entry, level);
            // What is a table's in the last level is not a page: the processor would fault.
            let is_table = page.is_none() && level > 0;
            let rights = allowed.and(page.unwrap_or_else(|| F::table_rights(entry)));
            let target = F::address(entry);
            if page.is_some() || is_table {
                visit(Mapping {
                    address,
                    size,
                    // Bits below the page's size are attributes in a large page's entry.
                    target: if is_table { target } else { target & !(size - 1) },
                    rights,
                    is_table,
                });
            }
            if is_table {
                walk_table::<F>(target, level - 1, address, rights, read, visit)?;
            }
        }
        address += size;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeMap;
    use std::vec::Vec;

    use super::*;

    /// A large page, a small one, and nothing else; a table that takes a right away where the format can.
    fn mappings<F: Format>(table: fn(u64) -> u64) -> Vec<Mapping> {
        const ROOT: u64 = 0x1000;
        let data = Rights {
            write: true,
            execute: false,
        };
        let code = Rights {
            write: false,
            execute: true,
        };
        let top = u64::try_from(F::LEVELS).unwrap() - 1;
        let mut entries = BTreeMap::new();
        for level in 0..top - 1 {
            entries.insert((ROOT + level * 0x1000, 0), F::table(ROOT + (level + 1) * 0x1000));
        }
        let large = ROOT + (top - 1) * 0x1000;
        entries.insert((large, 1), F::page(0x20_0000, data, true));
        entries.insert((large, 3), table(0x8000));
        entries.insert((0x8000, 2), F::page(0x5000, code, false));
        let mut found = Vec::new();
        walk::<F>(
            ROOT,
            &mut |table, index| Some(entries.get(&(table, index)).copied().unwrap_or(0)),
            &mut |mapping| found.push(mapping),
        )
        .unwrap();
        found.retain(|mapping| !mapping.is_table);
        found
    }

    fn check<F: Format>() {
        let page = |address, size, target, write, execute| Mapping {
            address,
            size,
            target,
            rights: Rights { write, execute },
            is_table: false,
        };
        let expected = [
            page(0x20_0000, 0x20_0000, 0x20_0000, true, false),
            page(0x60_2000, 0x1000, 0x5000, false, true),
        ];
        assert_eq!(mappings::<F>(F::table), expected);
    }

    #[test]
    fn every_page_is_visited_once_with_its_rights() {
        check::<x86_64::Entries>();
        check::<aarch64::Entries>();
        check::<riscv64::Entries>();
    }

    #[test]
    fn tables_take_rights_away() {
        let closed = mappings::<x86_64::Entries>(|address| x86_64::Entries::table(address) | 1 << 63);
        assert_eq!(closed[1].rights, Rights::default());
        let closed = mappings::<aarch64::Entries>(|address| aarch64::Entries::table(address) | 1 << 59);
        assert_eq!(closed[1].rights, Rights::default());
    }

    #[test]
    fn a_table_that_cannot_be_read_ends_the_walk() {
        assert_eq!(walk::<riscv64::Entries>(0, &mut |_, _| None, &mut |_| ()), None);
    }
}
