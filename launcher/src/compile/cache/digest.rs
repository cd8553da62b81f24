//! Digests of modules and of code, taken part by part.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

use aot_config::trailer::{DIGEST, SIZE, Sealer, Trailer};

use crate::error::Error;
use crate::spec::deadline::Deadline;
use crate::spec::module::Module;

/// The digest of a module, which is read.
pub(crate) fn digest(module: &Module, deadline: &Deadline) -> Result<[u8; DIGEST], Error> {
    let mut digest = Digest::default();
    let written = module.write_to(&mut digest, deadline);
    written.map_err(|error| error.into_error("read the module"))?;
    Ok(digest.finish())
}

/// The digest of what is written to it.
#[derive(Default)]
pub(in crate::compile) struct Digest(blake3::Hasher);

impl Digest {
    pub(in crate::compile) fn finish(&self) -> [u8; DIGEST] {
        *self.0.finalize().as_bytes()
    }
}

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Appends the trailer to the ELF file in `file`; the whole length.
pub(in crate::compile) fn seal(
    file: &File,
    trailer: &Trailer,
    key: &[u8; DIGEST],
    deadline: &Deadline,
) -> Result<io::Result<u64>, Error> {
    let length = match file.metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) => return Ok(Err(error)),
    };
    let mut sealer = Sealer::new(key);
    let read = read(file, length, deadline, |bytes| sealer.update(bytes))?;
    Ok(read.and_then(|()| {
        file.write_all_at(&sealer.seal(trailer, length), length)?;
        Ok(length.saturating_add(SIZE as u64))
    }))
}

/// How much of a file is read at once.
const PART: usize = 1 << 17;

/// Reads a file's first `length` bytes.
fn read(
    file: &File,
    length: u64,
    deadline: &Deadline,
    mut each: impl FnMut(&[u8]),
) -> Result<io::Result<()>, Error> {
    // What fits into a processor's own memory, and of a small file no more than it needs: each page costs time.
    let mut buffer = vec![0; usize::try_from(length).map_or(PART, |length| length.min(PART))];
    let mut done = 0u64;
    while done < length {
        deadline.check()?;
        let most = usize::try_from(length.saturating_sub(done))
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        let count = match file.read_at(part, done) {
            Ok(0) => return Ok(Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(Err(error)),
        };
        each(part.get(..count).unwrap_or_default());
        done = done.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    Ok(Ok(()))
}
