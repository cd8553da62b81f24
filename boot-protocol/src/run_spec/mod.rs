//! One description of a run: what to run, with what, and what it may see.
//!
//! Layer: shared vocabulary. Whoever starts a machine fills in a [`RunSpec`] and [encodes](RunSpec::encode) it; the
//! application in the machine [decodes](RunSpec::decode) it. It travels as a member of the [payload](crate::payload),
//! or, under uhyve, as a file that is mapped into the machine.
//!
//! Here: what fields are made of. The fields, and their bytes: `wire.rs`; how these are read: `decode.rs`.

mod ceiling;
mod decode;
mod error;
mod limits;
mod network;
mod wire;

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

pub use ceiling::Exceeds;
pub use error::SpecError;
pub use limits::{Limit, LimitError, Limits, Reached};
pub use network::{Ipv4Source, LISTENERS, Network, PUBLISHED_PORTS, Wire};
pub use wire::{DETERMINISTIC_MEMORY, MAGIC, Record, RunSpec, VERSION};

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
    Tmpfs {
        /// Most bytes of data in it; `None`: as much as the machine has room for.
        size: Option<u64>,
    },
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

/// A module whose exports others import by its name. As wasmtime's `--preload NAME=FILE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preload {
    /// The name that imports give.
    pub name: String,
    /// The module, or its native code: a member of the payload.
    pub member: String,
}

/// What is done with what the guest's calls answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// It goes to the launcher, too.
    Record,
    /// It comes from the payload's member [`RECORDING`](crate::payload::RECORDING).
    Replay,
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

impl MountSource {
    /// The source's own name: a member, a tag, or a path.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Tmpfs { .. } => None,
            Self::Copy { member: name } | Self::VirtioFs { tag: name } | Self::UhyveMap { path: name } => {
                Some(name)
            }
        }
    }
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
