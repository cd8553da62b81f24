//! A Hermitfile as a run. What a directive means is said in `docs/hermitfile.md`; its text is read by the crate
//! `hermitfile`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use boot_protocol::run_spec::Access;
use hermitfile::{EXE_NAME, LONGEST, Manifest, PWD, Source, limit_directive};

use super::deadline::Deadline;
use super::engine::Engine;
use super::module::Module;
use super::mounts::{Mount, MountSource};
use super::run::Run;
use crate::error::Error;
use crate::host::shown;

/// A Hermitfile: what a program is given, and what it may see.
#[derive(Clone, Debug)]
pub struct Hermitfile {
    path: PathBuf,
    manifest: Manifest,
}

impl Hermitfile {
    /// Reads the Hermitfile at `path` as long as there is time.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it cannot be read, or where its text is none; [`Error::Timeout`] or [`Error::Stopped`].
    pub fn open(path: impl Into<PathBuf>, deadline: &Deadline) -> Result<Self, Error> {
        let path = path.into();
        let name = path.clone();
        let text = deadline.aside(move || {
            let mut text = Vec::new();
            // One byte more, so that one that is too long is refused as such.
            let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
            File::open(name)?.take(most).read_to_end(&mut text).map(|_| text)
        })?;
        let shown = shown::path(&path);
        let text = text
            .map_err(|error| Error::Invalid(format!("the Hermitfile '{shown}' cannot be read: {error}")))?;
        let manifest = Manifest::parse(&shown, &text).map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(Self { path, manifest })
    }

    /// What it says.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// A path in it of what belongs to the program: from its own directory.
    #[must_use]
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// The directories of the host that the guest may change.
    pub fn shared(&self) -> impl Iterator<Item = PathBuf> {
        let directories = self.manifest.directories.iter();
        directories.filter_map(|directory| match &directory.source {
            Source::Map {
                host,
                access: Access::ReadWrite,
            } => Some(host.into()),
            _ => None,
        })
    }

    /// The module that it names, as [`Module::open_until`] opens it.
    ///
    /// # Errors
    /// As that.
    pub fn module(&self, memory: u64, deadline: &Deadline) -> Result<Module, Error> {
        Module::open_until(self.resolve(&self.manifest.from), memory, deadline)
    }

    /// `run` with all that it says besides the module. What `run` is given later comes behind it, or counts instead.
    ///
    /// # Errors
    /// A linked module cannot be read, a value of the host's is not UTF-8, or this launcher cannot do what a directive
    /// asks for.
    pub fn apply(&self, run: Run, memory: u64, deadline: &Deadline) -> Result<Run, Error> {
        self.check_limits()?;
        let manifest = &self.manifest;
        let mut run = run.args(manifest.argv.iter().cloned());
        if let Some(export) = &manifest.entrypoint {
            run = run.invoke(export);
        }
        for (name, value) in &manifest.env {
            run = run.env(name, value);
        }
        if manifest.pwd_is_host_cwd {
            run = run.env(
                PWD,
                self.host_path("ENV_PWD_IS_HOST_CWD", std::env::current_dir())?,
            );
        }
        if manifest.exe_name_is_host_exe_name {
            let directive = "ENV_EXE_NAME_IS_HOST_EXE_NAME";
            run = run.env(EXE_NAME, self.host_path(directive, std::env::current_exe())?);
        }
        for directory in &manifest.directories {
            run = run.mount(self.mount(directory)?);
        }
        for link in &manifest.links {
            let module = Module::open_until(self.resolve(&link.module), memory, deadline)?;
            run = run.link(&link.name, module);
        }
        Ok(match manifest.engine {
            None => run,
            Some(hermitfile::Engine::Interp) => run.engine(Engine::Interp),
            Some(hermitfile::Engine::Native) => run.engine(Engine::Native),
        })
    }

    fn mount(&self, directory: &hermitfile::Directory) -> Result<Mount, Error> {
        let source = match &directory.source {
            Source::Map { host, .. } => MountSource::Dir(host.into()),
            Source::Copy { from } => {
                let from = self.resolve(from);
                if from.is_file() {
                    return Err(self.refuse(
                        directory,
                        "COPY copies directories; name the one that the file is in",
                    ));
                }
                MountSource::Copy(from)
            }
            Source::Tmpfs { .. } => MountSource::Tmpfs,
        };
        Ok(Mount {
            source,
            guest: directory.guest.clone(),
            access: directory.access(),
            quota: match directory.source {
                Source::Tmpfs { size } => size,
                Source::Map { .. } | Source::Copy { .. } => None,
            },
        })
    }

