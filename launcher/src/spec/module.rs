//! The module on the host: found, looked at, and made ready to be handed to the machine.
//!
//! Only what can be seen from outside is checked here. Whether the module is valid and what it imports is the
//! application's to say, which has to look anyway.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boot_protocol::file_kind::{self, FileKind};
use boot_protocol::shown::message;
use thiserror::Error;

use crate::error::does_not_fit;
use crate::host::shown;
use crate::host::units::show_size;

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
}

impl fmt::Debug for Content {
    /// Without the bytes, of which there may be millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Greeting => f.write_str("Greeting"),
            Self::File(_, length) => write!(f, "File({length} bytes)"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// Why a module cannot be run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// It is not there, or cannot be read.
    #[error("cannot read the module '{}': {reason}", shown::path(path))]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// It is a directory.
    #[error(
        "cannot read the module '{}': it is a directory; name a .wasm or .wat file in it",
        shown::path(path)
    )]
    IsDirectory {
        /// Its path.
        path: PathBuf,
    },
    /// It is not WebAssembly, or not a module.
    #[error("'{}' {reason}", shown::path(path))]
    NotAModule {
        /// Its path.
        path: PathBuf,
        /// What it is instead: the rest of the sentence.
        reason: String,
    },
    /// Its text cannot be translated.
    #[error("'{}' is not valid WebAssembly text: {}", shown::path(path), message(source.to_string()))]
    Text {
        /// Its path.
        path: PathBuf,
        /// Where and why.
        source: wat::Error,
    },
    /// The machine has less memory than it takes.
    #[error("{}", does_not_fit(&format!("'{}' ({}) does", shown::path(path), show_size(*.length)), *.memory, *.least))]
    DoesNotFit {
        /// Its path.
        path: PathBuf,
        /// Its size in bytes.
        length: u64,
        /// The machine's memory in bytes.
        memory: u64,
        /// What it would need at the very least.
        least: u64,
    },
    /// The machine has less memory than the module takes with its arguments and its environment.
    #[error(
        "{}",
        does_not_fit(
            &format!("'{}', its arguments and its environment ({}) do", shown::path(path), show_size(*.length)),
            *.memory,
            *.least
        )
    )]
    ArgumentsDoNotFit {
        /// Its path.
        path: PathBuf,
        /// The size of all that in bytes.
        length: u64,
        /// The machine's memory in bytes.
        memory: u64,
        /// What it would need at the very least.
        least: u64,
    },
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

    /// The module in a file, in binary or in text form. The file is read when the run starts.
    ///
    /// # Errors
    /// It cannot be read, or is not a module.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModuleError> {
        let path = path.as_ref();
        let unreadable = |error: io::Error| unreadable(path, &error);
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(ModuleError::IsDirectory { path: path.into() });
        }
        // What it begins with tells whether the rest, which may be endless, is worth reading.
        let mut bytes = Vec::new();
        let start = u64::try_from(file_kind::START).unwrap_or(u64::MAX);
        (&file).take(start).read_to_end(&mut bytes).map_err(unreadable)?;
        if check(path, &bytes)? == FileKind::Module && metadata.is_file() {
            return Ok(Self {
                name: path.into(),
                content: Content::File(Arc::new(file), metadata.len()),
            });
        }
        // Text has to be translated. A pipe (`<(…)`, /dev/stdin) can be read only once.
        (&file)
            .take(LONGEST)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST) {
            return Err(ModuleError::NotAModule {
                path: path.into(),
                reason: "is larger than 1 GiB, the limit for a module".to_string(),
            });
        }
        Self::from_bytes(path, bytes)
    }

    /// The module in `bytes`, in binary or in text form. Messages and `argv[0]` call it `name`.
    ///
    /// # Errors
    /// It is not a module.
    pub fn from_bytes(name: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Result<Self, ModuleError> {
        let (name, bytes) = (name.into(), bytes.into());
        let bytes = match check(&name, &bytes)? {
            FileKind::Module => bytes,
            // What it says may be a component.
            _ => {
                let binary = translate(&name, &bytes)?;
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

    /// What messages call it.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// Its size in bytes, in binary form; none if the image carries it.
    pub(crate) fn length(&self) -> u64 {
        match &self.content {
            Content::Greeting => 0,
            Content::File(_, length) => *length,
            Content::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
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
    pub(crate) fn write_to(&self, out: &mut impl Write) -> Result<(), WriteError> {
        match &self.content {
            Content::Greeting => Ok(()),
            Content::Bytes(bytes) => out.write_all(bytes).map_err(WriteError::Out),
            Content::File(file, length) => copy(file, *length, out).map_err(|error| match error {
                WriteError::Module(_, error) => WriteError::Module(self.name.clone(), error),
                out => out,
            }),
        }
    }
}

/// Which side of [`Module::write_to`] failed.
#[derive(Debug)]
pub(crate) enum WriteError {
    Module(PathBuf, io::Error),
    Out(io::Error),
}

impl WriteError {
    /// As an error of the run; `attempt` is what was being written.
    pub(crate) fn into_error(self, attempt: &'static str) -> crate::Error {
        match self {
            Self::Module(path, error) => unreadable(&path, &error).into(),
            Self::Out(error) => crate::error::StartError::file(attempt)(error),
        }
    }
}

/// Copies `length` bytes from the start of `file`, wherever its position is: clones of a module share it.
fn copy(file: &File, length: u64, out: &mut impl Write) -> Result<(), WriteError> {
    let module = |error: io::Error| WriteError::Module(PathBuf::new(), error);
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0u64;
    while done < length {
        let rest = usize::try_from(length.saturating_sub(done)).unwrap_or(usize::MAX);
        let most = rest.min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        let count = match file.read_at(part, done) {
            Ok(0) => return Err(module(io::Error::other("it became shorter while it was read"))),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(module(error)),
        };
        out.write_all(part.get(..count).unwrap_or_default())
            .map_err(WriteError::Out)?;
        done = done.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    Ok(())
}

/// What `start` begins, if that can be run: a module, or text.
fn check(path: &Path, start: &[u8]) -> Result<FileKind, ModuleError> {
    let kind = match FileKind::of(start) {
        // The name says it, whatever a comment at its start looks like.
        FileKind::Text if path.extension().is_some_and(|extension| extension == "wat") => FileKind::WasmText,
        kind => kind,
    };
    match kind {
        FileKind::Module | FileKind::WasmText => Ok(kind),
        _ => Err(ModuleError::NotAModule {
            path: path.into(),
            reason: file_kind::refusal(start).unwrap_or_default(),
        }),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> ModuleError {
    let reason = match error.kind() {
        io::ErrorKind::NotFound if path == Path::new("run") => {
            "no such file; put the command 'run' before all flags".to_string()
        }
        io::ErrorKind::NotFound if !path.as_os_str().as_encoded_bytes().contains(&b'/') => {
            "no such file in the current directory".to_string()
        }
        io::ErrorKind::NotFound => "no such file".to_string(),
        io::ErrorKind::PermissionDenied => "permission denied; check its permissions".to_string(),
        _ => error.to_string(),
    };
    ModuleError::Unreadable {
        path: path.into(),
        reason,
    }
}

/// Turns the text form into the binary form.
fn translate(path: &Path, bytes: &[u8]) -> Result<Vec<u8>, ModuleError> {
    let text = std::str::from_utf8(bytes).map_err(|error| ModuleError::NotAModule {
        path: path.into(),
        reason: format!(
            "is not WebAssembly text: the byte at offset {} is not UTF-8",
            error.valid_up_to()
        ),
    })?;
    wat::parse_str(text).map_err(|mut source| {
        source.set_path(path);
        ModuleError::Text {
            path: path.into(),
            source,
        }
    })
}

#[cfg(test)]
#[path = "module_tests.rs"]
mod tests;
