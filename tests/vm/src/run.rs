//! Makes one run: starts the launcher (or another runtime), feeds it, collects what it says, and compares.
//!
//! Layer: host tests.

use std::fmt::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use boot_protocol::arch::Arch;
use boot_protocol::exit_code;
use boot_protocol::run_spec::Limit;
use sha2::{Digest as _, Sha256};
use test_qemu::Engine;

use crate::compare::show;
use crate::environment;
use crate::fixture::{self, Snapshot};
use crate::manifest::{Module, Test};
use crate::process::{Collected, feed, wait};
use crate::program;

mod packed;
mod words;

use words::{anywhere, quote};

/// How long a run may take whose row does not say otherwise; far longer than any does, even on a machine that ten others
/// share.
const LIMIT: Duration = Duration::from_secs(300);
/// The exit code of a trap.
const TRAP: u8 = 134;
/// Exit codes whose message is about the module and so has to name it, besides those of what the guest has run into:
/// refused, not found.
const MODULE_CODES: [u8; 2] = [126, 127];

/// Whether this is the code of a guest that has run into something: a trap, or a limit. Its message has the guest's
/// backtrace natively.
fn ran_into(code: i32) -> bool {
    let mut codes = Limit::ALL.map(exit_code::of_limit).into_iter().chain([TRAP]);
    codes.any(|known| i32::from(known) == code)
}

/// What the message of `reference/wasmtime_run.py` begins with.
const REFERENCE: &[u8] = b"reference: ";

/// Bytes of a module from which on its compilation takes seconds, and the launcher tells how far it is.
const LARGE: u64 = 1 << 20;

/// Held by the row that compiles a large module.
static COMPILING: Mutex<()> = Mutex::new(());

/// What the launcher's messages begin with.
const OURS: &[u8] = b"hermit-wasm: ";

/// Where `part` is in `text` for the first time.
fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// What rows are run with.
#[derive(Debug, Clone)]
pub struct Runner {
    /// The program and its first arguments: `hermit-wasm`, or another runtime with the same command line.
    pub command: Vec<String>,
    /// Whether that is another runtime, whose messages have other words.
    pub reference: bool,
    /// What runs the modules.
    pub engine: Engine,
    /// Flags added to every run, before the row's own.
    pub flags: Vec<String>,
    /// Where the built guests are.
    pub built: PathBuf,
    /// Where downloaded programs are.
    pub downloads: PathBuf,
    /// `guests/` of the repository: what rows' files are relative to.
    pub source: PathBuf,
    /// Where the standard input and the prepared directory of a failed run are kept, to repeat it.
    pub scratch: PathBuf,
    /// What `guests/fixtures` held before the first run; no run may change it.
    pub fixtures: Option<Snapshot>,
    /// How long a run may take unless its row says otherwise.
    pub limit: Duration,
}

/// What a run gave.
struct Outcome {
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    took: Duration,
    /// Whether it had to be killed.
    late: bool,
}

impl Runner {
    /// Runs one row.
    ///
    /// # Errors
    /// A report for people: what differs, everything the run said, and the command that repeats it.
    pub fn run(&self, test: &Test) -> Result<()> {
        let prepared = self.prepare(test)?;
        let words = match test.packed {
            true => self.packed(test)?,
            false => self.words(test, prepared.as_ref().map(|(path, _)| path.as_path()))?,
        };
        self.compile_first(test)?;
        let stdin = test.stdin.produce(&self.source)?;
        let outcome = self.execute(test, &words, &stdin)?;
        let mut report = String::new();
        let directories = prepared.iter().map(|(_, before)| before).chain(&self.fixtures);
        for untouched in directories.map(Snapshot::verify) {
            if let Err(error) = untouched {
                let _ = writeln!(report, "{error:#}");
            }
        }
        report.push_str(&self.mismatches(test, &outcome, &stdin)?);
        if report.is_empty() {
            if let Some((path, _)) = &prepared {
                std::fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
            return Ok(());
        }
        bail!(
            "{}\n{report}to repeat it:\n    {}",
            test.shows,
            self.repeat(test, &words, &stdin)?
        )
    }

    /// Runs one row by the command line of somebody else, who gives the guest what the row says.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_by(&self, test: &Test, words: &[String]) -> Result<()> {
        let stdin = test.stdin.produce(&self.source)?;
        let outcome = self.execute(test, words, &stdin)?;
        let report = self.mismatches(test, &outcome, &stdin)?;
        ensure!(
            report.is_empty(),
            "{}\n{report}this was run:\n    {}",
            test.shows,
            self.repeat(test, words, &stdin)?
        );
        Ok(())
    }

