//! The pages of a machine, as a debugger reads them from its tables, and what must hold for them.
//!
//! Layer: host tests.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::{Context as _, Result, bail, ensure};
use hermit_page_tables::{ENTRIES, Format, Mapping, walk};

use crate::gdb::Debugger;

/// All pages that are mapped: follows the tables from their root.
///
/// # Errors
/// If a table cannot be read.
pub fn all<F: Format>(debugger: &mut Debugger, root: u64) -> Result<Vec<Mapping>> {
    let mut tables: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut failure = None;
    let mut read = |table: u64, index: usize| {
        let bytes = match tables.entry(table) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => match debugger.memory(table, ENTRIES * 8) {
                Ok(bytes) => unknown.insert(bytes),
                Err(error) => {
                    failure = Some(error);
                    return None;
                }
            },
        };
        let entry = bytes.as_chunks::<8>().0.get(index)?;
        Some(u64::from_le_bytes(*entry))
    };
    let mut pages = Vec::new();
    let done = walk::<F>(root, &mut read, &mut |mapping| {
        if !mapping.is_table {
            pages.push(mapping);
        }
    });
    match (done, failure) {
        (Some(()), _) => Ok(pages),
        (None, Some(error)) => Err(error.context("a page table")),
        (None, None) => bail!("a page table is too short"),
    }
}

/// The page around an address.
#[must_use]
pub fn find(pages: &[Mapping], address: u64) -> Option<&Mapping> {
    pages
        .iter()
        .find(|page| page.address <= address && address - page.address < page.size)
}

/// No page is both writable and executable, and nothing that is executable is writable by another address.
///
/// # Errors
/// If one is, or nothing is executable at all.
pub fn check_rights(pages: &[Mapping]) -> Result<()> {
    let executable: Vec<_> = pages.iter().filter(|page| page.rights.execute).collect();
    ensure!(
        !executable.is_empty(),
        "nothing is executable among {} pages",
        pages.len()
    );
    for page in pages.iter().filter(|page| page.rights.write) {
        let overlaps =
            |code: &&&Mapping| code.target < page.target + page.size && page.target < code.target + code.size;
        if let Some(code) = executable.iter().find(overlaps) {
            bail!("writable by {page:x?} and executable by {code:x?}");
        }
    }
    Ok(())
}

/// The pages around a stack pointer are a stack: data, of a bounded size, and below them nothing.
///
/// # Errors
/// If they are not.
pub fn check_guard(pages: &[Mapping], stack: u64, guard: u64) -> Result<()> {
    /// The largest stack is 1 MiB.
    const LARGEST: u64 = 1 << 20;

    let mut lowest =
        find(pages, stack).with_context(|| format!("no page at the stack pointer {stack:#x}"))?;
    while let Some(below) = lowest.address.checked_sub(1).and_then(|below| find(pages, below)) {
        ensure!(
            stack - below.address <= LARGEST,
            "nothing ends the stack below {stack:#x}"
        );
        lowest = below;
    }
    let end = lowest.address;
    ensure!(lowest.rights.write, "a stack that is not writable: {lowest:x?}");
    let first = (end - guard..end)
        .step_by(4096)
        .find(|&page| find(pages, page).is_some());
    ensure!(
        first.is_none(),
        "{guard:#x} bytes below the stack at {end:#x} should not be mapped, but {first:x?} is"
    );
    Ok(())
}
