//! Runs unit tests under Miri, which sees undefined behaviour in whatever safe code stands on.
//!
//! What runs WebAssembly is left out: the interpreter, itself interpreted, takes minutes for a test. So are single
//! tests that do a great deal; they are marked as ignored under Miri.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::toolchain::{root, shielded};

/// The tests: packages, and the beginnings of modules' names. `loader/core` would take many minutes.
const TESTS: [(&str, &[&str]); 3] = [
    ("boot-protocol", &[]),
    ("wasi-core", &["fs::", "path::tests::"]),
    ("wasi-p1", &["abi::", "memory::"]),
];

/// The toolchain that has it.
fn toolchain() -> Result<String> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml"))?;
    manifest
        .lines()
        .find_map(|line| line.strip_prefix("miri-toolchain = \"")?.strip_suffix('"'))
        .map(str::to_owned)
        .context("Cargo.toml names no miri-toolchain")
}

/// The commands that run the tests; why there are none where Miri cannot be had.
pub(crate) fn commands() -> Result<Result<Vec<Command>, String>> {
    let toolchain = toolchain()?;
    let miri = || {
        // `cargo` is the pinned toolchain's own program.
        let mut command = shielded("rustup");
        command
            .args(["run", &toolchain, "cargo", "miri"])
            .env("CARGO_TARGET_DIR", root().join("target/miri"))
            .env_remove("CARGO")
            .env_remove("RUSTC");
        command
    };
    match miri().arg("--version").output() {
        Ok(output) if output.status.success() => {}
        Ok(_) => return Ok(Err(format!("rustup has no {toolchain} with Miri here"))),
        Err(error) => return Ok(Err(format!("there is no rustup: {error}"))),
    }
    let commands = TESTS.map(|(package, modules)| {
        let mut command = miri();
        command
            .args(["test", "--locked", "--lib", "--package", package, "--"])
            .args(modules)
            // Its substring is in the names of modules that are left out.
            .args(["--skip", "calls::"]);
        command
    });
    Ok(Ok(commands.into()))
}
