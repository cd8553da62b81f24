//! What the hypervisor handed over: a program alone, or an archive of a run's description, a program and directories.
//!
//! Layer: pure. The archive's members: `boot_protocol::payload`.

use core::fmt;

use boot_protocol::payload;
use wasi_core::fs::tar::{self, TarError};

/// Why a payload cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadError {
    /// The archive is damaged.
    Archive(TarError),
    /// It is not what was sealed.
    Broken,
    /// It says what was packed, and is not sealed.
    Unsealed,
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(error) => error.fmt(f),
            Self::Broken => f.write_str(
                "its digest does not match its contents, so nothing of it runs; copy it again, or pack it again",
            ),
            Self::Unsealed => write!(
                f,
                "it has a member '{}' and does not begin with the member '{}', which 'hermit-wasm pack' makes",
                payload::MANIFEST,
                payload::DIGEST
            ),
        }
    }
}

impl core::error::Error for PayloadError {}

impl From<TarError> for PayloadError {
    fn from(error: TarError) -> Self {
        Self::Archive(error)
    }
}

/// The payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// All of it, if it is a tar archive.
    archive: Option<&'static [u8]>,
    /// The program in it, a module or its native code; if it is no archive, all of it.
    pub program: Option<&'static [u8]>,
    /// The run's description in it.
    pub run_spec: Option<&'static [u8]>,
    /// Whether it is sealed, and so what its description says is the most that there is.
    pub is_sealed: bool,
}

impl Payload {
    /// Looks at what `bytes` are. What is no archive is a program, or will be refused as one. What is sealed is compared
    /// with its digest, so that all of it is read.
    ///
    /// # Errors
    /// [`PayloadError`] if the archive is damaged, or is not what was sealed.
    pub fn new(bytes: &'static [u8]) -> Result<Self, PayloadError> {
        let is_sealed = payload::is_sealed(bytes);
        if is_sealed && !payload::is_intact(bytes, |bytes| blake3::hash(bytes).into()) {
            return Err(PayloadError::Broken);
        }
        if !tar::is_archive(bytes) {
            return Ok(Self {
                archive: None,
                program: Some(bytes),
                run_spec: None,
                is_sealed,
            });
        }
        let [module, code, run_spec, manifest] = tar::find_files(
            bytes,
            [
                payload::MODULE,
                payload::CODE,
                payload::RUN_SPEC,
                payload::MANIFEST,
            ],
        )?;
        if manifest.is_some() && !is_sealed {
            return Err(PayloadError::Unsealed);
        }
        Ok(Self {
            archive: Some(bytes),
            program: code.or(module),
            run_spec,
            is_sealed,
        })
    }

    /// A file of an archive; `None` if it is a program alone.
    #[must_use]
    pub fn member(self, name: &str) -> Option<Result<Option<&'static [u8]>, TarError>> {
        self.archive.map(|archive| tar::find_file(archive, name))
    }
}
