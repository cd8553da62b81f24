//! What the machine is given to run, which depends on its engine.

use std::borrow::Cow;
use std::io::Write;
use std::path::PathBuf;

use boot_protocol::payload;

use super::deadline::Deadline;
use super::engine::Engine;
use super::module::Module;
use super::reading::WriteError;
use crate::compile::Code;
use crate::pack::Packed;
use crate::recording::Recording;

/// All that the machine is given to run.
#[derive(Clone, Debug)]
pub(crate) struct Programs<'a> {
    /// The program.
    pub(crate) main: Program<'a>,
    /// What is instantiated before, in order; for the same engine.
    pub(crate) preloads: Vec<Program<'a>>,
    /// The module that the program's native code was made of, where it goes with it.
    pub(crate) source: Option<Program<'a>>,
    /// What answers its calls, in a replay.
    pub(crate) recording: Option<&'a Recording>,
}

impl<'a> From<Program<'a>> for Programs<'a> {
    fn from(main: Program<'a>) -> Self {
        Self {
            main,
            preloads: Vec::new(),
            source: None,
            recording: None,
        }
    }
}

impl<'a> Programs<'a> {
    /// The payload's members that they become: the name, what the data is aligned to, the program.
    pub(crate) fn members(&self) -> impl Iterator<Item = (Cow<'static, str>, u64, Program<'a>)> {
        let programs = self.source.iter().chain([&self.main]);
        let main = programs.filter_map(|program| {
            let (name, alignment) = program.member()?;
            Some((name.into(), alignment, *program))
        });
        let preloads = self.preloads.iter().enumerate();
        main.chain(preloads.map(|(index, program)| {
            let alignment = match program.engine() {
                Engine::Interp => 1,
                Engine::Native => payload::ALIGNMENT,
            };
            (program.preload_member(index).into(), alignment, *program)
        }))
    }
}

/// What the machine is given to run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program<'a> {
    /// The module, for the interpreter; nothing, if the image carries it.
    Module(&'a Module),
    /// Its native code.
    Code(&'a Code),
    /// What was packed: a payload that is handed over as it is.
    Packed(&'a Packed),
}

impl Program<'_> {
    /// The engine that runs it.
    pub(crate) fn engine(self) -> Engine {
        match self {
            Self::Module(_) => Engine::Interp,
            Self::Code(_) => Engine::Native,
            Self::Packed(packed) => packed.engine(),
        }
    }

    /// Its size in bytes; none if the image carries it.
    pub(crate) fn length(self) -> u64 {
        match self {
            Self::Module(module) => module.length(),
            Self::Code(code) => code.length(),
            Self::Packed(packed) => packed.length(),
        }
    }

    /// The payload's member that it becomes, and what that member's data is aligned to; `None` if the image carries it.
    pub(crate) const fn member(self) -> Option<(&'static str, u64)> {
        match self {
            Self::Module(module) if module.is_greeting() => None,
            Self::Module(_) | Self::Packed(_) => Some((payload::MODULE, 1)),
            Self::Code(_) => Some((payload::CODE, payload::ALIGNMENT)),
        }
    }

    /// The payload's member that it becomes as the module `index` of those that others import from.
    pub(crate) fn preload_member(self, index: usize) -> String {
        payload::preload(index, self.engine() == Engine::Native)
    }

    /// The path of a file of the host's that holds exactly its bytes, if one is known.
    pub(crate) fn path(self) -> Option<PathBuf> {
        match self {
            Self::Module(module) => module.path(),
            Self::Code(_) | Self::Packed(_) => None,
        }
    }

    /// Writes its bytes, which must not be used where that fails.
    pub(crate) fn write_to(self, out: &mut impl Write, deadline: &Deadline) -> Result<(), WriteError> {
        match self {
            Self::Module(module) => module.write_to(out, deadline),
            Self::Code(code) => code.hand_over(out, deadline),
            Self::Packed(packed) => packed.write_to(out, deadline),
        }
    }
}
