//! The module on the host: found, looked at, and made ready to be handed to the machine.
//!
//! Only what can be seen from outside is checked here. Whether the module is valid and what it imports is the
//! application's to say, which has to look anyway.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boot_protocol::file_kind::{self, FileKind};
use rustix::fs::{Mode, OFlags};

use super::deadline::Deadline;
use super::module_error::unreadable;
pub use super::module_error::{ModuleError, TextError};
use super::reading::{ReadError, Source, WriteError, copy};
use super::run::DEFAULT_MEMORY;
use super::text;
use crate::error::Error;
use crate::host::nonblocking::is_remote;
use crate::host::shown;

/// A WebAssembly module to run. Clones share its bytes.
#[derive(Clone, Debug)]
pub struct Module {
    /// What messages call it.
    name: PathBuf,
    content: Content,
}

#[derive(Clone)]
enum Content {
    /// The image's own module.
    Greeting,
    /// A file in binary form, and its length in bytes.
    File(Arc<File>, u64),
    Bytes(Arc<[u8]>),
    /// A file that is native code already, and its length in bytes.
    Precompiled(u64),
}

impl fmt::Debug for Content {
    /// Without the bytes, of which there may be millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greeting => f.write_str("Greeting"),
            Self::File(_, length) => write!(f, "File({length} bytes)"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Precompiled(length) => write!(f, "Precompiled({length} bytes)"),
        }
    }
}

/// No module is longer: the interpreter's limit, which is that of the JavaScript API's specification.
const LONGEST: u64 = 1 << 30;

impl Module {
    /// The module that every image carries: it greets and shows its arguments and its environment.
    #[must_use]
    pub fn greeting() -> Self {
        Self {
            name: "the embedded module".into(),
            content: Content::Greeting,
        }
    }

    /// What stands for the module where one was packed, in a payload of `length` bytes.
    pub(crate) fn packed(path: &Path, length: u64) -> Self {
        Self {
            name: path.into(),
            content: Content::Precompiled(length),
        }
    }

