//! The specification's test suite in virtual machines: builds `tests/spec` and the images for it, and runs it.
//!
//! What it runs, and how: `docs/testing.md`.

use std::path::PathBuf;
use std::process::Command;

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
}

/// Builds the program of the host.
fn build() -> Result<PathBuf> {
    compile(
        "the specification's tests for the host",
        cargo()
            .current_dir(differential::workspace())
            .args([
                "build",
                "--locked",
                "--release",
                "--workspace",
                "--bins",
                "--target-dir",
            ])
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
    }
}
