//! Images, in an archive that every engine loads: what `docker save` writes, with one layer for each image.
//!
//! Written here and not by an engine, because one file with all of them is loaded by each engine in a second, and
//! because some images are what no builder makes.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// What an image is called, before its own name.
const PREFIX: &str = "localhost/hermit-wasm-test";

/// An image.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// Its own name.
    pub name: String,
    /// What is in its root.
    pub entries: Vec<Entry>,
    /// What it runs.
    pub entrypoint: Vec<String>,
    /// Its working directory.
    pub directory: String,
}

/// A file of an image; its path has no slash before it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where.
    pub path: String,
    /// What.
    pub kind: Kind,
}

/// Kinds of files.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A file with these bytes, which all may run.
    File(Vec<u8>),
    /// A directory that all may write in.
    Directory,
    /// A symbolic link to this.
    Link(String),
    /// A named pipe.
    Fifo,
}

impl Entry {
    /// A file.
    #[must_use]
    pub fn file(path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(path, Kind::File(bytes.into()))
    }

    /// Anything.
    #[must_use]
    pub fn new(path: &str, kind: Kind) -> Self {
        Self {
            path: path.to_owned(),
            kind,
        }
    }
}

impl Image {
    /// An image that runs the module `file`, which is in its root beside `/tmp` and nothing else. It is called without a
    /// directory, so that the guest is called what it is without a container.
    #[must_use]
    pub fn of_module(name: &str, file: &str, bytes: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            entries: vec![Entry::file(file, bytes)],
            entrypoint: vec![file.to_owned()],
            directory: "/".to_owned(),
        }
    }

    /// What engines call it.
    #[must_use]
    pub fn reference(&self) -> String {
        reference(&self.name)
    }
}

/// What engines call an image.
#[must_use]
pub fn reference(name: &str) -> String {
    format!("{PREFIX}/{name}:1")
}

/// Writes an archive with these images.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, images: &[Image]) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    let mut archive = Builder::new(file);
    let mut manifest = Vec::new();
    for image in images {
        let layer = layer(image).with_context(|| format!("the layer of {}", image.name))?;
        let digest = format!("{:x}", Sha256::digest(&layer));
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "created": "2020-01-01T00:00:00Z",
            "config": { "Entrypoint": image.entrypoint, "WorkingDir": image.directory },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
            "history": [{ "created": "2020-01-01T00:00:00Z", "created_by": "tests" }],
        });
        let config = serde_json::to_vec(&config)?;
        let config_name = format!("{:x}.json", Sha256::digest(&config));
        // The same twice is no fault of an archive's: some modules have several names.
        add(&mut archive, &config_name, &config)?;
        let layer_name = format!("{digest}/layer.tar");
        add(&mut archive, &layer_name, &layer)?;
        manifest.push(json!({
            "Config": config_name,
            "RepoTags": [image.reference()],
            "Layers": [layer_name],
        }));
    }
    add(&mut archive, "manifest.json", &serde_json::to_vec(&manifest)?)?;
    archive.into_inner()?.flush()?;
    Ok(())
}

/// What images call this host's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    }
}

/// An image's root as an archive.
fn layer(image: &Image) -> Result<Vec<u8>> {
    let mut builder = Builder::new(Vec::new());
    for entry in &image.entries {
        let (kind, mode, bytes) = match &entry.kind {
            Kind::File(bytes) => (EntryType::Regular, 0o755, bytes.as_slice()),
            Kind::Directory => (EntryType::Directory, 0o777, [].as_slice()),
            Kind::Link(_) => (EntryType::Symlink, 0o777, [].as_slice()),
            Kind::Fifo => (EntryType::Fifo, 0o644, [].as_slice()),
        };
        let mut header = header(kind, mode, bytes.len())?;
        match &entry.kind {
            Kind::Link(target) => builder.append_link(&mut header, &entry.path, target)?,
            _ => builder.append_data(&mut header, &entry.path, bytes)?,
        }
    }
    Ok(builder.into_inner()?)
}

fn add(archive: &mut Builder<File>, name: &str, bytes: &[u8]) -> Result<()> {
    let mut header = header(EntryType::Regular, 0o644, bytes.len())?;
    archive.append_data(&mut header, name, bytes)?;
    Ok(())
}

fn header(kind: EntryType, mode: u32, length: usize) -> Result<Header> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_577_836_800);
    header.set_size(u64::try_from(length)?);
    Ok(header)
}
