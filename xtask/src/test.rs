//! `cargo xtask test`: every check, one after the other, and a summary at the end.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::arch::Arch;
use crate::differential::Other;
use crate::harness::{Counts, check, harness};
use crate::toolchain::{BUILD_STD, cargo, root};
use crate::{differential, fuzz, guests, image, kernel, miri, nested, tail_calls};

/// One step: its name, what it shows, and how it is run.
struct Step {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<Counts>,
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        what: "every Rust file is formatted",
        run: fmt,
    },
    Step {
        name: "clippy",
        what: "no lint fires, on the host",
        run: clippy_host,
    },
    Step {
        name: "unit",
        what: "unit, integration and documentation tests on the host",
        run: unit,
    },
    Step {
        name: "loader",
        what: "lints and host tests of the loader",
        run: loader,
    },
    Step {
        name: "fuzz",
        what: "what must hold for any input holds for many: seeds, and a few runs of each fuzz target",
        run: fuzz,
    },
    Step {
        name: "memcheck",
        what: "unit tests without a wrong access to memory, as far as AddressSanitizer sees",
        run: memcheck,
    },
    Step {
        name: "miri",
        what: "unit tests without undefined behaviour, as far as Miri can run them in time",
        run: miri,
    },
    Step {
        name: "deny",
        what: "licences, bans and sources of all dependencies",
        run: deny,
    },
    Step {
        name: "image",
        what: "kernel, application, loader and image build",
        run: build_image,
    },
    Step {
        name: "tail-calls",
        what: "the interpreter's handlers jump to each other: no frame, no return",
        run: tail_calls,
    },
    Step {
        name: "clippy-vm",
        what: "no lint fires, for the virtual machine's target",
        run: clippy_vm,
    },
    Step {
        name: "boot",
        what: "every guest runs in a virtual machine as it should",
        run: boot,
    },
    Step {
        name: "conformance",
        what: "the published conformance suite passes in the virtual machine (on the host it is part of unit)",
        run: conformance,
    },
    Step {
        name: "differential",
        what: "random WASI calls answer as on wasmtime and on wasmi_wasi",
        run: differential,
    },
    Step {
        name: "share",
        what: "directories of the host, shared by virtiofsd: the tutorial, faults, what is large or many",
        run: share,
    },
    Step {
        name: "nested",
        what: "uhyve, and QEMU with KVM, run the image; where KVM does not work, inside of an emulated Linux",
        run: || nested::run(&[]),
    },
];

/// Prints the steps' names.
pub(crate) fn list() {
    for step in STEPS {
        println!("{:11} {}", step.name, step.what);
    }
}

/// Runs the steps named `only`, or all; fails if anything failed.
pub(crate) fn run(only: &[String]) -> Result<()> {
    if let Some(unknown) = only
        .iter()
        .find(|name| STEPS.iter().all(|step| step.name != name.as_str()))
    {
        bail!("there is no step {unknown}: `scripts/test --list` names them");
    }
    let mut total = Counts::default();
    let mut rows = Vec::new();
    for step in STEPS
        .iter()
        .filter(|step| only.is_empty() || only.iter().any(|name| name == step.name))
    {
        println!("\n=== {}: {}", step.name, step.what);
        let start = Instant::now();
        let counts = (step.run)().unwrap_or_else(|error| {
            println!("{}: {error:#}", step.name);
            Counts {
                failed: 1,
                ..Counts::default()
            }
        });
        total.add(&counts);
        rows.push((step.name, counts, start.elapsed()));
    }
    println!("\n=== summary");
    println!(
        "{:11} {:>7} {:>7} {:>8} {:>8}",
        "step", "passed", "failed", "skipped", "time"
    );
    for (name, counts, time) in &rows {
        println!(
            "{name:11} {:7} {:7} {:8} {:7}s",
            counts.passed,
            counts.failed,
            counts.skipped,
            time.as_secs()
        );
    }
    total.print_by_arch();
    println!(
        "\n{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    if total.failed > 0 {
        bail!("{} failed", total.failed);
    }
    Ok(())
}

/// Runs the step `nested` alone, or the checks with one of the words `only` in their names.
pub(crate) fn report_nested(only: &[String]) -> Result<()> {
    let counts = nested::run(only)?;
    println!(
        "{} passed, {} failed, {} skipped",
        counts.passed, counts.failed, counts.skipped
    );
    if counts.failed > 0 {
        bail!("{} failed", counts.failed);
    }
    Ok(())
}

