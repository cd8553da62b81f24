//! Guests as containers: rows of `guests/tests/*.toml` by each engine, and what engines do with containers beyond running
//! them. The runtime is `hermit-wasm` as `hermit-oci`.
//!
//! Environment: `LAUNCHER`, `GUESTS`, `ENGINE` and `VIRTIOFSD` of `vm_tests::environment`, `WHICH` of
//! `container_tests::settings`. With root's rights the tests run in a world of their own (`tests/containers/world`).

mod bench;
mod cases;
mod hostile;
mod images;
mod orchestrated;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bench::{Bench, Case, GUEST};
use cases::ECHO;
use container_tests::archive::Image;
use container_tests::rows::{self, Differences, Row};
use container_tests::world::{self, World};
use container_tests::{Engine, Kind, archive, engine, settings};
use libtest_mimic::{Arguments, Failed, Trial};
use vm_tests::manifest::{Manifest, Test};
use vm_tests::run::{self, Runner};
use vm_tests::{download, environment, virtiofsd};

/// Each container keeps a core busy with an emulated machine.
const THREADS: usize = 2;

/// How long a run may take whose row does not say otherwise: engines take their time besides.
const LIMIT: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    match tests() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: tests of containers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tests() -> Result<ExitCode> {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let manifest = Manifest::read(vm_tests::root())?;
    if environment::get(settings::WORLD).is_none() {
        fetch(&manifest);
    }
    let world = world::enter()?;
    let directory = match &world {
        World::Done(code) => return Ok(*code),
        World::Own(directory) | World::Machine(directory) => directory.clone(),
    };
    let mut runner = run::from_environment(vm_tests::root(), &directory.join("scratch"))?;
    runner.limit = LIMIT;
    let filter = arguments.filter.clone().unwrap_or_default();
    let setting = Arc::new(Setting::new(world, directory, runner, &manifest, &filter)?);
    let mut trials = Vec::new();
    for kind in Kind::ALL {
        if settings::short() && kind == Kind::Cri {
            continue;
        }
        trials.extend(setting.trials(kind, &manifest)?);
    }
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

/// Fetches what rows run that nobody here wrote: a world of its own has no network to anywhere. Rows whose program is not
/// there are skipped.
fn fetch(manifest: &Manifest) {
    let wanted = manifest.tests.iter().filter(|test| wanted(test));
    let names: Vec<_> = wanted.filter_map(|test| test.download.as_deref()).collect();
    for program in manifest
        .downloads
        .iter()
        .filter(|program| names.contains(&program.name.as_str()))
    {
        if let Err(error) = download::fetch(program, &vm_tests::root().join("target/downloads")) {
            eprintln!("{} could not be fetched: {error:#}", program.name);
        }
    }
}

/// What all tests share.
struct Setting {
    world: World,
    directory: PathBuf,
    runner: Runner,
    differences: Differences,
    /// The archive of all images.
    images: PathBuf,
    /// Started when the first test wants them.
    engines: [OnceLock<Result<Engine, String>>; 4],
}

impl Setting {
    fn new(
        world: World,
        directory: PathBuf,
        runner: Runner,
        manifest: &Manifest,
        filter: &str,
    ) -> Result<Self> {
        let differences = Differences::read(manifest)?;
        let images = directory.join("images.tar");
        let module = runner.built.join(format!("{GUEST}.wasm"));
        let module = std::fs::read(&module).with_context(|| module.display().to_string())?;
        let mut all = hostile::images(&module);
        all.push(Image::of_module(GUEST, "container.wasm", module));
        let echo = runner.built.join(format!("{ECHO}.wasm"));
        let echo = std::fs::read(&echo).with_context(|| echo.display().to_string())?;
        all.push(Image::of_module(ECHO, "tokio-echo.wasm", echo));
        all.push(engine::pause()?);
        let asked = |test: &Test| {
            Kind::ALL
                .iter()
                .any(|kind| row_name(*kind, test).contains(filter))
        };
        // Each takes the engines time to load.
        for test in manifest.tests.iter().filter(|test| wanted(test) && asked(test)) {
            if let Some(image) = rows::image(test, &runner)?
                && !all.iter().any(|other| other.name == image.name)
            {
                all.push(image);
            }
        }
        archive::write(&images, &all)?;
        Ok(Self {
            world,
            directory,
            runner,
            differences,
            images,
            engines: Default::default(),
        })
    }

    /// An engine, started.
    fn engine(&self, kind: Kind) -> Result<&Engine> {
        let index = Kind::ALL.iter().position(|one| *one == kind).unwrap_or(0);
        let slot = self.engines.get(index).context("no such engine")?;
        let started = slot.get_or_init(|| {
            Engine::start(kind, &self.world, &self.images).map_err(|error| format!("{error:#}"))
        });
        started.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// The tests of an engine.
    fn trials(self: &Arc<Self>, kind: Kind, manifest: &Manifest) -> Result<Vec<Trial>> {
        let missing = kind.missing(&self.world).or_else(virtiofsd::missing);
        if let Some(reason) = &missing {
            eprintln!("SKIP all of {}: {reason}", kind.name());
        }
        let mut trials = Vec::new();
        for test in manifest.tests.iter().filter(|test| wanted(test)) {
            let name = row_name(kind, test);
            let other = test.engine.is_some_and(|only| only != self.runner.engine);
            let other = other || !test.arch.is_empty() && !test.arch.iter().any(|one| one == arch());
            let row = match (&missing, other) {
                (Some(reason), _) => Row::Not(reason.clone()),
                (None, true) => Row::Not("it is for another engine or architecture".to_owned()),
                (None, false) => rows::row(test, kind, &self.runner, &self.differences, &self.scratch())?,
            };
            let setting = Arc::clone(self);
            let test = test.clone();
            trials.push(match row {
                Row::Not(reason) => {
                    if missing.is_none() {
                        eprintln!("SKIP {name}: {reason}");
                    }
                    Trial::test(name, || Ok(())).with_ignored_flag(true)
                }
                Row::Container(container) => Trial::test(name, move || {
                    let words = setting.engine(kind).and_then(|engine| engine.run(&container));
                    let result = words.and_then(|words| setting.runner.run_by(&test, &words));
                    result.map_err(|error| Failed::from(format!("{error:#}")))
                }),
            });
        }
        let all = cases::CASES
            .iter()
            .chain(hostile::CASES)
            .chain(images::CASES)
            .chain(orchestrated::CASES);
        for case in all.filter(|case| case.on.contains(&kind) && (case.short || !settings::short())) {
            trials.push(self.case(case, kind, missing.as_ref()));
        }
        Ok(trials)
    }

    /// The test of a case.
    fn case(self: &Arc<Self>, case: &'static Case, kind: Kind, missing: Option<&String>) -> Trial {
        let name = format!("{}/{}", kind.name(), case.name);
        let reason = missing.cloned().or_else(|| (case.missing)(kind));
        if let (Some(reason), None) = (&reason, missing) {
            eprintln!("SKIP {name}: {reason}");
        }
        let setting = Arc::clone(self);
        let run = move || {
            let scratch = setting
                .scratch()
                .join(kind.name())
                .join(case.name.replace('/', "-"));
            let result = std::fs::create_dir_all(&scratch)
                .map_err(Into::into)
                .and_then(|()| {
                    let engine = setting.engine(kind)?;
                    (case.run)(&Bench { engine, scratch })
                });
            result.map_err(|error| Failed::from(format!("{error:#}")))
        };
        Trial::test(name, run).with_ignored_flag(reason.is_some())
    }

    fn scratch(&self) -> PathBuf {
        self.directory.join("copies")
    }
}

/// The name of a row's test.
fn row_name(kind: Kind, test: &Test) -> String {
    format!("{}/row/{}", kind.name(), test.name)
}

/// Whether a row is of the set that is wanted.
fn wanted(test: &Test) -> bool {
    !settings::short() || rows::SHORT.contains(&test.name.as_str())
}

/// The architecture of the machines, which is this host's.
fn arch() -> &'static str {
    std::env::consts::ARCH
}
