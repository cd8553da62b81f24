//! Runs every row of `guests/tests/*.toml`: `cargo xtask test boot` builds what it needs and calls it.
//!
//! Each row is a test; filter by name as with any test program, for example `-- trap/`. The environment is
//! `environment.rs`'s. With `REFERENCE` the rows are held against another runtime instead: see
//! `reference/wasmtime_run.py`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::{Arguments, Failed, Trial};
use test_qemu::Engine;
use vm_tests::download;
use vm_tests::environment;
use vm_tests::manifest::{Download, Manifest, Test};
use vm_tests::run::{self, Runner};
use vm_tests::virtiofsd;

/// Each run keeps a core busy with an emulated machine; more at a time than this only makes them late.
const THREADS: usize = 2;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    match trials(arguments.list) {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("error: the boot tests cannot begin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A trial for each row. If they are only to be listed, nothing is fetched and nothing need be built.
fn trials(only_list: bool) -> Result<Vec<Trial>> {
    let manifest = Manifest::read(vm_tests::root())?;
    if only_list {
        return Ok(manifest
            .tests
            .iter()
            .map(|test| Trial::test(&test.name, || Ok(())))
            .collect());
    }
    let runner = Arc::new(run::from_environment(
        vm_tests::root(),
        Path::new(env!("CARGO_TARGET_TMPDIR")),
    )?);
    let absent: BTreeMap<&str, String> = manifest
        .downloads
        .iter()
        .filter_map(|program| {
            let error = download::fetch(program, &runner.downloads).err()?;
            Some((program.name.as_str(), format!("{error:#}")))
        })
        .collect();
    manifest
        .tests
        .iter()
        .map(|test| {
            let needed = test.needs.as_ref();
            let needed = needed.and_then(|name| manifest.downloads.iter().find(|one| one.name == *name));
            trial(test, needed, &runner, &absent)
        })
        .collect()
}

/// The trial of one row, ignored where it cannot or need not be run.
fn trial(
    test: &Test,
    needed: Option<&Download>,
    runner: &Arc<Runner>,
    absent: &BTreeMap<&str, String>,
) -> Result<Trial> {
    let skipped = reason_to_skip(test, absent)?;
    if let Some(reason) = &skipped {
        eprintln!("SKIP {}: {reason}", test.name);
    }
    let (row, needed) = (test.clone(), needed.cloned());
    let runner = Arc::clone(runner);
    let run = move || {
        needed
            .map_or(Ok(()), |program| runner.take_files(&program))
            .and_then(|()| runner.run(&row))
            .map_err(|error| Failed::from(format!("{error:#}")))
    };
    Ok(Trial::test(&test.name, run).with_ignored_flag(skipped.is_some()))
}

/// Why a row is not run here.
fn reason_to_skip(test: &Test, absent: &BTreeMap<&str, String>) -> Result<Option<String>> {
    if let Some(name) = test.program()?
        && let Some(error) = absent.get(name)
    {
        return Ok(Some(format!("{name} could not be fetched: {error}")));
    }
    if test.maps
        && let Some(reason) = virtiofsd::missing()
    {
        return Ok(Some(reason));
    }
    let arch = environment::arch()?.name();
    let reference = environment::get(environment::REFERENCE).is_some();
    // Another runtime compiles: it is held against the native engine's rows.
    let engine = if reference {
        Engine::Native
    } else {
        environment::engine()?
    };
    if !test.arch.is_empty() && !test.arch.iter().any(|own| own == arch) {
        return Ok(Some(format!("it is for {}", test.arch.join(", "))));
    }
    if test.engine.is_some_and(|only| only != engine) {
        let because = test.because.as_deref().unwrap_or_default();
        return Ok(Some(format!("the other engine's behaviour: {because}")));
    }
    if reference {
        return Ok(test
            .ours_only
            .as_ref()
            .map(|reason| format!("not the other runtime's behaviour: {reason}")));
    }
    Ok(None)
}
