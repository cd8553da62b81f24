//! Page tables: memory mapped to its own address, what is not code not executable.
//!
//! Layer: pure, on table slices. Spec: Intel SDM volume 3, 4.5 (4-level paging). The kernel goes on with these tables
//! and adds to them. Large pages are 2 MiB even where the CPU has 1 GiB ones: kernel 0.11 maps 2 MiB pages of its
//! memory to their own address and panics (`ParentEntryHugePage`) on larger ones that are there already.

use core::sync::atomic::{Ordering, compiler_fence};

use hermit_loader_core::ranges::{LARGE_PAGE, PAGE, Span};

const ENTRIES: usize = 512;
const GIB: u64 = 1 << 30;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
/// Set in advance, so that the CPU need not.
const ACCESSED_DIRTY: u64 = 1 << 5 | 1 << 6;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// A page table of any level.
#[derive(Clone, Debug)]
#[repr(C, align(4096))]
pub struct Table([u64; ENTRIES]);

impl Table {
    /// A table that maps nothing.
    pub const EMPTY: Self = Self([0; ENTRIES]);
}

/// Tables in physical memory: the slice, and the address of its first.
#[derive(Debug)]
pub struct Tables<'a> {
    /// The tables.
    pub tables: &'a mut [Table],
    /// Address of the first.
    pub address: u64,
}

impl Tables<'_> {
    fn at(&mut self, address: u64) -> Option<&mut Table> {
        let index = address.checked_sub(self.address)? / PAGE;
        self.tables.get_mut(usize::try_from(index).ok()?)
    }
}

/// What may be done with a page that is mapped; reading always may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Whether it may be written to.
    pub write: bool,
    /// Whether it may be executed.
    pub execute: bool,
}

/// How many tables [`AddressSpace::new`] needs: the root, one of the second level, four of the third.
pub const LOW_TABLES: usize = 6;
/// What [`AddressSpace::new`] maps.
const LOW_END: u64 = 4 * GIB;

/// The address space.
#[derive(Debug)]
pub struct AddressSpace<'a> {
    low: Tables<'a>,
    more: Tables<'a>,
    used: usize,
}

impl<'a> AddressSpace<'a> {
    /// Maps the low 4 GiB, without execution, with `low` as the [`LOW_TABLES`] tables for that, which must be empty and
    /// not in use. The first 2 MiB are executable until [`Self::protect`] says better: the loader runs there.
    pub fn new(low: Tables<'a>) -> Self {
        let mut address = 0;
        for (index, table) in low.tables.iter_mut().skip(2).enumerate() {
            for entry in &mut table.0 {
                *entry = address | PRESENT | WRITABLE | ACCESSED_DIRTY | LARGE | NO_EXECUTE;
                address += LARGE_PAGE;
            }
            if index == 0 {
                table.0[0] &= !NO_EXECUTE;
            }
        }
        for index in 0..low.tables.len().saturating_sub(1) {
            // The root has one entry, for the second level; that has four.
            let (table, entry) = if index == 0 { (0, 0) } else { (1, index - 1) };
            if let Some(slot) = low.tables.get_mut(table).and_then(|table| table.0.get_mut(entry)) {
                *slot = (low.address + PAGE * (index as u64 + 1)) | PRESENT | WRITABLE | ACCESSED_DIRTY;
            }
        }
        Self {
            low,
            more: Tables {
                tables: &mut [],
                address: 0,
            },
            used: 0,
        }
    }

    /// Tables for all that is mapped or protected from here on.
    pub fn extend(&mut self, more: Tables<'a>) {
        self.more = more;
        self.used = 0;
    }

    /// Address of the root table.
    pub fn root(&self) -> u64 {
        self.low.address
    }

    /// How many tables suffice to map `ram` and to protect parts of `fine`.
    pub fn tables_needed(ram: &[Span], fine: &[Span]) -> u64 {
        let count = |span: &Span, size| span.grow_to(size).map_or(0, |span| span.len() / size);
        let high = ram
            .iter()
            .filter_map(|&span| above_low(span))
            .map(|span| count(&span, GIB));
        high.chain(fine.iter().map(|span| count(span, LARGE_PAGE))).sum()
    }

