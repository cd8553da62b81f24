//! Native code: compiled on this host by a program of its own, in a jail, and kept in a cache for the next run.
//!
//! A [`Compilation`] is one module for one [`Target`]. [`lookup`](Compilation::lookup) says whether it was compiled
//! before, [`compile`](Compilation::compile) does it now, [`later`](Compilation::later) for the next time. [`Code`] is
//! a file that bears this user's keyed digest; [`Code::open`] takes one from elsewhere.
//!
//! Nothing here runs code. A module is compiled in a process that sees no file and no network, has bounded memory and
//! time, and answers with bytes, which the machine's runtime checks again.
//!
//! - `cache`: what was compiled before.
//! - `compiler`: the program, found and run.
//! - `error`: why there is no code.
//! - `later`: a process that goes on when this one has ended.

mod cache;
mod compiler;
mod error;
mod later;

use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aot_config::trailer::{DIGEST, SIZE, Trailer, TrailerError};

pub use aot_config::{Arch, CpuLevel, Options};
pub use error::{CompileError, ForeignError};
pub use later::perform as for_next_time;

use crate::error::{Error, StartError};
use crate::host::files::HostFile;
use crate::host::units::MIB;
use crate::jail::Jail;
use crate::spec::deadline::Deadline;
use crate::spec::module::Module;
use cache::{Cache, Found};

/// What code is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Architecture and processor.
    pub level: CpuLevel,
    /// What it does besides computing.
    pub options: Options,
}

impl Target {
    /// For every processor that a machine of this architecture has.
    #[must_use]
    pub fn new(arch: Arch) -> Self {
        Self {
            level: arch.default_level(),
            options: Options::default(),
        }
    }
}

/// What a compilation may take.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Its time.
    pub time: Duration,
    /// Its private memory, in bytes.
    pub memory: u64,
}

impl Budget {
    /// What is enough for a module of `length` bytes, by far: Cranelift takes some fifteen times that for CPython, and more
    /// than fifty times that for Go's large functions.
    #[must_use]
    pub fn of(length: u64) -> Self {
        Self {
            time: Duration::from_secs(600),
            memory: (512 * MIB)
                .saturating_add(length.saturating_mul(192))
                .min(8192 * MIB),
        }
    }
}

/// How far a compilation is; no functions at all while another process compiles the same module, and is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Functions that are compiled.
    pub done: u32,
    /// Functions that the module has.
    pub all: u32,
    /// How long it has taken.
    pub elapsed: Duration,
}

/// Native code in a file: wasmtime's ELF file and our trailer. Clones share it.
#[derive(Clone, Debug)]
pub struct Code {
    file: Arc<File>,
    length: u64,
    trailer: Trailer,
}

