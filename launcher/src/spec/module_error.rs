//! Why a module cannot be run.

use std::io;
use std::path::{Path, PathBuf};

use boot_protocol::shown::message;

use crate::error::does_not_fit;
use crate::host::shown;
use crate::host::units::show_size;

/// Why a module cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// It is not there, or cannot be read.
    #[error("cannot read the module '{}': {reason}", shown::path(path))]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// It is a directory.
    #[error(
        "cannot read the module '{}': it is a directory; name a .wasm or .wat file in it",
        shown::path(path)
    )]
    IsDirectory {
        /// Its path.
        path: PathBuf,
    },
    /// It is not WebAssembly, or not a module.
    #[error("'{}' {reason}", shown::path(path))]
    NotAModule {
        /// Its path.
        path: PathBuf,
        /// What it is instead: the rest of the sentence.
        reason: String,
    },
    /// Its text cannot be translated.
    #[error("'{}' {reason}", shown::path(path))]
    Text {
        /// Its path.
        path: PathBuf,
        /// Why.
        reason: TextError,
    },
    /// The machine has less memory than it takes.
    #[error("{}", does_not_fit(&format!("'{}' ({}) does", shown::path(path), show_size(*.length)), *.memory, *.least))]
    DoesNotFit {
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        length: u64,
        /// The machine's memory in bytes.
        memory: u64,
        /// What it would need at the very least.
        least: u64,
    },
    /// The machine has less memory than the module takes with its arguments and its environment.
    #[error(
        "{}",
        does_not_fit(
            &format!("'{}', its arguments and its environment ({}) do", shown::path(path), show_size(*.length)),
            *.memory,
            *.least
        )
    )]
    ArgumentsDoNotFit {
        /// Its path.
        path: PathBuf,
        /// The size of all that in bytes.
        length: u64,
        /// The machine's memory in bytes.
        memory: u64,
        /// What it would need at the very least.
        least: u64,
    },
}

/// Why a text cannot be translated to the binary format: the rest of a sentence whose subject is the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// It is not valid; where and why.
    #[error("is not valid WebAssembly text: {}", message(.0))]
    Invalid(String),
    /// The translator would take more memory than the run may.
    #[error(
        "({} of WebAssembly text) takes more memory to translate than a run with --memory {} may use; --memory gives it \
         more, or convert the file with `wat2wasm` before",
        show_size(*.length),
        show_size(*.memory)
    )]
    TooLarge {
        /// Its length in bytes, as far as it was read.
        length: u64,
        /// The machine's memory in bytes.
        memory: u64,
    },
    /// The translator fails on it; how.
    #[error("makes the translator of WebAssembly text fail ({0}); convert the file with `wat2wasm` before")]
    Untranslatable(String),
    /// This system has no safe place for the translator; why.
    #[error(
        "is WebAssembly text, and its translator cannot be confined here ({0}); convert the file with `wat2wasm` before"
    )]
    NoTranslator(String),
}

/// The error of a module that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> ModuleError {
    let reason = match error.kind() {
        io::ErrorKind::NotFound if path == Path::new("run") => {
            "no such file; put the command 'run' before all flags".to_string()
        }
        io::ErrorKind::NotFound if !path.as_os_str().as_encoded_bytes().contains(&b'/') => {
            "no such file in the current directory".to_string()
        }
        io::ErrorKind::NotFound => "no such file".to_string(),
        io::ErrorKind::PermissionDenied => "permission denied; check its permissions".to_string(),
        _ => error.to_string(),
    };
    ModuleError::Unreadable {
        path: path.into(),
        reason,
    }
}
