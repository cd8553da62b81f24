//! Finds the tools that come with the Rust toolchain, and runs commands with errors that say what failed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// The variable that names another tree than that which this program was built in: `cargo xtask reproduce` sets it for
/// itself.
pub(crate) const ROOT: &str = "HERMIT_WASM_ROOT";

/// The directory above `xtask/`: the root of the checkout.
pub(crate) fn root() -> PathBuf {
    if let Some(other) = std::env::var_os(ROOT) {
        return other.into();
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// The launcher's cache in tests and measurements: what is compiled for one run serves the others, and nothing that
/// this user's own runs left behind decides.
pub(crate) fn test_cache() -> PathBuf {
    root().join("target/tmp/cache")
}

/// A `cargo` command that may use unstable features of the pinned toolchain.
pub(crate) fn cargo() -> Command {
    shielded(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// `cargo test` in the main workspace. Whichever packages a step tests, what they depend on has the features that the
/// whole workspace asks for: it is compiled once for all steps. What is shipped is never built so.
pub(crate) fn cargo_test() -> Command {
    let mut command = cargo();
    command.args([
        "test",
        "--locked",
        "-Zfeature-unification",
        "--config",
        "resolver.feature-unification=\"workspace\"",
    ]);
    command
}

/// A program that builds, started at the top of the repository.
pub(crate) fn shielded(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env("RUSTC_BOOTSTRAP", "1")
        // The standard library's own source is said to be incompatible with the future, in each build from source.
        .env("CARGO_FUTURE_INCOMPAT_REPORT_FREQUENCY", "never")
        .current_dir(root());
    // What this very process was built with must not reach the builds that it starts.
    for variable in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Arguments that build the standard library's parts from source, as tier 3 targets need it.
pub(crate) const BUILD_STD: [&str; 2] = [
    "-Zbuild-std=core,alloc",
    "-Zbuild-std-features=compiler-builtins-mem",
];

/// Gives a build these flags of rustc's, and those that let it say nothing of where it was made: of the checkout, of
/// cargo's and of the toolchain's folder, whose paths would be in its messages. docs/reproducible.md says what else that
/// takes.
pub(crate) fn flags(command: &mut Command, own: &str) -> Result<()> {
    let remapped = remapped()?;
    let flags = own
        .split_whitespace()
        .map(OsStr::new)
        .chain(remapped.iter().map(OsString::as_os_str));
    // Not RUSTFLAGS, whose flags end at spaces: there may be some in a path.
    let encoded = flags.collect::<Vec<_>>().join(OsStr::new("\u{1f}"));
    command.env("CARGO_ENCODED_RUSTFLAGS", encoded);
    Ok(())
}

/// The flags that make other paths of those that begin with such a folder.
fn remapped() -> Result<Vec<OsString>> {
    let mut folders = vec![
        (root(), ""),
        // As in the standard library that comes compiled.
        (sysroot()?.join("lib/rustlib/src/rust"), "/rust"),
    ];
    // One for each registry, or mirror of it. This program itself is made of what lies there.
    let sources = cargo_home()?.join("registry/src");
    for registry in fs::read_dir(&sources).with_context(|| format!("cannot list {}", sources.display()))? {
        folders.push((registry?.path(), ""));
    }
    let flag = |(from, to): (PathBuf, &str)| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flag
    };
    Ok(folders.into_iter().map(flag).collect())
}

/// Cargo's folder, in which are the crates that it has fetched.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CARGO_HOME") {
        return Ok(path.into());
    }
    let home = std::env::home_dir().context("neither CARGO_HOME nor HOME is set")?;
    Ok(home.join(".cargo"))
}

/// The toolchain's own directory.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(PathBuf::from(
        output(Command::new(rustc).args(["--print", "sysroot"]))?.trim(),
    ))
}

/// The triple of this machine.
pub(crate) fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(output(Command::new(rustc).args(["--print", "host-tuple"]))?
        .trim()
        .to_owned())
}

/// A tool of the toolchain (`rust-lld`, `rust-objcopy`, ...), ready to run.
pub(crate) fn tool(name: &str) -> Result<Command> {
    let sysroot = sysroot()?;
    let path = sysroot.join("lib/rustlib").join(host()?).join("bin").join(name);
    if !path.exists() {
        bail!(
            "{} is missing: run scripts/setup, which installs the toolchain's components",
            path.display()
        );
    }
    let mut command = Command::new(path);
    // rust-objcopy is linked against the toolchain's own LLVM and does not find it by itself.
    command.env("LD_LIBRARY_PATH", sysroot.join("lib"));
    Ok(command)
}

/// Runs `command` and fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = describe(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start: {shown}"))?;
    if !status.success() {
        bail!("failed ({status}): {shown}");
    }
    Ok(())
}

/// Runs a cargo build: one line that says `what` is built, if there is something to build; and whatever else cargo says
/// that is not progress. A quiet cargo would hide how long it will take, a talkative one what matters.
pub(crate) fn compile(what: &str, command: &mut Command) -> Result<()> {
    let shown = describe(command);
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start: {shown}"))?;
    let messages = child.stderr.take().context("no messages")?;
    let mut said = false;
    for line in BufReader::new(messages).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        match progress(&line) {
            Some(Progress::Work) if !said => {
                step(&format!("building {what}"));
                said = true;
            }
            Some(_) => {}
            None => eprintln!("{line}"),
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("failed ({status}): {shown}");
    }
    Ok(())
}

/// Tells people which step begins.
pub(crate) fn step(what: &str) {
    eprintln!("hermit-wasm: {what}");
}

/// What a line of cargo's is, if it is about its progress.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// Something is fetched or compiled.
    Work,
    /// Nothing is to be done, or is done.
    Idle,
}

/// Reads a line of cargo's: its verbs are right-aligned.
fn progress(line: &str) -> Option<Progress> {
    let verb = line.trim_start().split(' ').next()?;
    match verb {
        "Compiling" | "Downloading" | "Updating" => Some(Progress::Work),
        "Blocking" | "Downloaded" | "Finished" | "Fresh" | "Locking" | "" => Some(Progress::Idle),
        _ => None,
    }
}

/// Runs `command` and returns its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = describe(command);
    let output = command
        .output()
        .with_context(|| format!("cannot start: {shown}"))?;
    if !output.status.success() {
        bail!(
            "failed ({}): {shown}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("not UTF-8: output of {shown}"))
}

/// The command line, for messages.
fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(OsStr::to_string_lossy).map(String::from));
    words.join(" ")
}

/// A program of that name: in PATH, where cargo installs, or where Debian has virtiofsd.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
        .map(|home| home.join("bin"));
    std::env::split_paths(&path)
        .chain(installed)
        .chain([Path::new("/usr/libexec").into()])
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_progress_is_told_from_what_matters() {
        for (line, expected) in [
            ("   Compiling wasmi v2.0.0", Some(Progress::Work)),
            (" Downloading crates ...", Some(Progress::Work)),
            ("  Downloaded wasmi v2.0.0", Some(Progress::Idle)),
            ("    Finished `release` profile", Some(Progress::Idle)),
            ("", Some(Progress::Idle)),
            ("warning: unused variable: `x`", None),
            ("error[E0425]: cannot find value", None),
            (" --> src/main.rs:1:1", None),
        ] {
            assert_eq!(progress(line), expected, "{line:?}");
        }
    }
}
