//! The daemon that shares a directory of the host: which one the tests take.

use std::path::PathBuf;
use std::process::Command;

use crate::environment::{self, VIRTIOFSD};

/// The one that [`VIRTIOFSD`] names, else the one in PATH.
#[must_use]
pub fn program() -> PathBuf {
    environment::get(VIRTIOFSD).map_or_else(|| "virtiofsd".into(), PathBuf::from)
}

/// Why it cannot be used.
#[must_use]
pub fn missing() -> Option<String> {
    let program = program();
    match Command::new(&program).arg("--version").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "{} --version ended with {}",
            program.display(),
            output.status
        )),
        Err(error) => Some(format!(
            "there is no virtiofsd ({error}); scripts/setup installs it"
        )),
    }
}
