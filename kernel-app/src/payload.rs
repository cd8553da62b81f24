//! What the hypervisor handed over: a program alone, or an archive of a run's description, a program and directories.
//!
//! Layer: pure. The archive's members: `boot_protocol::payload`.

use boot_protocol::payload;
use wasi_core::fs::tar::{self, TarError};

/// The payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// All of it, if it is a tar archive.
    archive: Option<&'static [u8]>,
    /// The program in it, a module or its native code; if it is no archive, all of it.
    pub program: Option<&'static [u8]>,
    /// The run's description in it.
    pub run_spec: Option<&'static [u8]>,
}

impl Payload {
    /// Looks at what `bytes` are. What is no archive is a program, or will be refused as one.
    ///
    /// # Errors
    /// [`TarError`] if the archive is damaged.
    pub fn new(bytes: &'static [u8]) -> Result<Self, TarError> {
        if !tar::is_archive(bytes) {
            return Ok(Self {
                archive: None,
                program: Some(bytes),
                run_spec: None,
            });
        }
        let [module, code, run_spec] =
            tar::find_files(bytes, [payload::MODULE, payload::CODE, payload::RUN_SPEC])?;
        Ok(Self {
            archive: Some(bytes),
            program: code.or(module),
            run_spec,
        })
    }

    /// A file of an archive; `None` if it is a program alone.
    #[must_use]
    pub fn member(self, name: &str) -> Option<Result<Option<&'static [u8]>, TarError>> {
        self.archive.map(|archive| tar::find_file(archive, name))
    }
}
