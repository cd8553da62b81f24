//! `cargo xtask nested`: real hypervisors run the image: uhyve, and QEMU with KVM.
//!
//! Where KVM works, the checks of `xtask/nested/checks.toml` are run right here. Elsewhere a small Linux is booted
//! under QEMU's translation, which emulates AMD's virtualisation extensions, so that KVM works in that Linux. One boot
//! serves all checks. `docs/testing.md` says more.

mod checks;
mod initramfs;
mod job;
mod linux;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::arch::Arch;
use crate::ci::harness::Counts;
use crate::toolchain::{find, root, test_cache};
use crate::{guests, image};

use checks::Check;
use job::Outcome;

/// Forces a place: `direct` or `nested`.
const PLACE: &str = "HERMIT_WASM_NESTED";

/// What the checks use, as it lies on this machine.
struct Tools {
    launcher: PathBuf,
    uhyve: PathBuf,
    qemu: PathBuf,
}

/// Where checks are run.
enum Place {
    /// Here: KVM works.
    Direct,
    /// In a Linux under QEMU, made of these packages.
    Nested(linux::Packages),
}

/// Builds what is needed and runs the checks whose names contain one of `only`, or all.
pub(crate) fn run(only: &[String]) -> Result<Counts> {
    let checks = Check::read_all(&root().join("xtask/nested/checks.toml"), only)?;
    if checks.is_empty() {
        bail!("no check has such a name");
    }
    let Some(uhyve) = find("uhyve") else {
        return Ok(skip(
            checks.len(),
            "uhyve is not here; scripts/setup installs it with cargo install",
        ));
    };
    let Some(qemu) = find("qemu-system-x86_64") else {
        return Ok(skip(
            checks.len(),
            "qemu-system-x86_64 is not here; scripts/setup installs it",
        ));
    };
    let guests_out = root().join("target/guests");
    guests::build(&root(), &guests_out)?;
    let tools = Tools {
        launcher: image::build_launcher(&[Arch::X86_64])?,
        uhyve,
        qemu,
    };

    let work = root().join("target/nested/work");
    let files = job::prepare(
        &work,
        &checks,
        &image::default_out().join(Arch::X86_64.name()),
        &guests_out,
    )?;
    let start = Instant::now();
    let outcomes = match place(&tools, &files)? {
        Ok(Place::Direct) => {
            println!("KVM works here: the checks are run directly");
            job::run_here(&work, &tools)?
        }
        Ok(Place::Nested(packages)) => {
            println!("KVM does not work here: the checks are run in a Linux under QEMU");
            linux::run(&packages, &work, &tools)?
        }
        Err(reason) => return Ok(skip(checks.len(), &reason)),
    };
    let counts = judge(&checks, &outcomes)?;
    println!("{:.1} s from start to end", start.elapsed().as_secs_f64());
    Ok(counts)
}

/// Says loudly that nothing was run.
fn skip(count: usize, reason: &str) -> Counts {
    println!("SKIPPED: {count} checks on real hypervisors: {reason}");
    Counts {
        skipped: count,
        ..Counts::default()
    }
}

/// Decides where to run; a reason if nowhere.
fn place(tools: &Tools, files: &Path) -> Result<Result<Place, String>> {
    let forced = std::env::var(PLACE).ok();
    match forced.as_deref() {
        Some("direct") => return Ok(Ok(Place::Direct)),
        None if kvm_works(tools, files)? => return Ok(Ok(Place::Direct)),
        None | Some("nested") => {}
        Some(other) => bail!("{PLACE}: expected direct or nested, not '{other}'"),
    }
    Ok(linux::Packages::find().map(Place::Nested))
}

/// Boots a module under KVM. That a device /dev/kvm exists says little.
fn kvm_works(tools: &Tools, files: &Path) -> Result<bool> {
    if !Path::new("/dev/kvm").exists() {
        return Ok(false);
    }
    let status = Command::new(&tools.launcher)
        .args(["run", "--engine", "interp", "--accel", "kvm", "--timeout", "20s"])
        .arg(files.join("hello-rust.wasm"))
        .env("XDG_CACHE_HOME", test_cache())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("cannot start the launcher")?;
    Ok(status.success())
}

/// Compares what came with what was expected; prints a line for each check.
fn judge(checks: &[Check], outcomes: &[Outcome]) -> Result<Counts> {
    let mut counts = Counts::default();
    for check in checks {
        let outcome = outcomes.iter().find(|outcome| outcome.name == check.file_name());
        let complaint = match outcome {
            None => Some("it was not run: the machine ended before".to_owned()),
            Some(outcome) => check.complaint(outcome)?,
        };
        let time = outcome.map_or(0.0, |outcome| outcome.seconds);
        match complaint {
            None => {
                counts.passed += 1;
                println!("nested {} ... ok ({time:.1} s)", check.name);
            }
            Some(complaint) => {
                counts.failed += 1;
                println!("nested {} ... FAILED ({time:.1} s)\n{complaint}", check.name);
            }
        }
    }
    Ok(counts)
}
