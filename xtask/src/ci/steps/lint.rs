//! The steps that look at sources: formatting, lints, documentation.

use std::process::Command;

use anyhow::Result;

use super::BOTH_ENGINES;
use crate::arch::Arch;
use crate::ci::harness::{Counts, check};
use crate::toolchain::{cargo, find, root};
use crate::{compiler as native, differential, image};

/// The workspaces besides the main one that hold our own Rust for the host.
const WORKSPACES: [&str; 8] = [
    "compiler",
    "loader",
    "guests",
    "guests/network",
    "tests/differential",
    "tests/fuzz",
    "tests/hostile",
    "tests/system-calls",
];

pub(crate) fn fmt(_: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    for workspace in ["."].iter().chain(&WORKSPACES) {
        counts.add(&check(
            cargo()
                .args(["fmt", "--all", "--check"])
                .current_dir(root().join(workspace)),
        )?);
    }
    Ok(counts)
}

pub(crate) fn scripts(_: &[Arch]) -> Result<Counts> {
    if find("shellcheck").is_none() {
        println!("SKIP: scripts NOT CHECKED: shellcheck is not here; `scripts/setup` installs it");
        return Ok(Counts {
            skipped: 1,
            ..Counts::default()
        });
    }
    let mut command = Command::new("shellcheck");
    command.current_dir(root()).arg("--external-sources").args([
        ".ci/run",
        "tests/containers/late-end",
        "tests/containers/world",
    ]);
    for directory in ["ci", "deploy", "scripts", "scripts/lib"] {
        for entry in root().join(directory).read_dir()? {
            let path = entry?.path();
            // Not the recorded hashes.
            let is_script = path.extension().is_none_or(|extension| extension == "sh");
            if path.is_file() && is_script {
                command.arg(path);
            }
        }
    }
    check(&mut command)
}

/// Workspaces by their folders, with what there is to look at in each.
pub(crate) fn clippy(_: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    for (workspace, what) in [
        (
            ".",
            ["--workspace", "--all-targets", "--features", BOTH_ENGINES].as_slice(),
        ),
        ("loader", &["--lib", "--tests"]),
        ("compiler", &["--release", "--all-targets"]),
        ("tests/differential", &["--release", "--all-targets"]),
        // Apart, as they are built.
        (
            "tests/differential",
            &[
                "--release",
                "--all-targets",
                "--package",
                "spec",
                "--package",
                "native-host",
            ],
        ),
        ("tests/fuzz", &["--all-targets", "--all-features"]),
    ] {
        let mut command = cargo();
        command
            .current_dir(root().join(workspace))
            .args(["clippy", "--locked"])
            .args(what)
            .args(["--", "-Dwarnings"]);
        match workspace {
            "tests/differential" => command.env("CARGO_TARGET_DIR", differential::target()),
            "compiler" => command.env("CARGO_TARGET_DIR", native::target()),
            // libFuzzer, in C++, is not compiled. Nothing is linked: any file will do.
            "tests/fuzz" => command.env("CUSTOM_LIBFUZZER_PATH", root().join("deny.toml")),
            _ => &mut command,
        };
        counts.add(&check(&mut command)?);
    }
    Ok(counts)
}

/// What is built for machines, on every architecture: of the images' builds, clippy stands in the place of rustc for what
/// is ours. So what that depends on, the standard library among it, is the images' own and is not compiled a second time.
pub(crate) fn clippy_vm(_: &[Arch]) -> Result<Counts> {
    // As cargo-clippy hands over what is behind its `--`.
    let arguments = [("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__")];
    let (failed, number) = image::build_ours_by(&root().join("scripts/lib/clippy"), &arguments)?;
    for failure in &failed {
        println!("clippy-vm: {failure}");
    }
    Ok(Counts {
        passed: number - failed.len(),
        failed: failed.len(),
        ..Counts::default()
    })
}

/// The documentation of all that is ours and of the host: links in it lead somewhere. Nothing is linked or run.
pub(crate) fn doc(_: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    for (workspace, what) in [
        (".", ["--workspace", "--features", BOTH_ENGINES].as_slice()),
        ("loader", &["--lib"]),
        ("compiler", &["--release"]),
    ] {
        let mut command = cargo();
        command
            .current_dir(root().join(workspace))
            .args(["doc", "--locked", "--no-deps"])
            .args(what)
            // Who reads this has the sources: links to what is private lead somewhere too.
            .env("RUSTDOCFLAGS", "-Dwarnings -Arustdoc::private-intra-doc-links");
        if workspace == "compiler" {
            // What clippy has checked of Cranelift is here.
            command.env("CARGO_TARGET_DIR", native::target());
        }
        counts.add(&check(&mut command)?);
    }
    Ok(counts)
}
