//! What the machine is given to run, which depends on its engine.

use std::io::Write;
use std::path::PathBuf;

use boot_protocol::payload;

use super::deadline::Deadline;
use super::engine::Engine;
use super::module::Module;
use super::reading::WriteError;
use crate::compile::Code;

/// What the machine is given to run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program<'a> {
    /// The module, for the interpreter; nothing, if the image carries it.
    Module(&'a Module),
    /// Its native code.
    Code(&'a Code),
}

impl Program<'_> {
    /// The engine that runs it.
    pub(crate) const fn engine(self) -> Engine {
        match self {
            Self::Module(_) => Engine::Interp,
            Self::Code(_) => Engine::Native,
        }
    }

    /// Its size in bytes; none if the image carries it.
    pub(crate) fn length(self) -> u64 {
        match self {
            Self::Module(module) => module.length(),
            Self::Code(code) => code.length(),
        }
    }

    /// The payload's member that it becomes, and what that member's data is aligned to; `None` if the image carries it.
    pub(crate) const fn member(self) -> Option<(&'static str, u64)> {
        match self {
            Self::Module(module) if module.is_greeting() => None,
            Self::Module(_) => Some((payload::MODULE, 1)),
            Self::Code(_) => Some((payload::CODE, payload::ALIGNMENT)),
        }
    }

    /// The path of a file of the host's that holds exactly its bytes, if one is known.
    pub(crate) fn path(self) -> Option<PathBuf> {
        match self {
            Self::Module(module) => module.path(),
            Self::Code(_) => None,
        }
    }

    /// Writes its bytes, which must not be used where that fails.
    pub(crate) fn write_to(self, out: &mut impl Write, deadline: &Deadline) -> Result<(), WriteError> {
        match self {
            Self::Module(module) => module.write_to(out, deadline),
            Self::Code(code) => code.hand_over(out, deadline),
        }
    }
}
