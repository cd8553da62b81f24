//! What the boot loader handed over: a module, or a bundle of a module and of directories' archives.
//!
//! Layer: pure. The bundle's form: `boot_protocol::payload`.

use boot_protocol::payload;
use wasi_shim::fs::tar::{self, TarError};

/// The boot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootFile {
    /// All of it is the module.
    Module(&'static [u8]),
    /// A tar archive.
    Bundle(&'static [u8]),
}

impl BootFile {
    /// Looks at what `bytes` are. What is no archive is a module, or will be refused as one.
    #[must_use]
    pub fn new(bytes: &'static [u8]) -> Self {
        if tar::is_archive(bytes) {
            Self::Bundle(bytes)
        } else {
            Self::Module(bytes)
        }
    }

    /// The module in it.
    ///
    /// # Errors
    /// [`TarError`] if the bundle is damaged.
    pub fn module(self) -> Result<Option<&'static [u8]>, TarError> {
        match self {
            Self::Module(bytes) => Ok(Some(bytes)),
            Self::Bundle(archive) => tar::find_file(archive, payload::MODULE),
        }
    }

    /// Another file of a bundle.
    ///
    /// # Errors
    /// As [`Self::module`].
    pub fn member(self, name: &str) -> Result<Option<&'static [u8]>, TarError> {
        match self {
            Self::Module(_) => Ok(None),
            Self::Bundle(archive) => tar::find_file(archive, name),
        }
    }
}
