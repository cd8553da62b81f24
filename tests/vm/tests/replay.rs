//! Runs that are recorded and replayed, on both engines: with the files gone, after a kill, with another module.
//!
//! Environment: `LAUNCHER` and `ARCH` of `environment.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use test_qemu::Arch;
use vm_tests::environment;

/// Reads a file, the clock and random numbers, prints all of it, and then exits with 7, or goes on for ever.
fn guest(end: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "file")
  (func $print (param $at i32) (param $length i32)
    (i32.store (i32.const 16) (local.get $at))
    (i32.store (i32.const 20) (local.get $length))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))))
  (func (export "_start")
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 8)))
    (i32.store (i32.const 16) (i32.const 1024))
    (i32.store (i32.const 20) (i32.const 60000))
    (drop (call $read (i32.load (i32.const 8)) (i32.const 16) (i32.const 1) (i32.const 24)))
    (call $print (i32.const 1024) (i32.load (i32.const 24)))
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 128)))
    (drop (call $random (i32.const 136) (i32.const 56)))
    (call $print (i32.const 128) (i32.const 64))
    {end}))"#
    )
}

const EXITS: &str = "(call $exit (i32.const 7))";
const TRAPS: &str = "(drop (call $random (i32.const 136) (i32.const 8))) unreachable";
const CALLS_FOR_EVER: &str =
    "(loop $again (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 128))) (br $again))";

type Test = (&'static str, fn(&Case) -> Result<()>);

const TESTS: &[Test] = &[
    ("exits", exits),
    ("traps", traps),
    ("killed", killed),
    ("timeout", timeout),
    ("other-module", other_module),
    ("damaged", damaged),
];

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
    for &(name, test) in TESTS {
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

    /// A recorded run of the guest that ends so, to be started; with these flags.
    fn record(&self, end: &str, flags: &[&str]) -> Result<Command> {
        fs::write(self.path("guest.wat"), guest(end))?;
        let mut command = Command::new(environment::needed(environment::LAUNCHER)?);
        command
            .args(["run", "--arch", self.arch.name(), "--engine", self.engine])
            .arg("--record")
            .arg(self.path("recording"))
            .arg("--copy-dir")
            .arg(format!("{}::/", self.path("files").display()))
            .args(flags)
            .arg(self.path("guest.wat"))
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Replays the recording, with the files gone.
    fn replay(&self) -> Result<Output> {
        let files = self.path("files");
        if files.exists() {
            fs::remove_dir_all(files)?;
        }
        Ok(Command::new(environment::needed(environment::LAUNCHER)?)
            .arg("replay")
            .arg(self.path("recording"))
            .stdin(Stdio::null())
            .output()?)
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        // What stays in the system's directory for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A replay prints and ends as the run did, and says so much.
fn same(recorded: &Output, replayed: &Output, code: i32) -> Result<()> {
    let stderr = String::from_utf8_lossy(&replayed.stderr);
    ensure!(recorded.status.code() == Some(code), "recorded: {recorded:?}");
    ensure!(
        replayed.status.code() == Some(code),
        "replayed: {:?}: {stderr}",
        replayed.status
    );
    ensure!(recorded.stdout.len() > 40_000, "the guest printed too little");
    ensure!(recorded.stdout == replayed.stdout, "another output");
    Ok(())
}

fn exits(case: &Case) -> Result<()> {
    let recorded = case.record(EXITS, &[])?.output()?;
    same(&recorded, &case.replay()?, 7)
}

fn traps(case: &Case) -> Result<()> {
    let recorded = case.record(TRAPS, &[])?.output()?;
    let replayed = case.replay()?;
    same(&recorded, &replayed, 134)?;
    ensure!(recorded.stderr == replayed.stderr, "another message");
    Ok(())
}

fn timeout(case: &Case) -> Result<()> {
    let recorded = case.record(CALLS_FOR_EVER, &["--timeout", "3s"])?.output()?;
    let replayed = case.replay()?;
    same(&recorded, &replayed, 124)?;
    let stderr = String::from_utf8_lossy(&replayed.stderr);
    ensure!(stderr.contains("the recording ends here"), "{stderr}");
    Ok(())
}

/// SIGKILL, once the recording is there: the launcher has no last word.
fn killed(case: &Case) -> Result<()> {
    let out = case.path("stdout");
    let mut command = case.record(CALLS_FOR_EVER, &[])?;
    let mut child = command
        .stdout(fs::File::create(&out)?)
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    while length(&case.path("recording")) < 200_000 && start.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait()?;
    let replayed = case.replay()?;
    let stderr = String::from_utf8_lossy(&replayed.stderr);
    ensure!(
        replayed.status.code() == Some(250),
        "{:?}: {stderr}",
        replayed.status
    );
    ensure!(stderr.contains("the recording ends here"), "{stderr}");
    let printed = fs::read(&out).context("what was printed")?;
    ensure!(
        printed.len() > 40_000 && printed == replayed.stdout,
        "another output"
    );
    Ok(())
}

fn other_module(case: &Case) -> Result<()> {
    case.record(EXITS, &[])?.output()?;
    fs::write(case.path("guest.wat"), guest(TRAPS))?;
    let replayed = case.replay()?;
    let stderr = String::from_utf8_lossy(&replayed.stderr);
    ensure!(
        replayed.status.code() == Some(126),
        "{:?}: {stderr}",
        replayed.status
    );
    ensure!(
        stderr.contains("is not what was recorded") && replayed.stdout.is_empty(),
        "{stderr}"
    );
    Ok(())
}

fn damaged(case: &Case) -> Result<()> {
    case.record(EXITS, &[])?.output()?;
    let path = case.path("recording");
    let mut bytes = fs::read(&path)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    fs::write(&path, bytes)?;
    let replayed = case.replay()?;
    let stderr = String::from_utf8_lossy(&replayed.stderr);
    ensure!(
        replayed.status.code() == Some(126),
        "{:?}: {stderr}",
        replayed.status
    );
    ensure!(
        stderr.contains("damaged") && replayed.stdout.is_empty(),
        "{stderr}"
    );
    Ok(())
}
