//! What a machine boots without the launcher's help, by engine: the image, and the module as this engine takes it.
//!
//! Layer: host tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use boot_protocol::arch::Arch;
use test_qemu::Engine;

use crate::environment;

/// The name of an image or application for this engine, from the interpreter's.
#[must_use]
pub fn image_name(engine: Engine, name: &str) -> String {
    match name.strip_prefix(Engine::Interp.file()) {
        Some(rest) => format!("{}{rest}", engine.file()),
        None => name.to_owned(),
    }
}

/// The end of a module's name in a payload or a directory, as this engine takes it.
#[must_use]
pub const fn extension(engine: Engine) -> &'static str {
    match engine {
        Engine::Interp => "wasm",
        Engine::Native => "cwasm",
    }
}

/// A module as the engine takes it: itself, or code that the launcher has compiled into `directory`, for a processor of
/// this level or for the usual one.
///
/// # Errors
/// If it cannot be compiled, with what the launcher says.
pub fn of(
    module: &Path,
    arch: Arch,
    level: Option<&str>,
    engine: Engine,
    directory: &Path,
) -> Result<PathBuf> {
    if engine == Engine::Interp {
        return Ok(module.to_owned());
    }
    std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let stem = module.file_stem().context("a module without a name")?;
    let code = directory.join(stem).with_extension(extension(engine));
    let output = Command::new(environment::needed(environment::LAUNCHER)?)
        .args(["compile", "--arch", arch.name()])
        .args(level.iter().flat_map(|level| ["--cpu", level]))
        .arg("--output")
        .arg(&code)
        .arg(module)
        .stdin(Stdio::null())
        .output()
        .context("cannot start the launcher")?;
    ensure!(
        output.status.success(),
        "cannot compile {}: {}",
        module.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_has_names_of_its_own() {
        assert_eq!(image_name(Engine::Interp, "hermit-wasm.img"), "hermit-wasm.img");
        assert_eq!(
            image_name(Engine::Native, "hermit-wasm.img"),
            "hermit-wasm-native.img"
        );
        assert_eq!(image_name(Engine::Native, "hermit-wasm"), "hermit-wasm-native");
        assert_eq!(image_name(Engine::Native, "hermit-loader"), "hermit-loader");
    }

    #[test]
    fn the_interpreter_takes_modules_as_they_are() {
        let module = Path::new("/nowhere/a.wasm");
        let taken = of(module, Arch::host(), None, Engine::Interp, Path::new("/nowhere"));
        assert_eq!(taken.unwrap(), module);
    }
}
