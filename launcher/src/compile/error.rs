//! Why there is no native code.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use aot_config::trailer::TrailerError;
use boot_protocol::shown::message;
use thiserror::Error;

use crate::host::shown;
use crate::host::units::{show_duration, show_size};

/// Why a module is not compiled.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The compiler is not here. The text says what to do.
    #[error("{0}")]
    NoCompiler(String),
    /// The compiler is of another build.
    #[error(
        "the compiler '{}' does not belong to this hermit-wasm: it says '{}', and '{wanted}' is wanted; build both \
         from the same sources",
        shown::path(path),
        message(found)
    )]
    OtherVersion {
        /// Which one.
        path: PathBuf,
        /// What it says of itself.
        found: String,
        /// What it should say.
        wanted: String,
    },
    /// The compiler cannot be started.
    #[error("cannot start the compiler, '{}': {source}", shown::path(path))]
    Start {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The module is not valid.
    #[error("{module} is not a valid module: {} (at offset {offset:#x})", message(.reason))]
    Invalid {
        /// What messages call it.
        module: String,
        /// Where, in bytes.
        offset: u64,
        /// Why.
        reason: String,
    },
    /// The module needs proposals that the machines do not have.
    #[error(
        "{module} needs what native code does not have here: {} ({})",
        message(proposals.join(", ")),
        message(.reason)
    )]
    Unsupported {
        /// What messages call it.
        module: String,
        /// The proposals.
        proposals: Vec<String>,
        /// Where it was seen first.
        reason: String,
    },
    /// The compiler fails on the module.
    #[error("{module} cannot be compiled: {}", message(.reason))]
    Failed {
        /// What messages call it.
        module: String,
        /// How.
        reason: String,
    },
    /// This host keeps the compiler from its work, or somebody has ended it.
    #[error("{module} was not compiled: {}", message(.reason))]
    Hindered {
        /// What messages call it.
        module: String,
        /// How.
        reason: String,
    },
    /// Compiling takes more memory than it may.
    #[error("{module} takes more memory to compile than it may, {}", show_size(*.limit))]
    Memory {
        /// What messages call it.
        module: String,
        /// How much it may take, in bytes.
        limit: u64,
    },
    /// Compiling takes longer than it may.
    #[error("{module} takes longer to compile than it may, {}", show_duration(*.limit))]
    Time {
        /// What messages call it.
        module: String,
        /// How long it may take.
        limit: Duration,
    },
    /// The code is longer than it may be.
    #[error("the code of {module} is longer than it may be, {}", show_size(*.limit))]
    TooLong {
        /// What messages call it.
        module: String,
        /// How long it may be, in bytes.
        limit: u64,
    },
    /// The module is not what it was.
    #[error("{0} changed while it was read")]
    Changed(String),
}

impl CompileError {
    /// Whether it is the module's doing: another attempt ends alike.
    #[must_use]
    pub fn is_the_modules(&self) -> bool {
        match self {
            Self::Invalid { .. }
            | Self::Unsupported { .. }
            | Self::Failed { .. }
            | Self::Memory { .. }
            | Self::TooLong { .. } => true,
            // How long it takes depends on what else the host does.
            Self::NoCompiler(_)
            | Self::OtherVersion { .. }
            | Self::Start { .. }
            | Self::Hindered { .. }
            | Self::Time { .. }
            | Self::Changed(_) => false,
        }
    }

    /// Whether the module asks for something that no machine of this version has, or is not a module.
    #[must_use]
    pub fn refuses_the_module(&self) -> bool {
        matches!(
            self,
            Self::Invalid { .. } | Self::Unsupported { .. } | Self::Changed(_)
        )
    }
}

/// Why code that somebody names is not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// It cannot be read.
    #[error("cannot read the compiled module '{}': {source}", shown::path(path))]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not what this user's hermit-wasm has compiled.
    #[error(
        "'{}' is compiled code that this hermit-wasm does not take: {reason}{}",
        shown::path(path),
        match reason {
            TrailerError::NotOurs =>
                ". --allow-precompiled takes it as it is, with all that code can do in the machine; or name the module \
                 itself",
            _ => "; name the module itself",
        }
    )]
    Refused {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: TrailerError,
    },
}

impl ForeignError {
    /// Why, without the file's name and without advice.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Unreadable { source, .. } => source.to_string(),
            Self::Refused { reason, .. } => reason.to_string(),
        }
    }
}
