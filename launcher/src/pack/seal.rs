//! Sealed payloads: how they are made. Their form: `boot_protocol::payload`.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};

use boot_protocol::payload::{self as names, SEAL};
use boot_protocol::run_spec::RunSpec;

use crate::error::{Error, StartError};
use crate::spec::copying::Copied;
use crate::spec::payload::{self, Bounds};
use crate::spec::program::Programs;

/// What is packed: what a Hermitfile or flags have come to.
pub(super) struct Content<'a> {
    /// The Hermitfile in its canonical form, if there is one.
    pub(super) manifest: Option<&'a str>,
    /// The description of the run: the most that the payload's runs can do.
    pub(super) spec: &'a RunSpec,
    /// What runs.
    pub(super) programs: &'a Programs<'a>,
    /// What is to be copied into each directory, in order.
    pub(super) directories: &'a [Copied<'a>],
    pub(super) bounds: Bounds<'a>,
}

const WRITE: &str = "write the payload";

/// Writes the sealed payload into `file`, which is empty; what was left out. The same content makes the same bytes.
pub(super) fn write(file: &File, content: &Content<'_>) -> Result<Vec<String>, Error> {
    let cannot = |error| StartError::file(WRITE)(error);
    // The seal comes last, as what it seals must be known.
    let mut start = file;
    start.write_all(&[0; SEAL]).map_err(cannot)?;
    if let Some(manifest) = content.manifest {
        payload::member(file, names::MANIFEST, 1, |out| {
            out.write_all(manifest.as_bytes()).map_err(cannot)?;
            Ok(())
        })?;
    }
    let (_, left_out) = payload::write(
        file,
        Some(content.spec),
        content.programs,
        content.directories,
        content.bounds,
    )?;
    close(file).map_err(cannot)?;
    Ok(left_out)
}

/// Seals what lies behind the place of the seal.
pub(super) fn close(mut file: &File) -> io::Result<()> {
    file.seek(SeekFrom::Start(SEAL as u64))?;
    let digest = digest(&mut file)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&names::seal(&digest))
}

/// The BLAKE3 digest of what there is to read.
pub(super) fn digest(from: &mut impl Read) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            count => drop(hasher.update(buffer.get(..count).unwrap_or_default())),
        }
    }
}
