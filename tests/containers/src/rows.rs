//! A row of `guests/tests/*.toml` as a container: what of it there is a place for, and why the others have none.
//!
//! The guest's directory is the container's root, `/`. A directory that a row wants in memory or copied is a mount in
//! it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use test_qemu::Engine;
use vm_tests::manifest::{Manifest, Module, Test};
use vm_tests::run::Runner;

use crate::archive::Image;
use crate::engine::{self, Container, Kind, Volume};
use crate::host;

/// The rows of the short set: each kind of thing once.
pub const SHORT: [&str; 10] = [
    "hello/rust",
    "hello/c",
    "args/difficult",
    "exit/42",
    "stdin/one-mebibyte",
    "trap/unreachable",
    "refused/truncated-half",
    "sleep/short",
    "fs/rename-over",
    "fs/hard-links",
];

/// Prefix of the annotations that the runtime knows.
const ANNOTATION: &str = "org.hermit-wasm.";

/// A row, or why it is not run.
#[derive(Debug)]
pub enum Row {
    /// What to run.
    Container(Container),
    /// Why not.
    Not(String),
}

/// Rows that a container rightly answers otherwise, with the reason: by name, or by a part of it that ends with `/`.
#[derive(Debug)]
pub struct Differences(BTreeMap<String, (Vec<String>, String)>);

impl Differences {
    /// Reads `differences.txt`: a line for each row, `NAME [ENGINE,...]: WHY`.
    ///
    /// # Errors
    /// If a line is none of these, or no row has its name.
    pub fn read(manifest: &Manifest) -> Result<Self> {
        let mut found = BTreeMap::new();
        for line in include_str!("../differences.txt").lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (what, why) = line
                .split_once(": ")
                .with_context(|| format!("'{line}' has no reason"))?;
            let (name, engines) = what.split_once(' ').unwrap_or((what, ""));
            let engines: Vec<String> = engines
                .split(',')
                .filter(|one| !one.is_empty())
                .map(String::from)
                .collect();
            for engine in &engines {
                let known = Kind::ALL.iter().any(|kind| kind.name() == engine);
                ensure!(known, "there is no engine {engine}: '{line}'");
            }
            let known = manifest.tests.iter().any(|test| applies(name, &test.name));
            ensure!(known, "no row is called {name}: take it out of differences.txt");
            found.insert(name.to_owned(), (engines, why.to_owned()));
        }
        Ok(Self(found))
    }

    /// Why a row is not run by an engine.
    fn reason(&self, row: &str, kind: Kind) -> Option<&str> {
        self.0.iter().find_map(|(name, (engines, why))| {
            let here = engines.is_empty() || engines.iter().any(|engine| engine == kind.name());
            (here && applies(name, row)).then_some(why.as_str())
        })
    }
}

fn applies(name: &str, row: &str) -> bool {
    row == name || name.ends_with('/') && row.starts_with(name)
}

/// The image of a row's module, named so that rows with one module have one image; none, if the row needs no module.
///
/// # Errors
/// If the module cannot be read.
pub fn image(test: &Test, runner: &Runner) -> Result<Option<Image>> {
    let (path, file) = match test.module()? {
        Module::Guest(name) => (runner.built.join(format!("{name}.wasm")), format!("{name}.wasm")),
        Module::Download(name) => (
            runner.downloads.join(format!("{name}.wasm")),
            format!("{name}.wasm"),
        ),
        Module::File(path) => {
            let path = runner.source.join(path);
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Ok(None);
            };
            (path.clone(), name.to_owned())
        }
        Module::Hermitfile(_) => return Ok(None),
    };
    if !path.is_file() || path.starts_with("/proc") {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Some(Image::of_module(&file.to_lowercase(), &file, bytes)))
}

/// What a row is to an engine. A directory that a guest gets a copy of is copied to `scratch`.
///
/// # Errors
/// If a directory cannot be copied, or a row has a flag that this does not know.
pub fn row(
    test: &Test,
    kind: Kind,
    runner: &Runner,
    differences: &Differences,
    scratch: &Path,
) -> Result<Row> {
    if let Some(why) = differences.reason(&test.name, kind) {
        return Ok(Row::Not(why.to_owned()));
    }
    if let Module::Hermitfile(_) = test.module()? {
        return Ok(Row::Not("an image has no Hermitfile".to_owned()));
    }
    let Some(image) = image(test, runner)? else {
        return Ok(Row::Not(
            "its module is no file that an image could have, or could not be fetched".to_owned(),
        ));
    };
    if kind == Kind::Ctr && runner.engine == Engine::Native && test.name.starts_with("refused/") {
        return Ok(Row::Not(
            "what cannot be compiled becomes no container, and ctr has one code for that".to_owned(),
        ));
    }
    if kind == Kind::Cri && (test.stdin.open || !test.stdin.dialogue.is_empty() || has_input(test, runner)?) {
        return Ok(Row::Not(
            "the client of the interface gives nothing to standard input".to_owned(),
        ));
    }
    let mut container = Container {
        program: image.entrypoint.first().cloned().unwrap_or_default(),
        image: image.name,
        args: test.args.clone(),
        env: test.env.clone(),
        stdin: true,
        annotations: vec![(format!("{ANNOTATION}engine"), runner.engine.name().to_owned())],
        ..Container::default()
    };
    let directory = scratch.join(format!("{}-{}", kind.name(), test.name.replace('/', "-")));
    match flags(test, kind, &mut container, runner, &directory)? {
        Some(why) => Ok(Row::Not(why)),
        None => Ok(Row::Container(container)),
    }
}