    /// Maps the part of `ram` that lies above 4 GiB, without execution.
    ///
    /// [`None`] if the tables do not suffice or it lies above 512 GiB.
    pub fn map_high(&mut self, ram: Span) -> Option<()> {
        let Some(high) = above_low(ram) else {
            return Some(());
        };
        let mut address = high.start;
        while address < high.end {
            let end = (address + 1).next_multiple_of(GIB).min(high.end);
            let entries = index_of(address, LARGE_PAGE)..=index_of(end - 1, LARGE_PAGE);
            for entry in self.third_level(address)?.0.get_mut(entries)? {
                if *entry == 0 {
                    *entry = address | PRESENT | WRITABLE | ACCESSED_DIRTY | LARGE | NO_EXECUTE;
                }
                address += LARGE_PAGE;
            }
        }
        Some(())
    }

    /// Sets what may be done with the pages of `span`, which is mapped; with [`None`], nothing.
    ///
    /// The tables may be in use: nothing else changes, not even for a moment.
    /// [`None`] if the tables do not suffice or it is not mapped.
    pub fn protect(&mut self, span: Span, rights: Option<Rights>) -> Option<()> {
        let pages = span.grow_to(PAGE)?;
        let attributes = rights.map_or(0, attributes);
        let mut address = pages.start;
        while address < pages.end {
            let end = (address + 1).next_multiple_of(LARGE_PAGE).min(pages.end);
            let first = index_of(address, PAGE);
            let last = index_of(end - 1, PAGE);
            for entry in self.page_table(address)?.0.get_mut(first..=last)? {
                *entry = if rights.is_some() { address | attributes } else { 0 };
                address += PAGE;
            }
        }
        Some(())
    }

    /// The table of the 4 KiB pages around `address`; where a large page was, it maps the same with small ones.
    fn page_table(&mut self, address: u64) -> Option<&mut Table> {
        let old = *self.large_entry(address)?;
        let mut at = old & ADDRESS;
        if old & LARGE != 0 {
            let start = address & !(LARGE_PAGE - 1);
            let (new, table) = self.allocate()?;
            let mut page = start | (old & !LARGE & !ADDRESS);
            for entry in &mut table.0 {
                *entry = page;
                page += PAGE;
            }
            at = new;
            // The new table is complete before the CPU can see it.
            compiler_fence(Ordering::SeqCst);
            *self.large_entry(address)? = new | PRESENT | WRITABLE | ACCESSED_DIRTY;
        } else if old & PRESENT == 0 {
            return None;
        }
        self.more.at(at)
    }

    /// The third level's entry for `address`.
    fn large_entry(&mut self, address: u64) -> Option<&mut u64> {
        self.third_level(address)?
            .0
            .get_mut(index_of(address, LARGE_PAGE))
    }

    /// The third level's table for `address`, an empty one if there was none.
    fn third_level(&mut self, address: u64) -> Option<&mut Table> {
        if address >= GIB * ENTRIES as u64 {
            return None;
        }
        let second = self.low.address + PAGE;
        let slot = index_of(address, GIB);
        let mut third = *self.low.at(second)?.0.get(slot)? & ADDRESS;
        if third == 0 {
            let (new, table) = self.allocate()?;
            *table = Table::EMPTY;
            third = new;
            compiler_fence(Ordering::SeqCst);
            *self.low.at(second)?.0.get_mut(slot)? = new | PRESENT | WRITABLE | ACCESSED_DIRTY;
        }
        // More tables lie above the low ones, which are part of the loader.
        if self.more.tables.is_empty() || third < self.more.address {
            self.low.at(third)
        } else {
            self.more.at(third)
        }
    }

    fn allocate(&mut self) -> Option<(u64, &mut Table)> {
        let table = self.more.tables.get_mut(self.used)?;
        let address = self.more.address + PAGE * self.used as u64;
        self.used += 1;
        Some((address, table))
    }
}

/// The part of `span` above what is always mapped, in large pages, and one more: the kernel also maps the large page
/// in which the end of its memory lies, executable if it has to do that itself.
fn above_low(span: Span) -> Option<Span> {
    if span.end <= LOW_END {
        return None;
    }
    let end = span.end.checked_add(LARGE_PAGE)?.min(GIB * ENTRIES as u64);
    Span::new(span.start.max(LOW_END), end)?.grow_to(LARGE_PAGE)
}

/// A small page's entry without its address.
fn attributes(rights: Rights) -> u64 {
    let write = if rights.write { WRITABLE } else { 0 };
    let execute = if rights.execute { 0 } else { NO_EXECUTE };
    PRESENT | ACCESSED_DIRTY | write | execute
}

/// Index into a table whose entries map `size` bytes each.
fn index_of(address: u64, size: u64) -> usize {
    usize::try_from(address / size % ENTRIES as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