    /// What of a run is not as its row wants it, for people; empty if all is.
    fn mismatches(&self, test: &Test, outcome: &Outcome, stdin: &[u8]) -> Result<String> {
        let mut report = String::new();
        if outcome.late {
            let _ = writeln!(
                report,
                "did not end by itself and was killed after {:.1} s",
                outcome.took.as_secs_f64()
            );
        } else if outcome.status.code() != Some(test.exit) {
            let _ = writeln!(
                report,
                "ended with {} instead of code {}",
                outcome.status, test.exit
            );
        }
        let stdout = test.stdout.mismatch(&outcome.stdout, stdin, &self.source)?;
        let said = match self.message(test, &outcome.stderr) {
            Ok(said) => said,
            Err(error) => {
                let _ = writeln!(report, "{error}; standard error is:\n{}", show(&outcome.stderr));
                &outcome.stderr
            }
        };
        let stderr = test.stderr.mismatch(said, stdin, &self.source)?;
        for (name, mismatch) in [("output", &stdout), ("error", &stderr)] {
            if let Some(mismatch) = mismatch {
                let _ = writeln!(report, "standard {name} {mismatch}");
            }
        }
        if !report.is_empty() && stderr.is_none() {
            let _ = writeln!(report, "standard error, as expected:\n{}", show(&outcome.stderr));
        }
        Ok(report)
    }

