//! Why a description of a run is refused. Layer: pure.

use alloc::string::String;
use core::fmt;

use crate::network::{GrantError, Protocol};
use crate::shown::piece;

use super::wire::{Record, VERSION};

/// What is wrong with a description of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpecError {
    /// The bytes do not begin as such a description does.
    NotASpec,
    /// It has a version that this program does not know.
    Version(u16),
    /// It ends within a record.
    Truncated,
    /// It has a record that this program does not know: leaving it out might drop a limit.
    UnknownRecord(u16),
    /// It has two of a record that stands once.
    Duplicate(Record),
    /// A record that must be there is missing.
    Missing(Record),
    /// A text is not UTF-8.
    NotUtf8(Record),
    /// A text contains a zero byte, which would end it in WASI.
    Nul(Record),
    /// A text is longer than a record can hold.
    TooLong(Record),
    /// A value is none of those that the record knows; the text says what is expected.
    Value(Record, &'static str),
    /// No environment variable can have this name.
    VariableName(String),
    /// Two environment variables have this name.
    DuplicateVariable(String),
    /// Two mounts have this path in the guest.
    DuplicateMount(String),
    /// Two preloads have this name.
    DuplicatePreload(String),
    /// The grants contradict each other, or are too many.
    Grants(GrantError),
    /// A port is listened on twice, or published twice.
    DuplicatePort(u16, Protocol),
    /// What comes from a network is neither deterministic nor in a trace.
    NetworkOfATrace,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASpec => f.write_str("it is not a run specification: it does not begin with 'HWRS'"),
            Self::Version(version) => write!(
                f,
                "it has version {version}, and this image knows version {VERSION}: use launcher and image of one release"
            ),
            Self::Truncated => f.write_str("it is truncated"),
            Self::UnknownRecord(tag) => write!(
                f,
                "it has a record of the unknown kind {tag}: use launcher and image of one release"
            ),
            Self::Duplicate(record) => write!(f, "it has two records of the kind '{record}'"),
            Self::Missing(record) => write!(f, "it lacks the record '{record}'"),
            Self::NotUtf8(record) => write!(f, "{record}: not UTF-8"),
            Self::Nul(record) => write!(f, "{record}: contains a zero byte"),
            Self::TooLong(record) => write!(f, "{record}: longer than 1 GiB"),
            Self::Value(record, expected) => write!(f, "{record}: expected {expected}"),
            Self::VariableName(name) => match name.split_once('=') {
                // What follows may be a value, and a secret.
                Some((start, _)) => write!(
                    f,
                    "environment variable: the name '{}=…' contains '='",
                    piece(start)
                ),
                None => f.write_str("environment variable: the name is empty"),
            },
            Self::DuplicateVariable(name) => write!(f, "environment variable: {name:?} is set twice"),
            Self::DuplicatePreload(name) => write!(f, "preload: two have the name {name:?}"),
            Self::Grants(error) => write!(f, "grant: {error}"),
            Self::DuplicatePort(port, protocol) => {
                write!(f, "network: the {} port {port} is named twice", protocol.name())
            }
            Self::NetworkOfATrace => f.write_str(
                "network: what comes from it is another on every run; a deterministic, recorded or replayed run has none",
            ),
            Self::DuplicateMount(guest) => write!(f, "mount: two have the path {guest:?} in the guest"),
        }
    }
}

impl core::error::Error for SpecError {}
