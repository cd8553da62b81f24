//! Programs that nobody here wrote, at work in a shared directory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use vm_tests::download;
use vm_tests::manifest::Manifest;
use vm_tests::root;

use crate::Test;
use crate::machine::{Machine, Scratch};

pub(crate) const TESTS: &[Test] = &[("esbuild", esbuild), ("python", python)];

/// The downloaded program of this name; `None`, which is said, where it cannot be had.
fn program(name: &str) -> Result<Option<PathBuf>> {
    let manifest = Manifest::read(root())?;
    let wanted = manifest.downloads.iter().find(|download| download.name == name);
    let directory = root().join("target/downloads");
    if let Err(error) = download::fetch(wanted.context("not in the manifest")?, &directory) {
        eprintln!("SKIP share/{name}: it could not be fetched: {error:#}");
        return Ok(None);
    }
    Ok(Some(directory.join(format!("{name}.wasm"))))
}

/// A copy of a fixture.
fn copy(fixture: &str) -> Result<Scratch> {
    let scratch = Scratch::new(fixture)?;
    let from = root().join("guests/fixtures").join(fixture).join(".");
    let copied = Command::new("cp")
        .arg("-r")
        .arg(from)
        .arg(scratch.path())
        .status()?;
    ensure!(copied.success(), "cp: {copied}");
    Ok(scratch)
}

/// esbuild writes its bundle into the host's directory: the bytes that it writes under wasmtime.
fn esbuild(machine: &Machine) -> Result<()> {
    let Some(module) = program("esbuild")? else {
        return Ok(());
    };
    let scratch = copy("project")?;
    let words = [
        "--memory",
        "1G",
        "--env",
        "PWD=/",
        "--dir",
        ".::/",
        &module.to_string_lossy(),
    ];
    let args = [
        "--bundle",
        "/a.js",
        "--loader:.css=empty",
        "--outfile=/out/bundle.js",
        "--log-level=error",
    ];
    machine
        .run(scratch.path(), &[&words[..], &args[..]].concat())?
        .said("")?;
    let written = fs::read(scratch.path().join("out/bundle.js"))?;
    let expected = fs::read(root().join("guests/expected/esbuild-bundle.js"))?;
    ensure!(
        written == expected,
        "the bundle differs:\n{}",
        String::from_utf8_lossy(&written)
    );
    Ok(())
}

/// CPython runs a script from the host's directory, which writes into it.
fn python(machine: &Machine) -> Result<()> {
    let Some(module) = program("python")? else {
        return Ok(());
    };
    let scratch = copy("python")?;
    let words = [
        "--memory",
        "1G",
        "--env",
        "PYTHONDONTWRITEBYTECODE=1",
        "--dir",
        ".",
        &module.to_string_lossy(),
    ];
    machine
        .run(
            scratch.path(),
            &[&words[..], &["main.py", "7", "out.txt"]].concat(),
        )?
        .said(
            "7 doubled is 14\nba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n\
             {\"names\": [\"helper.py\", \"main.py\"], \"pi\": 3.14159}\n",
        )?;
    ensure!(fs::read_to_string(scratch.path().join("out.txt"))? == "written by Python\n");
    Ok(())
}
