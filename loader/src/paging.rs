//! Page tables: memory mapped to its own address, what is not code not executable.
//!
//! Layer: pure, on table slices. Crate `hermit-page-tables` has the entries of each architecture. The kernel goes on
//! with these tables and adds to them. Large pages are 2 MiB: not every processor has those of 1 GiB.

use core::marker::PhantomData;
use core::sync::atomic::{Ordering, compiler_fence};

use hermit_page_tables::ENTRIES;
pub use hermit_page_tables::{Format, Rights};

use hermit_loader_core::ranges::{LARGE_PAGE, PAGE, Span};

const GIB: u64 = 1 << 30;

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

/// How many tables [`AddressSpace::new`] needs: the root, the second level if it is another one, four of the third.
pub const fn low_tables<F: Format>() -> usize {
    F::LEVELS + 2
}

const DATA: Rights = Rights {
    write: true,
    execute: false,
};

/// What [`AddressSpace::new`] maps.
const LOW_END: u64 = 4 * GIB;

/// The address space.
#[derive(Debug)]
pub struct AddressSpace<'a, F> {
    low: Tables<'a>,
    more: Tables<'a>,
    used: usize,
    format: PhantomData<F>,
}

impl<'a, F: Format> AddressSpace<'a, F> {
    /// The place of the table whose entries are for 1 GiB each.
    const GIB_TABLE: usize = F::LEVELS - 3;

    /// Maps the low 4 GiB, without execution, with `low` as the [`low_tables`] tables for that, which must be empty and
    /// not in use. The large page around `loader` is executable until [`Self::protect`] says better: the loader runs
    /// there.
    pub fn new(low: Tables<'a>, loader: u64) -> Self {
        let mut address = 0;
        for table in low.tables.iter_mut().skip(Self::GIB_TABLE + 1) {
            set_pages::<F>(&mut table.0, address, DATA, true);
            let here = loader / GIB == address / GIB;
            if here && let Some(entry) = table.0.get_mut(index_of(loader, LARGE_PAGE)) {
                let code = Rights {
                    execute: true,
                    ..DATA
                };
                *entry = F::page(loader & !(LARGE_PAGE - 1), code, true);
            }
            address += GIB;
        }
        for index in 0..low.tables.len().saturating_sub(1) {
            // A root above the table for GiB has one entry, for that; that has four.
            let (table, entry) = match index.checked_sub(Self::GIB_TABLE) {
                None => (0, 0),
                Some(entry) => (Self::GIB_TABLE, entry),
            };
            if let Some(slot) = low.tables.get_mut(table).and_then(|table| table.0.get_mut(entry)) {
                *slot = F::table(low.address + PAGE * (index as u64 + 1));
            }
        }
        if let Some((index, entry)) = F::extra(low.address)
            && let Some(slot) = low.tables.first_mut().and_then(|root| root.0.get_mut(index))
        {
            *slot = entry;
        }
        Self {
            low,
            more: Tables {
                tables: &mut [],
                address: 0,
            },
            used: 0,
            format: PhantomData,
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
            .filter_map(|&span| above_low::<F>(span))
            .map(|span| count(&span, GIB));
        high.chain(fine.iter().map(|span| count(span, LARGE_PAGE))).sum()
    }

    /// Maps the part of `ram` that lies above 4 GiB, without execution.
    ///
    /// [`None`] if the tables do not suffice; what lies above [`Format::MAX_ADDRESS`] is left out.
    pub fn map_high(&mut self, ram: Span) -> Option<()> {
        let Some(high) = above_low::<F>(ram) else {
            return Some(());
        };
        let mut address = high.start;
        while address < high.end {
            let end = (address + 1).next_multiple_of(GIB).min(high.end);
            let entries = index_of(address, LARGE_PAGE)..=index_of(end - 1, LARGE_PAGE);
            let entries = self.third_level(address)?.0.get_mut(entries)?;
            set_pages::<F>(entries, address, DATA, true);
            address = end;
        }
        Some(())
    }

    /// Sets what may be done with the pages of `span`, which is mapped; with [`None`], nothing.
    ///
    /// The tables may be in use: nothing else changes, not even for a moment.
    /// [`None`] if the tables do not suffice or it is not mapped.
    pub fn protect(&mut self, span: Span, rights: Option<Rights>) -> Option<()> {
        let pages = span.grow_to(PAGE)?;
        let mut address = pages.start;
        while address < pages.end {
            let end = (address + 1).next_multiple_of(LARGE_PAGE).min(pages.end);
            let first = index_of(address, PAGE);
            let last = index_of(end - 1, PAGE);
            let entries = self.page_table(address)?.0.get_mut(first..=last)?;
            match rights {
                Some(rights) => set_pages::<F>(entries, address, rights, false),
                None => entries.fill(0),
            }
            address = end;
        }
        Some(())
    }

    /// The table of the 4 KiB pages around `address`; where a large page was, it maps the same with small ones.
    fn page_table(&mut self, address: u64) -> Option<&mut Table> {
        let old = *self.large_entry(address)?;
        let mut at = F::address(old);
        if !F::is_present(old) {
            return None;
        }
        if let Some(rights) = F::page_rights(old, 1) {
            let (new, table) = self.allocate()?;
            set_pages::<F>(&mut table.0, address & !(LARGE_PAGE - 1), rights, false);
            at = new;
            // The new table is complete before the CPU can see it.
            compiler_fence(Ordering::SeqCst);
            *self.large_entry(address)? = F::table(new);
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
        if address >= F::MAX_ADDRESS {
            return None;
        }
        let second = self.low.address + PAGE * Self::GIB_TABLE as u64;
        let slot = index_of(address, GIB);
        let mut third = F::address(*self.low.at(second)?.0.get(slot)?);
        if third == 0 {
            let (new, table) = self.allocate()?;
            *table = Table::EMPTY;
            third = new;
            compiler_fence(Ordering::SeqCst);
            *self.low.at(second)?.0.get_mut(slot)? = F::table(new);
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

/// The part of `span` above what is always mapped, in large pages.
fn above_low<F: Format>(span: Span) -> Option<Span> {
    if span.end <= LOW_END {
        return None;
    }
    let end = span.end.min(F::MAX_ADDRESS);
    Span::new(span.start.max(LOW_END), end)?.grow_to(LARGE_PAGE)
}

/// Sets the entries of one table, or some of them, for the pages from `address` on: in few instructions, as there are
/// thousands.
fn set_pages<F: Format>(entries: &mut [u64], address: u64, rights: Rights, large: bool) {
    let size = if large { LARGE_PAGE } else { PAGE };
    let mut page = F::page(address, rights, large);
    // The pages of one table differ in their addresses only.
    let step = F::page(address + size, rights, large).wrapping_sub(page);
    for entry in entries {
        *entry = page;
        page = page.wrapping_add(step);
    }
}

/// Index into a table whose entries map `size` bytes each.
fn index_of(address: u64, size: u64) -> usize {
    usize::try_from(address / size % ENTRIES as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
