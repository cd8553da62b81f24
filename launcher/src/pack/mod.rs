//! One file to ship: a module with all that it runs with, packed.
//!
//! [`Run::pack`](crate::Run::pack) packs what it would have run; a [`Packed`] file is looked at, taken apart, and run by
//! [`Run::packed`](crate::Run::packed). `docs/pack.md` has the formats.
//!
//! - `seal`: makes the payload.
//! - `write`: makes a file of it.
//! - `oci`: makes a container image of it.
//! - `trailer`: what ends an executable.
//! - `mark`: what says in an executable that it carries a payload.
//! - `find`: finds the payload in a file; `packed`: what is in it.
//! - `section`: a part of such a file; `manifest`: the Hermitfile in it.
//! - `inspect`: shows that; `description`: what of it is the run's.
//! - `unpacked`: takes a payload apart, and puts it together again.

mod description;
mod find;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod inspect;
mod manifest;
mod mark;
#[cfg(feature = "oci")]
mod oci;
mod packed;
mod seal;
mod section;
#[cfg(test)]
mod tests;
mod trailer;
mod unpacked;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};

use boot_protocol::run_spec::{Mount, MountSource, RunSpec, Wire};

use crate::error::Error;
use crate::spec::request::Request;
use crate::vmm::qemu;

pub use crate::host::identity::Identity;
pub use inspect::{Inspection, Part};
#[cfg(feature = "oci")]
pub use oci::{OciImage, OciKind};
pub use packed::Packed;
pub use unpacked::pack_directory;

/// What is made of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// The payload alone, a tar archive: for QEMU's `-initrd`, and for `hermit-wasm run`.
    Initrd,
    /// A Hermit application with the payload inside: for uhyve, and for any Hermit loader.
    App,
    /// An image with the payload inside, which boots by itself: for QEMU's `-kernel`.
    Image,
    /// An executable for this host, which carries this program and the payload.
    Exe,
    /// A container image: an OCI image layout, as a directory or as an archive.
    #[cfg(feature = "oci")]
    Oci(OciImage),
}

impl Format {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Initrd,
        Self::App,
        Self::Image,
        Self::Exe,
        #[cfg(feature = "oci")]
        Self::Oci(OciImage::DEFAULT),
    ];

    /// Its name, as `--format` takes it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Initrd => "initrd",
            Self::App => "app",
            Self::Image => "image",
            Self::Exe => "exe",
            #[cfg(feature = "oci")]
            Self::Oci(_) => "oci",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The path of this program if a payload was packed behind it; `None` if it is alone.
///
/// # Errors
/// A payload was, and what says where it is is damaged or missing.
pub fn own() -> Result<Option<PathBuf>, Error> {
    match mark::is_set() {
        true => find::own().map(Some),
        false => Ok(None),
    }
}

/// Refuses what a file of this format can never be given.
fn check(format: &Format, spec: &RunSpec, has_manifest: bool) -> Result<(), Error> {
    let is_shared = |mount: &&Mount| matches!(mount.source, MountSource::VirtioFs { .. });
    match (format, spec.mounts.iter().find(is_shared)) {
        (Format::Exe, Some(mount)) if !has_manifest => Err(Error::Invalid(format!(
            "--format exe: its arguments all go to the guest, so no flag could name the host directory for '{}'; use \
             --copy-dir to pack a copy, MAP in a Hermitfile to name it, or --format initrd, which is run with --dir",
            mount.guest
        ))),
        _ => Ok(()),
    }
}

/// Packs what `request` would run. The one way from a description to a payload, whoever has described it.
pub(crate) fn of_request(request: &Request<'_>, format: Format, output: &Path) -> Result<Vec<String>, Error> {
    let mut spec = qemu::lower(request)?;
    // Whoever runs it says this.
    spec.log = None;
    spec.tracing = None;
    spec.invoked = false;
    spec.may_be_widened = request.may_be_widened();
    if let Some(network) = &mut spec.network {
        // Whoever runs it says what is at the other end.
        network.wire = Wire::Direct;
    }
    let manifest = request.manifest();
    check(&format, &spec, manifest.is_some())?;
    let text = manifest.map(ToString::to_string);
    let purpose = write::Purpose {
        format,
        arch: request.arch(),
        engine: request.engine(),
        memory: request.memory(),
    };
    write::write(output, &purpose, |file| {
        seal::write(
            file,
            &seal::Content {
                manifest: text.as_deref(),
                spec: &spec,
                programs: request.programs(),
                directories: &request.copies(),
                bounds: request.bounds(),
            },
        )
    })
}
