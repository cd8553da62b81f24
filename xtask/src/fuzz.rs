//! `cargo xtask fuzz`: builds the fuzz targets with cargo-fuzz and runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::toolchain::{cargo, host, root, run};

/// What a target is run with.
struct Target {
    name: &'static str,
    /// Inputs that the short run tries, so that it is the same whatever the machine's speed; chosen to take about two
    /// seconds each.
    runs: u32,
    /// The longest input that is worth trying.
    max_len: u32,
}

const TARGETS: [Target; 17] = [
    target("application", 40_000, 2048),
    target("archive", 8_000, 12_288),
    target("calls", 20_000, 600),
    target("console", 40_000, 600),
    target("device_tree", 20_000, 500),
    target("frames", 8_000, 4096),
    target("hermitfile", 40_000, 1200),
    target("machine", 4_000, 1024),
    target("mem_fs", 6_000, 800),
    target("modules", 4_000, 4096),
    target("oci", 500, 4096),
    target("packed", 4_000, 8192),
    target("paths", 4_000, 500),
    target("recording", 8_000, 1024),
    target("relay", 4_000, 1024),
    target("run_spec", 40_000, 400),
    target("virtio_device", 40_000, 600),
];

const fn target(name: &'static str, runs: u32, max_len: u32) -> Target {
    Target { name, runs, max_len }
}

/// The names of the targets: those here, which must be those in `tests/fuzz/fuzz_targets`.
pub(crate) fn targets() -> Result<Vec<&'static str>> {
    let mut found = Vec::new();
    let directory = root().join("tests/fuzz/fuzz_targets");
    for entry in directory
        .read_dir()
        .context("cannot read tests/fuzz/fuzz_targets")?
    {
        found.push(entry?.path().file_stem().unwrap_or_default().to_owned());
    }
    found.sort();
    let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
    if !found.iter().eq(&names) {
        bail!("tests/fuzz/fuzz_targets holds {found:?}, but xtask/src/fuzz.rs lists {names:?}");
    }
    Ok(names)
}

/// Why the targets cannot be run here, if they cannot.
pub(crate) fn missing() -> Option<String> {
    let there = cargo()
        .args(["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    (!there).then(|| "cargo-fuzz is not here; `scripts/setup --for test` installs it".to_owned())
}

/// Builds all targets in one go. Without a sanitizer: the code under test has no unsafe blocks, so AddressSanitizer
/// would look at the standard library and dependencies only, for twice the time. The long runs have it.
fn build(sanitizer: &str, only: Option<&str>) -> Result<PathBuf> {
    let host = host()?;
    let out = root().join("target/fuzz").join(sanitizer);
    run(cargo()
        .args([
            "fuzz",
            "build",
            "--release",
            "--features",
            "libfuzzer",
            "--sanitizer",
            sanitizer,
        ])
        .args(["--target", &host])
        .arg("--fuzz-dir")
        .arg(root().join("tests/fuzz"))
        .args(only)
        .env("CARGO_TARGET_DIR", &out))?;
    Ok(out.join(host).join("release"))
}

/// A target's program with what it is run with in any case: seeds, dictionary, where inputs that fail go.
fn program(binaries: &Path, target: &Target) -> Result<Command> {
    let fuzz = root().join("tests/fuzz");
    let artifacts = fuzz.join("artifacts").join(target.name);
    std::fs::create_dir_all(&artifacts).context("cannot create tests/fuzz/artifacts")?;
    let mut command = Command::new(binaries.join(target.name));
    command
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_len={}", target.max_len))
        .args([
            "-len_control=0",
            "-timeout=60",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
        ]);
    let dictionary = fuzz.join("dictionaries").join(target.name);
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    Ok(command)
}

/// Replays each target's seeds, whole, and runs it for a fixed number of inputs that a fixed seed makes: the same ones
/// every time.
pub(crate) fn short() -> Result<Vec<(&'static str, Result<()>)>> {
    targets()?;
    let binaries = build("none", None)?;
    let kept = root().join("target/fuzz/kept");
    let mut results = Vec::new();
    for target in &TARGETS {
        results.push((target.name, replay(&binaries, target)));
        let mut command = program(&binaries, target)?;
        // What is found goes to the first directory, which is empty, or the next run would be another.
        if kept.exists() {
            std::fs::remove_dir_all(&kept).context("cannot empty target/fuzz/kept")?;
        }
        std::fs::create_dir_all(&kept).context("cannot create target/fuzz/kept")?;
        command
            .args(["-seed=1".to_owned(), format!("-runs={}", target.runs)])
            .arg(&kept)
            .arg(root().join("tests/fuzz/seeds").join(target.name));
        results.push((target.name, quiet(target, &mut command)));
    }
    Ok(results)
}

/// Runs a target on each of its seeds, among them each input that once found something.
fn replay(binaries: &Path, target: &Target) -> Result<()> {
    let directory = root().join("tests/fuzz/seeds").join(target.name);
    let seeds = directory
        .read_dir()
        .with_context(|| format!("cannot list {}", directory.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    if seeds.is_empty() {
        bail!("{} is empty", directory.display());
    }
    // Files instead of directories: each is run once, in its whole length.
    let output = Command::new(binaries.join(target.name))
        .args(&seeds)
        .output()
        .context("cannot start it")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let executed = text.lines().filter(|line| line.starts_with("Executed ")).count();
    if !output.status.success() || executed != seeds.len() {
        bail!(
            "{} seeds, {executed} of them executed, {}\n{text}",
            seeds.len(),
            output.status
        );
    }
    println!("{:12} {executed:6} seeds", target.name);
    Ok(())
}

/// Runs a target and shows what it printed only if it failed: libFuzzer prints a line for each input it keeps.
fn quiet(target: &Target, command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot start it")?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{}\n{text}", output.status);
    }
    let stat = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("stat::")?.strip_prefix(name));
        line.map(|rest| rest.trim_start_matches(':').trim().to_owned())
    };
    let executed = stat("number_of_executed_units").context("it did not say how many inputs it ran")?;
    let executed: u32 = executed.parse().context("its number of inputs")?;
    if executed < target.runs {
        bail!("it stopped after {executed} of {} inputs", target.runs);
    }
    println!("{:12} {executed:6} inputs", target.name);
    Ok(())
}

/// Runs one target with AddressSanitizer and keeps what it finds interesting in `tests/fuzz/corpus`.
pub(crate) fn long(name: &str, seconds: Option<u64>) -> Result<()> {
    targets()?;
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .with_context(|| format!("there is no fuzz target {name}; see tests/fuzz/fuzz_targets"))?;
    let binaries = build("address", Some(name))?;
    let corpus = root().join("tests/fuzz/corpus").join(name);
    std::fs::create_dir_all(&corpus).context("cannot create tests/fuzz/corpus")?;
    let mut command = program(&binaries, target)?;
    command
        .arg(corpus)
        .arg(root().join("tests/fuzz/seeds").join(name));
    if let Some(seconds) = seconds {
        command.arg(format!("-max_total_time={seconds}"));
    }
    run(&mut command)
}

/// Makes `command`, which builds and runs tests, do so with AddressSanitizer, and with the standard library's checks of
/// what unsafe code promises, in dependencies too.
pub(crate) fn sanitized(command: &mut Command) -> Result<&mut Command> {
    let host = host()?;
    Ok(command
        // With a target, so that build scripts and macros are not instrumented.
        .args(["--target", &host])
        .env("RUSTFLAGS", "-Zsanitizer=address -Zub-checks=yes")
        .env("CARGO_TARGET_DIR", root().join("target/fuzz/tests")))
}