fn fmt() -> Result<Counts> {
    let mut counts = check(cargo().args(["fmt", "--all", "--check"]))?;
    for workspace in ["loader", "guests", "tests/differential", "tests/fuzz"] {
        counts.add(&check(
            cargo()
                .args(["fmt", "--all", "--check"])
                .current_dir(root().join(workspace)),
        )?);
    }
    Ok(counts)
}

fn clippy_host() -> Result<Counts> {
    check(with_images(cargo().args([
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-Dwarnings",
    ]))?)
}

fn clippy_vm() -> Result<Counts> {
    let mut counts = Counts::default();
    for arch in Arch::ALL {
        counts.add(&check(
            cargo()
                .args([
                    "clippy",
                    "--locked",
                    "--profile",
                    image::PROFILE,
                    "--package",
                    "kernel-app",
                    "--target",
                    arch.app_target(),
                ])
                .args(BUILD_STD)
                .args(["--", "-Dwarnings"])
                .env("CARGO_TARGET_DIR", root().join("target/app"))
                // As the application is built, or everything would be compiled twice.
                .env("RUSTFLAGS", arch.app_flags())
                .env("HERMIT_WASM_KERNEL", kernel::build(arch)?)
                .env("HERMIT_WASM_EMBEDDED", guests::build_embedded(&root())?),
        )?);
    }
    Ok(counts)
}

fn unit() -> Result<Counts> {
    harness(with_images(cargo().args([
        "test",
        "--locked",
        "--workspace",
        "--exclude",
        "vm-tests",
        "--no-fail-fast",
    ]))?)
}

fn loader() -> Result<Counts> {
    let directory = root().join("loader");
    let mut counts = harness(cargo().current_dir(&directory).args([
        "test",
        "--locked",
        "--workspace",
        "--",
        // Those that boot a machine.
        "--include-ignored",
    ]))?;
    counts.add(&check(cargo().current_dir(&directory).args([
        "clippy",
        "--locked",
        "--lib",
        "--tests",
        "--",
        "-Dwarnings",
    ]))?);
    for arch in Arch::ALL {
        counts.add(&check(
            cargo()
                .current_dir(&directory)
                .args([
                    "clippy",
                    "--locked",
                    "--release",
                    "--bin",
                    "hermit-loader",
                    "--target",
                    arch.kernel_target(),
                ])
                .args(BUILD_STD)
                .args(["--", "-Dwarnings"]),
        )?);
    }
    Ok(counts)
}

fn differential() -> Result<Counts> {
    let run = differential::Differential::default();
    let directory = differential::workspace();
    let cargo_there = |what: &str| {
        let mut command = cargo();
        command
            .current_dir(&directory)
            .args([what, "--locked", "--release"]);
        command.arg("--target-dir").arg(differential::target());
        command
    };
    let mut counts = harness(&mut cargo_there("test"))?;
    counts.add(&check(cargo_there("clippy").args([
        "--all-targets",
        "--",
        "-Dwarnings",
    ]))?);
    let mut compare = |other: Other| match differential::compare(&run, &other) {
        Ok(()) => counts.passed += 1,
        Err(error) => {
            println!("differential: {error:#}");
            counts.failed += 1;
        }
    };
    compare(Other::WasmiWasi);
    compare(Other::Vm(image::build_launcher(&[Arch::host()])?));
    match differential::python() {
        Ok(python) => compare(Other::Wasmtime(python)),
        Err(error) => {
            println!("SKIP: differential test against wasmtime NOT RUN: it cannot be installed: {error:#}");
            counts.skipped += 1;
        }
    }
    Ok(counts)
}

fn fuzz() -> Result<Counts> {
    let directory = root().join("tests/fuzz");
    let mut counts =
        harness(
            cargo()
                .current_dir(&directory)
                .args(["test", "--locked", "--tests", "--no-fail-fast"]),
        )?;
    counts.add(&check(cargo().current_dir(&directory).args([
        "clippy",
        "--locked",
        "--all-targets",
        "--all-features",
        "--",
        "-Dwarnings",
    ]))?);
    if let Some(reason) = fuzz::missing() {
        println!(
            "SKIPPED: {} fuzz targets were not run: {reason}",
            fuzz::targets()?.len()
        );
        counts.skipped += fuzz::targets()?.len();
        return Ok(counts);
    }
    for (target, result) in fuzz::short()? {
        match result {
            Ok(()) => counts.passed += 1,
            Err(error) => {
                println!("{target}: {error:#}");
                counts.failed += 1;
            }
        }
    }
    Ok(counts)
}

