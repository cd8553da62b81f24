//! The manifest of a program: what it is given and what it may see, as a Hermitfile says it.
//!
//! Layer: pure text, on the host. [`Manifest::parse`] reads a Hermitfile; [`Manifest`]'s `Display` writes the canonical
//! one, which reads as the same manifest, byte for byte the same wherever it is written. `docs/hermitfile.md` has the
//! grammar and says what each directive means. The launcher makes a run of it.
//!
//! - `lexer`: lines, words, strings and lists.
//! - `directive`: the directives, their forms, and what is said of a word that is none.
//! - `parse`: what each directive does to the manifest.
//! - `print`: the canonical form.
//! - [`units`]: sizes and durations, as people write them.
#![forbid(unsafe_code)]

mod directive;
mod error;
mod lexer;
mod parse;
mod print;
#[cfg(test)]
mod tests;
pub mod units;

use std::net::{Ipv4Addr, SocketAddr};

pub use boot_protocol::network::{Grant, Protocol};
pub use boot_protocol::run_spec::{Access, Limit, Limits};
use boot_protocol::run_spec::{Network, Wire};
pub use error::ParseError;
pub use print::limit_directive;

/// How a Hermitfile is called where nothing else is said, and the payload's member.
pub const FILE_NAME: &str = "Hermitfile";

/// A Hermitfile is no longer than this many bytes.
pub const LONGEST: usize = 1 << 20;

/// What a Hermitfile says.
///
/// ```
/// use hermitfile::{Limit, Manifest};
///
/// let manifest = Manifest::parse("Hermitfile", b"FROM cat.wasm\nMAP [\"data:/data:ro\"]\nFUEL 1000000\n")?;
/// assert_eq!(manifest.from, "cat.wasm");
/// assert_eq!(manifest.limits.get(Limit::Fuel), Some(1_000_000));
/// assert_eq!(Manifest::parse("printed", manifest.to_string().as_bytes())?, manifest);
/// # Ok::<(), hermitfile::ParseError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// `FROM`: the module's path, from the Hermitfile's directory.
    pub from: String,
    /// `ENTRYPOINT`: the exported function that is called; `None`: `_start`.
    pub entrypoint: Option<String>,
    /// `ARGV`: the first arguments, without the program's name. Those of the command line follow.
    pub argv: Vec<String>,
    /// `ENV`: variables, no two with one name.
    pub env: Vec<(String, String)>,
    /// `ENV_PWD_IS_HOST_CWD`: the variable [`PWD`] is the host's current directory.
    pub pwd_is_host_cwd: bool,
    /// `ENV_EXE_NAME_IS_HOST_EXE_NAME`: the variable [`EXE_NAME`] is the path of the program that the host runs.
    pub exe_name_is_host_exe_name: bool,
    /// `MAP`, `COPY` and `TMPFS`, in their order: the guest's descriptors 3, 4, ….
    pub directories: Vec<Directory>,
    /// `LINK`, in their order: no two have one name.
    pub links: Vec<Link>,
    /// `NET`: what it may connect to, no two by one name, port and protocol.
    pub grants: Vec<Grant>,
    /// `EXPOSE`: its ports that are reachable, each once. At those of TCP it has a listener from the start, in order.
    pub exposed: Vec<(u16, Protocol)>,
    /// `ENGINE`: what executes the guest's code; `None`: the launcher chooses.
    pub engine: Option<Engine>,
    /// `FUEL`, `TIMEOUT`, `MEMORY` and the like.
    pub limits: Limits,
    /// `DETERMINISTIC`: the same output on every run, with random numbers made of this seed.
    pub deterministic: Option<u64>,
    /// `MAY_BE_WIDENED`: once packed, it may be given more than it says.
    pub may_be_widened: bool,
}

/// The variable that `ENV_PWD_IS_HOST_CWD` sets.
pub const PWD: &str = "PWD";

/// The variable that `ENV_EXE_NAME_IS_HOST_EXE_NAME` sets.
pub const EXE_NAME: &str = "EXE_NAME";

/// A directory for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// What is in it.
    pub source: Source,
    /// What the guest calls it.
    pub guest: String,
}

/// What is in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `MAP`: a directory of the host on which the program runs.
    Map {
        /// Its path, from the current directory there.
        host: String,
        /// What the guest may do in it.
        access: Access,
    },
    /// `COPY`: a copy, read-only and part of what is packed.
    Copy {
        /// The path of what is copied, from the Hermitfile's directory.
        from: String,
    },
    /// `TMPFS`: nothing at first, in memory.
    Tmpfs {
        /// How many bytes it can hold.
        size: Option<u64>,
    },
}

/// A module whose exports others import by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The name that imports give.
    pub name: String,
    /// The module's path, from the Hermitfile's directory.
    pub module: String,
}

/// What executes the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The interpreter.
    Interp,
    /// Native code.
    Native,
}

impl Engine {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Interp, Self::Native];

    /// Its name, as the launcher's `--engine` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interp => "interp",
            Self::Native => "native",
        }
    }
}

impl Directory {
    /// What the guest may do in it.
    #[must_use]
    pub const fn access(&self) -> Access {
        match self.source {
            Source::Map { access, .. } => access,
            Source::Copy { .. } => Access::ReadOnly,
            Source::Tmpfs { .. } => Access::ReadWrite,
        }
    }
}

impl Manifest {
    /// The manifest of a module that is given nothing.
    #[must_use]
    pub fn new(from: impl Into<String>) -> Self {
        Self {
            from: from.into(),
            ..Self::default()
        }
    }

    /// The variables whose values are those of the host on which the program runs.
    #[must_use]
    pub fn host_variables(&self) -> Vec<&'static str> {
        let said = [
            (PWD, self.pwd_is_host_cwd),
            (EXE_NAME, self.exe_name_is_host_exe_name),
        ];
        said.iter()
            .filter_map(|(name, is_said)| is_said.then_some(*name))
            .collect()
    }

    /// What the program has of a network; `None`: nothing. What is at its other end, whoever runs it says.
    #[must_use]
    pub fn network(&self) -> Option<Network> {
        if self.grants.is_empty() && self.exposed.is_empty() {
            return None;
        }
        let (listeners, published): (Vec<_>, Vec<_>) = self
            .exposed
            .iter()
            .partition(|(_, protocol)| *protocol == Protocol::Tcp);
        let listener = |(port, _): (u16, Protocol)| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        Some(Network {
            wire: Wire::Direct,
            grants: self.grants.clone(),
            listeners: listeners.into_iter().map(listener).collect(),
            published,
            ..Network::default()
        })
    }

    /// Reads a Hermitfile. Errors call it `file`.
    ///
    /// # Errors
    /// The first place where `text` is no Hermitfile.
    pub fn parse(file: &str, text: &[u8]) -> Result<Self, ParseError> {
        parse::manifest(text).map_err(|error| error.of(file))
    }
}
