//! A payload taken apart into a directory, and put together again: to the same bytes.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use boot_protocol::payload::{self as names, SEAL};
use boot_protocol::run_spec::{MountSource, RunSpec};
use boot_protocol::shown::piece;
use rustix::io::Errno;

use super::packed::{Packed, is_plain};
use super::write::{self, Purpose};
use super::{Format, seal};
use crate::error::{Error, StartError};
use crate::host::beneath::Beneath;
use crate::host::shown;
use crate::spec::engine::Engine;
use crate::spec::manifest::machine_memory;
use crate::spec::payload;
use crate::spec::run::DEFAULT_MEMORY;
use boot_protocol::arch::Arch;

impl Packed {
    /// Writes each member of the payload into `directory`, which is made; only what sealing adds is left out.
    ///
    /// # Errors
    /// Something cannot be written, or is there already.
    pub fn unpack(&self, directory: &Path) -> Result<(), Error> {
        let cannot = |error| StartError::file("write what was packed")(error);
        fs::create_dir_all(directory).map_err(cannot)?;
        for member in self.members() {
            if [names::DIGEST, names::PADDING].contains(&member.name.as_str()) {
                continue;
            }
            File::create_new(directory.join(&member.name))
                .and_then(|mut file| io::copy(&mut self.part(member.start, member.length), &mut file))
                .map_err(cannot)?;
        }
        Ok(())
    }
}

/// Packs a directory that a payload was [unpacked](Packed::unpack) into; the same bytes come of it again, if it is given
/// the `memory` that was demanded before.
///
/// # Errors
/// Something of it is missing, or cannot be read; the file cannot be written.
pub fn pack_directory(
    directory: &Path,
    format: Format,
    arch: Arch,
    memory: Option<u64>,
    output: &Path,
) -> Result<(), Error> {
    let parts = Parts::of(directory)?;
    let mut bytes = Vec::new();
    match parts.open(names::RUN_SPEC)? {
        Some(mut file) => file.read_to_end(&mut bytes).map_err(StartError::file(READ))?,
        None => return Err(StartError::file(READ)(io::ErrorKind::NotFound.into())),
    };
    let spec = RunSpec::decode(&bytes)
        .map_err(|error| Error::Invalid(format!("{}: {error}", directory.join(names::RUN_SPEC).display())))?;
    let members = order(&spec);
    // The description may be anybody's: nothing is packed but what lies in the directory.
    if let Some((name, _)) = members.iter().find(|(name, _)| !is_plain(name)) {
        return Err(Error::Invalid(format!(
            "{}: it names a member '{}', and the directory has no such file",
            shown::path(directory.join(names::RUN_SPEC)),
            piece(name)
        )));
    }
    let has_manifest = parts.open(names::MANIFEST)?.is_some();
    super::check(&format, &spec, has_manifest)?;
    let engine = match parts.open(names::CODE)?.is_some() {
        true => Engine::Native,
        false => Engine::Interp,
    };
    let purpose = Purpose {
        format,
        arch,
        engine,
        memory: memory.unwrap_or_else(|| match has_manifest {
            true => machine_memory(&spec.limits, spec.deterministic.is_some()),
            false => DEFAULT_MEMORY,
        }),
    };
    write::write(output, &purpose, |file| {
        let cannot = |error| StartError::file("put the payload together")(error);
        let mut start = file;
        start.write_all(&[0; SEAL]).map_err(cannot)?;
        for (name, alignment) in members {
            if let Some(mut from) = parts.open(&name)? {
                payload::member(file, &name, alignment, |out| {
                    io::copy(&mut from, out).map(drop).map_err(cannot)
                })?;
            }
        }
        payload::end(file).map_err(cannot)?;
        seal::close(file).map_err(cannot)
    })
}

const READ: &str = "read run.spec in the directory, which 'unpack' has not made";

/// What lies in a directory that was unpacked into.
struct Parts<'a> {
    path: &'a Path,
    beneath: Beneath,
}

impl<'a> Parts<'a> {
    fn of(path: &'a Path) -> Result<Self, Error> {
        let beneath = Beneath::new(path).map_err(StartError::file(READ))?;
        Ok(Self { path, beneath })
    }

    /// The file of this name; `None` if there is none. A link is refused: it may lead out of the directory.
    fn open(&self, name: &str) -> Result<Option<File>, Error> {
        let refuse = |why: &str| {
            let path = shown::path(self.path.join(name));
            Err(Error::Invalid(format!("'{path}' {why}")))
        };
        let file = match self.beneath.read(Path::new(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {
                return refuse("is a link, which may lead out of the directory; put the file itself there");
            }
            Err(error) => return refuse(&format!("cannot be read: {error}")),
        };
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => Ok(Some(file)),
            Ok(_) => refuse("is not a file"),
            Err(error) => refuse(&format!("cannot be read: {error}")),
        }
    }
}

/// The members that a payload of this description can have, in order, and what the data of each is aligned to.
fn order(spec: &RunSpec) -> Vec<(String, u64)> {
    let mut members: Vec<(String, u64)> = [
        (names::MANIFEST, 1),
        (names::RUN_SPEC, 1),
        (names::MODULE, 1),
        (names::CODE, names::ALIGNMENT),
    ]
    .map(|(name, alignment)| (name.to_string(), alignment))
    .into();
    for preload in &spec.preloads {
        let alignment = match preload.member.ends_with(".cwasm") {
            true => names::ALIGNMENT,
            false => 1,
        };
        members.push((preload.member.clone(), alignment));
    }
    for mount in &spec.mounts {
        if let MountSource::Copy { member } = &mount.source {
            members.push((member.clone(), 1));
        }
    }
    members
}
