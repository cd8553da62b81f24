//! Runs the published conformance suite in the virtual machine, one run a module, each on a fresh copy of its
//! directory: in the machine's memory, and shared by virtiofsd.
//!
//! Environment as in `boot.rs`, `VIRTIOFSD` of `environment.rs`, and `WASI_TESTSUITE`: the suite's folder. Without it
//! nothing is run, and that is said.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use conformance::{Case, Expectations};
use libtest_mimic::{Arguments, Failed, Trial};
use vm_tests::manifest::Test;
use vm_tests::run::{self, Runner};
use vm_tests::{fixture, virtiofsd};

/// As in `boot.rs`: each run keeps a core busy.
const THREADS: usize = 2;
/// Where a test's directories are.
#[derive(Clone, Copy, Debug)]
enum Backend {
    /// In the machine's memory.
    Memory,
    /// On the host, served by virtiofsd.
    Virtiofs,
}

impl Backend {
    /// Its name in the list of expectations.
    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Virtiofs => "virtiofs",
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("error: the conformance tests cannot begin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A trial for each module; an ignored one that stands for all where there is no suite.
fn trials() -> Result<Vec<Trial>> {
    let Some(folder) = conformance::folder() else {
        eprintln!(
            "SKIP conformance in the virtual machine: {} names no folder with the suite",
            conformance::VARIABLE
        );
        return Ok(vec![
            Trial::test("conformance", || Ok(())).with_ignored_flag(true),
        ]);
    };
    let folder = std::path::absolute(folder)?;
    let cases = conformance::cases(&folder).with_context(|| folder.display().to_string())?;
    let runner = Arc::new(run::from_environment(
        vm_tests::root(),
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")),
    )?);
    let mut trials = Vec::new();
    for backend in [Backend::Memory, Backend::Virtiofs] {
        let expectations = Arc::new(Expectations::of(backend.name())?);
        let unknown = expectations.unknown(&cases);
        if !unknown.is_empty() {
            eprintln!("expected to fail, and not in this suite: {unknown:?}");
        }
        let reason = match backend {
            Backend::Memory => None,
            Backend::Virtiofs => virtiofsd::missing(),
        };
        if let Some(reason) = &reason {
            eprintln!("SKIP conformance on {}: {reason}", backend.name());
        }
        for case in &cases {
            let trial = trial(case, backend, &runner, &expectations);
            trials.push(trial.with_ignored_flag(reason.is_some()));
        }
    }
    Ok(trials)
}

fn trial(case: &Case, backend: Backend, runner: &Arc<Runner>, expectations: &Arc<Expectations>) -> Trial {
    let (runner, expectations) = (Arc::clone(runner), Arc::clone(expectations));
    let case = case.clone();
    Trial::test(
        format!("conformance/{}/{}", backend.name(), case.name),
        move || {
            let result = run(&case, backend, &runner).map_err(|error| format!("{error:#}"));
            if let (Err(_), Some(reason)) = (&result, expectations.reason(&case.name)) {
                eprintln!("EXPECTED FAILURE {} on {}: {reason}", case.name, backend.name());
            }
            expectations.judge(&case.name, result).map_err(Failed::from)
        },
    )
}

/// Runs a test as a row of the manifest.
fn run(case: &Case, backend: Backend, runner: &Runner) -> Result<()> {
    let mut row = row(case)?;
    let copies = std::env::temp_dir().join(format!(
        "hermit-wasm-conformance-{}-{}",
        std::process::id(),
        case.name.replace('/', "-")
    ));
    for (number, (here, there)) in case.directories.iter().enumerate() {
        match backend {
            Backend::Memory => row
                .flags
                .extend(["--copy-dir".into(), format!("{}::{there}", here.display())]),
            Backend::Virtiofs => {
                let copy = copies.join(number.to_string());
                std::fs::create_dir_all(&copies)?;
                fixture::copy(here, &copy)?;
                let daemon = virtiofsd::program();
                row.flags
                    .extend(["--virtiofsd".into(), daemon.display().to_string()]);
                row.flags
                    .extend(["--dir".into(), format!("{}::{there}", copy.display())]);
            }
        }
    }
    let result = runner.run(&row);
    // It may never have been made.
    let _ = std::fs::remove_dir_all(&copies);
    result
}

/// The test as a row of the manifest, but for its directories.
fn row(case: &Case) -> Result<Test> {
    // What the specification does not name may be anything.
    let output = |wanted: &Option<String>| match wanted {
        Some(text) => format!("{text:?}"),
        None => r#"{ regex = "(?s).*" }"#.to_owned(),
    };
    let text = format!(
        "name = {:?}\nshows = \"the published suite's test passes\"\nstdout = {}\nstderr = {}\n",
        case.name,
        output(&case.stdout),
        output(&case.stderr)
    );
    let mut row: Test = toml::from_str(&text).context("a row of these outputs")?;
    row.file = Some(
        case.module
            .to_str()
            .context("a path that is not UTF-8")?
            .to_owned(),
    );
    row.args.clone_from(&case.args);
    row.env = case
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    row.exit = i32::try_from(case.exit_code).map_err(|error| anyhow!("exit code: {error}"))?;
    Ok(row)
}
