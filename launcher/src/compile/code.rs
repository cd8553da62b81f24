//! Native code in a file, which is handed over only if it is what was sealed.
//!
//! Whoever owns the file can change it at any time, also without a trace in its times: through a mapping, or on a disk
//! that another host has mounted. So nothing that was seen of a file before counts. Each byte is looked at on its way
//! into the memory of the machine, and what arrives there is what the keyed digest is of.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aot_config::trailer::{SIZE, Sealer, Trailer, TrailerError};

use super::cache::{self, Cache};
use super::{ForeignError, Target};
use crate::error::Error;
use crate::spec::deadline::Deadline;
use crate::spec::reading::{WriteError, copy};

/// Native code in a file: wasmtime's ELF file and our trailer. Clones share it.
#[derive(Clone, Debug)]
pub struct Code {
    pub(super) file: Arc<File>,
    pub(super) length: u64,
    pub(super) trailer: Trailer,
    /// What messages call it.
    pub(super) path: PathBuf,
    /// Of the key that it must be sealed with; `None`: it is taken as it is.
    pub(super) sealer: Option<Box<Sealer>>,
}

impl Code {
    /// Its length in bytes, with the trailer.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What it was compiled for.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            level: self.trailer.level,
            options: self.trailer.options,
        }
    }

    /// Code in a file that somebody names. What this user's launcher has compiled is taken as it is; anything else only
    /// if `foreign` code is allowed, since code is trusted as no module is. Which of both it is shows when it is
    /// [written](Self::write_to).
    ///
    /// # Errors
    /// [`ForeignError`]; the outer error is the run's, which is over.
    pub fn open(
        path: &Path,
        foreign: bool,
        deadline: &Deadline,
    ) -> Result<Result<Self, ForeignError>, Error> {
        let name = path.to_path_buf();
        // A file of another machine may be long in coming.
        let opened = deadline.aside(move || {
            let file = cache::open_file(&name)?;
            let length = file.metadata()?.len();
            Ok::<_, io::Error>((tail(&file, length)?, file, length))
        })?;
        let path = path.to_path_buf();
        let (tail, file, length) = match opened {
            Ok(opened) => opened,
            Err(source) => return Ok(Err(ForeignError::Unreadable { path, source })),
        };
        let sealer = match (foreign, Cache::open()) {
            (true, _) => Ok(None),
            (false, Ok(cache)) => Ok(Some(Box::new(cache.sealer()))),
            // Without a cache there is no key.
            (false, Err(_)) => Err(TrailerError::NotOurs),
        };
        let trailer = Trailer::parse(&tail, length);
        Ok(match trailer.and_then(|trailer| Ok((trailer, sealer?))) {
            Ok((trailer, sealer)) => Ok(Self {
                file: file.into(),
                length,
                trailer,
                path,
                sealer,
            }),
            Err(reason) => Err(ForeignError::Refused { path, reason }),
        })
    }

    /// Writes the whole file. Where this fails, `out` has what must not be used.
    ///
    /// # Errors
    /// The system's, or it is not what this user's launcher has compiled.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let written = self.hand_over(out, &Deadline::never());
        written.map_err(|error| match error {
            WriteError::Code(ForeignError::Unreadable { source, .. }) | WriteError::Out(source) => source,
            other => io::Error::other(other.into_error("write the code").to_string()),
        })
    }

    /// The same for a run.
    pub(crate) fn hand_over(&self, out: &mut impl Write, deadline: &Deadline) -> Result<(), WriteError> {
        let path = || self.path.clone();
        let named = |error| match error {
            WriteError::Module(_, source) => {
                WriteError::Code(ForeignError::Unreadable { path: path(), source })
            }
            other => other,
        };
        let Some(sealer) = &self.sealer else {
            return copy(&self.file, 0..self.length, out, deadline).map_err(named);
        };
        let mut checked = Checked {
            out,
            sealer: (**sealer).clone(),
            elf: self.length.saturating_sub(SIZE as u64),
            tail: Vec::with_capacity(SIZE),
        };
        copy(&self.file, 0..self.length, &mut checked, deadline).map_err(named)?;
        match checked.trailer(self.length) {
            Some(trailer) if trailer == self.trailer => Ok(()),
            _ => {
                let reason = TrailerError::NotOurs;
                Err(WriteError::Code(ForeignError::Refused { path: path(), reason }))
            }
        }
    }

    /// Whether it is what was sealed, as far as it can be read.
    ///
    /// # Errors
    /// The run is over.
    pub(super) fn is_whole(&self, deadline: &Deadline) -> Result<bool, Error> {
        match self.hand_over(&mut io::sink(), deadline) {
            Ok(()) => Ok(true),
            Err(WriteError::Over(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }
}

/// A place whose bytes are looked at on their way.
struct Checked<'a, W> {
    out: &'a mut W,
    sealer: Sealer,
    /// How much of the ELF file is to come.
    elf: u64,
    /// What has come of the trailer.
    tail: Vec<u8>,
}

impl<W> Checked<'_, W> {
    /// The trailer that has come, if it seals all that came before.
    fn trailer(self, length: u64) -> Option<Trailer> {
        let tail: [u8; SIZE] = self.tail.try_into().ok()?;
        self.sealer
            .is_sealed(&tail)
            .then(|| Trailer::parse(&tail, length).ok())?
    }
}

impl<W: Write> Write for Checked<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        let taken = bytes.get(..count).unwrap_or_default();
        let elf = usize::try_from(self.elf).unwrap_or(usize::MAX).min(taken.len());
        let (elf, tail) = taken.split_at_checked(elf).unwrap_or((taken, &[]));
        self.sealer.update(elf);
        self.elf = self
            .elf
            .saturating_sub(u64::try_from(elf.len()).unwrap_or(u64::MAX));
        self.tail.extend_from_slice(tail);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The trailer's place at the end of a file.
pub(super) fn tail(file: &File, length: u64) -> io::Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    if let Some(at) = length.checked_sub(SIZE as u64) {
        file.read_exact_at(&mut bytes, at)?;
    }
    Ok(bytes)
}
