//! What this machine lets engines do, and what they leave on it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// The number of the capability that raises limits.
const CAP_SYS_RESOURCE: u32 = 24;

/// Where the kernel shows control groups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Whether this process has root's rights.
///
/// # Errors
/// If /proc does not say.
pub fn is_root() -> Result<bool> {
    let ids = status("Uid:")?;
    Ok(ids.split_whitespace().nth(1) == Some("0"))
}

/// Whether this process may raise its limits. Engines do that to containers by default.
///
/// # Errors
/// If /proc does not say.
pub fn raises_limits() -> Result<bool> {
    let effective = u64::from_str_radix(status("CapEff:")?.trim(), 16)?;
    Ok(effective >> CAP_SYS_RESOURCE & 1 == 1)
}

/// This process's limit of that name in /proc, as engines write it: `SOFT:HARD`.
///
/// # Errors
/// If /proc does not say.
pub fn limit(name: &str) -> Result<String> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("/proc/self/limits has no line '{name}'"))?;
    let mut words = line.split_whitespace();
    let (soft, hard) = (words.next().unwrap_or("0"), words.next().unwrap_or("0"));
    Ok(format!("{soft}:{hard}").replace("unlimited", "-1"))
}

/// A line of /proc/self/status.
fn status(name: &str) -> Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    Ok(line
        .with_context(|| format!("/proc/self/status has no line '{name}'"))?
        .to_owned())
}

/// Why a program cannot be used, if it cannot; `say` is an argument that it answers.
#[must_use]
pub fn missing(program: &str, say: &str) -> Option<String> {
    match Command::new(program).arg(say).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("`{program} {say}` ended with {}", output.status)),
        Err(error) => Some(format!(
            "there is no {program} ({error}); scripts/setup installs it"
        )),
    }
}

/// Why nobody but root can open a file, if that is so.
#[must_use]
pub fn closed_to_users(path: &str) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    match fs::metadata(path) {
        Ok(data) if data.permissions().mode() & 0o006 == 0o006 => None,
        Ok(_) => Some(format!("{path} is root's alone here")),
        Err(error) => Some(format!("{path}: {error}")),
    }
}

/// Whether control groups are the unified ones.
#[must_use]
pub fn unified() -> bool {
    Path::new(CGROUPS).join("cgroup.controllers").exists()
}

/// The directory of a process's control group for memory.
///
/// # Errors
/// If it is in none.
pub fn memory_group(process: u32) -> Result<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{process}/cgroup"))
        .with_context(|| format!("the control groups of process {process}"))?;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or(""), parts.next().unwrap_or("/"));
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|one| one == "memory") {
            return Ok(Path::new(CGROUPS).join("memory").join(path));
        }
        if controllers.is_empty() && unified() {
            return Ok(Path::new(CGROUPS).join(path));
        }
    }
    anyhow::bail!("process {process} is in no control group for memory: {text}")
}

/// The limit of a control group, in bytes.
///
/// # Errors
/// If it has none.
pub fn memory_limit(group: &Path) -> Result<u64> {
    let file = group.join(if unified() {
        "memory.max"
    } else {
        "memory.limit_in_bytes"
    });
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    text.trim()
        .parse()
        .with_context(|| format!("{} is '{}'", file.display(), text.trim()))
}

/// The processes in a control group and in those below it.
///
/// # Errors
/// If it is not there.
pub fn members(group: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    let mut left = vec![group.to_path_buf()];
    while let Some(directory) = left.pop() {
        let file = directory.join("cgroup.procs");
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                left.push(path);
            }
        }
    }
    Ok(found)
}

/// A process's command line; empty where it has ended or is the kernel's.
#[must_use]
pub fn command_line(process: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.split_terminator('\0').map(String::from).collect()
}

/// All processes that are visible and live, by number and program.
///
/// # Errors
/// If /proc cannot be read.
pub fn processes() -> Result<BTreeSet<(u32, String)>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(number) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{number}/stat")) else {
            continue;
        };
        let (Some(open), Some(close)) = (stat.find('('), stat.rfind(')')) else {
            continue;
        };
        let (program, rest) = (&stat[open + 1..close], &stat[close + 1..]);
        if !rest.trim_start().starts_with(['Z', 'X']) {
            found.insert((number, program.to_owned()));
        }
    }
    Ok(found)
}

/// The mount points that this process sees below a directory.
///
/// # Errors
/// If /proc cannot be read.
pub fn mounts(below: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string("/proc/self/mounts")?;
    let points = text.lines().filter_map(|line| line.split(' ').nth(1));
    let inside = points.filter(|point| Path::new(point).starts_with(below));
    Ok(inside.map(String::from).collect())
}

/// The directories of a control group, in every hierarchy that has it.
#[must_use]
pub fn groups(name: &str) -> Vec<PathBuf> {
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    let hierarchies = hierarchies.map(|entry| entry.path());
    hierarchies
        .chain([PathBuf::from(CGROUPS)])
        .map(|hierarchy| hierarchy.join(name))
        .filter(|group| group.is_dir())
        .collect()
}

/// The directories of control groups below one.
#[must_use]
pub fn groups_below(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

/// Removes a control group and those below it, which have no processes.
pub fn remove_group(group: &Path) {
    for below in groups_below(group) {
        remove_group(&below);
    }
    // What is still in use stays, and whoever looks for it finds it.
    let _ = fs::remove_dir(group);
}
