//! Runs the guest of the differential test on each runtime, in a process and a directory of its own.
//!
//! Layer: host tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use test_qemu::Engine;

use crate::expectations::Reference;

/// What runs what.
#[derive(Debug)]
pub struct Programs {
    /// `wasi-host` of this workspace.
    pub host: PathBuf,
    /// The guest's module.
    pub guest: PathBuf,
    /// A Python that has the package `wasmtime`.
    pub python: Option<PathBuf>,
    /// `hermit-wasm`, and the engine that it runs the guest on.
    pub launcher: Option<(PathBuf, Engine)>,
}

impl Programs {
    /// The log of a run with these arguments on our WASI, in a file system in memory.
    ///
    /// # Errors
    /// If the run fails.
    pub fn ours(&self, arguments: &[u64]) -> Result<String> {
        let mut command = Command::new(&self.host);
        command.args(["--wasi", "shim", "--tmpfs", "/"]).arg(&self.guest);
        log(&mut command, arguments)
    }

    /// The log of the same run on another runtime, in a new directory of the host that is removed afterwards.
    ///
    /// # Errors
    /// If the run fails, or there is no Python with the package `wasmtime`.
    pub fn theirs(&self, reference: Reference, arguments: &[u64]) -> Result<String> {
        let directory = tempfile::Builder::new()
            .prefix("hermit-wasm-differential-")
            .tempdir()?;
        let mapping = format!("{}::/", directory.path().display());
        let mut command = match reference {
            Reference::Wasmtime => {
                let python = self
                    .python
                    .as_ref()
                    .context("no Python with the package wasmtime")?;
                let mut command = Command::new(python);
                command.arg(runner()).arg("run");
                command
            }
            Reference::Vm => {
                let (launcher, engine) = self
                    .launcher
                    .as_ref()
                    .context("no launcher of virtual machines")?;
                let mut command = Command::new(launcher);
                // What was compiled before must not decide.
                command.args(["run", "--engine", engine.name(), "--tmpfs", "/"]);
                command.arg(&self.guest);
                return log(&mut command, arguments);
            }
            Reference::Wasmtime19 => bail!("it is for sockets, which have a program of their own"),
            Reference::WasmiWasi => {
                let mut command = Command::new(&self.host);
                command.args(["--wasi", "wasmi-wasi"]);
                command
            }
        };
        command.args(["--dir", &mapping]).arg(&self.guest);
        let log = log(&mut command, arguments);
        directory.close().context("cannot remove a temporary directory")?;
        log
    }
}

/// The script that runs a module under the package `wasmtime`, the boot tests' reference.
fn runner() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm/reference/wasmtime_run.py")
}

/// Runs a command to its end; what it printed.
fn log(command: &mut Command, arguments: &[u64]) -> Result<String> {
    command.args(arguments.iter().map(ToString::to_string));
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{}: {command:?}", output.status);
    String::from_utf8(output.stdout).context("a log that is no UTF-8")
}
