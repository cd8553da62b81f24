//! Container images: OCI image layouts, as directories and as archives.
//!
//! Layer: made of a payload, as the other formats are. It implements the image specification 1.1 and the CNCF's layout
//! of Wasm artifacts. `docs/pack.md` says what is in an image.
//!
//! - `module`: images with a module that any runtime runs, and what such an image cannot say.
//! - `document`: the images' documents.
//! - `layer`: their files, a tar archive.
//! - `layout`: the directory or the archive that all of that becomes.
//! - `found`: the payload in one.

mod document;
mod found;
mod layer;
mod layout;
mod module;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;

use boot_protocol::arch::Arch;
use boot_protocol::payload as names;
use boot_protocol::run_spec::{MountSource, RunSpec};
use boot_protocol::shown::piece;

use super::packed::Packed;
use super::write::{self, Purpose};
use crate::error::{Error, StartError};
use crate::spec::engine::Engine;
use document::Config;
use layer::Layer;
use layout::{Blob, Layout};

pub(super) use found::{Image, in_directory, in_file};

/// Where a sealed image has its payload.
const PAYLOAD: &str = "app.hermit";

/// Where an image with a module has it.
const MODULE: &str = "app.wasm";

/// What an image holds, and for what platform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OciKind {
    /// The module, for Linux: any engine takes it, and its user may give it more.
    #[default]
    Plain,
    /// The sealed payload, for Linux: what was packed is a ceiling.
    Sealed,
    /// The module, for the platform `wasi/wasm`.
    Wasi,
    /// The module alone, as an artifact.
    Artifact,
}

impl OciKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Sealed, Self::Wasi, Self::Artifact];

    /// Its name, as `--oci` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Sealed => "sealed",
            Self::Wasi => "wasi",
            Self::Artifact => "artifact",
        }
    }

    /// Whether its platform has a processor's architecture.
    #[must_use]
    pub const fn has_arch(self) -> bool {
        matches!(self, Self::Plain | Self::Sealed)
    }
}

/// A container image to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OciImage {
    /// What it holds.
    pub kind: OciKind,
    /// Whether it is an index of images, one for each architecture, which share their files.
    pub every_arch: bool,
    /// What it is called in the layout; `None`: `latest`.
    pub tag: Option<String>,
}

impl OciImage {
    /// What is made if nothing is said.
    pub const DEFAULT: Self = Self {
        kind: OciKind::Plain,
        every_arch: false,
        tag: None,
    };

    /// Whether the file of this name is an archive. Another name is a directory's.
    #[must_use]
    pub fn is_archive(output: &Path) -> bool {
        output.extension().is_some_and(|extension| extension == "tar")
    }

    /// Refuses what makes no sense.
    fn check(&self) -> Result<(), Error> {
        let kind = self.kind.name();
        if self.every_arch && !self.kind.has_arch() {
            return Err(Error::Invalid(format!(
                "--every-arch: --oci {kind} is for the platform of WebAssembly, and no processor's; leave it out"
            )));
        }
        match &self.tag {
            Some(tag) if !is_tag(tag) => Err(Error::Invalid(format!(
                "--tag '{}': a name has letters, digits, '.', '_', '-', '/' and ':', begins with a letter or a \
                 digit, and is at most 255 bytes long, as localhost/app:1",
                piece(tag)
            ))),
            _ => Ok(()),
        }
    }
}

/// Whether it can name an image.
fn is_tag(tag: &str) -> bool {
    tag.len() <= 255
        && tag.starts_with(|first: char| first.is_ascii_alphanumeric())
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte))
}

pub(super) const WRITE: &str = "write the container image";

/// Makes an image of the payload that `payload` writes into the empty file that it is given.
pub(super) fn write<T>(
    output: &Path,
    image: &OciImage,
    purpose: &Purpose,
    payload: impl FnOnce(&File) -> Result<T, Error>,
) -> Result<T, Error> {
    image.check()?;
    let cannot = |error| StartError::file(WRITE)(error);
    let directory = write::parent(output);
    let file = tempfile::NamedTempFile::new_in(directory).map_err(cannot)?;
    let made = payload(file.as_file())?;
    let packed = write::check(file.path(), output)?;
    let layout = of_packed(&packed, image, purpose.arch, directory)?;
    match OciImage::is_archive(output) {
        true => layout.archive(output)?,
        false => layout.directory(output)?,
    }
    Ok(made)
}

