//! What each step does: the commands that it runs, and how it counts what they say. Here those of the host alone;
//! beside this, [`lint`] and those that start [`machines`].

mod lint;
mod machines;

use anyhow::Result;
use test_qemu::Engine;

use super::harness::{Counts, check, harness};
use crate::arch::Arch;
use crate::toolchain::{cargo, cargo_test, root};
use crate::{
    compiler as native, fuzz as targets, image as images, miri as interpreter, reproduce as again,
    sbom as bills, supply_chain,
};

pub(super) use lint::{clippy, clippy_vm, doc, fmt, scripts};
pub(super) use machines::{
    boot, boot_native, calls, conformance, conformance_native, containers, containers_all, deterministic,
    deterministic_native, differential, image, jail, native_host, network, network_native, network_plain,
    owned, replay, share, share_native, smith, spec, swarm, tail_calls,
};

/// The application's library with the engine that it has not by default, too.
const BOTH_ENGINES: &str = "kernel-app/native";

/// The launcher's tests start it, with an image that a fake QEMU does not run.
pub(super) fn unit(_: &[Arch]) -> Result<Counts> {
    images::build(Arch::host(), &images::default_out())?;
    harness(cargo_test().args([
        "--workspace",
        "--exclude",
        "vm-tests",
        "--exclude",
        "container-tests",
        "--features",
        BOTH_ENGINES,
        "--no-fail-fast",
    ]))
}

/// What takes long in a debug build, and is less there. On this host: once, whatever the machines.
pub(super) fn network_volume(arches: &[Arch]) -> Result<Counts> {
    if !arches.contains(&Arch::host()) {
        println!(
            "SKIP: no machine is in this; it is run with those of {}",
            Arch::host().name()
        );
        return Ok(Counts::default());
    }
    let of = |package, test| {
        harness(cargo().args([
            "test",
            "--locked",
            "--release",
            "--package",
            package,
            "--test",
            test,
        ]))
    };
    let mut counts = of("net-stack", "transfers")?;
    counts.add(&of("relay", "volume")?);
    Ok(counts)
}

pub(super) fn loader(_: &[Arch]) -> Result<Counts> {
    harness(cargo().current_dir(root().join("loader")).args([
        "test",
        "--locked",
        "--workspace",
        "--",
        // Those that boot a machine.
        "--include-ignored",
    ]))
}

/// The program, and its tests. Cranelift is compiled once, for both.
pub(super) fn compiler(_: &[Arch]) -> Result<Counts> {
    native::build()?;
    harness(
        cargo()
            .current_dir(root().join("compiler"))
            .args(["test", "--locked", "--release"])
            .env("CARGO_TARGET_DIR", native::target()),
    )
}

/// Where cargo-fuzz can be had, its programs replay the seeds; elsewhere ordinary tests do.
pub(super) fn fuzz(_: &[Arch]) -> Result<Counts> {
    let Some(reason) = targets::missing() else {
        let mut counts = Counts::default();
        for (target, result) in targets::short()? {
            match result {
                Ok(()) => counts.passed += 1,
                Err(error) => {
                    println!("{target}: {error:#}");
                    counts.failed += 1;
                }
            }
        }
        return Ok(counts);
    };
    let mut counts = harness(cargo().current_dir(root().join("tests/fuzz")).args([
        "test",
        "--locked",
        "--tests",
        "--no-fail-fast",
    ]))?;
    println!(
        "SKIPPED: {} fuzz targets were not run: {reason}",
        targets::targets()?.len()
    );
    counts.skipped += targets::targets()?.len();
    Ok(counts)
}

pub(super) fn memcheck(_: &[Arch]) -> Result<Counts> {
    // Tests that start other programs or boot machines are not in these crates.
    let mut counts = harness(targets::sanitized(cargo().args([
        "test",
        "--locked",
        "--lib",
        "--tests",
        "--package",
        "wasi-core",
        "--package",
        "wasi-p1",
        "--package",
        "boot-protocol",
    ]))?)?;
    counts.add(&harness(targets::sanitized(
        cargo().current_dir(root().join("loader")).args([
            "test",
            "--locked",
            "--package",
            "hermit-loader-core",
            "--package",
            "firmware-tables",
        ]),
    )?)?);
    Ok(counts)
}

pub(super) fn miri(_: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    match interpreter::commands()? {
        Ok(commands) => {
            for mut command in commands {
                counts.add(&harness(&mut command)?);
            }
        }
        Err(reason) => {
            println!("SKIP: unit tests under Miri NOT RUN: {reason}");
            counts.skipped += 1;
        }
    }
    Ok(counts)
}

pub(super) fn deny(_: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    for workspace in supply_chain::workspaces()? {
        let config = supply_chain::config();
        let checks = ["licenses", "bans", "sources"];
        counts.add(&check(&mut supply_chain::deny(
            &workspace,
            &config,
            &[],
            &checks,
        ))?);
    }
    Ok(counts)
}

/// Against the repository's own list, which is what can be had without a network.
pub(super) fn advisories(_: &[Arch]) -> Result<Counts> {
    let config = supply_chain::local(&supply_chain::listed(), &root().join("target/advisories"))?;
    println!("against the advisories in ci/advisories, which says what it cannot see");
    let mut counts = Counts::default();
    for workspace in supply_chain::workspaces()? {
        supply_chain::fetch(&workspace)?;
        // Offline: cargo-deny fetches no database then.
        counts.add(&check(&mut supply_chain::deny(
            &workspace,
            &config,
            &["--offline"],
            &["advisories"],
        ))?);
    }
    Ok(counts)
}

/// The bills of the images of this host's architecture, and of the programs.
pub(super) fn sbom(_: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    match bills::missing() {
        Some(reason) => {
            println!("SKIP: bills of materials NOT WRITTEN: {reason}");
            counts.skipped += 1;
        }
        None => counts.passed += bills::write(&[Arch::host()], &bills::default_out())?,
    }
    Ok(counts)
}

/// Whatever the architectures, and with one engine: each costs a whole build.
pub(super) fn reproduce(_: &[Arch]) -> Result<Counts> {
    again::check(&[Arch::host()], &[Engine::Interp])?;
    Ok(Counts::ONE)
}