fn has_input(test: &Test, runner: &Runner) -> Result<bool> {
    Ok(!test.stdin.produce(&runner.source)?.is_empty())
}

/// Puts a row's flags into a container; gives why that cannot be, if it cannot.
fn flags(
    test: &Test,
    kind: Kind,
    container: &mut Container,
    runner: &Runner,
    directory: &Path,
) -> Result<Option<String>> {
    let mut words = test.flags.iter();
    while let Some(word) = words.next() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag, value.to_owned()),
            // Its value is not needed.
            None if word == "--deterministic" => (word.as_str(), "0".to_owned()),
            None => (word.as_str(), words.next().cloned().unwrap_or_default()),
        };
        match flag {
            "--tmpfs" if value.contains(',') => {
                return Ok(Some(
                    "engines have no such size of a directory in memory".to_owned(),
                ));
            }
            // The container's own root can be written.
            "--tmpfs" if value == "/" => {}
            "--tmpfs" if kind == Kind::Cri => {
                // What Kubernetes calls an emptyDir.
                let host = directory.with_extension(format!("empty-{}", container.volumes.len()));
                std::fs::create_dir_all(&host)?;
                container.volumes.push(Volume {
                    host,
                    guest: value,
                    read_only: false,
                });
            }
            "--tmpfs" => container.tmpfs.push(value),
            "--copy-dir" if value.ends_with("::/") || value.ends_with("::/:ro") => {
                return Ok(Some("nothing can be mounted at a container's root".to_owned()));
            }
            "--copy-dir" => {
                let copy = copy_dir(test, container, &value, runner, directory)?;
                if kind == Kind::Rootless && host::is_root()? {
                    engine::give(&copy)?;
                }
            }
            "--memory" => match bytes(&value) {
                // podman ignores a user's limits where control groups are not unified, and says so.
                Some(_) if kind == Kind::Rootless && !host::unified() => {
                    container.annotations.push((format!("{ANNOTATION}memory"), value));
                }
                Some(memory) => container.memory = Some(memory),
                None => return Ok(Some("an engine refuses such a size itself".to_owned())),
            },
            "--timeout" => container
                .annotations
                .push((format!("{ANNOTATION}timeout"), value)),
            // podman takes a comma for the end of an annotation.
            "-W" => container
                .annotations
                .push((format!("{ANNOTATION}wasm"), value.replace(',', " "))),
            "--invoke" | "--deterministic" => {
                let name = flag.trim_start_matches('-');
                container.annotations.push((format!("{ANNOTATION}{name}"), value));
            }
            "--preload" => return Ok(Some("an image has one module".to_owned())),
            "--cpu" | "--frobnicate" => {
                return Ok(Some("containers have no flags of the launcher".to_owned()));
            }
            other => bail!("test {}: what is {other} to a container?", test.name),
        }
    }
    Ok(None)
}

/// A copied directory is a volume of the copy, which this gives.
fn copy_dir(
    test: &Test,
    container: &mut Container,
    value: &str,
    runner: &Runner,
    copy: &Path,
) -> Result<PathBuf> {
    let (from, to) = value.split_once("::").context("--copy-dir without ::")?;
    let (to, read_only) = to.strip_suffix(":ro").map_or((to, false), |to| (to, true));
    let number = container.volumes.len();
    let copy: PathBuf = copy.with_extension(number.to_string());
    if copy.exists() {
        std::fs::remove_dir_all(&copy)?;
    }
    if let Some(parent) = copy.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match &test.fixture {
        Some(fixture) => fixture.prepare(&runner.source, &copy)?,
        None => vm_tests::fixture::copy(&runner.source.join(from), &copy)?,
    }
    container.volumes.push(Volume {
        host: copy.clone(),
        guest: to.to_owned(),
        read_only,
    });
    Ok(copy)
}

/// A size as the launcher writes it, in bytes.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|end: char| !end.is_ascii_digit());
    let unit: u64 = match text.get(digits.len()..)? {
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}