    /// Refuses limits, which nothing in the machine would hold.
    fn check_limits(&self) -> Result<(), Error> {
        let limits = &self.manifest.limits;
        if let Some((limit, value)) = limits.iter().next() {
            let directive = limit_directive(limit, value);
            return Err(self.refuse(directive, "the machine does not hold this limit yet; omit it"));
        }
        match limits.trap_on_grow_failure {
            true => Err(self.refuse("TRAP_ON_GROW_FAILURE", "the machine cannot do this yet; omit it")),
            false => Ok(()),
        }
    }

    /// This launcher cannot do what a directive asks for.
    fn refuse(&self, directive: impl std::fmt::Display, why: &str) -> Error {
        Error::Invalid(format!("{}: {directive}: {why}", shown::path(&self.path)))
    }

    /// A path of the host's as a variable's value.
    fn host_path(&self, directive: &str, path: std::io::Result<PathBuf>) -> Result<String, Error> {
        let path =
            path.map_err(|error| self.refuse(directive, &format!("the host's path is not known: {error}")))?;
        match path.to_str() {
            Some(text) => Ok(text.to_string()),
            None => Err(self.refuse(
                directive,
                &format!(
                    "'{}' is not UTF-8, and a WASI program can only be given UTF-8",
                    shown::path(&path)
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::run::DEFAULT_MEMORY;

    /// A directory with a Hermitfile, two modules and a directory to copy; what becomes of the Hermitfile.
    fn applied(text: &str) -> Result<(tempfile::TempDir, Run), Error> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("Hermitfile");
        std::fs::write(&path, text).unwrap();
        std::fs::write(directory.path().join("m.wat"), "(module)").unwrap();
        std::fs::write(directory.path().join("other.wat"), "(module)").unwrap();
        std::fs::create_dir(directory.path().join("lib")).unwrap();
        let deadline = Deadline::never();
        let file = Hermitfile::open(path, &deadline)?;
        let run = Run::new(file.module(DEFAULT_MEMORY, &deadline)?);
        let run = file.apply(run.env("A", "0"), DEFAULT_MEMORY, &deadline)?;
        Ok((directory, run))
    }

    #[test]
    fn what_it_says_is_in_the_run() {
        let (directory, run) = applied(
            "FROM m.wat\nARGV [\"-v\", \"\"]\nENV A=1\nENTRYPOINT f\nMAP [\"here:/there:ro\"]\nCOPY lib /lib\n\
             TMPFS /tmp 1M\nLINK env=other.wat\nENGINE interp\nENV_PWD_IS_HOST_CWD\nENV_EXE_NAME_IS_HOST_EXE_NAME\n",
        )
        .unwrap();
        assert_eq!(run.name().as_deref(), Some("m.wat"));
        assert_eq!(run.spec.argv, ["-v", ""]);
        assert_eq!(run.spec.entry.as_deref(), Some("f"));
        let variable = |name: &str| {
            let values = run.spec.env.iter().filter(|(key, _)| key == name);
            values.map(|(_, value)| value.clone()).next_back()
        };
        assert_eq!(variable("A").as_deref(), Some("1"));
        let path = |path: std::io::Result<PathBuf>| path.unwrap().to_str().map(str::to_string);
        assert_eq!(variable("PWD"), path(std::env::current_dir()));
        assert_eq!(variable("EXE_NAME"), path(std::env::current_exe()));
        let mounts: Vec<String> = run.mounts.iter().map(ToString::to_string).collect();
        let lib = directory.path().join("lib");
        assert_eq!(
            mounts,
            [
                "--dir here::/there:ro".to_string(),
                format!("--copy-dir {}::/lib:ro", lib.display()),
                "--tmpfs /tmp,size=1048576".to_string(),
            ]
        );
        assert_eq!(run.preloads.len(), 1);
        assert_eq!(run.engines.demanded, Some(Engine::Interp));
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_its_name() {
        for (text, expected) in [
            (
                "FUEL 7",
                "FUEL 7: the machine does not hold this limit yet; omit it",
            ),
            (
                "TIMEOUT 90s",
                "TIMEOUT 90s: the machine does not hold this limit yet; omit it",
            ),
            (
                "TRAP_ON_GROW_FAILURE",
                "TRAP_ON_GROW_FAILURE: the machine cannot do this yet; omit it",
            ),
            (
                "COPY m.wat /lib",
                "COPY m.wat /lib: COPY copies directories; name the one that the file is in",
            ),
            ("NET tcp", "2:5: there is no network yet"),
            ("LINK a=nothing.wasm", "nothing.wasm"),
        ] {
            let error = applied(&format!("FROM m.wat\n{text}\n")).unwrap_err().to_string();
            assert!(
                error.contains(&format!("Hermitfile:{expected}")) || error.contains(expected),
                "{error}"
            );
        }
        let missing = Hermitfile::open("/nonexistent/Hermitfile", &Deadline::never()).unwrap_err();
        assert!(
            missing
                .to_string()
                .starts_with("the Hermitfile '/nonexistent/Hermitfile' cannot be read: ")
        );
    }
}
