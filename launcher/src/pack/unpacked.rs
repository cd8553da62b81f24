//! A payload taken apart into a directory, and put together again: to the same bytes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use boot_protocol::payload::{self as names, SEAL};
use boot_protocol::run_spec::{MountSource, RunSpec};
use boot_protocol::shown::piece;

use super::packed::{Packed, is_plain};
use super::write::{self, Purpose};
use super::{Format, seal};
use crate::error::{Error, StartError};
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
    let bytes = fs::read(directory.join(names::RUN_SPEC)).map_err(StartError::file(
        "read run.spec in the directory, which 'unpack' has not made",
    ))?;
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
    let is_there = |name: &str| directory.join(name).is_file();
    super::check(format, &spec, is_there(names::MANIFEST))?;
    let engine = match is_there(names::CODE) {
        true => Engine::Native,
        false => Engine::Interp,
    };
    let purpose = Purpose {
        format,
        arch,
        engine,
        memory: memory.unwrap_or_else(|| match is_there(names::MANIFEST) {
            true => machine_memory(&spec.limits, spec.deterministic.is_some()),
            false => DEFAULT_MEMORY,
        }),
    };
    write::write(output, &purpose, |file| {
        let cannot = |error| StartError::file("put the payload together")(error);
        let mut start = file;
        start.write_all(&[0; SEAL]).map_err(cannot)?;
        for (name, alignment) in members {
            if is_there(&name) {
                payload::member(file, &name, alignment, |out| {
                    let mut from = File::open(directory.join(&name)).map_err(cannot)?;
                    io::copy(&mut from, out).map(drop).map_err(cannot)
                })?;
            }
        }
        payload::end(file).map_err(cannot)?;
        seal::close(file).map_err(cannot)
    })
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
