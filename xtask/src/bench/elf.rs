//! Reads what measuring wants of ELF files (64 bits, little-endian): the entry point, and where a symbol is.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// A section of symbols, by its type in the table.
const SYMBOLS: u64 = 2;
/// Bytes of a section's header, and of a symbol.
const SECTION: usize = 64;
const SYMBOL: usize = 24;

/// The entry point that an ELF file names.
pub(super) fn entry(elf: &Path) -> Result<u64> {
    let bytes = read(elf)?;
    number(&bytes, 24, 8)
}

/// Where the application is entered that an image carries: the entry point of the last ELF file in it that is an
/// executable linked to its place.
pub(super) fn carried_entry(image: &Path) -> Result<u64> {
    const HEADER: &[u8] = b"\x7fELF\x02\x01\x01";
    /// `e_type` of such a file, and where it is.
    const EXEC: &[u8] = &[2, 0];
    const TYPE: usize = 16;
    let bytes = fs::read(image).with_context(|| format!("cannot read {}", image.display()))?;
    let start = (1..bytes.len())
        .rev()
        .find(|&at| bytes[at..].starts_with(HEADER) && bytes[at..].get(TYPE..TYPE + 2) == Some(EXEC))
        .with_context(|| format!("{} carries no application", image.display()))?;
    number(&bytes, start + 24, 8)
}

/// The address of a symbol, if the file has it.
pub(super) fn symbol(elf: &Path, name: &str) -> Result<Option<u64>> {
    find(&read(elf)?, name).with_context(|| format!("{} is damaged", elf.display()))
}

fn read(elf: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
    ensure!(
        bytes.starts_with(b"\x7fELF\x02\x01"),
        "{} is no ELF file of 64 bits",
        elf.display()
    );
    Ok(bytes)
}

fn find(bytes: &[u8], name: &str) -> Result<Option<u64>> {
    let (table, count) = (place(bytes, 40, 8)?, place(bytes, 60, 2)?);
    for section in 0..count {
        let header = table + section * SECTION;
        if number(bytes, header + 4, 4)? != SYMBOLS {
            continue;
        }
        let (start, size) = (place(bytes, header + 24, 8)?, place(bytes, header + 32, 8)?);
        let names = table + place(bytes, header + 40, 4)? * SECTION;
        let names = bytes.get(place(bytes, names + 24, 8)?..).context("no names")?;
        for symbol in (start..start + size).step_by(SYMBOL) {
            let found = names.get(place(bytes, symbol, 4)?..).context("no name")?;
            if found
                .strip_prefix(name.as_bytes())
                .is_some_and(|rest| rest.first() == Some(&0))
            {
                return number(bytes, symbol + 8, 8).map(Some);
            }
        }
    }
    Ok(None)
}

/// The number in so many bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> Result<u64> {
    let field = bytes.get(at..at + length).context("it ends too early")?;
    Ok(field
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// A number that says where something is in the file, or how much there is of it.
fn place(bytes: &[u8], at: usize, length: usize) -> Result<usize> {
    Ok(usize::try_from(number(bytes, at, length)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_programs_own_symbols_are_found() {
        let own = std::env::current_exe().unwrap();
        assert!(entry(&own).unwrap() > 0);
        assert!(symbol(&own, "main").unwrap().is_some_and(|main| main > 0));
        assert_eq!(symbol(&own, "no_such_symbol_in_any_program").unwrap(), None);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(entry(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))).is_err());
        let whole = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(find(&whole[..100], "main").is_err());
    }
}
