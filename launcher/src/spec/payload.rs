//! The payload: the description of the run, the programs and copies of directories in one tar archive.
//!
//! Its form: `boot_protocol::payload`. How directories are copied: `copying`.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};

use boot_protocol::payload as names;
use boot_protocol::run_spec::RunSpec;
use tar::Header;

use super::copying::{self, Copied};
use super::deadline::Deadline;
use super::program::Programs;
use crate::error::{Error, StartError};
use crate::host::files::HostFile;
use crate::pack::Packed;

/// Unit of a tar archive.
pub(super) const BLOCK: u64 = 512;

/// What may stop the making of a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds<'a> {
    /// Most bytes: what does not fit into the machine need not be read.
    pub(crate) bytes: u64,
    /// When the run's time is over.
    pub(crate) deadline: &'a Deadline,
}

/// A payload.
#[derive(Debug)]
pub(crate) struct Payload {
    /// For QEMU's `-initrd`.
    pub(crate) file: HostFile,
    /// Its size in bytes.
    pub(crate) length: u64,
    /// What was left out, for people: a line for each directory of which something was.
    pub(crate) warnings: Vec<String>,
}

/// Puts the description, the programs and the copies of `directories` into one file, which has no name.
pub(crate) fn build(
    spec: &RunSpec,
    programs: &Programs<'_>,
    directories: &[Copied<'_>],
    bounds: Bounds<'_>,
) -> Result<Payload, Error> {
    let file = HostFile::empty("payload.tar").map_err(StartError::file(KEEP))?;
    let (length, warnings) = write(file.file(), Some(spec), programs, directories, bounds)?;
    file.finish().map_err(StartError::file(KEEP))?;
    Ok(Payload {
        file,
        length,
        warnings,
    })
}

/// A payload that was packed.
pub(crate) fn of_packed(packed: &Packed, deadline: &Deadline) -> Result<Payload, Error> {
    let file = HostFile::empty("payload.tar").map_err(StartError::file(KEEP))?;
    let written = packed.write_to(&mut file.file(), deadline);
    written.map_err(|error| error.into_error(KEEP))?;
    file.finish().map_err(StartError::file(KEEP))?;
    Ok(Payload {
        file,
        length: packed.length(),
        warnings: Vec::new(),
    })
}

pub(super) const KEEP: &str = "keep the payload in memory for the hypervisor";

/// Writes the archive into `file`; its length, and what was left out. Without `spec`, words on the kernel command line
/// describe the run.
pub(crate) fn write(
    file: &File,
    spec: Option<&RunSpec>,
    programs: &Programs<'_>,
    directories: &[Copied<'_>],
    bounds: Bounds<'_>,
) -> Result<(u64, Vec<String>), Error> {
    let mut warnings = Vec::new();
    let cannot = |error: io::Error| StartError::file(KEEP)(error);
    if let Some(spec) = spec {
        member(file, names::RUN_SPEC, 1, |out| {
            out.write_all(&spec.encode()).map_err(cannot)
        })?;
    }
    for (name, alignment, program) in programs.members() {
        member(file, &name, alignment, |out| {
            let written = program.write_to(out, bounds.deadline);
            written.map_err(|error| error.into_error(KEEP))
        })?;
    }
    if let Some(recording) = programs.recording {
        member(file, names::RECORDING, 1, |out| {
            let written = recording.write_to(out, bounds.deadline);
            written.map_err(|error| error.into_error(KEEP))
        })?;
    }
    for (index, copied) in directories.iter().enumerate() {
        member(file, &names::directory(index), 1, |out| {
            warnings.extend(copying::copy(*copied, out, bounds)?);
            Ok(())
        })?;
    }
    Ok((end(file).map_err(cannot)?, warnings))
}

/// Ends the archive; its length.
pub(crate) fn end(mut file: &File) -> io::Result<u64> {
    // Two empty blocks.
    file.write_all(&[0; 1024])?;
    file.stream_position()
}

/// Appends a member whose size is known only when `write` has written it. Its data starts at a multiple of `alignment`,
/// behind a member of padding if need be.
pub(crate) fn member(
    mut file: &File,
    name: &str,
    alignment: u64,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), Error>,
) -> Result<(), Error> {
    let cannot = |error: io::Error| StartError::file(KEEP)(error);
    let mut start = file.stream_position().map_err(cannot)?;
    let data = start.saturating_add(BLOCK).next_multiple_of(alignment.max(BLOCK));
    if let Some(zeros) = data.saturating_sub(start).checked_sub(2 * BLOCK) {
        put_header(file, names::PADDING, zeros).map_err(cannot)?;
        start = data.saturating_sub(BLOCK);
    }
    file.seek(SeekFrom::Start(data)).map_err(cannot)?;
    // Larger pieces, of which a module or its code comes, go past it without another copy.
    let mut out = BufWriter::with_capacity(1 << 16, file);
    write(&mut out)?;
    out.flush().map_err(cannot)?;
    drop(out);
    let end = file.stream_position().map_err(cannot)?;
    file.seek(SeekFrom::Start(start)).map_err(cannot)?;
    put_header(file, name, end.saturating_sub(data)).map_err(cannot)?;
    file.seek(SeekFrom::Start(end.next_multiple_of(BLOCK)))
        .map_err(cannot)?;
    Ok(())
}

/// Writes the header of a member of so many bytes.
fn put_header(mut file: &File, name: &str, size: u64) -> io::Result<()> {
    file.write_all(header(name, size)?.as_bytes())
}

/// The header of a member of so many bytes.
pub(crate) fn header(name: &str, size: u64) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
#[path = "payload_tests.rs"]
pub(super) mod tests;