impl Code {
    /// The file, and its length in bytes, with the trailer.
    #[must_use]
    pub fn file(&self) -> (&Arc<File>, u64) {
        (&self.file, self.length)
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
    /// if `foreign` code is allowed, since code is trusted as no module is.
    ///
    /// # Errors
    /// [`ForeignError`]; the outer error is the run's, which is over.
    pub fn open(
        path: &Path,
        foreign: bool,
        deadline: &Deadline,
    ) -> Result<Result<Self, ForeignError>, Error> {
        let name = path.to_path_buf();
        let opened = deadline.aside(move || {
            let file = cache::open_file(&name)?;
            let length = file.metadata()?.len();
            Ok::<_, io::Error>((file, length))
        })?;
        let path = || path.to_path_buf();
        let unreadable = |source| ForeignError::Unreadable { path: path(), source };
        let refused = |reason| ForeignError::Refused { path: path(), reason };
        let read = opened.and_then(|(file, length)| Ok((tail(&file, length)?, file, length)));
        let (tail, file, length) = match read {
            Ok(read) => read,
            Err(error) => return Ok(Err(unreadable(error))),
        };
        let trailer = match Trailer::parse(&tail, length) {
            Ok(trailer) => trailer,
            Err(reason) => return Ok(Err(refused(reason))),
        };
        let sealed = match (foreign, Cache::open()) {
            (true, _) => Ok(true),
            (false, Ok(cache)) => cache.is_sealed(&file, length, deadline)?,
            // Without a cache there is no key.
            (false, Err(_)) => Ok(false),
        };
        Ok(match sealed {
            Ok(true) => Ok(Self {
                file: file.into(),
                length,
                trailer,
            }),
            Ok(false) => Err(refused(TrailerError::NotOurs)),
            Err(error) => Err(unreadable(error)),
        })
    }

    /// Writes the whole file.
    ///
    /// # Errors
    /// The system's.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        const PART: usize = 1 << 18;
        // Of a small file no more than it needs: each page costs time.
        let most = |rest: u64| usize::try_from(rest).map_or(PART, |rest| rest.min(PART));
        let mut buffer = vec![0; most(self.length)];
        let mut done = 0;
        while done < self.length {
            let part = buffer
                .get_mut(..most(self.length.saturating_sub(done)))
                .unwrap_or_default();
            let count = match self.file.read_at(part, done) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            out.write_all(part.get(..count).unwrap_or_default())?;
            done = done.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// The trailer's place at the end of a file.
fn tail(file: &File, length: u64) -> io::Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    if let Some(at) = length.checked_sub(SIZE as u64) {
        file.read_exact_at(&mut bytes, at)?;
    }
    Ok(bytes)
}

/// Whether a module was compiled before.
#[derive(Debug)]
pub enum Lookup {
    /// Yes.
    Found(Code),
    /// No, or what is kept cannot be used, and was removed: why.
    Missing(Option<String>),
    /// It was tried within the last day, and cannot be done: why.
    Failed(String),
    /// Nothing is kept here: why.
    NoCache(String),
}

/// The compiler that is used, for `check`.
pub(crate) fn compiler() -> Result<PathBuf, CompileError> {
    compiler::find()
}

/// Where code is kept, for `check`; or why none is.
pub(crate) fn cache() -> Result<PathBuf, String> {
    let cache = Cache::open()?;
    cache.is_writable().map(|()| cache.path().to_path_buf())
}

/// One module for one target.
#[derive(Debug)]
pub struct Compilation<'a> {
    module: &'a Module,
    target: Target,
    digest: [u8; DIGEST],
    cache: Result<Cache, String>,
}

impl<'a> Compilation<'a> {
    /// Takes the module's digest, by which it is known.
    ///
    /// # Errors
    /// It cannot be read; [`Error::Timeout`] or [`Error::Stopped`].
    pub fn new(module: &'a Module, target: Target, deadline: &Deadline) -> Result<Self, Error> {
        let cache = Cache::open();
        let digest = match &cache {
            Ok(cache) => cache.digest(module, deadline)?,
            Err(_) => cache::digest(module, deadline)?,
        };
        Ok(Self {
            module,
            target,
            digest,
            cache,
        })
    }

    /// What it may take, by far.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget::of(self.module.length())
    }

    fn name(&self) -> String {
        cache::name(&self.digest, self.target)
    }

    /// Whether it was compiled before.
    ///
    /// # Errors
    /// [`Error::Timeout`] or [`Error::Stopped`].
    pub fn lookup(&self, deadline: &Deadline) -> Result<Lookup, Error> {
        let cache = match &self.cache {
            Ok(cache) => cache,
            Err(reason) => return Ok(Lookup::NoCache(reason.clone())),
        };
        let name = self.name();
        Ok(match cache.find(&name, &self.digest, self.target, deadline)? {
            Found::Code(code) => Lookup::Found(code),
            Found::Refused(reason) => Lookup::Missing(Some(reason)),
            Found::Nothing => match cache.failure(&name, SystemTime::now()) {
                Some(reason) => Lookup::Failed(reason),
                None => Lookup::Missing(None),
            },
        })
    }

