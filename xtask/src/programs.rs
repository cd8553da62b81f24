//! Programs that nobody here wrote, as native code beside wasmtime: builds the launcher and the compiler, fetches
//! wasmtime, runs `tests/programs/compare.py`.

use std::process::Command;

use anyhow::Result;

use crate::arch::Arch;
use crate::toolchain::{root, run, test_cache};
use crate::{compiler, differential, image};

/// Fetches a package of `tests/programs/programs.toml`, unless it is there.
///
/// # Errors
/// If it cannot be had, or is another.
pub(crate) fn fetch(package: &str) -> Result<()> {
    let here = root();
    run(Command::new("python3")
        .arg(here.join("tests/programs/compare.py"))
        .arg("--fetch")
        .arg(here.join("target/programs"))
        .arg(package))
}

/// Compares the runs with one of the words `only` in their names, or all.
pub(crate) fn compare(only: &[String]) -> Result<()> {
    let launcher = image::build_launcher(&[Arch::host()])?;
    compiler::build()?;
    let here = root();
    run(
        Command::new(differential::python(differential::Package::Wasmtime)?)
            .arg(here.join("tests/programs/compare.py"))
            .arg(launcher)
            .arg(here.join("tests/vm/reference/wasmtime_run.py"))
            .arg(here.join("target/programs"))
            .args(only)
            // wasmtime keeps there what it has compiled, as the launcher does.
            .env("XDG_CACHE_HOME", test_cache()),
    )
}
