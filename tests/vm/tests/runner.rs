//! The launcher as cargo's runner: `CARGO_TARGET_WASM32_WASIP1_RUNNER="hermit-wasm run"` makes `cargo run` and
//! `cargo test` run what they have built for wasm32-wasip1 in a virtual machine.
//!
//! Environment: `LAUNCHER`, `ARCH` and `RUN_FLAGS` of `environment.rs`. Where rustup has no standard library for
//! the target nothing is run, and that is said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use vm_tests::environment;

const TARGET: &str = "wasm32-wasip1";

/// A test: its name, and what it does with the runner.
type Test = (&'static str, fn(&str) -> Result<()>);

const TESTS: &[Test] = &[("cargo-run", cargo_run), ("cargo-test", cargo_test)];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Both want cargo's lock and a core for the machine.
    arguments.test_threads.get_or_insert(1);
    let runner = match runner() {
        Ok(runner) => runner,
        Err(error) => {
            eprintln!("error: the tests of the runner cannot begin: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let reason = missing();
    if let Some(reason) = &reason {
        eprintln!("SKIP all tests of the launcher as cargo's runner: {reason}");
    }
    let trials = TESTS
        .iter()
        .map(|(name, test)| {
            let (runner, test) = (runner.clone(), *test);
            let run = move || test(&runner).map_err(|error| Failed::from(format!("{error:#}")));
            Trial::test(format!("runner/{name}"), run).with_ignored_flag(reason.is_some())
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What a user writes into the variable. Cargo splits it at its spaces.
fn runner() -> Result<String> {
    let launcher = environment::needed(environment::LAUNCHER)?;
    let launcher = launcher.to_str().context("the launcher's path is not UTF-8")?;
    ensure!(
        !launcher.contains(' '),
        "'{launcher}' has a space, where cargo splits it"
    );
    Ok(format!("{launcher} run {}", environment::flags()?.join(" ")))
}

/// Why the target cannot be compiled for.
fn missing() -> Option<String> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let directory = match output {
        Ok(output) => PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()),
        Err(error) => return Some(format!("rustc: {error}")),
    };
    (!directory.is_dir()).then(|| format!("rustup has no {TARGET} here; scripts/setup installs it"))
}

/// Runs cargo with the launcher as runner; `arguments` are the program's.
fn cargo(runner: &str, target: &Path, words: &[&str], arguments: &[&str]) -> Result<Output> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Command::new(cargo)
        .args(words)
        .args(["--quiet", "--target", TARGET, "--target-dir"])
        .arg(target)
        .arg("--")
        .args(arguments)
        .env("CARGO_TARGET_WASM32_WASIP1_RUNNER", runner)
        .stdin(Stdio::null())
        .output()
        .context("cannot start cargo")
}

/// Checks the exit code, and that standard output has these words.
fn ended(output: &Output, code: i32, words: &str) -> Result<()> {
    let shown = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.code() == Some(code) && shown.contains(words),
        "ended with {}, not {code}, or did not say {words:?}: {shown}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Arguments, flags among them, and the exit code are the guest's.
fn cargo_run(runner: &str) -> Result<()> {
    let root = vm_tests::root();
    let manifest = root.join("guests/Cargo.toml");
    let manifest = manifest.to_str().context("the checkout's path is not UTF-8")?;
    // Where xtask has built them already.
    let target = root.join("target/guests-build");
    for (guest, arguments, code, words) in [
        (
            "args",
            ["one", "two words", "--memory"].as_slice(),
            0,
            "1: \"one\"\n2: \"two words\"\n3: \"--memory\"\n",
        ),
        ("exit", &["42"], 42, ""),
    ] {
        let words_of_cargo = [
            "run",
            "--locked",
            "--release",
            "--manifest-path",
            manifest,
            "--bin",
            guest,
        ];
        ended(&cargo(runner, &target, &words_of_cargo, arguments)?, code, words)?;
    }
    Ok(())
}

/// A package's own tests run in the machine, and one that fails fails the command.
fn cargo_test(runner: &str) -> Result<()> {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tested-in-a-machine");
    fs::create_dir_all(package.join("src"))?;
    fs::write(
        package.join("Cargo.toml"),
        "[package]\nname = \"tested-in-a-machine\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n",
    )?;
    fs::write(
        package.join("src/lib.rs"),
        "#[test]\nfn works() {\n    assert!(cfg!(target_os = \"wasi\"));\n}\n\n\
         #[test]\n#[ignore]\nfn fails() {\n    panic!(\"as it should\");\n}\n",
    )?;
    let manifest = package.join("Cargo.toml");
    let manifest = manifest.to_str().context("the directory's path is not UTF-8")?;
    let words = ["test", "--lib", "--manifest-path", manifest];
    let target = package.join("target");
    ended(
        &cargo(runner, &target, &words, &[])?,
        0,
        "test result: ok. 1 passed",
    )?;
    // A panic aborts on this target: the machine's guest traps.
    let failed = cargo(runner, &target, &words, &["--ignored", "--nocapture"])?;
    ended(&failed, 134, "")?;
    ensure!(
        String::from_utf8_lossy(&failed.stderr).contains("as it should"),
        "the panic is not shown: {failed:?}"
    );
    Ok(())
}