    /// Compiles it, unless another process does or has done so, and keeps the code. `progress` is told how far it is.
    ///
    /// # Errors
    /// [`CompileError`]; the outer error is the run's, which is over.
    pub fn compile(
        &self,
        budget: &Budget,
        jail: Jail,
        deadline: &Deadline,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Result<Code, CompileError>, Error> {
        let Ok(cache) = &self.cache else {
            // For this run only: nobody else has the key.
            return self.translate(&cache::new_key()?, budget, jail, deadline, progress);
        };
        let name = self.name();
        // Without a lock, it may be compiled twice.
        let begun = Instant::now();
        let mut waiting = || {
            progress(Progress {
                done: 0,
                all: 0,
                elapsed: begun.elapsed(),
            });
        };
        let _lock = cache.lock(&name, deadline, &mut waiting)?;
        if let Found::Code(code) = cache.find(&name, &self.digest, self.target, deadline)? {
            return Ok(Ok(code));
        }
        match self.translate(cache.key(), budget, jail, deadline, progress)? {
            Ok(code) => {
                match cache.keep(&name, &code) {
                    Ok(kept) => {
                        let file = Arc::new(kept);
                        return Ok(Ok(Code { file, ..code }));
                    }
                    Err(error) => log::warn!("the compiled code of {} cannot be kept: {error}", self.module),
                }
                Ok(Ok(code))
            }
            Err(error) => {
                if error.is_the_modules() {
                    cache.note_failure(&name, &error.to_string());
                }
                Ok(Err(error))
            }
        }
    }

    /// Has it compiled for the next time, by `program`, which is `hermit-wasm`, in a process that goes on when this one
    /// has ended, with the lowest priority.
    ///
    /// # Errors
    /// Why that is not done.
    pub fn later(&self, program: &Path, jail: Jail, deadline: &Deadline) -> Result<(), String> {
        let cache = self.cache.as_ref().map_err(Clone::clone)?;
        later::start(program, self.module, self.target, jail, cache, deadline)
    }

    /// Notes that a machine could not load the code that is kept: for a day the module counts as one that cannot be
    /// compiled.
    pub(crate) fn refused(&self, reason: &str) {
        if let Ok(cache) = &self.cache {
            cache.note_refusal(&self.name(), reason);
        }
    }

    /// The code, sealed by `key`.
    fn translate(
        &self,
        key: &[u8; DIGEST],
        budget: &Budget,
        jail: Jail,
        deadline: &Deadline,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Result<Code, CompileError>, Error> {
        let file = |label| HostFile::empty(label).map_err(StartError::file("make a file for the compiler"));
        let (module, out) = (file("module.wasm")?, file("module.cwasm")?);
        let mut digest = cache::Digest::default();
        let mut both = Both(&mut digest, module.file());
        let written = self.module.write_to(&mut both, deadline);
        written.map_err(|error| error.into_error("hand the module to the compiler"))?;
        // What is compiled is what the code is kept for.
        if digest.finish() != self.digest {
            return Ok(Err(CompileError::Changed(self.module.to_string())));
        }
        let mut file = module.file();
        file.rewind().map_err(StartError::file("rewind the module"))?;
        let run = compiler::Run {
            module: module.file(),
            name: self.module.to_string(),
            out: out.file(),
            target: self.target,
            budget,
            jail,
        };
        if let Err(error) = run.run(deadline, progress)? {
            return Ok(Err(error));
        }
        let trailer = Trailer {
            level: self.target.level,
            options: self.target.options,
            source: self.digest,
        };
        let length = cache::seal(out.file(), &trailer, key, deadline)?
            .map_err(StartError::file("seal the compiled code"))?;
        let copy = out.file().try_clone();
        let file = copy.map_err(StartError::file("keep the compiled code open"))?;
        Ok(Ok(Code {
            file: file.into(),
            length,
            trailer,
        }))
    }
}

/// Writes to two places.
struct Both<'a>(&'a mut cache::Digest, &'a File);

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.1.write(bytes)?;
        self.0.write_all(bytes.get(..count).unwrap_or_default())?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
