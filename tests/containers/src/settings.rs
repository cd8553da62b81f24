//! What the environment says of these tests, and where things are.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use vm_tests::{environment, virtiofsd};

/// Which of the tests there are: `short` or `all`.
pub const WHICH: &str = "HERMIT_WASM_CONTAINERS";

/// Set by the tests for themselves: the directory of a world's own, in that world.
pub const WORLD: &str = "HERMIT_WASM_WORLD";

/// The user that a world has beside the machine's.
pub const USER: &str = "hermit-wasm-test";

/// The parent of all control groups that the engines make, for the directory that they keep things in: both have one
/// name, which no other run has.
#[must_use]
pub fn group(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The variable that names the runtime's settings, and its value.
#[must_use]
pub fn runtime_settings(directory: &Path) -> String {
    format!("HERMIT_OCI_CONFIG={}", directory.join("oci.toml").display())
}

/// Whether only the short set is wanted.
#[must_use]
pub fn short() -> bool {
    environment::get(WHICH).is_some_and(|which| which == "short")
}

/// The program that compiles modules to native code.
const COMPILER: &str = "hermit-wasm-compiler";

/// Where `cargo xtask compiler` leaves it, if it has been built.
#[must_use]
pub fn compiler() -> Option<PathBuf> {
    let built = vm_tests::root().join("target/compiler/release").join(COMPILER);
    built.is_file().then_some(built)
}

/// Where the programs are that a container is made of, for every user to run: the runtime, which is the launcher under
/// another name, the compiler where there is one, and virtiofsd, which may be in a home directory.
///
/// # Errors
/// If a program cannot be copied.
pub fn programs(directory: &Path) -> Result<()> {
    let bin = directory.join("bin");
    std::fs::create_dir_all(&bin)?;
    let launcher = environment::needed(environment::LAUNCHER)?;
    copy(&launcher, &bin.join("hermit-wasm"))?;
    let daemon = found(&virtiofsd::program()).context("virtiofsd is not to be found")?;
    copy(&daemon, &bin.join("virtiofsd"))?;
    symlink("hermit-wasm", runtime(directory))?;
    // What is native runs where its annotation says so, too, and not otherwise: the case `native`.
    let mut settings = format!(
        "virtiofsd = \"{}\"\nnative = true\n",
        bin.join("virtiofsd").display()
    );
    if let Some(compiler) = compiler() {
        copy(&compiler, &bin.join(COMPILER))?;
        settings += &format!("compiler = \"{}\"\n", bin.join(COMPILER).display());
    }
    std::fs::write(directory.join("oci.toml"), settings)?;
    Ok(())
}

/// The runtime's path, once [`programs`] has put it there.
#[must_use]
pub fn runtime(directory: &Path) -> PathBuf {
    directory.join("bin/hermit-oci")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// A program's file, by PATH if its name has no directory.
fn found(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_path_buf());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}
