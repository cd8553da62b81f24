//! The pages of a machine, as a debugger reads them from its tables, and what must hold for them.
//!
//! Layer: host tests.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use anyhow::{Context as _, Result, bail, ensure};
use hermit_page_tables::{ENTRIES, Format, Mapping, walk};

use crate::gdb::Debugger;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// The largest stack: a native program's (`kernel-app/src/hermit/stack.rs`).
const LARGEST_STACK: u64 = 16 << 20;

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

/// The page that an address lies in.
#[must_use]
pub fn find(pages: &[Mapping], address: u64) -> Option<&Mapping> {
    pages
        .iter()
        .find(|page| page.address <= address && address - page.address < page.size)
}

/// No page is both writable and executable, and nothing that is executable is writable by another address.
///
/// # Errors
/// Names such pages.
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

/// A null pointer points nowhere, nor does one that a small offset was added to.
///
/// # Errors
/// If page 0 is mapped.
pub fn check_null(pages: &[Mapping]) -> Result<()> {
    let page = find(pages, 0);
    ensure!(page.is_none(), "page 0 is mapped: {page:x?}");
    Ok(())
}

/// Memory that is mapped to its own address, where the kernel's heap is, and what is mapped elsewhere, as are guests'
/// memories and stacks, do not touch.
///
/// # Errors
/// Names two pages that do.
pub fn check_heap(pages: &[Mapping]) -> Result<()> {
    let is_own = |page: &Mapping| page.address == page.target;
    let own = pages.iter().filter(|page| is_own(page)).count();
    ensure!(
        0 < own && own < pages.len(),
        "{own} of {} pages are mapped to their own address",
        pages.len()
    );
    let touching = |two: &&[Mapping]| match two {
        [first, second] => first.address + first.size == second.address && is_own(first) != is_own(second),
        _ => false,
    };
    let touching = pages.windows(2).find(touching);
    ensure!(touching.is_none(), "no guard between {touching:x?}");
    Ok(())
}

/// The pages around a stack pointer are a stack: data, of a bounded size; nothing is above them, and nothing is in the
/// `guard` bytes below. Returns where it is.
///
/// # Errors
/// Says what they are instead.
pub fn check_stack(pages: &[Mapping], pointer: u64, guard: u64) -> Result<Range<u64>> {
    // What is pushed first lies below the pointer that a stack begins with.
    let page =
        find(pages, pointer - 1).with_context(|| format!("no page at the stack pointer {pointer:#x}"))?;
    let mut stack = page.address..page.address + page.size;
    while let Some(below) = stack.start.checked_sub(1).and_then(|below| find(pages, below)) {
        stack.start = below.address;
        ensure!(
            stack.end - stack.start <= LARGEST_STACK,
            "nothing ends the stack below {pointer:#x}"
        );
    }
    while let Some(above) = find(pages, stack.end) {
        stack.end += above.size;
        ensure!(
            stack.end - stack.start <= LARGEST_STACK,
            "nothing ends the stack above {pointer:#x}"
        );
    }
    for page in stack.clone().step_by(4096) {
        let page = find(pages, page).context("a page that was there")?;
        ensure!(
            page.rights.write && !page.rights.execute,
            "a stack that is no data: {page:x?}"
        );
    }
    let first = (stack.start - guard..stack.start)
        .step_by(4096)
        .find(|&page| find(pages, page).is_some());
    ensure!(
        first.is_none(),
        "{guard:#x} bytes below the stack {stack:x?} should not be mapped, but {first:x?} is"
    );
    Ok(stack)
}

/// The stack that the kernel is started on, which the idle task keeps: in the loader, which begins at `loader`, the
/// larger of the two that its guards set apart.
///
/// # Errors
/// If the loader has other guards, or the stack is none.
pub fn first_stack(pages: &[Mapping], loader: u64) -> Result<Range<u64>> {
    const SIZE: u64 = 32 << 10;

    let guards: Vec<u64> = (loader..loader + 0x8_0000)
        .step_by(4096)
        .filter(|&page| find(pages, page).is_none())
        .collect();
    let [_, below, above] = guards[..] else {
        bail!("three guards expected in the loader: {guards:x?}");
    };
    let stack = below + PAGE..above;
    ensure!(stack.end - stack.start == SIZE, "the first stack is {stack:x?}");
    check_stack(pages, stack.end, PAGE)
}

#[cfg(test)]
mod tests {
    use hermit_page_tables::Rights;

    use super::*;

    fn page(address: u64, target: u64) -> Mapping {
        Mapping {
            address,
            size: PAGE,
            target,
            rights: Rights {
                write: true,
                execute: false,
            },
            is_table: false,
        }
    }

    fn code(page: Mapping) -> Mapping {
        Mapping {
            rights: Rights {
                write: false,
                execute: true,
            },
            ..page
        }
    }

    #[test]
    fn code_is_written_to_nowhere() {
        let code = code(page(0x8000, 0x8000));
        check_rights(&[page(0x1000, 0x1000), code]).unwrap();
        check_rights(&[page(0x1000, 0x1000)]).unwrap_err();
        check_rights(&[page(0x1000, 0x8000), code]).unwrap_err();
    }

    #[test]
    fn page_0_and_the_heap() {
        check_null(&[page(0x1000, 0)]).unwrap();
        check_null(&[page(0, 0x1000)]).unwrap_err();
        let own = [page(0x1000, 0x1000), page(0x2000, 0x2000)];
        check_heap(&own).unwrap_err();
        check_heap(&[own[0], own[1], page(0x4000, 0x9000)]).unwrap();
        check_heap(&[own[0], own[1], page(0x3000, 0x9000)]).unwrap_err();
        check_heap(&[page(0, 0x9000), own[0]]).unwrap_err();
    }

    #[test]
    fn a_stack_has_nothing_on_either_side() {
        let stack = [page(0x5000, 0), page(0x6000, 0)];
        for pointer in [0x5001, 0x6000, 0x6ff0, 0x7000] {
            assert_eq!(check_stack(&stack, pointer, PAGE).unwrap(), 0x5000..0x7000);
        }
        check_stack(&stack, 0x7001, PAGE).unwrap_err();
        check_stack(&[page(0x3000, 0), stack[0], stack[1]], 0x6000, PAGE).unwrap();
        check_stack(&[page(0x3000, 0), stack[0], stack[1]], 0x6000, 2 * PAGE).unwrap_err();
        check_stack(&[stack[0], code(stack[1])], 0x6000, PAGE).unwrap_err();
        let count = LARGEST_STACK / PAGE + 1;
        let endless: Vec<_> = (1..=count).map(|number| page(number * PAGE, 0)).collect();
        check_stack(&endless, PAGE + 1, PAGE).unwrap_err();
        check_stack(&endless, count * PAGE, PAGE).unwrap_err();
    }
}