    /// Runs one row with these `flags` besides, and tells all that came of it, whatever the row expects.
    ///
    /// # Errors
    /// If it cannot be run, or does not end by itself.
    pub fn transcript(&self, test: &Test, flags: &[&str]) -> Result<String> {
        let prepared = self.prepare(test)?;
        let mut words = self.words(test, prepared.as_ref().map(|(path, _)| path.as_path()))?;
        let at = words.iter().position(|word| word == "run").map_or(0, |at| at + 1);
        words.splice(at..at, flags.iter().map(|flag| (*flag).to_owned()));
        let stdin = test.stdin.produce(&self.source)?;
        let outcome = self.execute(test, &words, &stdin)?;
        if let Some((path, _)) = &prepared {
            std::fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        ensure!(
            !outcome.late,
            "it did not end by itself; to repeat it:\n    {}",
            self.repeat(test, &words, &stdin)?
        );
        let (fuel, said) = spent(&outcome.stderr);
        Ok(format!(
            "{}\n{fuel}\nstandard output, {:x}:\n{}\nstandard error, {:x}:\n{}",
            outcome.status,
            Sha256::digest(&outcome.stdout),
            show(&outcome.stdout),
            Sha256::digest(&said),
            show(&said)
        ))
    }

    /// Makes the directory that a row wants prepared; gives it and what it holds.
    fn prepare(&self, test: &Test) -> Result<Option<(PathBuf, Snapshot)>> {
        let Some(fixture) = &test.fixture else {
            return Ok(None);
        };
        let path = self
            .scratch
            .join(format!("{}.fixture", test.name.replace('/', "-")));
        // A run before this one that failed has left it.
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        std::fs::create_dir_all(&self.scratch)?;
        fixture.prepare(&self.source, &path)?;
        let snapshot = Snapshot::of(&path)?;
        Ok(Some((path, snapshot)))
    }

    /// Checks the launcher's own message, which comes last on standard error, if the row expects one; gives what
    /// the guest itself has written before it.
    fn message<'a>(&self, test: &Test, stderr: &'a [u8]) -> Result<&'a [u8]> {
        let Some(parts) = &test.message else {
            return Ok(stderr);
        };
        let at = if self.reference {
            // Another runtime's message may have several lines.
            find(stderr, REFERENCE)
        } else if self.engine == Engine::Native && ran_into(test.exit) {
            // So may ours where it names the functions that led there.
            find(stderr, OURS)
        } else {
            let body = stderr
                .strip_suffix(b"\n")
                .context("the launcher's message has no end of line")?;
            Some(
                body.iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |end| end + 1),
            )
        };
        let (guest, message) = stderr
            .split_at_checked(at.unwrap_or(stderr.len()))
            .unwrap_or((stderr, b""));
        let message = std::str::from_utf8(message).context("the launcher's message is not UTF-8")?;
        ensure!(!message.is_empty(), "the launcher has no message");
        // Only traps have the same names everywhere.
        if self.reference && test.exit != i32::from(TRAP) {
            return Ok(guest);
        }
        let mut wanted: Vec<&str> = parts.iter().map(String::as_str).collect();
        let module = test.module()?;
        // A Hermitfile's module has a name of its own.
        let is_named = !matches!(module, Module::Hermitfile(_));
        if is_named && (ran_into(test.exit) || MODULE_CODES.iter().any(|code| i32::from(*code) == test.exit))
        {
            wanted.push(file_name(&module));
        }
        if !self.reference {
            wanted.push(str::from_utf8(OURS)?);
        }
        let missing: Vec<&str> = wanted
            .into_iter()
            .filter(|part| !message.contains(part))
            .collect();
        ensure!(
            missing.is_empty(),
            "the launcher's message does not contain {missing:?}"
        );
        Ok(guest)
    }

    /// Compiles a large module for the native engine before it is run, so that the run itself says nothing of that.
    fn compile_first(&self, test: &Test) -> Result<()> {
        let module = self.module(test)?;
        let large = || module.metadata().is_ok_and(|metadata| metadata.len() >= LARGE);
        if self.engine == Engine::Native && !self.reference && large() {
            // Rows of one module stand side by side: the second finds the code in the cache.
            let _alone = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
            let directory = self.scratch.join(test.name.replace('/', "-"));
            // What cannot be compiled cannot be run either, and the run says why.
            let _ = program::of(&module, environment::arch()?, None, self.engine, &directory);
            std::fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot remove {}", directory.display()))?;
        }
        Ok(())
    }

    /// The file of a row's module.
    fn module(&self, test: &Test) -> Result<PathBuf> {
        Ok(match test.module()? {
            Module::Guest(name) => self.built.join(format!("{name}.wasm")),
            Module::Download(name) => self.downloads.join(format!("{name}.wasm")),
            Module::File(STDIN) => STDIN.into(),
            Module::File(path) | Module::Hermitfile(path) => self.source.join(path),
        })
    }

    /// The command line of a row.
    fn words(&self, test: &Test, prepared: Option<&Path>) -> Result<Vec<String>> {
        let module = self.module(test)?;
        let mut words = self.command.clone();
        words.push("run".into());
        words.extend(self.flags.iter().cloned());
        words.extend(fixture::flags(&test.flags, prepared));
        for variable in &test.env {
            words.extend(["--env".into(), variable.clone()]);
        }
        let module = module.to_str().context("the module's path is not UTF-8")?;
        match test.module()? {
            Module::Hermitfile(_) => words.extend(["-f", module, "--"].map(String::from)),
            Module::Guest(_) | Module::File(_) | Module::Download(_) => words.push(module.into()),
        }
        words.extend(test.args.iter().cloned());
        Ok(words)
    }

    /// Starts the run, feeds it, and waits for its end.
    fn execute(&self, test: &Test, words: &[String], stdin: &[u8]) -> Result<Outcome> {
        let (program, arguments) = words.split_first().context("no command to run")?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            // So that rows can name directories of `guests/`.
            .current_dir(&self.source)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for variable in &test.host_env {
            let (name, value) = variable
                .split_once('=')
                .with_context(|| format!("'{variable}' has no ="))?;
            command.env(name, value);
        }
        // A group of its own, so that the virtual machine can be ended with the launcher.
        command.process_group(0);
        let start = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let stdout = Collected::from(child.stdout.take().context("no standard output")?);
        let stderr = Collected::from(child.stderr.take().context("no standard error")?);
        let input = child.stdin.take().context("no standard input")?;
        let feeder = feed(
            input,
            stdin.to_vec(),
            test.stdin.clone(),
            Arc::clone(&stdout.shared),
        );

        let limit = test.limit.map_or(self.limit, Duration::from_secs);
        let (status, late) = wait(&mut child, start + limit)?;
        let took = start.elapsed();
        let stdout = stdout.finish().context("standard output")?;
        let stderr = stderr.finish().context("standard error")?;
        drop(feeder);
        Ok(Outcome {
            status,
            stdout,
            stderr,
            took,
            late,
        })
    }

    /// The command that repeats a run in a shell; keeps its standard input in a file.
    fn repeat(&self, test: &Test, words: &[String], stdin: &[u8]) -> Result<String> {
        let mut line: Vec<String> = test.host_env.iter().map(|variable| quote(variable)).collect();
        line.extend(words.iter().map(|word| quote(word)));
        let line = format!(
            "cd {} && {}",
            quote(&self.source.to_string_lossy()),
            line.join(" ")
        );
        if test.stdin.open {
            return Ok(format!("sleep 1000 | ({line})"));
        }
        if stdin.is_empty() {
            return Ok(format!("{line} </dev/null"));
        }
        std::fs::create_dir_all(&self.scratch)?;
        let path = self
            .scratch
            .join(format!("{}.stdin", test.name.replace('/', "-")));
        std::fs::write(&path, stdin).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(format!("{line} <{}", quote(&path.to_string_lossy())))
    }
}

