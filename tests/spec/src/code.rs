//! What modules are made into: wasm as it is for the interpreter, code for the machine's processor by the compiler.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use aot_config::CpuLevel;
use aot_config::protocol::{Message, Refusal};
use test_qemu::Engine;

use crate::Machine;

/// What was made of a module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// What a machine loads.
    Bytes(Vec<u8>),
    /// Nothing: the compiler will not have the module, for this reason.
    Refused(String),
}

/// Makes a script's modules.
pub(crate) enum Maker {
    /// Leaves them as they are.
    Wasm,
    /// Has them compiled, by this program for these processors.
    Code(PathBuf, CpuLevel),
}

impl Maker {
    /// What a machine wants. This host takes wasm, whatever the engine.
    pub(crate) fn of(machine: &Machine) -> Result<Self> {
        if machine.engine == Engine::Interp || machine.image.is_none() {
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
    /// If the compiler cannot be started, or fails without a word about the module: that is not the module's fault.
    pub(crate) fn make(&self, wasm: &[u8]) -> Result<Made> {
        let Self::Code(compiler, level) = self else {
            return Ok(Made::Bytes(wasm.to_vec()));
        };
        let mut child = Command::new(compiler)
            .args(["--threads", "1", "--cpu", level.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", compiler.display()))?;
        // It reads all of it before it writes; one that ends before that says why.
        let mut input = child.stdin.take().context("no standard input")?;
        let written = input.write_all(wasm);
        drop(input);
        let output = child.wait_with_output()?;
        if output.status.success() {
            written.context("the compiler has not read the module")?;
            return Ok(Made::Bytes(output.stdout));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        match refusal(&said) {
            Some(why) => Ok(Made::Refused(why)),
            None => bail!("the compiler failed ({}): {}", output.status, said.trim()),
        }
    }
}

/// Why the module is refused, if that is the last that the compiler said.
fn refusal(said: &str) -> Option<String> {
    match Message::parse(said.lines().next_back()?)? {
        Message::Refused(Refusal::Invalid { message, .. } | Refusal::Unsupported { message, .. }) => {
            Some(message)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use aot_config::Arch;

    use super::*;

    #[test]
    fn only_the_compilers_own_word_about_the_module_is_a_refusal() {
        assert_eq!(
            refusal("x\nprogress 1 2\ninvalid 7 type mismatch\n").as_deref(),
            Some("type mismatch")
        );
        assert_eq!(refusal("unsupported threads at 3").as_deref(), Some("at 3"));
        for other in [
            "",
            "failed out of memory",
            "invalid 7 x\nthread 'main' panicked at here",
            "progress 1 2",
        ] {
            assert_eq!(refusal(other), None, "{other}");
        }
    }

    #[test]
    fn a_compiler_that_is_missing_or_crashes_refuses_nothing() {
        let level = Arch::CURRENT.unwrap_or(Arch::X86_64).default_level();
        let directory = tempfile::tempdir().unwrap();
        let program = |name: &str, script: &str| {
            let path = directory.path().join(name);
            fs::write(&path, format!("#!/bin/sh\ncat >/dev/null\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Maker::Code(path, level)
        };
        let missing = Maker::Code(directory.path().join("missing"), level);
        assert!(missing.make(b"").is_err());
        assert!(program("crashes", "kill -9 $$").make(b"").is_err());
        assert!(
            program("fails", "echo failed no space >&2; exit 1")
                .make(b"")
                .is_err()
        );
        assert!(
            program(
                "says invalid, then panics",
                "echo invalid 0 x >&2; echo panicked >&2; exit 101"
            )
            .make(b"")
            .is_err()
        );
        let refused = program("refuses", "echo invalid 0 bad magic >&2; exit 1")
            .make(b"")
            .unwrap();
        assert_eq!(refused, Made::Refused("bad magic".into()));
        let made = program("compiles", "printf code").make(b"").unwrap();
        assert_eq!(made, Made::Bytes(b"code".into()));
    }
}
