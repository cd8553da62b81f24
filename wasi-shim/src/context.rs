//! What one guest has: its arguments, environment, descriptors, and the machine beneath.
//!
//! Layer: core. Built once before the guest starts; the calls get it mutably.

use alloc::vec::Vec;
use core::fmt;

use crate::{abi::types::Size, fd_table::FdTable, system::System};

/// All state of WASI for one guest.
#[derive(Debug)]
pub struct WasiCtx<S> {
    /// The machine beneath.
    pub system: S,
    pub(crate) args: Strings,
    pub(crate) env: Strings,
    pub(crate) fds: FdTable,
}

/// Builds a [`WasiCtx`]. A fresh one has no argument (not even the program's name) and no environment variable.
#[derive(Clone, Debug, Default)]
pub struct WasiCtxBuilder {
    args: Strings,
    env: Strings,
}

impl WasiCtxBuilder {
    /// No arguments, an empty environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an argument; the first is the program's name.
    ///
    /// # Errors
    /// [`BuildError::Nul`], [`BuildError::TooLarge`].
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Result<Self, BuildError> {
        self.args.push(&[arg.as_ref()])?;
        Ok(self)
    }

    /// Appends several arguments.
    ///
    /// # Errors
    /// As [`Self::arg`].
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, BuildError> {
        args.into_iter().try_fold(self, Self::arg)
    }

    /// Appends an environment variable. It does not replace an earlier one of the same name; a libc finds the first.
    ///
    /// # Errors
    /// [`BuildError::BadName`] if `name` is empty or contains `=`; [`BuildError::Nul`], [`BuildError::TooLarge`].
    pub fn env(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Self, BuildError> {
        let name = name.as_ref();
        if name.is_empty() || name.contains(&b'=') {
            return Err(BuildError::BadName);
        }
        self.env.push(&[name, b"=", value.as_ref()])?;
        Ok(self)
    }

    /// The context on `system`, with the three standard streams open.
    pub fn build<S: System>(self, system: S) -> WasiCtx<S> {
        WasiCtx {
            system,
            args: self.args,
            env: self.env,
            fds: FdTable::with_standard_streams(),
        }
    }
}

/// Why an argument or a variable cannot be given to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// It contains a zero byte, which ends a string in the guest.
    Nul,
    /// A variable's name is empty or contains `=`.
    BadName,
    /// Together they do not fit a guest's memory.
    TooLarge,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nul => "contains a zero byte",
            Self::BadName => "the variable's name is empty or contains `=`",
            Self::TooLarge => "arguments or environment of more than 4 GiB",
        })
    }
}

impl core::error::Error for BuildError {}

/// Strings as the guest is to find them: each ended by a zero byte, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    offsets: Vec<Size>,
}

impl Strings {
    fn push(&mut self, parts: &[&[u8]]) -> Result<(), BuildError> {
        if parts.iter().any(|part| part.contains(&0)) {
            return Err(BuildError::Nul);
        }
        let offset = self.len()?;
        let rollback = self.bytes.len();
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
        if self.len().is_err() {
            self.bytes.truncate(rollback);
            return Err(BuildError::TooLarge);
        }
        self.offsets.push(offset);
        Ok(())
    }

    fn len(&self) -> Result<Size, BuildError> {
        Size::try_from(self.bytes.len()).map_err(|_| BuildError::TooLarge)
    }

    /// All strings with their ends.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where each string starts in [`Self::bytes`].
    pub(crate) fn offsets(&self) -> &[Size] {
        &self.offsets
    }
}