    /// The module in a file, in binary or in text form. A file in binary form is read when the run starts. A pipe is
    /// read here, to its end, and waited for as long as that takes.
    ///
    /// # Errors
    /// It cannot be read, or is not a module.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModuleError> {
        let path = path.as_ref();
        match Self::open_until(path, DEFAULT_MEMORY, &Deadline::never()) {
            Err(Error::Module(error)) => Err(error),
            // Nothing else is possible without a deadline, but for a system that has no threads or pipes left.
            result => result.map_err(|error| ModuleError::Unreadable {
                path: path.into(),
                reason: error.to_string(),
            }),
        }
    }

    /// The same for a run that has a deadline, in a machine of `memory` bytes, which bounds what is read of a pipe and
    /// what the translation of a text may take.
    ///
    /// # Errors
    /// It cannot be read, or is not a module; [`Error::Timeout`] or [`Error::Stopped`].
    pub fn open_until(path: impl AsRef<Path>, memory: u64, deadline: &Deadline) -> Result<Self, Error> {
        let path = path.as_ref();
        let deadline = &deadline.clone().of(format!("'{}'", shown::path(path)));
        let unreadable = |error: io::Error| unreadable(path, &error);
        let name = path.to_path_buf();
        // A file of another machine may be long in coming.
        let (file, metadata) = deadline
            .aside(move || {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                let file = File::from(rustix::fs::open(&name, flags, Mode::empty())?);
                let metadata = file.metadata()?;
                Ok((Arc::new(file), metadata))
            })?
            .map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(ModuleError::IsDirectory { path: path.into() }.into());
        }
        let length = metadata.is_file().then_some(metadata.len());
        Self::read_until(path, &file, length, memory, deadline)
    }

    /// The same for a regular file that is open already, and which messages call `path`.
    ///
    /// # Errors
    /// As [`Self::open_until`].
    #[cfg(feature = "oci")]
    pub(crate) fn of_file(path: &Path, file: File, memory: u64, deadline: &Deadline) -> Result<Self, Error> {
        let length = file.metadata().map_err(|error| unreadable(path, &error))?.len();
        Self::read_until(path, &Arc::new(file), Some(length), memory, deadline)
    }

    /// The module that comes through this process's standard input, read to its end. The guest's own standard input
    /// must be another one. Messages and `argv[0]` call it `-`.
    ///
    /// # Errors
    /// As [`Self::open_until`].
    pub fn stdin_until(memory: u64, deadline: &Deadline) -> Result<Self, Error> {
        let path = Path::new("-");
        let unreadable = |error: io::Error| unreadable(path, &error);
        let file = io::stdin().as_fd().try_clone_to_owned().map_err(unreadable)?;
        let file = Arc::new(File::from(file));
        // A file too is read from where it stands: a shell may have read before.
        Self::read_until(path, &file, None, memory, &deadline.clone().of("'-'".to_string()))
    }

    /// The module in what is open: in a file of so many bytes, or in what is read to its end.
    fn read_until(
        path: &Path,
        file: &Arc<File>,
        file_length: Option<u64>,
        memory: u64,
        deadline: &Deadline,
    ) -> Result<Self, Error> {
        let unreadable = |error: io::Error| unreadable(path, &error);
        let mut source = Source {
            file,
            // Neither a pipe nor a terminal is waited for in a read.
            waits: file_length.is_none(),
            remote: is_remote(&**file),
            deadline,
        };
        let unreadable = |error: ReadError| match error {
            ReadError::Over(error) => error,
            ReadError::File(error) => unreadable(error).into(),
        };
        // What it begins with tells whether the rest, which may be endless, is worth reading.
        let mut bytes = Vec::new();
        source.read_to(&mut bytes, file_kind::START).map_err(unreadable)?;
        let kind = check(path, &bytes)?;
        let known = file_length.unwrap_or(0);
        if kind == FileKind::Module && file_length.is_some() {
            return Ok(Self {
                name: path.into(),
                content: Content::File(file.clone(), known),
            });
        }
        if kind == FileKind::NativeCode {
            return Self::native(path, &bytes, file_length.is_some(), known).map_err(Error::from);
        }
        // Text has to be translated. A pipe (`<(…)`, /dev/stdin) can be read only once.
        let most = match kind {
            FileKind::Module => memory.min(LONGEST),
            _ => text::longest(memory),
        };
        let enough = usize::try_from(most.saturating_add(1)).unwrap_or(usize::MAX);
        if known <= most {
            source.read_to(&mut bytes, enough).map_err(unreadable)?;
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX).max(known);
        if length <= most {
            return Self::translated(path.into(), bytes, memory, deadline);
        }
        Err(match kind {
            FileKind::Module if length > LONGEST => ModuleError::NotAModule {
                path: path.into(),
                reason: "is larger than 1 GiB, the limit for a module".to_string(),
            },
            FileKind::Module => ModuleError::DoesNotFit {
                path: path.into(),
                length,
                memory,
                least: length,
            },
            _ => text::too_large(path, length, memory),
        }
        .into())
    }

    /// A file of native code, which begins with `start`. Whether it may run is for the run to say.
    fn native(path: &Path, start: &[u8], is_file: bool, length: u64) -> Result<Self, ModuleError> {
        let reason = match start.get(ELF_FLAGS) {
            _ if !is_file => "is native code, which must be a file",
            Some(&ELF_MODULE) => {
                return Ok(Self {
                    name: path.into(),
                    content: Content::Precompiled(length),
                });
            }
            Some(&ELF_COMPONENT) => {
                "is the native code of a WebAssembly component, and components are not supported; compile a module"
            }
            _ => {
                "is compiled for wasmtime's own interpreter, or cut off; compile the module with `hermit-wasm compile`"
            }
        };
        Err(ModuleError::NotAModule {
            path: path.into(),
            reason: reason.to_string(),
        })
    }

    /// The module in `bytes`, in binary or in text form. Messages and `argv[0]` call it `name`.
    ///
    /// # Errors
    /// It is not a module.
    pub fn from_bytes(name: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Result<Self, ModuleError> {
        let name = name.into();
        match Self::translated(name.clone(), bytes.into(), DEFAULT_MEMORY, &Deadline::never()) {
            Err(Error::Module(error)) => Err(error),
            result => result.map_err(|error| ModuleError::Unreadable {
                path: name,
                reason: error.to_string(),
            }),
        }
    }

    /// The module in `bytes`, which are translated if they are text.
    fn translated(name: PathBuf, bytes: Vec<u8>, memory: u64, deadline: &Deadline) -> Result<Self, Error> {
        let bytes = match check(&name, &bytes)? {
            FileKind::Module => bytes,
            FileKind::NativeCode => {
                return Err(ModuleError::NotAModule {
                    path: name,
                    reason: "is native code, which must be a file".to_string(),
                }
                .into());
            }
            // What it says may be a component.
            _ => {
                let binary = text::translate(&name, &bytes, memory, deadline)?;
                check(&name, &binary)?;
                binary
            }
        };
        Ok(Self {
            name,
            content: Content::Bytes(bytes.into()),
        })
    }

    /// Whether it is the one that the image carries.
    pub(crate) const fn is_greeting(&self) -> bool {
        matches!(self.content, Content::Greeting)
    }

    /// Whether it is native code already.
    pub(crate) const fn is_precompiled(&self) -> bool {
        matches!(self.content, Content::Precompiled(_))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Its size in bytes, in binary form; none if the image carries it.
    pub(crate) fn length(&self) -> u64 {
        match &self.content {
            Content::Greeting => 0,
            Content::File(_, length) | Content::Precompiled(length) => *length,
            Content::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }

    /// The file that its bytes are in, from the start of it, and how many; none if they are in memory.
    pub(crate) fn file(&self) -> Option<(&Arc<File>, u64)> {
        match &self.content {
            Content::File(file, length) => Some((file, *length)),
            Content::Greeting | Content::Bytes(_) | Content::Precompiled(_) => None,
        }
    }

    /// The path of a file of the host's that holds exactly its bytes, if it came from one and nobody replaced it.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        use std::os::unix::fs::MetadataExt as _;
        let Content::File(file, _) = &self.content else {
            return None;
        };
        let path = self.name.canonicalize().ok()?;
        let (there, open) = (path.metadata().ok()?, file.metadata().ok()?);
        ((there.dev(), there.ino()) == (open.dev(), open.ino())).then_some(path)
    }

    /// Writes its bytes: of a file, as many as it had when it was opened. One that became shorter since is an error.
    pub(crate) fn write_to(&self, out: &mut impl Write, deadline: &Deadline) -> Result<(), WriteError> {
        match &self.content {
            // The former is the image's, the latter a `compile::Code`'s to write.
            Content::Greeting | Content::Precompiled(_) => Ok(()),
            Content::Bytes(bytes) => out.write_all(bytes).map_err(WriteError::Out),
            Content::File(file, length) => self.copy(file, 0..*length, out, deadline),
        }
    }

    /// The bytes of `range`, which is inside of it.
    pub(crate) fn part(&self, range: Range<u64>, deadline: &Deadline) -> Result<Vec<u8>, WriteError> {
        let mut part = Vec::new();
        match &self.content {
            Content::Greeting | Content::Precompiled(_) => {}
            Content::Bytes(bytes) => {
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
                part.extend(
                    bytes
                        .get(place(range.start)..place(range.end))
                        .unwrap_or_default(),
                );
            }
            Content::File(file, _) => self.copy(file, range, &mut part, deadline)?,
        }
        Ok(part)
    }

    /// Copies a range of the file that it is in.
    fn copy(
        &self,
        file: &Arc<File>,
        range: Range<u64>,
        out: &mut impl Write,
        deadline: &Deadline,
    ) -> Result<(), WriteError> {
        copy(file, range, out, deadline).map_err(|error| match error {
            WriteError::Module(_, error) => WriteError::Module(self.name.clone(), error),
            out => out,
        })
    }
}

impl fmt::Display for Module {
    /// As messages call it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_greeting() {
            true => f.write_str(&shown::path(&self.name)),
            false => write!(f, "'{}'", shown::path(&self.name)),
        }
    }
}

/// Where an ELF file of native code says what it was made of (the lowest byte of `e_flags`), and what it says there.
const ELF_FLAGS: usize = 48;
const ELF_MODULE: u8 = 1;
const ELF_COMPONENT: u8 = 2;

/// What `start` begins, if that can be run: a module, or text.
pub(crate) fn check(path: &Path, start: &[u8]) -> Result<FileKind, ModuleError> {
    let kind = match FileKind::of(start) {
        // The name says it, whatever a comment at its start looks like.
        FileKind::Text if path.extension().is_some_and(|extension| extension == "wat") => FileKind::WasmText,
        kind => kind,
    };
    match kind {
        FileKind::Module | FileKind::WasmText | FileKind::NativeCode => Ok(kind),
        _ => Err(ModuleError::NotAModule {
            path: path.into(),
            reason: file_kind::refusal(start).unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
#[path = "module_tests.rs"]
mod tests;
