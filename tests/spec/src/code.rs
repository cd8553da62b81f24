//! What modules are made into: wasm as it is for the interpreter, code for the machine's processor by the compiler.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use aot_config::CpuLevel;

use crate::{Engine, Machine};

/// Makes a script's modules.
pub(crate) enum Maker {
    /// Leaves them as they are.
    Wasm,
    /// Has them compiled, by this program for these processors.
    Code(PathBuf, CpuLevel),
}

impl Maker {
    /// What a machine wants.
    pub(crate) fn of(machine: &Machine) -> Result<Self> {
        if machine.engine == Engine::Interp {
            return Ok(Self::Wasm);
        }
        let compiler = machine
            .compiler
            .clone()
            .context("--compiler says what compiles for the native engine")?;
        let arch = aot_config::Arch::from_name(machine.arch().name());
        let level = arch
            .context("no code is made for this architecture")?
            .default_level();
        Ok(Self::Code(compiler, level))
    }

    /// Makes one.
    ///
    /// # Errors
    /// If the compiler refuses it, in its words.
    pub(crate) fn make(&self, wasm: &[u8]) -> Result<Vec<u8>> {
        let Self::Code(compiler, level) = self else {
            return Ok(wasm.to_vec());
        };
        let mut child = Command::new(compiler)
            .args(["--threads", "1", "--cpu", level.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", compiler.display()))?;
        // It reads all of it before it writes.
        let mut input = child.stdin.take().context("no standard input")?;
        input.write_all(wasm)?;
        drop(input);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(output.stdout)
    }
}
