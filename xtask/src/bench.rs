//! `cargo xtask bench`: what a run costs, as tables and a picture, without pass or fail; and the exact figures among
//! them held against those on record, which `guard` does. What each figure means: `docs/performance.md`.

mod boot;
mod calls;
mod compute;
mod counter;
mod elf;
mod fuel;
pub(crate) mod guard;
mod linux;
mod machine_calls;
mod network;
mod plot;
mod share;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use test_qemu::Engine;

use crate::arch::Arch;
use crate::toolchain::root;

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// Booting and running hello in a virtual machine.
    Boot,
    /// WASI calls, on the host and in virtual machines.
    Calls,
    /// Programs that compute, beside the same code on wasmtime.
    Compute,
    /// The interpreter, in virtual machines and on the host.
    Fuel,
    /// A server's requests, connections and bytes, in virtual machines.
    Network,
    /// A picture of what computing and starting cost; it is not among the tables.
    Plot,
    /// Work in a shared directory, in a virtual machine.
    Share,
}

/// Measures all and prints the tables, or does only one thing. Servers run in machines of `arches`, on
/// `engines`.
pub(crate) fn run_all(only: Option<What>, arches: &[Arch], engines: &[Engine]) -> Result<()> {
    if only == Some(What::Plot) {
        return plot::run_all();
    }
    for (index, what) in [
        What::Boot,
        What::Calls,
        What::Compute,
        What::Fuel,
        What::Network,
        What::Share,
    ]
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
            What::Calls => {
                calls::run_all()?;
                machine_calls::run_all()?;
            }
            What::Compute => compute::run_all()?,
            What::Fuel => fuel::run_all()?,
            What::Network => network::run_all(arches, engines)?,
            What::Plot => {}
            What::Share => share::run_all()?,
        }
    }
    Ok(())
}

/// A figure with its name.
type Figure = (String, u64);

/// A figure of a kind of machines.
struct Counted {
    arch: Arch,
    engine: Engine,
    figure: Figure,
}

impl Counted {
    fn new(arch: Arch, engine: Engine, name: String, value: u64) -> Self {
        Self {
            arch,
            engine,
            figure: (name, value),
        }
    }

    /// The figure, whose name says the machine.
    fn figure(self) -> Figure {
        self.figure
    }
}

/// A table as documents have it.
fn table(columns: &[&str], rows: impl IntoIterator<Item = (String, Vec<String>)>) -> String {
    let mut text = format!(
        "| | {} |\n|---|{}\n",
        columns.join(" | "),
        "---|".repeat(columns.len())
    );
    for (name, cells) in rows {
        text.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
    }
    text
}

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

/// A count as a number with a fraction.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn precise(count: u64) -> f64 {
    count as f64
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
    fn tables_are_as_documents_have_them() {
        let row = |name: &str, cells: [&str; 2]| (name.to_owned(), cells.map(String::from).to_vec());
        assert_eq!(
            table(&["a", "b"], [row("x", ["1", "2"]), row("y", ["3", "4"])]),
            "| | a | b |\n|---|---|---|\n| x | 1 | 2 |\n| y | 3 | 4 |\n"
        );
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
