//! `spec suite` runs the specification's test suite in virtual machines, `spec smith` compares random modules there
//! with wasmtime on this host. `cargo xtask spec` builds what they need and calls them.
//!
//! Layer: host tests; what the machines do is in `tests/spec-script`.

mod boot;
mod code;
mod expectations;
mod judge;
mod reference;
mod smith;
mod suite;
mod wast_script;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use test_qemu::{Arch, Engine};

/// Runs the specification's tests and random modules in virtual machines.
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
    /// Compare random modules with wasmtime on this host.
    Smith {
        #[command(flatten)]
        machine: Machine,
        /// Determines the modules.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The number of the first module: to repeat one.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// How many modules.
        #[arg(long, default_value_t = 200)]
        modules: u64,
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
    /// The image, built with the feature `spec-tests`. Without it this host carries the scripts out.
    #[arg(long)]
    image: Option<PathBuf>,
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
        What::Smith {
            machine,
            seed,
            first,
            modules,
        } => smith::run(&machine, seed, first..first.saturating_add(modules)),
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
