//! What each step does: the commands that it runs, and how it counts what they say.

use std::process::Command;

use anyhow::Result;
use test_qemu::Engine;
use vm_tests::environment;

use super::harness::{Counts, Machines, check, harness};
use crate::arch::{Arch, Target as _};
use crate::differential::{self, Other};
use crate::toolchain::{BUILD_STD, cargo, find, root};
use crate::{
    compiler as native, fuzz as targets, guests, image, miri as interpreter, spec as spec_tests,
    supply_chain, tail_calls as handlers,
};

/// The workspaces besides the main one that hold our own Rust for the host.
const WORKSPACES: [&str; 7] = [
    "compiler",
    "loader",
    "guests",
    "tests/differential",
    "tests/fuzz",
    "tests/hostile",
    "tests/system-calls",
];

pub(super) fn fmt(_: &[Arch]) -> Result<Counts> {
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

pub(super) fn scripts(_: &[Arch]) -> Result<Counts> {
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
        .arg(".ci/run");
    for directory in ["ci", "scripts", "scripts/lib"] {
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

/// The application's library with the engine that it has not by default, too.
const BOTH_ENGINES: &str = "kernel-app/native";

/// Workspaces by their folders, with what there is to look at in each.
pub(super) fn clippy(_: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    for (workspace, what) in [
        (
            ".",
            ["--workspace", "--all-targets", "--features", BOTH_ENGINES].as_slice(),
        ),
        ("loader", &["--lib", "--tests"]),
        ("compiler", &["--release", "--all-targets"]),
        ("tests/differential", &["--release", "--all-targets"]),
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
pub(super) fn clippy_vm(_: &[Arch]) -> Result<Counts> {
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

/// The launcher's tests start it, with an image that a fake QEMU does not run.
pub(super) fn unit(_: &[Arch]) -> Result<Counts> {
    image::build(Arch::host(), &image::default_out())?;
    harness(cargo().args([
        "test",
        "--locked",
        "--workspace",
        "--exclude",
        "vm-tests",
        "--features",
        BOTH_ENGINES,
        "--no-fail-fast",
    ]))
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

/// Compares with wasmi_wasi and wasmtime on this host, and with our own in the machines.
pub(super) fn differential(arches: &[Arch]) -> Result<Counts> {
    if !arches.contains(&Arch::host()) {
        return Ok(Counts::default());
    }
    let run = differential::Differential::default();
    let mut counts = harness(
        cargo()
            .current_dir(differential::workspace())
            .args(["test", "--locked", "--release", "--target-dir"])
            .arg(differential::target()),
    )?;
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

/// The suite on the native engine.
pub(super) fn spec(arches: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    for arch in arches {
        let machines = Machines {
            arch: *arch,
            engine: Engine::Native,
        };
        println!("\n--- {}", machines.name());
        if *arch == Arch::Riscv64 {
            println!("SKIP: the compiler has no vectors for riscv64, which many files need (docs/wasm.md)");
            counts.skipped += 1;
            continue;
        }
        let what = spec_tests::What::Suite { only: None };
        counts.add(&match spec_tests::run(&what, Engine::Native, *arch) {
            Ok(()) => Counts::ONE,
            Err(error) => {
                println!("{}: {error:#}", machines.name());
                Counts::FAILED
            }
        });
    }
    Ok(counts)
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
        "--package",
        "firmware-tables",
    ]))?)?;
    counts.add(&harness(targets::sanitized(
        cargo().current_dir(root().join("loader")).args([
            "test",
            "--locked",
            "--package",
            "hermit-loader-core",
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

pub(super) fn image(arches: &[Arch]) -> Result<Counts> {
    for arch in arches {
        image::build(*arch, &image::default_out())?;
    }
    Ok(Counts::ONE)
}

/// Looks for frames and returns in the interpreter's handlers, in the machine code of every architecture.
pub(super) fn tail_calls(arches: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    for arch in arches {
        image::build(*arch, &image::default_out())?;
        counts.add(&match handlers::check(*arch) {
            Ok(()) => Counts::ONE,
            Err(error) => {
                println!("{}: {error:#}", arch.name());
                Counts::FAILED
            }
        });
    }
    Ok(counts)
}

pub(super) fn boot(arches: &[Arch]) -> Result<Counts> {
    boot_on(Engine::Interp, arches)
}

pub(super) fn boot_native(arches: &[Arch]) -> Result<Counts> {
    boot_on(Engine::Native, arches)
}

fn boot_on(engine: Engine, arches: &[Arch]) -> Result<Counts> {
    let tests = ["boot", "plain", "inside", "runner", "library"];
    let tests = tests.iter().flat_map(|test| ["--test", test]);
    // The tests of the tests need be run once.
    let own = (engine == Engine::Interp).then_some("--lib");
    in_vm(
        engine,
        arches,
        &own.into_iter().chain(tests).collect::<Vec<_>>(),
        &[],
    )
}

pub(super) fn conformance(arches: &[Arch]) -> Result<Counts> {
    in_vm(Engine::Interp, arches, &["--test", "conformance"], &[])
}

pub(super) fn conformance_native(arches: &[Arch]) -> Result<Counts> {
    in_vm(Engine::Native, arches, &["--test", "conformance"], &[])
}

/// The jail of a real QEMU, and what is tried from inside of one, on hosts as they may be.
pub(super) fn jail(arches: &[Arch]) -> Result<Counts> {
    let mut counts =
        harness(cargo().args(["test", "--locked", "--package", "hermit-wasm-vm", "--lib", "jail"]))?;
    counts.add(&harness(cargo().args([
        "test",
        "--locked",
        "--package",
        "hermit-wasm-vm",
        "--test",
        "run",
        "jail",
    ]))?);
    counts.add(&in_vm(Engine::Interp, arches, &["--test", "jail"], &[])?);
    Ok(counts)
}

/// The directory's tests, and the tutorial under wasmtime too, if that can be had.
pub(super) fn share(arches: &[Arch]) -> Result<Counts> {
    share_on(Engine::Interp, arches)
}

/// The same, with the guests compiled.
pub(super) fn share_native(arches: &[Arch]) -> Result<Counts> {
    share_on(Engine::Native, arches)
}

fn share_on(engine: Engine, arches: &[Arch]) -> Result<Counts> {
    let script = root().join("tests/vm/reference/wasmtime_run.py");
    let reference = match differential::python() {
        Ok(python) => format!("{} {}", python.display(), script.display()),
        Err(error) => {
            println!("SKIP the tutorial under wasmtime: {error:#}");
            String::new()
        }
    };
    in_vm(
        engine,
        arches,
        &["--test", "share"],
        &[(environment::REFERENCE, &reference)],
    )
}

/// Boots the hostile kernel, which is one of x86_64, in the launcher.
pub(super) fn owned(arches: &[Arch]) -> Result<Counts> {
    if !arches.contains(&Arch::X86_64) {
        println!("SKIP: the hostile kernel is one of x86_64");
        return Ok(Counts::default());
    }
    let hostile = image::build_hostile()?;
    in_vm(
        Engine::Interp,
        &[Arch::X86_64],
        &["--test", "owned"],
        &[(environment::HOSTILE, &hostile.display().to_string())],
    )
}

/// Boots the application that makes the kernel's calls for memory, code and faults.
pub(super) fn calls(arches: &[Arch]) -> Result<Counts> {
    let mut total = Counts::default();
    for arch in arches {
        // Neither engine is in it.
        let machines = Machines {
            arch: *arch,
            engine: Engine::Interp,
        };
        println!("\n--- {}", arch.name());
        let image = image::build_system_calls(*arch)?;
        let images = image.parent().unwrap_or(&image);
        let counts = harness(
            cargo()
                .args(["test", "--locked", "--package", "vm-tests", "--test", "calls"])
                .env(environment::CALLS, images)
                .env(environment::ARCH, arch.name()),
        )?;
        total.add(&counts);
        total.note(machines, [counts.passed, counts.failed, counts.skipped]);
    }
    total.print_by_machines();
    Ok(total)
}

/// Runs test programs of `tests/vm` on an engine, on each architecture, with the guests and the launcher that they need.
fn in_vm(engine: Engine, arches: &[Arch], which: &[&str], variables: &[(&str, &str)]) -> Result<Counts> {
    let guests_out = root().join("target/guests");
    guests::build(&root(), &guests_out)?;
    let launcher = image::build_launcher(arches)?;
    if engine == Engine::Native {
        // Where the launcher looks for it.
        native::build()?;
    }
    let mut total = Counts::default();
    for arch in arches {
        let machines = Machines { arch: *arch, engine };
        println!("\n--- {}", machines.name());
        let counts = harness(
            cargo()
                .args(["test", "--locked", "--package", "vm-tests"])
                .args(which)
                .envs(variables.iter().copied())
                .env(environment::LAUNCHER, &launcher)
                .env(environment::GUESTS, &guests_out)
                .env(environment::IMAGES, image::default_out())
                .env(environment::ARCH, arch.name())
                .env(environment::ENGINE, engine.name())
                // What is compiled for one row serves the others, and nothing of it is the user's.
                .env("XDG_CACHE_HOME", root().join("target/tmp/cache")),
        )?;
        total.add(&counts);
        total.note(machines, [counts.passed, counts.failed, counts.skipped]);
    }
    total.print_by_machines();
    Ok(total)
}
