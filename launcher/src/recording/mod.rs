//! Recordings of runs: made by [`Run::record`](crate::Run::record), and replayed as a [`Run`](crate::Run) of their own.
//!
//! What the guest's calls answer comes from the machine, which streams it while the guest runs. Here it is opaque: it is
//! kept in blocks that each bear a check, behind a header that says what ran. So what a file has lost or what was
//! changed in it is noticed here; whether its events mean anything is the replaying machine's to say. The format, in
//! prose: `docs/replay.md`.
//!
//! - `file`: the file's blocks.
//! - `header`: what ran.
//! - `tape`: a recording that is being made.

mod file;
mod header;
mod tape;

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, Write};
use std::path::{Path, PathBuf};

use boot_protocol::shown::piece;
use rustix::fs::{Mode, OFlags};
use thiserror::Error as Errors;

use crate::compile;
use crate::error::{Error, does_not_fit};
use crate::host::units::show_size;
use crate::host::{image, shown};
use crate::spec::deadline::Deadline;
use crate::spec::module::Module;
use crate::spec::reading::WriteError;
use crate::spec::run::Run;
use file::{Block, Kind};
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) use header::{Header, Recorded};
pub(crate) use tape::Tape;

/// A recorded run.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    file: File,
    header: Header,
    /// Bytes of all events together.
    length: u64,
    end: Option<RecordedEnd>,
    allow_other_image: bool,
}

/// How a recorded run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEnd {
    /// Its exit code.
    pub code: u8,
    /// What ended it, in the words of `docs/status.md`: "exit", "trap", "timeout", ….
    pub how: String,
}

/// Why a recording cannot be replayed.
#[derive(Debug, Errors)]
#[non_exhaustive]
pub enum RecordingError {
    /// It cannot be read.
    #[error("the recording '{}' cannot be read: {source}", shown::path(path))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is none, or not what was written.
    #[error("'{}' cannot be replayed: {reason}", shown::path(path))]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What is to run is not what was recorded.
    #[error(
        "{module} is not what was recorded as {place}: its digest is {found}, and the recording's {recorded}"
    )]
    OtherModule {
        /// The module.
        module: String,
        /// What it is to be.
        place: String,
        /// The beginning of its digest.
        found: String,
        /// The beginning of the recorded one's.
        recorded: String,
    },
    /// The machine would boot another image than the recorded one.
    #[error(
        "'{}' was recorded by hermit-wasm {program} with another {engine} image for {arch} than this one carries: replay \
         it with that program, or with --allow-other-image, as far as the guest then does the same",
        shown::path(path)
    )]
    OtherImage {
        /// The file.
        path: PathBuf,
        /// The version of the program that recorded it.
        program: String,
        /// The engine's name.
        engine: &'static str,
        /// The architecture's name.
        arch: &'static str,
    },
    /// It is larger than the machine's memory.
    #[error("{}", does_not_fit(&format!("the recording '{}' ({}) and its module do", shown::path(path), show_size(*length)), *.memory, *.least))]
    DoesNotFit {
        /// The file.
        path: PathBuf,
        /// Bytes of its events.
        length: u64,
        /// The machine's memory in bytes.
        memory: u64,
        /// What it would need at the very least.
        least: u64,
    },
}

