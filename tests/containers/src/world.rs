//! A world of its own for the engines: see the script `world`. A test program calls [`enter`] first of all.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

use crate::settings::{USER, WORLD};
use crate::{host, settings};

/// Where the tests run.
#[derive(Debug)]
pub enum World {
    /// In a world of its own, with this directory for what the engines keep. Whoever started it removes that.
    Own(PathBuf),
    /// On the machine as it is, without root's rights; with this directory.
    Machine(PathBuf),
    /// Nowhere: this program has started itself in a world and waited for its end.
    Done(ExitCode),
}

/// Starts this program again in a world of its own, with the same arguments, unless it is in one already, or cannot be
/// for want of rights.
///
/// # Errors
/// If there cannot be a world, though there is root; or if what it left cannot be removed.
pub fn enter() -> Result<World> {
    if let Some(directory) = vm_tests::environment::get(WORLD) {
        let directory = PathBuf::from(directory);
        settings::programs(&directory)?;
        return Ok(World::Own(directory));
    }
    let directory = std::env::temp_dir().join(format!("hermit-wasm-containers-{}", std::process::id()));
    std::fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
    if !host::is_root()? {
        settings::programs(&directory)?;
        return Ok(World::Machine(directory));
    }
    let script = vm_tests::root().join("tests/containers/world");
    let status = Command::new(script)
        .arg(USER)
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(WORLD, &directory)
        .status()
        .context("cannot start bash for tests/containers/world")?;
    let left = left(&directory)?;
    for group in host::groups(&settings::group(&directory)) {
        host::remove_group(&group);
    }
    remove(&directory)?;
    ensure!(
        left.is_empty(),
        "these are still there after the end: {}",
        left.join(", ")
    );
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(World::Done(code.map_or(ExitCode::FAILURE, ExitCode::from)))
}

/// What engines have left on the machine. Mounts and interfaces end with the world.
fn left(directory: &Path) -> Result<Vec<String>> {
    let groups = host::groups(&settings::group(directory));
    let below = groups.iter().flat_map(|group| host::groups_below(group));
    // podman makes one for the programs that watch its containers, and never removes it.
    let below = below
        .filter(|group| !group.ends_with("conmon") || host::members(group).is_ok_and(|all| !all.is_empty()));
    let mut left: Vec<String> = below.map(|group| group.display().to_string()).collect();
    let directory = directory.to_string_lossy();
    for (number, program) in host::processes()? {
        if host::command_line(number)
            .iter()
            .any(|word| word.contains(&*directory))
        {
            left.push(format!("process {number} ({program})"));
        }
    }
    Ok(left)
}

/// Removes a directory of the engines'.
///
/// # Errors
/// If something in it cannot be removed.
pub fn remove(directory: &Path) -> Result<()> {
    std::fs::remove_dir_all(directory).with_context(|| format!("cannot remove {}", directory.display()))
}
