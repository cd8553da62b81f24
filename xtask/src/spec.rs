//! The specification's test suite and random modules in virtual machines: builds `tests/spec` and the images for it,
//! and runs it.
//!
//! What it runs, and how: `docs/testing.md`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use clap::Subcommand;
use test_qemu::Engine;

use crate::arch::Arch;
use crate::toolchain::{cargo, compile};
use crate::{compiler, differential, image};

/// What to run.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// The specification's test suite.
    Suite {
        /// Only files with this in their names (`proposal/file.wast`).
        #[arg(long)]
        only: Option<String>,
    },
    /// Random modules, compared with wasmtime on this host.
    Smith {
        /// Determines the modules.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// The number of the first module: to repeat one.
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// How many modules.
        #[arg(long, default_value_t = MODULES)]
        modules: u64,
        /// Go on with the next seeds for so many seconds, on each engine.
        #[arg(long, default_value_t = 0)]
        seconds: u64,
    },
}

/// The packages of the workspace that compile for this host.
pub(crate) const PACKAGES: [&str; 4] = ["--package", "spec", "--package", "native-host"];

/// How many random modules a test run compares.
const MODULES: u64 = 200;

impl What {
    /// The random modules of a test run: always the same.
    pub(crate) const FIXED: Self = Self::Smith {
        seed: 1,
        first: 0,
        modules: MODULES,
        seconds: 0,
    };
}

/// Builds the program of the host. `native-host` with it, so that Cranelift has the same features whoever is built
/// first.
pub(crate) fn build() -> Result<PathBuf> {
    compile(
        "the specification's tests for the host",
        cargo()
            .current_dir(differential::workspace())
            .args(["build", "--locked", "--release", "--bins"])
            .args(PACKAGES)
            .arg("--target-dir")
            .arg(differential::target()),
    )?;
    Ok(differential::target().join("release/spec"))
}

/// Runs it on an engine in a machine of an architecture; fails if anything does that is not expected to.
pub(crate) fn run(what: &What, engine: Engine, arch: Arch) -> Result<()> {
    let image = image::build_spec(arch, engine)?;
    let program = build()?;
    let compiler = compiler::build()?;
    let start = |what: &[&str]| {
        crate::toolchain::run(
            Command::new(&program)
                .args(what)
                .args(["--engine", engine.name(), "--arch", arch.name(), "--image"])
                .arg(&image)
                .arg("--compiler")
                .arg(&compiler),
        )
    };
    match what {
        What::Suite { only: None } => start(&["suite"]),
        What::Suite { only: Some(only) } => start(&["suite", "--only", only]),
        What::Smith {
            seed,
            first,
            modules,
            seconds,
        } => {
            let begun = Instant::now();
            let (first, modules) = (first.to_string(), modules.to_string());
            let mut seed = *seed;
            loop {
                start(&[
                    "smith",
                    "--seed",
                    &seed.to_string(),
                    "--first",
                    &first,
                    "--modules",
                    &modules,
                ])?;
                if begun.elapsed().as_secs() >= *seconds {
                    return Ok(());
                }
                seed = seed.wrapping_add(1);
            }
        }
    }
}
