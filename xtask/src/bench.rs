//! `cargo xtask bench`: what a run costs, as tables, without pass or fail; and the exact figures among them held against
//! those on record, which `guard` does. What each figure means: `docs/performance.md`.

mod boot;
mod calls;
mod fuel;
pub(crate) mod guard;
mod share;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::toolchain::root;

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// Booting and running hello in a virtual machine.
    Boot,
    /// WASI calls on the host.
    Calls,
    /// The interpreter, in virtual machines and on the host.
    Fuel,
    /// Work in a shared directory, in a virtual machine.
    Share,
}

/// Measures all, or only one thing.
pub(crate) fn run_all(only: Option<What>) -> Result<()> {
    for (index, what) in [What::Boot, What::Calls, What::Fuel, What::Share]
        .into_iter()
        .enumerate()
    {
        if only.is_some_and(|only| only != what) {
            continue;
        }
        if only.is_none() && index > 0 {
            println!();
        }
        match what {
            What::Boot => boot::run_all()?,
            What::Calls => calls::run_all()?,
            What::Fuel => fuel::run_all()?,
            What::Share => share::run_all()?,
        }
    }
    Ok(())
}

/// A figure with its name.
type Figure = (String, u64);

/// The directory for what measuring makes.
fn work() -> Result<PathBuf> {
    let work = root().join("target/bench");
    fs::create_dir_all(&work)?;
    Ok(work)
}

/// Whether valgrind is here, which counts instructions of programs on the host.
fn has_valgrind() -> bool {
    crate::toolchain::find("valgrind").is_some()
}

/// Writes a module given as text.
fn module(work: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = work.join(name).with_extension("wasm");
    fs::write(&path, wat::parse_str(text)?)?;
    Ok(path)
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