/// The module that standard input has.
const STDIN: &str = "-";

/// The name that a message calls a module by.
fn file_name<'a>(module: &Module<'a>) -> &'a str {
    let (Module::Guest(name) | Module::File(name) | Module::Download(name) | Module::Hermitfile(name)) =
        module;
    name.rsplit('/').next().unwrap_or(name)
}

/// What standard error says of a deterministic run, and the rest of it without what launcher and machine log.
fn spent(stderr: &[u8]) -> (String, Vec<u8>) {
    let mut fuel = String::from("no fuel is told");
    let mut rest = Vec::new();
    for line in stderr.split_inclusive(|byte| *byte == b'\n') {
        // The launcher's log, which tells the time: what runs, to the byte.
        if line.starts_with(b"hermit-wasm: [") {
            continue;
        }
        let end = find(line, b"[vm] ").unwrap_or(line.len());
        let (before, logged) = line.split_at_checked(end).unwrap_or((line, b""));
        rest.extend_from_slice(before);
        if let Some(at) = find(logged, b"deterministic run: ") {
            fuel = String::from_utf8_lossy(logged.get(at..).unwrap_or_default())
                .trim_end()
                .to_owned();
        }
    }
    (fuel, rest)
}

/// The runner that the environment describes. Relative paths in it start from the repository's `root`.
///
/// # Errors
/// If a variable that is needed is missing; says what to run instead.
pub fn from_environment(root: &Path, scratch: &Path) -> Result<Runner> {
    let reference = environment::words(environment::REFERENCE);
    let (command, flags) = if reference.is_empty() {
        (vec![launcher()?], environment::flags()?)
    } else {
        // It has no virtual machine to choose an architecture for.
        let flags = environment::words(environment::RUN_FLAGS);
        (anywhere(reference.clone(), root), flags)
    };
    Ok(Runner {
        flags,
        ..of(command, !reference.is_empty(), root, scratch)?
    })
}

/// The launcher that the environment names, in machines of an architecture.
///
/// # Errors
/// As [`from_environment`].
pub fn on(arch: Arch, root: &Path, scratch: &Path) -> Result<Runner> {
    Ok(Runner {
        flags: environment::flags_on(arch)?,
        ..of(vec![launcher()?], false, root, scratch)?
    })
}

/// The launcher's path.
fn launcher() -> Result<String> {
    let launcher = environment::needed(environment::LAUNCHER)?;
    Ok(launcher
        .to_str()
        .context("the launcher's path is not UTF-8")?
        .to_owned())
}

/// A runner without flags.
fn of(command: Vec<String>, reference: bool, root: &Path, scratch: &Path) -> Result<Runner> {
    Ok(Runner {
        command,
        reference,
        engine: environment::engine()?,
        flags: Vec::new(),
        built: environment::needed(environment::GUESTS)?,
        downloads: root.join("target/downloads"),
        source: root.join("guests"),
        scratch: scratch.to_path_buf(),
        fixtures: Some(Snapshot::of(&root.join("guests/fixtures"))?),
        limit: LIMIT,
    })
}

#[cfg(test)]
mod tests;
