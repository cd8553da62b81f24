//! What the images are made of, and a fingerprint of it: tells whether an image is of the present sources.
//!
//! The launcher's build script compiles this file too (it must not depend on xtask), so it knows nothing but the
//! standard library. A test in `image.rs` holds [`SOURCES`] against what cargo says the image depends on.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher as _;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Files and folders below the root of the checkout. One that does not exist counts too: it may appear.
pub(crate) const SOURCES: &[&str] = &[
    ".cargo/config.toml",
    "Cargo.lock",
    "Cargo.toml",
    "aot-config",
    "boot-protocol",
    "guests/Cargo.lock",
    "guests/Cargo.toml",
    "guests/rust",
    "hermit-kernel",
    "kernel-app",
    "loader",
    "net-stack",
    "rust-toolchain.toml",
    "virtio-devices",
    "wasi-shim",
    "xtask/src/arch.rs",
    "xtask/src/guests.rs",
    "xtask/src/image.rs",
    "xtask/src/inputs.rs",
    "xtask/src/kernel",
    "xtask/src/kernel.rs",
    "xtask/src/toolchain.rs",
];

/// The variable that sets the kernel's log level at compile time.
pub(crate) const LOG_LEVEL: &str = "HERMIT_LOG_LEVEL_FILTER";

/// The file beside an image that holds the fingerprint of what it was made of.
pub(crate) const MADE_FROM: &str = "made-from";

/// The fingerprint of the sources below `root`: of every file's path and contents.
///
/// # Errors
/// If a file is there and cannot be read.
pub(crate) fn fingerprint(root: &Path) -> io::Result<String> {
    let mut hasher = DefaultHasher::new();
    for source in SOURCES {
        add(&mut hasher, root, Path::new(source))?;
    }
    if let Some(level) = std::env::var_os(LOG_LEVEL) {
        hasher.write(level.as_encoded_bytes());
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Adds a file, or a folder with all that is in it, in the order of their names.
fn add(hasher: &mut DefaultHasher, root: &Path, relative: &Path) -> io::Result<()> {
    let path = root.join(relative);
    let metadata = match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if metadata.is_file() {
        let contents = fs::read(path)?;
        let name = relative.as_os_str().as_encoded_bytes();
        // Lengths, so that bytes cannot move from one into the other unseen.
        for part in [name, contents.as_slice()] {
            hasher.write(&part.len().to_le_bytes());
            hasher.write(part);
        }
        return Ok(());
    }
    let mut names = fs::read_dir(path)?
        .map(|entry| Ok(PathBuf::from(entry?.file_name())))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        // What cargo built, and what editors and file managers leave behind.
        let hidden = name.as_os_str().as_encoded_bytes().starts_with(b".");
        if !hidden && name != Path::new("target") {
            add(hasher, root, &relative.join(name))?;
        }
    }
    Ok(())
}
