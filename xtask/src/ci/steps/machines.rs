//! The steps that start virtual machines, and what they need for it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use test_qemu::Engine;
use vm_tests::environment;

use crate::arch::Arch;
use crate::ci::harness::{Counts, Machines, harness};
use crate::differential::{self as runtimes, Other, Package};
use crate::toolchain::{cargo, cargo_test, root, test_cache};
use crate::{
    compiler as native, guests, image as images, programs, spec as spec_tests, tail_calls as handlers,
};

pub(crate) fn image(arches: &[Arch]) -> Result<Counts> {
    for arch in arches {
        images::build(*arch, &images::default_out())?;
    }
    Ok(Counts::ONE)
}

/// Looks for frames and returns in the interpreter's handlers, in the machine code of every architecture.
pub(crate) fn tail_calls(arches: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    for arch in arches {
        images::build(*arch, &images::default_out())?;
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

pub(crate) fn boot(arches: &[Arch]) -> Result<Counts> {
    boot_on(Engine::Interp, arches)
}

pub(crate) fn boot_native(arches: &[Arch]) -> Result<Counts> {
    boot_on(Engine::Native, arches)
}

fn boot_on(engine: Engine, arches: &[Arch]) -> Result<Counts> {
    let tests = ["boot", "plain", "inside", "runner", "library", "pack"];
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

pub(crate) fn conformance(arches: &[Arch]) -> Result<Counts> {
    in_vm(Engine::Interp, arches, &["--test", "conformance"], &[])
}

pub(crate) fn conformance_native(arches: &[Arch]) -> Result<Counts> {
    in_vm(Engine::Native, arches, &["--test", "conformance"], &[])
}

/// Deterministic runs, the same on all of the architectures.
pub(crate) fn deterministic(arches: &[Arch]) -> Result<Counts> {
    deterministic_on(Engine::Interp, arches)
}

/// The same, compiled.
pub(crate) fn deterministic_native(arches: &[Arch]) -> Result<Counts> {
    deterministic_on(Engine::Native, arches)
}

fn deterministic_on(engine: Engine, arches: &[Arch]) -> Result<Counts> {
    let prepared = Prepared::new(engine, arches)?;
    let names: Vec<_> = arches.iter().map(|arch| arch.name()).collect();
    harness(
        prepared
            .tests(&["--test", "deterministic"])
            .env(environment::ARCH, names.join(","))
            .env(environment::ENGINE, engine.name()),
    )
}

/// Recordings, on both engines.
pub(crate) fn replay(arches: &[Arch]) -> Result<Counts> {
    in_vm(Engine::Native, arches, &["--test", "replay"], &[])
}

/// The jail of a real QEMU, and what is tried from inside of one, on hosts as they may be.
pub(crate) fn jail(arches: &[Arch]) -> Result<Counts> {
    let mut counts = harness(cargo_test().args(["--package", "hermit-wasm-vm", "--lib", "jail"]))?;
    counts.add(&harness(cargo_test().args([
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
pub(crate) fn share(arches: &[Arch]) -> Result<Counts> {
    share_on(Engine::Interp, arches)
}

/// The same, with the guests compiled.
pub(crate) fn share_native(arches: &[Arch]) -> Result<Counts> {
    share_on(Engine::Native, arches)
}

fn share_on(engine: Engine, arches: &[Arch]) -> Result<Counts> {
    let script = root().join("tests/vm/reference/wasmtime_run.py");
    let reference = match runtimes::python(Package::Wasmtime) {
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

/// Servers that the launcher starts.
pub(crate) fn network(arches: &[Arch]) -> Result<Counts> {
    in_vm(
        Engine::Interp,
        arches,
        &["--test", "network", "--", "network/launcher/"],
        &[],
    )
}

/// Go, whose `net/http` is one of the servers of the job `network`: without it those tests are skipped, and say so.
fn fetch_go() {
    if let Err(error) = programs::fetch("go") {
        println!("Go cannot be fetched: {error:#}");
    }
}

/// Servers that QEMU starts alone, with its own network and on a tap.
pub(crate) fn network_plain(arches: &[Arch]) -> Result<Counts> {
    fetch_go();
    in_vm(
        Engine::Interp,
        arches,
        &["--test", "network", "--", "--skip", "network/launcher/"],
        &[],
    )
}

/// Servers of native code, by both.
pub(crate) fn network_native(arches: &[Arch]) -> Result<Counts> {
    fetch_go();
    in_vm(Engine::Native, arches, &["--test", "network"], &[])
}

/// A short set of containers, by podman and containerd.
pub(crate) fn containers(arches: &[Arch]) -> Result<Counts> {
    by_engines("containers", Engine::Interp, &[], "short", arches)
}

/// All of them, by the interface that Kubernetes speaks too. The short set's rows also run natively; for that the
/// compiler is built, which a case of the others wants as well.
pub(crate) fn containers_all(arches: &[Arch]) -> Result<Counts> {
    let mut counts = by_engines("containers", Engine::Native, &["--", "/row/"], "short", arches)?;
    counts.add(&by_engines("containers", Engine::Interp, &[], "all", arches)?);
    Ok(counts)
}

/// Two Docker engines as nodes.
pub(crate) fn swarm(arches: &[Arch]) -> Result<Counts> {
    by_engines("swarm", Engine::Interp, &[], "all", arches)
}

/// Runs a test program of `tests/containers`, with what runs the rows' modules. Container engines are of this host's
/// architecture, and so are their images.
fn by_engines(test: &str, engine: Engine, words: &[&str], which: &str, arches: &[Arch]) -> Result<Counts> {
    let host = Arch::host();
    if !arches.contains(&host) {
        println!(
            "SKIP: containers are of this host's architecture, {}",
            host.name()
        );
        return Ok(Counts::default());
    }
    let machines = Machines { arch: host, engine };
    let prepared = Prepared::new(machines.engine, &[host])?;
    let mut command = prepared.tests_of("container-tests", &["--lib", "--test", test]);
    let mut counts = harness(
        command
            .args(words)
            .env(container_tests::settings::WHICH, which)
            .env(environment::ENGINE, machines.engine.name()),
    )?;
    counts.note(machines, [counts.passed, counts.failed, counts.skipped]);
    counts.print_by_machines();
    Ok(counts)
}

/// Boots the hostile kernel, which is one of x86_64, in the launcher.
pub(crate) fn owned(arches: &[Arch]) -> Result<Counts> {
    if !arches.contains(&Arch::X86_64) {
        println!("SKIP: the hostile kernel is one of x86_64");
        return Ok(Counts::default());
    }
    let hostile = images::build_hostile()?;
    in_vm(
        Engine::Interp,
        &[Arch::X86_64],
        &["--test", "owned"],
        &[(environment::HOSTILE, &hostile.display().to_string())],
    )
}

/// Boots the application that makes the kernel's calls for memory, code and faults.
pub(crate) fn calls(arches: &[Arch]) -> Result<Counts> {
    let mut total = Counts::default();
    for arch in arches {
        // Neither engine is in it.
        let machines = Machines {
            arch: *arch,
            engine: Engine::Interp,
        };
        println!("\n--- {}", arch.name());
        let image = images::build_system_calls(*arch)?;
        let images = image.parent().unwrap_or(&image);
        let counts = harness(
            cargo_test()
                .args(["--package", "vm-tests", "--test", "calls"])
                .env(environment::CALLS, images)
                .env(environment::ARCH, arch.name()),
        )?;
        total.add(&counts);
        total.note(machines, [counts.passed, counts.failed, counts.skipped]);
    }
    total.print_by_machines();
    Ok(total)
}

/// Runs test programs of `tests/vm` on an engine, on each architecture, with the guests and the launcher that they
/// need.
fn in_vm(engine: Engine, arches: &[Arch], which: &[&str], variables: &[(&str, &str)]) -> Result<Counts> {
    let prepared = Prepared::new(engine, arches)?;
    let mut total = Counts::default();
    for arch in arches {
        let machines = Machines { arch: *arch, engine };
        println!("\n--- {}", machines.name());
        let counts = harness(
            prepared
                .tests(which)
                .envs(variables.iter().copied())
                .env(environment::ARCH, arch.name())
                .env(environment::ENGINE, engine.name()),
        )?;
        total.add(&counts);
        total.note(machines, [counts.passed, counts.failed, counts.skipped]);
    }
    total.print_by_machines();
    Ok(total)
}

/// What test programs of `tests/vm` need.
struct Prepared {
    guests: PathBuf,
    launcher: PathBuf,
}

impl Prepared {
    /// Builds it.
    fn new(engine: Engine, arches: &[Arch]) -> Result<Self> {
        let guests = root().join("target/guests");
        guests::build(&root(), &guests)?;
        let launcher = images::build_launcher(arches)?;
        if engine == Engine::Native {
            // Where the launcher looks for it.
            native::build()?;
        }
        Ok(Self { guests, launcher })
    }

    /// The command that runs these.
    fn tests(&self, which: &[&str]) -> Command {
        self.tests_of("vm-tests", which)
    }

    /// The same of another package.
    fn tests_of(&self, package: &str, which: &[&str]) -> Command {
        let mut command = cargo_test();
        command
            .args(["--package", package])
            .args(which)
            .env(environment::LAUNCHER, &self.launcher)
            .env(environment::GUESTS, &self.guests)
            .env(environment::IMAGES, images::default_out())
            .env("XDG_CACHE_HOME", test_cache());
        command
    }
}

/// Compares with wasmi_wasi and wasmtime on this host, and with our own in the machines.
pub(crate) fn differential(arches: &[Arch]) -> Result<Counts> {
    if !arches.contains(&Arch::host()) {
        return Ok(Counts::default());
    }
    let run = runtimes::Differential::default();
    let mut counts = harness(
        cargo()
            .current_dir(runtimes::workspace())
            .args(["test", "--locked", "--release", "--target-dir"])
            .arg(runtimes::target()),
    )?;
    let mut compare = |other: Other| match runtimes::compare(&run, &other) {
        Ok(()) => counts.passed += 1,
        Err(error) => {
            println!("differential: {error:#}");
            counts.failed += 1;
        }
    };
    compare(Other::WasmiWasi);
    for machines in runtimes::machines()? {
        compare(machines);
    }
    match runtimes::python(Package::Wasmtime) {
        Ok(python) => compare(Other::Wasmtime(python)),
        Err(error) => {
            println!("SKIP: differential test against wasmtime NOT RUN: it cannot be installed: {error:#}");
            counts.skipped += 1;
        }
    }
    match runtimes::python(Package::WithSockets).map(|python| runtimes::compare_sockets(&python)) {
        Ok(Ok(())) => counts.passed += 1,
        Ok(Err(error)) => {
            println!("differential: sockets: {error:#}");
            counts.failed += 1;
        }
        Err(error) => {
            println!(
                "SKIP: differential test of sockets NOT RUN: wasmtime 19 cannot be installed: {error:#}"
            );
            counts.skipped += 1;
        }
    }
    Ok(counts)
}

/// The suite on both engines.
pub(crate) fn spec(arches: &[Arch]) -> Result<Counts> {
    scripts(&spec_tests::What::Suite { only: None }, arches)
}

/// The same random modules each time.
pub(crate) fn smith(arches: &[Arch]) -> Result<Counts> {
    scripts(&spec_tests::What::FIXED, arches)
}

/// Has scripts carried out on each engine.
fn scripts(what: &spec_tests::What, arches: &[Arch]) -> Result<Counts> {
    let mut counts = Counts::default();
    for arch in arches {
        for engine in Engine::ALL {
            let machines = Machines { arch: *arch, engine };
            println!("\n--- {}", machines.name());
            let (count, noted) = match spec_tests::run(what, engine, *arch) {
                Ok(()) => (Counts::ONE, [1, 0, 0]),
                Err(error) => {
                    println!("{}: {error:#}", machines.name());
                    (Counts::FAILED, [0, 1, 0])
                }
            };
            counts.add(&count);
            counts.note(machines, noted);
        }
    }
    Ok(counts)
}

/// The native engine in a process of this host, on what is compiled for it.
pub(crate) fn native_host(_: &[Arch]) -> Result<Counts> {
    harness(
        cargo()
            .current_dir(runtimes::workspace())
            .args(["test", "--locked", "--release", "--no-fail-fast"])
            .args(spec_tests::PACKAGES)
            .arg("--target-dir")
            .arg(runtimes::target()),
    )
}
