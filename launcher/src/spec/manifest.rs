//! A Hermitfile as a run. What a directive means is said in `docs/hermitfile.md`; its text is read by the crate
//! `hermitfile`.

use std::ffi::OsStr;
use std::fs::{File, FileType};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use boot_protocol::run_spec::{Access, Limit, Limits};
use hermitfile::{LONGEST, Manifest, PWD, Source, limit_directive};

use super::deadline::Deadline;
use super::engine::Engine;
use super::module::Module;
use super::mounts::{CopiedFile, Mount, MountSource};
use super::run::{DEFAULT_MEMORY, Run};
use crate::error::Error;
use crate::host::shown;
use crate::host::units::{MIB, show_size};

/// What a machine needs besides the linear memory that `MEMORY` grants: loader, kernel, application, the module and its
/// translation. Of a large memory a fourth is added, since a guest gets 85 % of its machine's; of a deterministic run's
/// a half, which must be free when it begins.
const BESIDES: u64 = 64 * MIB;

/// Standard input, standard output and standard error.
const STREAMS: u64 = 3;

/// A Hermitfile: what a program is given, and what it may see.
#[derive(Clone, Debug)]
pub struct Hermitfile {
    path: PathBuf,
    manifest: Manifest,
    /// Whether it is about a run on this host, so that directories of the host's must be there.
    runs_here: bool,
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
        Ok(Self {
            path,
            manifest,
            runs_here: true,
        })
    }

    /// The same for a run that is packed: what `MAP` names belongs to the host on which that runs, and need not be here.
    /// Variables whose values are that host's stay open.
    #[must_use]
    pub fn to_be_packed(mut self) -> Self {
        self.runs_here = false;
        self
    }

    /// The same with another `ENGINE`.
    #[must_use]
    pub const fn engine(mut self, engine: Engine) -> Self {
        self.manifest.engine = Some(match engine {
            Engine::Interp => hermitfile::Engine::Interp,
            Engine::Native => hermitfile::Engine::Native,
        });
        self
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

    /// The files of the modules that it names.
    pub fn modules(&self) -> impl Iterator<Item = PathBuf> {
        let links = self.manifest.links.iter().map(|link| &link.module);
        std::iter::once(&self.manifest.from)
            .chain(links)
            .map(|path| self.resolve(path))
    }

    /// The module that it names, as [`Module::open_until`] opens it.
    ///
    /// # Errors
    /// As that.
    pub fn module(&self, memory: u64, deadline: &Deadline) -> Result<Module, Error> {
        Module::open_until(self.resolve(&self.manifest.from), memory, deadline)
    }

    /// The machine's memory in bytes: `demanded`, or else enough for its `MEMORY`, if `limits` do not make that less.
    /// Whether the run is `deterministic`, the Hermitfile says or its user.
    ///
    /// # Errors
    /// `MEMORY` does not fit into what is demanded.
    pub fn memory(&self, demanded: Option<u64>, limits: &Limits, deterministic: bool) -> Result<u64, Error> {
        let deterministic = deterministic || self.manifest.deterministic.is_some();
        let Some(memory) = self.manifest.limits.get(Limit::Memory) else {
            return Ok(demanded.unwrap_or(DEFAULT_MEMORY));
        };
        let granted = limits
            .get(Limit::Memory)
            .map_or(memory, |limit| limit.min(memory));
        match demanded {
            None => Ok(machine_memory(
                &Limits::NONE.with(Limit::Memory, granted),
                deterministic,
            )),
            Some(machine) if machine < granted => {
                let why = format!(
                    "the machine has only {}; pass --memory {} or more, or omit --memory",
                    show_size(machine),
                    show_size(needed(granted, deterministic))
                );
                Err(self.refuse(limit_directive(Limit::Memory, memory), &why))
            }
            Some(machine) => Ok(machine),
        }
    }

    /// `run` with all that it says besides the module. What `run` is given later comes behind it, or counts instead; of
    /// a limit's values the lowest holds.
    ///
    /// # Errors
    /// A linked module or a directory cannot be read, or a value of the host's is not UTF-8.
    pub fn apply(&self, run: Run, memory: u64, deadline: &Deadline) -> Result<Run, Error> {
        let manifest = &self.manifest;
        let mut run = run.args(manifest.argv.iter().cloned()).limits(manifest.limits);
        run.manifest = Some(manifest.clone());
        if let Some(export) = &manifest.entrypoint {
            run = run.entrypoint(export);
        }
        if manifest.may_be_widened {
            run = run.may_be_widened();
        }
        if let Some(seed) = manifest.deterministic {
            run = run.deterministic(seed);
        }
        for (name, value) in &manifest.env {
            run = run.env(name, value);
        }
        for name in manifest.host_variables() {
            run = match self.runs_here {
                true => run.env(name, host_variable(&self.path, name)?),
                false => run.open_variable(name),
            };
        }
        let mounts = self.mounts(deadline)?;
        self.check_descriptors(mounts.len())?;
        for mount in mounts {
            run = run.mount(mount);
        }
        for grant in &manifest.grants {
            run = run.grant(grant.clone());
        }
        for (port, protocol) in &manifest.exposed {
            run = run.expose(*port, *protocol);
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

    /// Refuses fewer descriptors than the guest has from the start.
    fn check_descriptors(&self, directories: usize) -> Result<(), Error> {
        let listeners = self
            .manifest
            .network()
            .map_or(0, |network| network.listeners.len());
        let first = u64::try_from(directories)
            .unwrap_or(u64::MAX)
            .saturating_add(STREAMS)
            .saturating_add(u64::try_from(listeners).unwrap_or(u64::MAX));
        match self.manifest.limits.get(Limit::Descriptors) {
            Some(limit) if limit < first => Err(self.refuse(
                limit_directive(Limit::Descriptors, limit),
                &format!(
                    "the program starts with {first}: its standard streams, its directories and its listeners"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The guest's directories. Files that are copied into one directory make one.
    fn mounts(&self, deadline: &Deadline) -> Result<Vec<Mount>, Error> {
        let mut mounts: Vec<Mount> = Vec::new();
        for directory in &self.manifest.directories {
            let mount = self.mount(directory, deadline)?;
            let MountSource::Files(added) = &mount.source else {
                mounts.push(mount);
                continue;
            };
            let same = mounts.iter_mut().find(|other| {
                matches!(other.source, MountSource::Files(_)) && other.place() == mount.place()
            });
            let Some(Mount {
                source: MountSource::Files(files),
                ..
            }) = same
            else {
                mounts.push(mount);
                continue;
            };
            if let Some(file) = files
                .iter()
                .find(|file| added.iter().any(|other| other.name == file.name))
            {
                let why = format!("'{}' already has this name there", shown::path(&file.host));
                return Err(self.refuse(directory, &why));
            }
            files.extend(added.iter().cloned());
        }
        Ok(mounts)
    }

    fn mount(&self, directory: &hermitfile::Directory, deadline: &Deadline) -> Result<Mount, Error> {
        let guest = directory.guest.clone();
        let (source, guest, quota) = match &directory.source {
            Source::Map { host, .. } => {
                let host = PathBuf::from(host);
                if self.runs_here {
                    self.kind(directory, &host, deadline)?;
                }
                (MountSource::Dir(host), guest, None)
            }
            Source::Copy { from } => {
                let from = self.resolve(from);
                match self.kind(directory, &from, deadline)?.is_file() {
                    true => {
                        let (guest, file) = self.file(directory, from)?;
                        (MountSource::Files(vec![file]), guest, None)
                    }
                    false => (MountSource::Copy(from), guest, None),
                }
            }
            Source::Tmpfs { size } => (MountSource::Tmpfs, guest, *size),
        };
        Ok(Mount {
            source,
            guest,
            access: directory.access(),
            quota,
        })
    }

    /// What is at a path of the host's that a directive names.
    fn kind(
        &self,
        directory: &hermitfile::Directory,
        host: &Path,
        deadline: &Deadline,
    ) -> Result<FileType, Error> {
        let path = host.to_path_buf();
        let deadline = deadline.clone().of(format!("'{}'", shown::path(host)));
        let found = deadline.aside(move || path.metadata())?;
        let kind = found.map(|metadata| metadata.file_type()).map_err(|error| {
            let from = match (&directory.source, host.is_relative(), std::env::current_dir()) {
                (Source::Map { .. }, true, Ok(here)) => format!(" (seen from '{}')", shown::path(&here)),
                _ => String::new(),
            };
            self.refuse(directory, &format!("'{}'{from}: {error}", shown::path(host)))
        })?;
        match (&directory.source, kind.is_dir(), kind.is_file()) {
            (_, true, _) | (Source::Copy { .. }, _, true) => Ok(kind),
            (Source::Copy { .. }, ..) => Err(self.refuse(directory, "it is neither a file nor a directory")),
            _ => Err(self.refuse(
                directory,
                &format!(
                    "'{}' is not a directory; name the directory that contains it",
                    shown::path(host)
                ),
            )),
        }
    }

    /// The guest's directory of a file, and the file in it. A directory is named if a slash ends it, or as `.`.
    fn file(&self, directory: &hermitfile::Directory, host: PathBuf) -> Result<(String, CopiedFile), Error> {
        let (parent, name) = parent_and_name(&directory.guest);
        let name = match name {
            "" => host.file_name().and_then(OsStr::to_str),
            "." | ".." => None,
            name => Some(name),
        };
        let Some(name) = name else {
            return Err(self.refuse(directory, "the copy has no file name; add one to the guest path"));
        };
        let file = CopiedFile {
            name: name.to_string(),
            host,
        };
        Ok((parent.to_string(), file))
    }

    /// This launcher cannot do what a directive asks for.
    fn refuse(&self, directive: impl std::fmt::Display, why: &str) -> Error {
        Error::Invalid(format!("{}: {directive}: {why}", shown::path(&self.path)))
    }
}

/// The guest's directory of a file that is copied to `guest`, and its name there; an empty one: it keeps its own.
pub(crate) fn parent_and_name(guest: &str) -> (&str, &str) {
    match guest.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((parent, name)) => (parent, name),
        None if guest == "." => (guest, ""),
        None => (".", guest),
    }
}

/// The machine's memory in bytes for a Hermitfile with these limits, if nothing else is demanded.
pub(crate) fn machine_memory(limits: &Limits, deterministic: bool) -> u64 {
    match limits.get(Limit::Memory) {
        Some(granted) => needed(granted, deterministic).max(DEFAULT_MEMORY),
        None => DEFAULT_MEMORY,
    }
}

/// What a machine needs whose guest is granted so many bytes.
fn needed(granted: u64, deterministic: bool) -> u64 {
    let more = match deterministic {
        // As RunSpec::memory_to_be_free has it.
        true => granted / 2,
        false => granted / 4,
    };
    granted.saturating_add(more).saturating_add(BESIDES)
}

/// The value of one of the [variables](Manifest::host_variables) that are this host's; `file` asks for it.
pub(super) fn host_variable(file: &Path, name: &str) -> Result<String, Error> {
    let (directive, path) = match name {
        PWD => ("ENV_PWD_IS_HOST_CWD", std::env::current_dir()),
        _ => ("ENV_EXE_NAME_IS_HOST_EXE_NAME", std::env::current_exe()),
    };
    let refuse = |why: String| Error::Invalid(format!("{}: {directive}: {why}", shown::path(file)));
    let path = path.map_err(|error| refuse(format!("cannot determine the path: {error}")))?;
    path.to_str().map(str::to_string).ok_or_else(|| {
        refuse(format!(
            "'{}' is not UTF-8, which is all that WASI programs can be given",
            shown::path(&path)
        ))
    })
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
