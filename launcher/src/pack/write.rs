//! Packing: the file that is made of a payload.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;

use boot_protocol::arch::Arch;
use boot_protocol::payload::SEAL;

use super::packed::ADVICE;
use super::trailer::Trailer;
use super::{Format, Packed, mark};
use crate::error::{Error, StartError};
use crate::host::image;
use crate::spec::engine::Engine;
use crate::spec::module::ModuleError;

const WRITE: &str = "write the packed file";

/// What the payload is packed for.
pub(crate) struct Purpose {
    pub(crate) format: Format,
    pub(crate) arch: Arch,
    pub(crate) engine: Engine,
    /// The machine's memory in bytes.
    pub(crate) memory: u64,
}

/// Makes the file `output` at once, or not at all: `write` writes the payload into the empty file that it is given.
pub(super) fn write<T>(
    output: &Path,
    purpose: &Purpose,
    write: impl FnOnce(&File) -> Result<T, Error>,
) -> Result<T, Error> {
    #[cfg(feature = "oci")]
    if let Format::Oci(image) = &purpose.format {
        return super::oci::write(output, image, purpose, write);
    }
    let cannot = |error| StartError::file(WRITE)(error);
    let directory = parent(output);
    // As open(2) takes it: less what the umask says.
    let mode = match purpose.format {
        Format::Exe => 0o777,
        _ => 0o666,
    };
    let new = tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(directory)
        .map_err(cannot)?;
    let made = match purpose.format {
        Format::Exe => {
            // The payload is made apart: what is aligned in it is aligned from its start.
            let payload = tempfile::tempfile_in(directory).map_err(cannot)?;
            let made = write(&payload)?;
            executable(&payload, new.as_file(), purpose)?;
            made
        }
        Format::App | Format::Image => {
            let mut payload = tempfile::tempfile_in(directory).map_err(cannot)?;
            let made = write(&payload)?;
            let mut bytes = Vec::new();
            payload.seek(SeekFrom::Start(0)).map_err(cannot)?;
            payload.read_to_end(&mut bytes).map_err(cannot)?;
            let booting = booting(&purpose.format, purpose.arch, purpose.engine, &bytes)?;
            new.as_file().write_all(&booting).map_err(cannot)?;
            made
        }
        // The payload alone.
        _ => write(new.as_file())?,
    };
    check(new.path(), output)?;
    new.persist(output).map_err(|error| cannot(error.error))?;
    Ok(made)
}

/// The directory that a file is made in.
pub(super) fn parent(output: &Path) -> &Path {
    output
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// What is in the file `new`. Refuses to make `output` of it if nobody could read it: its parts may be anybody's.
pub(super) fn check(new: &Path, output: &Path) -> Result<Packed, Error> {
    let why = match Packed::open(new) {
        Ok(Some(packed)) => return Ok(packed),
        Ok(None) => "would not be a packed file".to_string(),
        Err(Error::Module(ModuleError::NotAModule { reason, .. })) => {
            reason.strip_suffix(ADVICE).unwrap_or(&reason).to_string()
        }
        Err(error) => return Err(error),
    };
    let path = output.into();
    let reason = format!("was not made, since it {why}");
    Err(ModuleError::NotAModule { path, reason }.into())
}

/// The application or the image that this program carries, with the payload inside.
pub(super) fn booting(format: &Format, arch: Arch, engine: Engine, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let made = match format {
        Format::App => ::packed::application(image::application(arch, engine)?.bytes, payload),
        _ => ::packed::image(image::of(arch, engine)?.bytes, payload),
    };
    made.map_err(|error| Error::Invalid(format!("the payload cannot be put into the {format}: {error}")))
}

/// This program as it is in an executable, up to the payload; `None` if it cannot carry one.
pub(super) fn carrier() -> io::Result<Option<Vec<u8>>> {
    let path = std::env::current_exe()?;
    // Of a program that carries a payload itself, the program alone.
    let length = Packed::open(&path)
        .map_err(io::Error::other)?
        .map_or(u64::MAX, |packed| packed.start());
    let mut program = Vec::new();
    File::open(path)?.take(length).read_to_end(&mut program)?;
    if !mark::set(&mut program) {
        return Ok(None);
    }
    let page = usize::try_from(boot_protocol::payload::ALIGNMENT).unwrap_or(1);
    program.resize(program.len().next_multiple_of(page), 0);
    Ok(Some(program))
}

/// Writes this program, the payload and what says where it is.
fn executable(payload: &File, mut out: &File, purpose: &Purpose) -> Result<(), Error> {
    let cannot = |error| StartError::file(WRITE)(error);
    let Some(program) = carrier().map_err(cannot)? else {
        return Err(Error::Invalid(
            "--format exe: this program was changed after it was built, and cannot carry a payload"
                .to_string(),
        ));
    };
    out.write_all(&program).map_err(cannot)?;
    append(payload, out, purpose).map_err(cannot)
}

/// Writes the payload and the trailer.
fn append(mut payload: &File, mut out: &File, purpose: &Purpose) -> io::Result<()> {
    let start = out.seek(SeekFrom::End(0))?;
    payload.seek(SeekFrom::Start(0))?;
    let length = io::copy(&mut payload, &mut out)?;
    let mut seal = [0; SEAL];
    payload.read_exact_at(&mut seal, 0)?;
    let trailer = Trailer {
        arch: purpose.arch,
        payload: (start, length),
        memory: purpose.memory,
    };
    out.write_all(&trailer.encode(&seal))
}