impl Recording {
    /// Reads a recording, and checks all of it.
    ///
    /// # Errors
    /// [`RecordingError`]; the run is over.
    pub fn open(path: impl AsRef<Path>, deadline: &Deadline) -> Result<Self, Error> {
        let path = path.as_ref().to_path_buf();
        let opened = rustix::fs::open(
            &path,
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
        );
        let unreadable = |source: io::Error| RecordingError::Unreadable {
            path: path.clone(),
            source,
        };
        let file = File::from(opened.map_err(|error| unreadable(error.into()))?);
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(unreadable(io::Error::other("it is no regular file")).into());
        }
        let refused = |reason: String| RecordingError::Refused {
            path: path.clone(),
            reason,
        };
        let mut header = None;
        let mut end = None;
        let mut length = 0u64;
        let mut reader = BufReader::new(&file);
        let whole = file::read(&mut reader, |block| {
            deadline.check().map_err(Stopped::Run)?;
            match (block.kind, &header) {
                _ if end.is_some() => {
                    return Err(Stopped::Refused("something stands behind its end".to_string()));
                }
                (Kind::Header, None) => {
                    header = Some(Header::decode(block.content).map_err(Stopped::Refused)?);
                }
                (Kind::Events, Some(_)) => {
                    length = length.saturating_add(u64::try_from(block.content.len()).unwrap_or(u64::MAX));
                }
                (Kind::End, Some(_)) => {
                    end = Some(RecordedEnd::decode(block.content).map_err(Stopped::Refused)?);
                }
                _ => return Err(Stopped::Refused("its blocks are out of order".to_string())),
            }
            Ok(())
        });
        let whole = match whole {
            Ok(whole) => whole,
            Err(Stopped::Read(error)) => return Err(unreadable(error).into()),
            Err(Stopped::Refused(reason)) => return Err(refused(reason).into()),
            Err(Stopped::Run(error)) => return Err(error),
        };
        let Some(header) = header else {
            return Err(refused("it ends before it says what was recorded".to_string()).into());
        };
        if !whole {
            log::warn!(
                "the recording '{}' is cut off: its last block is not whole",
                shown::path(&path)
            );
        }
        if end.is_none() {
            log::warn!(
                "the recording '{}' does not say how the run ended: the program that made it was killed, or the file is \
                 not all of it; the replay goes as far as it reaches",
                shown::path(&path)
            );
        }
        Ok(Self {
            path,
            file,
            header,
            length,
            end,
            allow_other_image: false,
        })
    }

    /// Whether it may be replayed with another image than the recorded one: of another version, mostly. The guest may
    /// do something else there, which ends the replay.
    #[must_use]
    pub fn allow_other_image(mut self, allow: bool) -> Self {
        self.allow_other_image = allow;
        self
    }

    /// Where the module was when it was recorded; `None`: it is the one that the image carries.
    #[must_use]
    pub fn module_path(&self) -> Option<&Path> {
        let main = self.header.modules.first()?;
        (!main.is_greeting()).then_some(&main.path)
    }

    /// The names by which others import from the preloaded modules, and where those were, in order.
    pub fn preloads(&self) -> impl Iterator<Item = (&str, &Path)> {
        let preloads = self.header.modules.iter().skip(1);
        preloads.map(|module| (module.name.as_str(), module.path.as_path()))
    }

    /// The recorded machine's memory in bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.header.memory
    }

    /// How the recorded run ended, if whoever recorded it has seen that.
    #[must_use]
    pub fn end(&self) -> Option<&RecordedEnd> {
        self.end.as_ref()
    }

    /// A run that replays it with these modules, which are those that were recorded: the program, and the
    /// [preloads](Self::preloads) in order.
    ///
    /// # Errors
    /// [`RecordingError::OtherModule`], [`RecordingError::OtherImage`], or a module cannot be read; the run is over.
    pub fn run(self, modules: Vec<Module>, deadline: &Deadline) -> Result<Run, Error> {
        if modules.len() != self.header.modules.len() {
            return Err(Error::Invalid(format!(
                "the recording is of {} modules, and {} are given",
                self.header.modules.len(),
                modules.len()
            )));
        }
        for (index, (module, recorded)) in modules.iter().zip(&self.header.modules).enumerate() {
            let digest = match module.is_greeting() {
                true => [0; header::DIGEST],
                false => compile::digest(module, deadline)?,
            };
            if digest != recorded.digest {
                let place = match index {
                    0 => "the program".to_string(),
                    _ => format!("the preload '{}'", piece(&recorded.name)),
                };
                return Err(RecordingError::OtherModule {
                    module: module.to_string(),
                    place,
                    found: header::short(&digest),
                    recorded: header::short(&recorded.digest),
                }
                .into());
            }
        }
        self.check_image()?;
        Run::replaying(self, modules)
    }

    /// Refuses another image than the recorded one. That there is none shows where it is to boot.
    fn check_image(&self) -> Result<(), RecordingError> {
        let Header {
            program,
            image,
            arch,
            engine,
            ..
        } = &self.header;
        match image::of(*arch, *engine) {
            Ok(own) if own.fingerprint != *image && !self.allow_other_image => {
                Err(RecordingError::OtherImage {
                    path: self.path.clone(),
                    program: piece(program).to_string(),
                    engine: engine.name(),
                    arch: arch.name(),
                })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of its events.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Why it cannot be replayed in a machine with so much memory, which would need `least`.
    pub(crate) fn does_not_fit(&self, memory: u64, least: u64) -> RecordingError {
        RecordingError::DoesNotFit {
            path: self.path.clone(),
            length: self.length,
            memory,
            least,
        }
    }

    /// Writes its events, which are checked once more: the file is anybody's to change.
    pub(crate) fn write_to(&self, out: &mut impl Write, deadline: &Deadline) -> Result<(), WriteError> {
        let module = |error: io::Error| WriteError::Module(self.path.clone(), error);
        let mut file = &self.file;
        file.rewind().map_err(module)?;
        let mut left = self.length;
        let mut outcome = Ok(());
        let read = file::read(
            &mut BufReader::new(file.take(u64::MAX)),
            |Block { kind, content }| {
                deadline.check().map_err(Stopped::Run)?;
                let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
                if kind == Kind::Events && length <= left {
                    left = left.saturating_sub(length);
                    outcome = out.write_all(content);
                    if outcome.is_err() {
                        return Err(Stopped::Read(io::ErrorKind::BrokenPipe.into()));
                    }
                }
                Ok(())
            },
        );
        outcome.map_err(WriteError::Out)?;
        match read {
            Ok(_) if left == 0 => Ok(()),
            Ok(_) => Err(module(io::Error::other("it became shorter"))),
            Err(Stopped::Read(error)) => Err(module(error)),
            Err(Stopped::Refused(reason)) => Err(module(io::Error::other(reason))),
            Err(Stopped::Run(error)) => Err(WriteError::Over(error)),
        }
    }
}

impl RecordedEnd {
    /// The longest word for what ended a run.
    const LONGEST: usize = 100;

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.code];
        bytes.extend(self.how.as_bytes());
        bytes
    }

    fn decode(content: &[u8]) -> Result<Self, String> {
        let damaged = || "how the run ended means nothing".to_string();
        let (code, how) = content.split_first().ok_or_else(damaged)?;
        let how = std::str::from_utf8(how).map_err(|_| damaged())?;
        let is_word = how.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if !is_word || how.len() > Self::LONGEST {
            return Err(damaged());
        }
        Ok(Self {
            code: *code,
            how: how.to_string(),
        })
    }
}

/// Why reading stopped.
pub(crate) enum Stopped {
    /// The file cannot be read.
    Read(io::Error),
    /// What it says cannot be used.
    Refused(String),
    /// The run is over.
    Run(Error),
}

#[cfg(test)]
mod tests;