fn memcheck() -> Result<Counts> {
    // Tests that start other programs or boot machines are not in these crates.
    let mut counts = harness(fuzz::sanitized(cargo().args([
        "test",
        "--locked",
        "--lib",
        "--tests",
        "--package",
        "wasi-shim",
        "--package",
        "boot-protocol",
    ]))?)?;
    counts.add(&harness(fuzz::sanitized(
        cargo().current_dir(root().join("loader")).args([
            "test",
            "--locked",
            "--package",
            "hermit-loader-core",
        ]),
    )?)?);
    Ok(counts)
}

fn miri() -> Result<Counts> {
    let mut counts = Counts::default();
    match miri::commands()? {
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

fn deny() -> Result<Counts> {
    let mut counts = Counts::default();
    for workspace in [
        ".",
        "loader",
        "hermit-kernel",
        "guests",
        "tests/differential",
        "tests/fuzz",
    ] {
        let manifest = root().join(workspace).join("Cargo.toml");
        counts.add(&check(
            cargo()
                .args(["deny", "--locked"])
                // libFuzzer is a feature.
                .args((workspace == "tests/fuzz").then_some("--all-features"))
                .arg("--manifest-path")
                .arg(manifest)
                .arg("--config")
                .arg(root().join("deny.toml"))
                .args(["check", "licenses", "bans", "sources"]),
        )?);
    }
    Ok(counts)
}

fn build_image() -> Result<Counts> {
    for arch in Arch::ALL {
        image::build(arch, &image::default_out())?;
    }
    Ok(Counts::ONE)
}

fn boot() -> Result<Counts> {
    in_vm(&["--lib", "--test", "boot", "--test", "plain"])
}

fn conformance() -> Result<Counts> {
    in_vm(&["--test", "conformance"])
}

/// The directory's tests, and the tutorial under wasmtime too, if that can be had.
fn share() -> Result<Counts> {
    let script = root().join("tests/vm/reference/wasmtime_run.py");
    let reference = match differential::python() {
        Ok(python) => format!("{} {}", python.display(), script.display()),
        Err(error) => {
            println!("SKIP the tutorial under wasmtime: {error:#}");
            String::new()
        }
    };
    in_vm_with(&["--test", "share"], &[("HERMIT_WASM_REFERENCE", &reference)])
}

/// Runs test programs of `tests/vm`, on each architecture, with the guests and the launcher that they need.
fn in_vm(which: &[&str]) -> Result<Counts> {
    in_vm_with(which, &[])
}

/// The same with more variables.
fn in_vm_with(which: &[&str], variables: &[(&str, &str)]) -> Result<Counts> {
    let guests_out = root().join("target/guests");
    guests::build(&root(), &guests_out)?;
    let launcher = image::build_launcher(&Arch::ALL)?;
    let mut total = Counts::default();
    for arch in Arch::ALL {
        println!("\n--- {}", arch.name());
        let flags = std::env::var("HERMIT_WASM_RUN_FLAGS").unwrap_or_default();
        let counts = harness(
            cargo()
                .args(["test", "--locked", "--package", "vm-tests"])
                .args(which)
                .envs(variables.iter().copied())
                .env("HERMIT_WASM_BIN", &launcher)
                .env("HERMIT_WASM_GUESTS", &guests_out)
                .env("HERMIT_WASM_IMAGES", image::default_out())
                .env("HERMIT_WASM_ARCH", arch.name())
                .env("HERMIT_WASM_RUN_FLAGS", format!("--arch {} {flags}", arch.name())),
        )?;
        total.add(&counts);
        total.note(arch, [counts.passed, counts.failed, counts.skipped]);
    }
    total.print_by_arch();
    Ok(total)
}

/// Looks for frames and returns in the interpreter's handlers, in the machine code of every architecture.
fn tail_calls() -> Result<Counts> {
    let mut counts = Counts::default();
    for arch in Arch::ALL {
        image::build(arch, &image::default_out())?;
        counts.add(&match tail_calls::check(arch) {
            Ok(()) => Counts::ONE,
            Err(error) => {
                println!("{}: {error:#}", arch.name());
                Counts {
                    failed: 1,
                    ..Counts::default()
                }
            }
        });
    }
    Ok(counts)
}

/// Lets the launcher's build script find images: the ones built last, or none where it only needs to compile.
fn with_images(command: &mut Command) -> Result<&mut Command> {
    build_image()?;
    let images: &Path = &image::default_out();
    Ok(command.env("HERMIT_WASM_IMAGES", images))
}
