//! What the hypervisor handed over: a module alone, or an archive of a run's description, a module and directories.
//!
//! Layer: pure. The archive's members: `boot_protocol::payload`.

use boot_protocol::payload;
use wasi_shim::fs::tar::{self, TarError};

/// The payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// All of it is the module.
    Module(&'static [u8]),
    /// A tar archive.
    Archive(&'static [u8]),
}

impl Payload {
    /// Looks at what `bytes` are. What is no archive is a module, or will be refused as one.
    #[must_use]
    pub fn new(bytes: &'static [u8]) -> Self {
        if tar::is_archive(bytes) {
            Self::Archive(bytes)
        } else {
            Self::Module(bytes)
        }
    }

    /// The module in it.
    ///
    /// # Errors
    /// [`TarError`] if the archive is damaged.
    pub fn module(self) -> Result<Option<&'static [u8]>, TarError> {
        match self {
            Self::Module(bytes) => Ok(Some(bytes)),
            Self::Archive(_) => self.member(payload::MODULE),
        }
    }

    /// A file of an archive.
    ///
    /// # Errors
    /// As [`Self::module`].
    pub fn member(self, name: &str) -> Result<Option<&'static [u8]>, TarError> {
        match self {
            Self::Module(_) => Ok(None),
            Self::Archive(archive) => tar::find_file(archive, name),
        }
    }
}
