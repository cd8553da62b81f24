//! The standard library's source: it becomes a part of every image, so it must be one that the repository records.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::toolchain::sysroot;

/// What is accepted, with how it is computed; `scripts/setup` reads it too.
const RECORD: &str = include_str!("../../scripts/lib/rust-src.sha256");

/// The version that is built with.
const TOOLCHAIN: &str = include_str!("../../rust-toolchain.toml");

/// Fails unless the toolchain's standard library is a recorded one.
pub(crate) fn check() -> Result<()> {
    check_tree(
        &sysroot()?.join("lib/rustlib/src/rust/library"),
        RECORD,
        version()?,
    )
}

/// The pinned version of Rust.
fn version() -> Result<&'static str> {
    TOOLCHAIN
        .lines()
        .find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"'))
        .context("rust-toolchain.toml names no channel")
}

fn check_tree(library: &Path, record: &str, version: &str) -> Result<()> {
    let found = tree(library)?;
    let accepted: Vec<&str> = recorded(record, version, "tree").collect();
    if !accepted.contains(&found.as_str()) {
        bail!(
            "{} is not the source of Rust {version}'s standard library: its SHA-256 is {found}, and \
             scripts/lib/rust-src.sha256 records {}. It would become a part of the image. Reinstall it: \
             `rustup component remove rust-src`, then `scripts/setup`",
            library.display(),
            accepted.join(" and ")
        );
    }
    Ok(())
}

/// The digests of one kind for a version.
fn recorded<'a>(record: &'a str, version: &'a str, kind: &'a str) -> impl Iterator<Item = &'a str> {
    record.lines().filter_map(move |line| {
        let mut words = line.split_whitespace();
        let right = words.next() == Some(version) && words.next() == Some(kind);
        right.then(|| words.next()).flatten()
    })
}

/// The digest of a folder: of the list that `sha256sum` prints of its files, in the order of their names' bytes.
fn tree(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    list(folder, Path::new("."), &mut files)?;
    files.sort_by(|a, b| {
        a.as_os_str()
            .as_encoded_bytes()
            .cmp(b.as_os_str().as_encoded_bytes())
    });
    let mut digest = Sha256::new();
    for file in files {
        let path = folder.join(&file);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        digest.update(hex(&Sha256::digest(&bytes)));
        digest.update(b"  ");
        digest.update(file.as_os_str().as_encoded_bytes());
        digest.update(b"\n");
    }
    Ok(hex(&digest.finalize()))
}

/// Collects the files below `root`/`folder`, by their names below `root`.
fn list(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let shown = root.join(folder);
    for entry in fs::read_dir(&shown).with_context(|| format!("cannot list {}", shown.display()))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(root, &path, files)?;
        } else if kind.is_file() {
            files.push(path);
        } else {
            // Compilers follow links, and nothing here would have looked at what is behind this one.
            bail!("{} is neither a file nor a folder", root.join(path).display());
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "rust_src_tests.rs"]
mod tests;
