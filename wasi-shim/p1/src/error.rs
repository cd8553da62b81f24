//! How a call ends when it does not succeed: the guest goes on, has exited, or is stopped.
//!
//! Layer: below the calls. The three are never mixed: an [`Errno`] is the guest's to handle, an exit is its wish, a
//! trap is a fault of the guest that no number could report (see docs/wasi.md, "Trap or errno").

use core::fmt;

use wasi_core::limits::Limit;

use crate::abi::Errno;

/// How a call ends when it does not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The call failed; the guest gets the number and goes on.
    Errno(Errno),
    /// The guest ended itself with this exit code.
    Exit(u32),
    /// The guest broke the rules of the interface and is stopped.
    Trap(Trap),
    /// The guest wanted more than it may use up, and is stopped.
    Limit(Limit),
}

/// Why a guest is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trap {
    /// A pointer and a length name bytes outside the guest's memory.
    OutOfBounds {
        /// First byte.
        start: u32,
        /// Number of bytes.
        len: u64,
        /// Size of the guest's memory in bytes.
        memory: u64,
    },
    /// A pointer is not a multiple of its type's alignment.
    Misaligned {
        /// The pointer.
        start: u32,
        /// The alignment in bytes.
        align: u32,
    },
    /// The module exports no memory named `memory`, without which no WASI call can work.
    NoMemory,
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Trap> for Error {
    fn from(trap: Trap) -> Self {
        Self::Trap(trap)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => fmt::Display::fmt(errno, f),
            Self::Exit(code) => write!(f, "exit with code {code}"),
            Self::Trap(trap) => fmt::Display::fmt(trap, f),
            Self::Limit(limit) => write!(f, "limit reached: {}", limit_name(*limit)),
        }
    }
}

/// What a limit is called.
pub(crate) const fn limit_name(limit: Limit) -> &'static str {
    match limit {
        Limit::Descriptors => "descriptors",
        Limit::FileBytes => "file bytes",
        Limit::OutputBytes => "output bytes",
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds { start, len, memory } => {
                write!(
                    f,
                    "pointer out of bounds: {len} bytes at {start:#x} in a memory of {memory} bytes"
                )
            }
            Self::Misaligned { start, align } => {
                write!(f, "pointer not aligned: {start:#x} is not a multiple of {align}")
            }
            Self::NoMemory => {
                f.write_str("missing required memory export: the module exports no memory named `memory`")
            }
        }
    }
}

impl core::error::Error for Error {}
impl core::error::Error for Trap {}
