//! The payload in a file, whatever kind of file that is.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use boot_protocol::arch::Arch;
use boot_protocol::file_kind::FileKind;
use boot_protocol::payload::{self as names, SEAL};

use super::Format;
#[cfg(feature = "oci")]
use super::oci;
use super::packed::{damaged, unreadable};
use super::trailer::{self, Found as End, Trailer};
use crate::error::{Error, StartError};
use crate::host::units::show_size;
#[cfg(feature = "oci")]
use crate::spec::module::ModuleError;
use crate::spec::run::SMALLEST_MEMORY;

/// The path of this program, behind which something was packed. Only its end is looked at.
pub(super) fn own() -> Result<PathBuf, Error> {
    let path = std::env::current_exe().map_err(StartError::file("find this program's own file"))?;
    let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
    match trailer(&path, &file)? {
        Some(_) => Ok(path),
        None => Err(damaged(&path, "its end was changed after packing")),
    }
}

/// A file with a payload.
pub(crate) struct Found {
    pub(super) file: File,
    /// Where the payload starts, and its length.
    pub(super) payload: (u64, u64),
    pub(super) format: Format,
    pub(super) arch: Option<Arch>,
    pub(super) memory: Option<u64>,
}

/// How much of a file says whether it may boot by itself.
const START: usize = 64;

/// Looks for a payload in a file.
pub(super) fn find(path: &Path) -> Result<Option<Found>, Error> {
    let cannot = |error| unreadable(path, &error);
    let metadata = path.metadata().map_err(cannot)?;
    #[cfg(feature = "oci")]
    if metadata.is_dir() {
        return image(path, oci::in_directory(path));
    }
    // Neither a pipe nor a device is waited for.
    if !metadata.is_file() {
        return Ok(None);
    }
    find_in(path, File::open(path).map_err(cannot)?)
}

/// Looks for a payload in a file that is open.
pub(super) fn find_in(path: &Path, file: File) -> Result<Option<Found>, Error> {
    let cannot = |error| unreadable(path, &error);
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() || metadata.len() < START as u64 {
        return Ok(None);
    }
    let mut start = [0; START];
    file.read_exact_at(&mut start, 0).map_err(cannot)?;
    if names::is_sealed(&start) {
        let length = file.metadata().map_err(cannot)?.len();
        return Ok(Some(Found {
            file,
            payload: (0, length),
            format: Format::Initrd,
            arch: None,
            memory: None,
        }));
    }
    if let Some(trailer) = trailer(path, &file)? {
        return Ok(Some(Found {
            file,
            payload: trailer.payload,
            format: Format::Exe,
            arch: Some(trailer.arch),
            memory: Some(trailer.memory),
        }));
    }
    // Native code begins as a program does, and is none.
    if !::packed::may_boot(&start) || FileKind::of(&start) == FileKind::NativeCode {
        return in_image(path, file);
    }
    bootable(file).map_err(cannot)
}

/// The payload in a file that may be a container image's archive.
#[cfg(feature = "oci")]
fn in_image(path: &Path, file: File) -> Result<Option<Found>, Error> {
    image(path, oci::in_file(file))
}

#[cfg(not(feature = "oci"))]
fn in_image(_: &Path, _: File) -> Result<Option<Found>, Error> {
    Ok(None)
}

/// The payload in a container image.
#[cfg(feature = "oci")]
fn image(path: &Path, found: io::Result<oci::Image>) -> Result<Option<Found>, Error> {
    match found.map_err(|error| unreadable(path, &error))? {
        oci::Image::None => Ok(None),
        oci::Image::With(found) => Ok(Some(found)),
        oci::Image::Without(why) => Err(ModuleError::NotAModule {
            path: path.into(),
            reason: why.to_string(),
        }
        .into()),
    }
}

/// The payload in a file that may boot by itself.
fn bootable(file: File) -> io::Result<Option<Found>> {
    let length = file.metadata()?.len();
    let mut head = Vec::new();
    (&file).take(::packed::HEAD as u64).read_to_end(&mut head)?;
    let Some(found) = ::packed::find(&head, length) else {
        return Ok(None);
    };
    Ok(Some(Found {
        file,
        payload: (found.payload.start, found.payload.end - found.payload.start),
        format: match found.kind {
            ::packed::Kind::Application => Format::App,
            ::packed::Kind::Image => Format::Image,
        },
        arch: Some(found.arch),
        memory: None,
    }))
}

/// The trailer of the file `path`, if it has one.
fn trailer(path: &Path, file: &File) -> Result<Option<Trailer>, Error> {
    let cannot = |error| unreadable(path, &error);
    let length = file.metadata().map_err(cannot)?.len();
    let mut end = [0; trailer::SIZE];
    let Some(at) = length.checked_sub(end.len() as u64) else {
        return Ok(None);
    };
    file.read_exact_at(&mut end, at).map_err(cannot)?;
    let trailer = match Trailer::parse(&end, length) {
        End::Nothing => return Ok(None),
        End::Damaged => return Err(damaged(path, "its end was changed after packing")),
        End::Trailer(trailer) => trailer,
    };
    let mut seal = [0; SEAL];
    file.read_exact_at(&mut seal, trailer.payload.0).map_err(cannot)?;
    if !Trailer::is_intact(&end, &seal) {
        return Err(damaged(path, "its end was changed after packing"));
    }
    // Whoever can make a digest may have written anything.
    if trailer.memory < SMALLEST_MEMORY {
        let why = format!(
            "a machine needs at least {}, not {}",
            show_size(SMALLEST_MEMORY),
            show_size(trailer.memory)
        );
        return Err(damaged(path, &why));
    }
    Ok(Some(trailer))
}
