//! Runs that are recorded and replayed, on both engines: with the files gone, after a kill, under limits, with other
//! modules, with what is damaged.
//!
//! Environment: `LAUNCHER` and `ARCH` of `environment.rs`.

mod guest;
mod refused;
mod same;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use test_qemu::Arch;
use vm_tests::environment;

type Test = (&'static str, fn(&Case) -> Result<()>);

/// One test on one engine.
struct Case {
    arch: Arch,
    engine: &'static str,
    directory: PathBuf,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let arch = match environment::arch() {
        Ok(arch) => arch,
        Err(error) => {
            eprintln!("error: the tests of recordings cannot begin: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let mut trials = Vec::new();
    for &(name, test) in same::TESTS.iter().chain(refused::TESTS) {
        for engine in ["interp", "native"] {
            trials.push(Trial::test(format!("replay/{name}/{engine}"), move || {
                let run = || {
                    let case = Case::new(arch, engine, name)?;
                    test(&case)
                };
                run().map_err(|error| Failed::from(format!("{error:#}")))
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

impl Case {
    fn new(arch: Arch, engine: &'static str, name: &str) -> Result<Self> {
        let id = std::process::id();
        let name = format!("hermit-wasm-replay-{id}-{}-{engine}-{name}", arch.name());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(directory.join("files"))?;
        let content: String = (0..5000).map(|line| format!("line {line}\n")).collect();
        fs::write(directory.join("files/file"), content)?;
        Ok(Self {
            arch,
            engine,
            directory,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A module of this name, given as text.
    fn module(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// A recorded run of the module with these flags and arguments, to be started.
    fn record(&self, flags: &[&str], module: &Path, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(environment::needed(environment::LAUNCHER)?);
        command
            .args(["run", "--arch", self.arch.name(), "--engine", self.engine])
            .arg("--record")
            .arg(self.path("recording"))
            .args(flags)
            .arg(module)
            .args(arguments)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// The same of the guest that reads files and ends so.
    fn record_guest(&self, end: &str, flags: &[&str]) -> Result<Command> {
        let files = format!("{}::/", self.path("files").display());
        let flags = [&["--copy-dir", &files], flags].concat();
        self.record(&flags, &self.module("guest.wat", &guest::reads_and(end))?, &[])
    }

    /// Replays the recording with these flags, with the files gone.
    fn replay(&self, flags: &[&str]) -> Result<Output> {
        let files = self.path("files");
        if files.exists() {
            fs::remove_dir_all(files)?;
        }
        Command::new(environment::needed(environment::LAUNCHER)?)
            .arg("replay")
            .args(flags)
            .arg(self.path("recording"))
            .stdin(Stdio::null())
            .output()
            .context("cannot start the launcher")
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        // What stays in the system's directory for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Both have printed the same, and ended with this code.
fn equal(recorded: &Output, replayed: &Output, code: i32) -> Result<()> {
    ensure!(
        recorded.status.code() == Some(code),
        "recorded: {:?}: {}",
        recorded.status,
        said(recorded)
    );
    ensure!(
        replayed.status.code() == Some(code),
        "replayed: {:?}: {}",
        replayed.status,
        said(replayed)
    );
    ensure!(recorded.stdout == replayed.stdout, "another output");
    Ok(())
}

/// The same of a guest that has printed something, and of messages.
fn equal_with_messages(recorded: &Output, replayed: &Output, code: i32) -> Result<()> {
    equal(recorded, replayed, code)?;
    ensure!(!recorded.stdout.is_empty(), "the guest printed nothing");
    ensure!(
        recorded.stderr == replayed.stderr,
        "other messages: {} instead of {}",
        said(replayed),
        said(recorded)
    );
    Ok(())
}

/// What a launcher said.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
