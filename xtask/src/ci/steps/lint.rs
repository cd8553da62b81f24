//! The steps that look at sources: formatting, lints, documentation.

use std::process::Command;

use anyhow::Result;
use test_qemu::Engine;

use super::BOTH_ENGINES;
use crate::arch::{Arch, Target as _};
use crate::ci::harness::{Counts, check};
use crate::toolchain::{BUILD_STD, cargo, find, root};
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
    command
        .current_dir(root())
        .arg("--external-sources")
        .args([".ci/run", "tests/containers/world"]);
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
            _ => &mut command,
        };
        counts.add(&check(&mut command)?);
    }
    Ok(counts)
}

/// What is built for machines, for all architectures at once, and the hostile kernel; flags for code generation make no
/// difference here.
pub(crate) fn clippy_vm(_: &[Arch]) -> Result<Counts> {
    let [mut interp, mut native] = Engine::ALL.map(|engine| {
        let mut application = cargo();
        application
            .args(["clippy", "--locked", "--profile", image::PROFILE])
            .args(["--package", "kernel-app"])
            .args(["--no-default-features", "--features", engine.name()])
            .args(Arch::ALL.iter().flat_map(|arch| ["--target", arch.app_target()]))
            // Nothing is linked, and nothing run: any file will do.
            .env("HERMIT_WASM_KERNEL", root().join("deny.toml"))
            .env("HERMIT_WASM_EMBEDDED", root().join("deny.toml"));
        application
    });
    let mut loader = cargo();
    loader
        .current_dir(root().join("loader"))
        .args(["clippy", "--locked", "--release", "--bin", "hermit-loader"])
        .args(
            Arch::ALL
                .iter()
                .flat_map(|arch| ["--target", arch.kernel_target()]),
        );
    let mut hostile = cargo();
    hostile.current_dir(root().join("tests/hostile")).args([
        "clippy",
        "--locked",
        "--release",
        "--target",
        Arch::X86_64.kernel_target(),
    ]);
    let mut calls = cargo();
    calls
        .current_dir(root().join("tests/system-calls"))
        .args(["clippy", "--locked", "--release"])
        .args(Arch::ALL.iter().flat_map(|arch| ["--target", arch.app_target()]));
    let mut counts = Counts::default();
    // One for each architecture of each.
    for (command, targets) in [
        (&mut interp, Arch::ALL.len()),
        (&mut native, Arch::ALL.len()),
        (&mut loader, Arch::ALL.len()),
        (&mut hostile, 1),
        (&mut calls, Arch::ALL.len()),
    ] {
        command
            .args(BUILD_STD)
            .args(["--", "-Dwarnings"])
            .env("CARGO_TARGET_DIR", root().join("target/clippy-vm"));
        let mut result = check(command)?;
        result.passed *= targets;
        counts.add(&result);
    }
    Ok(counts)
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
