//! One description of a run: what to run, with what, and what it may see.
//!
//! Layer: shared vocabulary. Whoever starts a machine fills in a [`RunSpec`] and [encodes](RunSpec::encode) it; the
//! application in the machine [decodes](RunSpec::decode) it. It travels as a member of the [payload](crate::payload),
//! or, under uhyve, as a file that is mapped into the machine. The bytes: `wire.rs`.

mod error;
mod wire;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

pub use error::{Record, SpecError};
pub use wire::{MAGIC, VERSION};

/// One description of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunSpec {
    /// Where the module is.
    pub module: ModuleSource,
    /// The guest's arguments, `argv[0]` first. None: `argv[0]` is [`ModuleSource::default_name`].
    pub argv: Vec<String>,
    /// The guest's environment, in order: names and values. See [`unique_variables`].
    pub env: Vec<(String, String)>,
    /// The guest's directories, its descriptors 3, 4, …: in order.
    pub mounts: Vec<Mount>,
    /// Which of the guest's standard streams are terminals.
    pub terminals: Terminals,
    /// Which messages of the application and the kernel are shown; `None`: the usual ones.
    pub log: Option<LogLevel>,
}

/// Where a module comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ModuleSource {
    /// The payload: its member [`MODULE`](crate::payload::MODULE).
    #[default]
    Payload,
    /// The one in the application's image, which greets.
    Embedded,
    /// A file that the machine sees: of a virtio-fs device (`TAG/PATH`), or mapped by uhyve.
    Path(String),
}

impl ModuleSource {
    /// What `argv[0]` is if nothing else is said: the file's name, as under wasmtime.
    #[must_use]
    pub fn default_name(&self) -> &str {
        match self {
            Self::Payload => "boot-module.wasm",
            Self::Embedded => "embedded.wasm",
            Self::Path(path) => path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path),
        }
    }
}

/// A directory for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is in it.
    pub source: MountSource,
    /// What the guest calls it.
    pub guest: String,
    /// What the guest may do in it.
    pub access: Access,
}

/// What is in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// Nothing at first; it is in memory.
    Tmpfs,
    /// A copy, in memory, of a tree in a tar archive.
    Copy {
        /// The archive: a member of the payload.
        member: String,
    },
    /// A directory of the host, which a virtio-fs device serves.
    VirtioFs {
        /// The device's tag.
        tag: String,
    },
    /// A directory of the host that uhyve maps into the machine.
    UhyveMap {
        /// Its path in the machine.
        path: String,
    },
}

/// What a guest may do in a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    #[default]
    ReadWrite,
    /// Read and look around.
    ReadOnly,
}

/// Which of the guest's standard streams are terminals. A guest colours and line-buffers what it writes to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminals {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Terminals {
    /// All three.
    pub const ALL: Self = Self {
        stdin: true,
        stdout: true,
        stderr: true,
    };

    /// None of them.
    pub const NONE: Self = Self {
        stdin: false,
        stdout: false,
        stderr: false,
    };
}

/// Which messages are shown: those of this level and the graver ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// None.
    Off,
    /// What failed.
    Error,
    /// What may be wrong.
    Warn,
    /// What happens.
    Info,
    /// What happens, with details.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Every level, the fewest messages first.
    pub const ALL: [Self; 6] = [
        Self::Off,
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The level as `--log` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The word is no level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchLevel;

impl fmt::Display for NoSuchLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected off, error, warn, info, debug or trace")
    }
}

impl core::error::Error for NoSuchLevel {}

impl FromStr for LogLevel {
    type Err = NoSuchLevel;

    /// In capitals or not.
    fn from_str(word: &str) -> Result<Self, NoSuchLevel> {
        Self::ALL
            .into_iter()
            .find(|level| level.name().eq_ignore_ascii_case(word))
            .ok_or(NoSuchLevel)
    }
}

impl RunSpec {
    /// Checks what the types do not: that each value can reach a guest, and that none contradicts another.
    ///
    /// # Errors
    /// [`SpecError`] names the first value that cannot, which is what [`Self::decode`] would say of it.
    pub fn check(&self) -> Result<(), SpecError> {
        if let ModuleSource::Path(path) = &self.module {
            check_text(Record::Module, path)?;
            not_empty(Record::Module, path)?;
        }
        for argument in &self.argv {
            check_text(Record::Argument, argument)?;
        }
        self.check_env()?;
        self.check_mounts()
    }

    fn check_env(&self) -> Result<(), SpecError> {
        let mut names = BTreeMap::new();
        for (index, (name, value)) in self.env.iter().enumerate() {
            check_text(Record::Variable, name)?;
            check_text(Record::Variable, value)?;
            if name.is_empty() || name.contains('=') {
                return Err(SpecError::VariableName(name.clone()));
            }
            if names.insert(name.as_str(), index).is_some() {
                return Err(SpecError::DuplicateVariable(name.clone()));
            }
        }
        Ok(())
    }

    fn check_mounts(&self) -> Result<(), SpecError> {
        let mut paths = BTreeMap::new();
        for (index, mount) in self.mounts.iter().enumerate() {
            if let Some(source) = mount.source.name() {
                check_text(Record::Mount, source)?;
                not_empty(Record::Mount, source)?;
            }
            check_text(Record::Mount, &mount.guest)?;
            not_empty(Record::Mount, &mount.guest)?;
            if paths.insert(mount.guest.as_str(), index).is_some() {
                return Err(SpecError::DuplicateMount(mount.guest.clone()));
            }
        }
        Ok(())
    }
}

impl MountSource {
    /// The source's own name: a member, a tag, or a path.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Tmpfs => None,
            Self::Copy { member: name } | Self::VirtioFs { tag: name } | Self::UhyveMap { path: name } => {
                Some(name)
            }
        }
    }
}

/// WASI's strings end with a zero byte, and a value's length has to fit into its record.
fn check_text(record: Record, text: &str) -> Result<(), SpecError> {
    if text.as_bytes().contains(&0) {
        return Err(SpecError::Nul(record));
    }
    // Half of what a length can say: a record may hold two.
    if text.len() > wire::LONGEST {
        return Err(SpecError::TooLong(record));
    }
    Ok(())
}

fn not_empty(record: Record, text: &str) -> Result<(), SpecError> {
    if text.is_empty() {
        return Err(SpecError::Value(record, "a name that is not empty"));
    }
    Ok(())
}

/// Leaves one of several values that a variable is given: the last, at the place of the first.
///
/// ```
/// use boot_protocol::run_spec::unique_variables;
/// let env = unique_variables([("A", "1"), ("B", "2"), ("A", "3")]);
/// assert_eq!(env, [("A".to_string(), "3".to_string()), ("B".to_string(), "2".to_string())]);
/// ```
pub fn unique_variables<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<(String, String)> {
    let mut places = BTreeMap::new();
    let mut unique: Vec<(&str, &str)> = Vec::new();
    for (name, value) in variables {
        match places.get(name).and_then(|place: &usize| unique.get_mut(*place)) {
            Some((_, old)) => *old = value,
            None => {
                places.insert(name, unique.len());
                unique.push((name, value));
            }
        }
    }
    unique
        .into_iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

#[cfg(test)]
mod tests;
