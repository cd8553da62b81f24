//! `spec suite` runs the specification's test suite in virtual machines. `cargo xtask spec` builds what it needs and calls
//! it.
//!
//! Layer: host tests; what the machines do is in `tests/spec-script`.

mod boot;
mod code;
mod expectations;
mod judge;
mod suite;
mod wast_script;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use test_qemu::{Arch, Engine};

/// Runs the specification's tests in virtual machines.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run the specification's test suite.
    Suite {
        #[command(flatten)]
        machine: Machine,
        /// Only files with this in their names (`proposal/file.wast`).
        #[arg(long)]
        only: Option<String>,
    },
}

/// What the scripts run on.
#[derive(Clone, Debug, Args)]
struct Machine {
    /// The engine.
    #[arg(long)]
    engine: Engine,
    /// The machine's architecture; default: this host's.
    #[arg(long, value_parser = arch)]
    arch: Option<Arch>,
    /// The program that compiles for the native engine.
    #[arg(long)]
    compiler: Option<PathBuf>,
    /// The image, built with the feature `spec-tests`.
    #[arg(long)]
    image: PathBuf,
}

impl Machine {
    fn arch(&self) -> Arch {
        self.arch.unwrap_or_else(Arch::host)
    }
}

fn arch(name: &str) -> Result<Arch, String> {
    Arch::from_name(name).ok_or_else(|| format!("no architecture is called '{name}'"))
}

fn main() -> ExitCode {
    let done = match Arguments::parse().what {
        What::Suite { machine, only } => suite::run(&machine, only.as_deref()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("spec: {error:#}");
            ExitCode::FAILURE
        }
    }
}
