//! Our WASI beside others: builds the workspace `tests/differential/`, fetches wasmtime, runs the differential test.
//!
//! What it compares, and how: `docs/testing.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use test_qemu::Engine;

use crate::arch::Arch;
use crate::toolchain::{cargo, compile, root, test_cache};
use crate::{compiler, guests, image};

/// The guest that makes the calls, and that which makes those on sockets.
const GUEST: &str = "differential";
const SOCKETS_GUEST: &str = "differential-sockets";

/// How many sequences on sockets a test run makes: a minute on a busy machine, most of it waiting for the host's
/// sockets.
const SOCKET_SEQUENCES: u64 = 50;

/// How many sequences a test run makes, and how many calls each: some 20 s of CPU time with both runtimes.
const SEQUENCES: u64 = 1000;
const CALLS: u64 = 120;

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Differential {
    /// Determines what is called.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The number of the first sequence: to repeat one.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many sequences.
    #[arg(long, default_value_t = SEQUENCES)]
    sequences: u64,
    /// How many calls each has.
    #[arg(long, default_value_t = CALLS)]
    calls: u64,
}

impl Default for Differential {
    fn default() -> Self {
        Self {
            seed: 1,
            first: 0,
            sequences: SEQUENCES,
            calls: CALLS,
        }
    }
}

/// The directory of the workspace.
pub(crate) fn workspace() -> PathBuf {
    root().join("tests/differential")
}

/// Where its results go: not below the main workspace's, whose `cargo clean` should not cost it.
pub(crate) fn target() -> PathBuf {
    root().join("target/differential")
}

/// Builds its programs; gives the directory that they are in.
pub(crate) fn build() -> Result<PathBuf> {
    compile(
        "our WASI and wasmi_wasi for the host",
        cargo()
            .current_dir(workspace())
            .args(["build", "--locked", "--release", "--bins", "--target-dir"])
            .arg(target()),
    )?;
    Ok(target().join("release"))
}

/// What to compare with.
#[derive(Clone, Debug)]
pub(crate) enum Other {
    /// wasmtime, by this Python.
    Wasmtime(PathBuf),
    /// Crate `wasmi_wasi`.
    WasmiWasi,
    /// Our own in the virtual machine, by this launcher on this engine.
    Vm(PathBuf, Engine),
}

/// Compares with one runtime; fails if an answer differs without a reason.
pub(crate) fn compare(run: &Differential, other: &Other) -> Result<()> {
    let programs = build()?;
    let guest = guests::one(&root(), GUEST)?;
    let mut command = Command::new(programs.join("differential"));
    command.arg("--guest").arg(guest);
    match other {
        Other::Wasmtime(python) => command.args(["--reference", "wasmtime", "--python"]).arg(python),
        Other::WasmiWasi => command.args(["--reference", "wasmi-wasi"]),
        Other::Vm(launcher, engine) => command
            .args(["--reference", "vm", "--engine", engine.name(), "--launcher"])
            .arg(launcher)
            .env("XDG_CACHE_HOME", test_cache()),
    };
    for (flag, value) in [
        ("--seed", run.seed),
        ("--first", run.first),
        ("--sequences", run.sequences),
        ("--calls", run.calls),
    ] {
        command.args([flag, &value.to_string()]);
    }
    crate::toolchain::run(&mut command)
}

/// Our own in the virtual machine on each engine, with what they need.
pub(crate) fn machines() -> Result<[Other; 2]> {
    let launcher = image::build_launcher(&[Arch::host()])?;
    compiler::build()?;
    Ok(Engine::ALL.map(|engine| Other::Vm(launcher.clone(), engine)))
}

/// Compares the calls on sockets with wasmtime 19, by this Python; fails if an answer differs without a reason.
pub(crate) fn compare_sockets(python: &Path) -> Result<()> {
    let programs = build()?;
    let mut command = Command::new(programs.join("sockets"));
    command
        .arg("--guest")
        .arg(guests::one(&root(), SOCKETS_GUEST)?)
        .arg("--python")
        .arg(python)
        .args(["--sequences", &SOCKET_SEQUENCES.to_string()]);
    crate::toolchain::run(&mut command)
}

/// Which of wasmtime's Python packages.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Package {
    /// That which decides where the specification is silent.
    Wasmtime,
    /// The last that has sockets.
    WithSockets,
}

/// A Python of our own that has the package `wasmtime`, of the version and with the hashes that the repository names.
///
/// # Errors
/// If it is not there and cannot be had, with pip's reason.
pub(crate) fn python(package: Package) -> Result<PathBuf> {
    let (requirements, venv) = match package {
        Package::Wasmtime => ("wasmtime.txt", "venv"),
        Package::WithSockets => ("wasmtime-sockets.txt", "venv-sockets"),
    };
    let requirements = workspace().join(requirements);
    let venv = target().join(venv);
    let python = venv.join("bin/python");
    // The requirements that the last complete installation had.
    let done = venv.join("installed.txt");
    let wanted =
        fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    if fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    fs::create_dir_all(target())?;
    quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    quiet(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args([
                "--timeout",
                "30",
                "--retries",
                "1",
                "--no-deps",
                "--only-binary=:all:",
            ])
            .args(["--require-hashes", "--requirement"])
            .arg(&requirements),
    )?;
    fs::write(&done, wanted)?;
    Ok(python)
}

/// Runs a command that says nothing unless it fails.
fn quiet(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!(
        "{command:?}: {}: {}",
        output.status,
        said.trim().lines().last().unwrap_or_default()
    )
}