/// The layout of an image of what was packed. Temporary files are in `directory`.
fn of_packed<'a>(
    packed: &'a Packed,
    image: &OciImage,
    arch: Arch,
    directory: &Path,
) -> Result<Layout<'a>, Error> {
    let kind = image.kind;
    let arches = arches(packed, image, arch)?;
    let mut layout = Layout::default();
    let title = title(packed);
    let found = match kind {
        OciKind::Sealed => {
            let layer = sealed(packed, directory)?;
            let config = Config::of_sealed(packed.spec());
            document::images(&mut layout, layer, &config, &platforms(&arches), title)?
        }
        OciKind::Plain | OciKind::Wasi => {
            module::check(packed, kind)?;
            let layer = module::layer(packed, kind, directory)?;
            let config = Config::of_module(packed.spec());
            let platforms = match kind {
                OciKind::Wasi => vec![("wasm", "wasi")],
                _ => platforms(&arches),
            };
            document::images(&mut layout, layer, &config, &platforms, title)?
        }
        OciKind::Artifact => {
            module::check(packed, kind)?;
            let member = module::member(packed)?;
            let blob = Blob::part(packed, member).map_err(StartError::file(WRITE))?;
            document::artifact(&mut layout, blob, title)?
        }
    };
    document::index(&mut layout, found, image.tag.as_deref())?;
    Ok(layout)
}

/// The architectures of an image.
fn arches(packed: &Packed, image: &OciImage, arch: Arch) -> Result<Vec<Arch>, Error> {
    match (packed.arch()?, image.every_arch) {
        (Some(only), true) => Err(Error::Invalid(format!(
            "--every-arch: native code was made for {} alone; pack for the interpreter (--engine interp)",
            only.name()
        ))),
        (Some(only), false) => Ok(vec![only]),
        (None, true) => Ok(Arch::ALL.to_vec()),
        (None, false) => Ok(vec![arch]),
    }
}

/// Architecture and system of each, as Go calls them.
fn platforms(arches: &[Arch]) -> Vec<(&'static str, &'static str)> {
    let name = |arch: &Arch| match arch {
        Arch::X86_64 => "amd64",
        Arch::Aarch64 => "arm64",
        Arch::Riscv64 => "riscv64",
    };
    arches.iter().map(|arch| (name(arch), "linux")).collect()
}

/// What the program is called, if that is a file's plain name.
fn title(packed: &Packed) -> Option<String> {
    let name = packed.spec().argv.first()?;
    super::packed::is_plain(name).then(|| name.clone())
}

/// The files of a sealed image: the payload, and a place for each directory that is given to it.
fn sealed(packed: &Packed, directory: &Path) -> Result<Layer, Error> {
    let mut layer = layer::Builder::new(directory)?;
    layer.file(
        PAYLOAD,
        0o755,
        packed.length(),
        &mut packed.part(0, packed.length()),
    )?;
    for volume in volumes(packed.spec()) {
        layer.directory(&volume)?;
    }
    layer.finish()
}

/// The directories of the host that are given to the program: where the runtime looks for them.
fn volumes(spec: &RunSpec) -> Vec<String> {
    let hosts = |source: &MountSource| match source {
        MountSource::VirtioFs { .. } | MountSource::UhyveMap { .. } => true,
        MountSource::Tmpfs { .. } | MountSource::Copy { .. } => false,
    };
    let mounts = spec.mounts.iter().filter(|mount| hosts(&mount.source));
    mounts.filter_map(|mount| place(&mount.guest)).collect()
}

/// A directory's path below the root, without the slash that it begins with; `None`: it is relative, or the root, or
/// leads elsewhere.
fn absolute(guest: &str) -> Option<String> {
    place(guest).filter(|_| guest.starts_with('/'))
}

/// The same, where a relative path starts at the root.
fn place(guest: &str) -> Option<String> {
    let parts = guest.split('/').filter(|part| !part.is_empty() && *part != ".");
    let parts: Vec<&str> = parts.collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

/// The engine that an image with a module is for.
fn is_interpreted(packed: &Packed) -> bool {
    packed.engine() == Engine::Interp && packed.member(names::MODULE).is_some()
}
