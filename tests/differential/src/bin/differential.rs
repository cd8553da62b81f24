//! Runs random sequences of WASI calls on our WASI and on other runtimes, and tells where they answer differently.
//!
//! Fails if a difference is not explained by `tests/differential/expectations.toml`. Prints what it did in words, last
//! a line `differential: …` for each runtime.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use differential::compare::Report;
use differential::expectations::{Expectations, Reference};
use differential::process::Programs;
use test_qemu::Engine;

#[derive(Parser)]
struct Arguments {
    /// The guest `differential`.
    #[arg(long)]
    guest: PathBuf,
    /// The runtimes to compare with.
    #[arg(long = "reference", value_enum, required = true)]
    references: Vec<Reference>,
    /// A Python that has the package wasmtime.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The program hermit-wasm, to compare with our WASI in the virtual machine.
    #[arg(long, requires = "engine")]
    launcher: Option<PathBuf>,
    /// What runs the guest there: `interp` or `native`.
    #[arg(long)]
    engine: Option<Engine>,
    /// Determines what is called.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of the first sequence.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many sequences.
    #[arg(long, default_value_t = 100)]
    sequences: u64,
    /// How many calls each has.
    #[arg(long, default_value_t = 120)]
    calls: u64,
    /// Also fails if a rule explained nothing: for runs long enough that each should.
    #[arg(long)]
    all_rules: bool,
}

/// How many sequences one process makes.
const BATCH: u64 = 250;

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let rules = Expectations::parse(include_str!("../../expectations.toml"))?;
    let programs = Programs {
        host: std::env::current_exe()?
            .parent()
            .context("no directory")?
            .join("wasi-host"),
        guest: arguments.guest.clone(),
        python: arguments.python.clone(),
        launcher: arguments.launcher.clone().zip(arguments.engine),
    };
    let mut good = true;
    for reference in &arguments.references {
        good &= compare(&arguments, &rules, &programs, *reference)?;
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Compares our answers with one runtime's; whether all differences are explained.
fn compare(
    arguments: &Arguments,
    rules: &Expectations,
    programs: &Programs,
    reference: Reference,
) -> Result<bool> {
    let mut report = Report::default();
    let end = arguments.first.saturating_add(arguments.sequences);
    let mut first = arguments.first;
    while first < end {
        let count = BATCH.min(end - first);
        let numbers = [arguments.seed, count, arguments.calls, first];
        let ours = programs.ours(&numbers)?;
        let theirs = programs.theirs(reference, &numbers)?;
        report.add(rules, reference, &ours, &theirs)?;
        first += count;
    }

    Ok(report.print(rules, reference, arguments.seed, arguments.all_rules))
}
