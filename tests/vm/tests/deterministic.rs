//! Deterministic runs: every row of `guests/tests/*.toml` that can be one, on all architectures, one of them twice. Each
//! must give the same transcript: exit code, both streams, the fuel that was spent and the time that was slept. Fuel
//! counts what was executed, so that a guest which saw something else would hardly spend the same.
//!
//! Environment: `LAUNCHER`, `GUESTS`, `ENGINE` and `RUN_FLAGS` of `environment.rs`, and `ARCH`, which may name several
//! architectures here, with commas between them: without it they are all three.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use boot_protocol::arch::Arch;
use libtest_mimic::{Arguments, Failed, Trial};
use test_qemu::Engine;
use vm_tests::environment;
use vm_tests::manifest::{Manifest, Module, Test};
use vm_tests::run::{self, Runner};
use vm_tests::virtiofsd;

/// Each run keeps a core busy with an emulated machine.
const THREADS: usize = 2;

/// Flags of rows that make a run depend on the host's clock, or on the machine's size, or that say the engine
/// themselves. What is in the machine's memory may be of any size; directories of the host's are of `tests/share`.
const OTHERWISE: [&str; 9] = [
    "--timeout",
    "timeout=",
    "--memory",
    "--engine",
    "--allow-precompiled",
    "--accel",
    "--machine",
    "--terminals",
    "--log",
];

/// Guests that exhaust the stack, of which native code has more on one architecture than on another.
const EXHAUST_THE_STACK: [&str; 4] = ["recursion", "trap-recursion", "deep-calls", "deepest-calls"];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("error: the tests of deterministic runs cannot begin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Result<Vec<Trial>> {
    let manifest = Manifest::read(vm_tests::root())?;
    let engine = environment::engine()?;
    let mut arches = environment::arches()?;
    if arches.is_empty() {
        arches.extend(Arch::ALL);
    }
    // One of them twice.
    arches.extend_from_within(..1);
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let runners = arches
        .iter()
        .map(|arch| Ok((*arch, run::on(*arch, vm_tests::root(), scratch)?)));
    let runners = Arc::new(runners.collect::<Result<Vec<_>>>()?);
    let shared = shared(&manifest, &runners)?;
    let trials = manifest.tests.into_iter().map(|test| {
        let skipped = reason_to_skip(&test, engine);
        if let Some(reason) = &skipped {
            eprintln!("SKIP {}: {reason}", test.name);
        }
        let runners = Arc::clone(&runners);
        let name = format!("deterministic/{}", test.name);
        let run = move || {
            same(&runners, &test)
                .map(|_| ())
                .map_err(|error| Failed::from(format!("{error:#}")))
        };
        Trial::test(name, run).with_ignored_flag(skipped.is_some())
    });
    Ok(trials.chain([shared]).collect())
}

/// The row whose guest tells all that differs from host to host.
const WORLD: &str = "deterministic/world";

/// Two directories of the host with the same files look the same, whatever file system has made of them.
fn shared(manifest: &Manifest, runners: &Arc<Vec<(Arch, Runner)>>) -> Result<Trial> {
    let world = manifest.tests.iter().find(|test| test.name == WORLD);
    let world = world.with_context(|| format!("no row {WORLD}"))?.clone();
    let reason = virtiofsd::missing();
    if let Some(reason) = &reason {
        eprintln!("SKIP directories of the host: {reason}");
    }
    let runners = Arc::clone(runners);
    let run = move || {
        let directories = [["c", "a", "b"], ["b", "c", "a"]].map(|names| directory(&names));
        let mut transcripts = Vec::new();
        for directory in directories {
            let directory = directory?;
            let test = Test {
                flags: vec![
                    "--deterministic=7".into(),
                    "--dir".into(),
                    format!("{}::/", directory.display()),
                ],
                ..world.clone()
            };
            transcripts.push(same(&runners, &test)?);
            fs::remove_dir_all(directory)?;
        }
        ensure!(
            transcripts.windows(2).all(|two| two[0] == two[1]),
            "{transcripts:#?}"
        );
        Ok(())
    };
    let run = move || run().map_err(|error: anyhow::Error| Failed::from(format!("{error:#}")));
    Ok(Trial::test("deterministic/shared-directories", run).with_ignored_flag(reason.is_some()))
}

/// A directory whose entries were created in this order, between others, and that all have different times.
fn directory(names: &[&str]) -> Result<PathBuf> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("deterministic-{}", names.concat()));
    fs::create_dir_all(path.join("directory"))?;
    for (place, name) in names.iter().enumerate() {
        let spare = path.join(format!("spare-{place}"));
        fs::write(&spare, "something")?;
        fs::write(path.join(name), name)?;
        fs::remove_file(spare)?;
    }
    Ok(path)
}

/// Why a row is no deterministic run.
fn reason_to_skip(test: &Test, engine: Engine) -> Option<String> {
    let flag = test
        .flags
        .iter()
        .find(|flag| OTHERWISE.iter().any(|other| flag.contains(other)));
    if let Some(flag) = flag {
        return Some(format!("its flag {flag} depends on more than the guest"));
    }
    if test.stdin.open {
        return Some("a deterministic run waits for its input".into());
    }
    if !test.arch.is_empty() {
        return Some(format!("it is for {}", test.arch.join(", ")));
    }
    if test.engine.is_some_and(|only| only != engine) {
        return Some("it is for the other engine".into());
    }
    match test.module() {
        Ok(Module::Guest(name)) if engine == Engine::Native && EXHAUST_THE_STACK.contains(&name) => {
            Some("natively, the stack's depth is the architecture's".into())
        }
        Ok(Module::Hermitfile(_)) => Some("a Hermitfile's runs are those of its modules".into()),
        Ok(Module::Download(name)) => Some(format!("{name} takes minutes on all architectures together")),
        _ => None,
    }
}

/// Runs a row with each of `runners` and compares the transcripts with the first; gives that.
fn same(runners: &[(Arch, Runner)], test: &Test) -> Result<String> {
    let mut first: Option<(Arch, String)> = None;
    for (arch, runner) in runners {
        let seed = (!test.flags.iter().any(|flag| flag.starts_with("--deterministic")))
            .then_some("--deterministic=7");
        let flags: Vec<_> = ["--log", "info"].into_iter().chain(seed).collect();
        let transcript = runner
            .transcript(test, &flags)
            .with_context(|| format!("on {}", arch.name()))?;
        ensure!(
            test.exit != 0 || transcript.contains("units of fuel"),
            "nothing tells the fuel that was spent:\n{transcript}"
        );
        match &first {
            None => first = Some((*arch, transcript)),
            Some((other, expected)) => ensure!(
                *expected == transcript,
                "{}\non {} it is otherwise than on {}:\n{transcript}\n---\n{expected}",
                test.shows,
                arch.name(),
                other.name(),
            ),
        }
    }
    let (_, transcript) = first.context("no machines")?;
    Ok(transcript)
}
