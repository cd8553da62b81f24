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
//! - `code`: the code, and that it is what was sealed.
//! - `compiler`: the program, found and run.
//! - `error`: why there is no code.
//! - `later`: a process that goes on when this one has ended.

mod cache;
mod code;
mod compiler;
mod error;
mod later;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use aot_config::trailer::{DIGEST, Sealer, Trailer};
use boot_protocol::file_kind::{self, FileKind};

pub use aot_config::{Arch, CpuLevel, Options};
pub use code::Code;
pub use error::{CompileError, ForeignError};
pub use later::perform as for_next_time;

use crate::error::{Error, StartError};
use crate::host::files::HostFile;
use crate::host::units::MIB;
use crate::jail::Jail;
use crate::spec::deadline::Deadline;
use crate::spec::module::Module;
pub(crate) use cache::digest;
use cache::{Cache, Found, Right};

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

/// Whether a module was compiled before.
#[derive(Debug)]
pub enum Lookup {
    /// Yes; that it is as it was kept shows when it is [written](Code::write_to).
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
    /// Not needed where nothing is kept.
    digest: Option<[u8; DIGEST]>,
    cache: Result<Cache, String>,
    /// The program that compiles, if it was named.
    program: Option<PathBuf>,
    /// Whether nobody waits for it.
    background: bool,
}

impl<'a> Compilation<'a> {
    /// Takes the module's digest, by which its code is known, if code is kept here.
    ///
    /// # Errors
    /// It cannot be read; [`Error::Timeout`] or [`Error::Stopped`].
    pub fn new(module: &'a Module, target: Target, deadline: &Deadline) -> Result<Self, Error> {
        let cache = Cache::open();
        let digest = match &cache {
            Ok(cache) => Some(cache.digest(module, deadline)?),
            Err(_) => None,
        };
        Ok(Self {
            module,
            target,
            digest,
            cache,
            program: None,
            background: false,
        })
    }

    /// The same by this program, if there is one: whoever names it answers for it.
    pub(crate) fn by(self, program: Option<PathBuf>) -> Self {
        Self { program, ..self }
    }

    /// The same, with the lowest priority.
    fn in_the_background(self) -> Self {
        Self {
            background: true,
            ..self
        }
    }

    /// The module.
    pub(crate) fn module(&self) -> &'a Module {
        self.module
    }

    /// What it may take, by far.
    #[must_use]
    pub fn budget(&self) -> Budget {
        Budget::of(self.module.length())
    }

    /// The cache, the module's digest, and the name of its code; or why nothing is kept.
    fn place(&self) -> Result<(&Cache, [u8; DIGEST], String), &str> {
        match (&self.cache, self.digest) {
            (Ok(cache), Some(digest)) => Ok((cache, digest, cache::name(&digest, self.target))),
            (Err(reason), _) => Err(reason),
            (Ok(_), None) => Err("the module has no digest"),
        }
    }

    /// Whether it was compiled before.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        let (cache, digest, name) = match self.place() {
            Ok(place) => place,
            Err(reason) => return Lookup::NoCache(reason.to_string()),
        };
        if let Some(reason) = cache.refusal(&name, SystemTime::now()) {
            return Lookup::Failed(reason);
        }
        match cache.find(&name, &digest, self.target) {
            Found::Code(code) => Lookup::Found(code),
            Found::Refused(reason) => Lookup::Missing(Some(reason)),
            Found::Nothing => match cache.failure(&name, SystemTime::now()) {
                Some(reason) => Lookup::Failed(reason),
                None => Lookup::Missing(None),
            },
        }
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
        let Ok((cache, _, name)) = self.place() else {
            // For this run only: nobody else has the key.
            return self.translate(&cache::new_key()?, budget, jail, deadline, progress);
        };
        let begun = Instant::now();
        let mut waiting = || {
            progress(Progress {
                done: 0,
                all: 0,
                elapsed: begun.elapsed(),
            });
        };
        let _right = cache.lock(&name, deadline, &mut waiting)?;
        self.compile_and_keep(budget, jail, deadline, progress)
    }

    /// The same for whoever does not wait for another process that compiles it: `None` while one does.
    pub(crate) fn compile_unless_busy(
        &self,
        budget: &Budget,
        jail: Jail,
        deadline: &Deadline,
    ) -> Result<Option<Result<Code, CompileError>>, Error> {
        let Ok((cache, _, name)) = self.place() else {
            return self.compile(budget, jail, deadline, &mut |_| {}).map(Some);
        };
        match cache.right(&name) {
            Right::Others => Ok(None),
            _right => self
                .compile_and_keep(budget, jail, deadline, &mut |_| {})
                .map(Some),
        }
    }

    /// Compiles it and keeps the code, for whoever has the right to do so.
    fn compile_and_keep(
        &self,
        budget: &Budget,
        jail: Jail,
        deadline: &Deadline,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Result<Code, CompileError>, Error> {
        let Ok((cache, digest, name)) = self.place() else {
            return self.translate(&cache::new_key()?, budget, jail, deadline, progress);
        };
        if let Some(code) = cache.find_whole(&name, &digest, self.target, deadline)? {
            return Ok(Ok(code));
        }
        let made = self.translate(cache.key(), budget, jail, deadline, progress)?;
        match &made {
            Ok(code) => {
                if let Err(error) = cache.keep(&name, code) {
                    log::warn!("the compiled code of {} cannot be kept: {error}", self.module);
                }
            }
            Err(error) if error.is_the_modules() || self.had_its_time(error) => {
                cache.note_failure(&name, &error.to_string());
            }
            Err(_) => {}
        }
        Ok(made)
    }

    /// Whether it has taken all the time that any module may take. How long that is depends on what else the host does,
    /// but each further attempt would take as long.
    fn had_its_time(&self, error: &CompileError) -> bool {
        matches!(error, CompileError::Time { limit, .. } if *limit >= self.budget().time)
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

    /// Notes that a machine could not load the code that is kept: for a day the module counts, on this host, as one that
    /// cannot be compiled.
    pub(crate) fn refused(&self, reason: &str) {
        if let Ok((cache, _, name)) = self.place() {
            cache.note_refusal(&name, reason);
        }
    }

    /// Removes the code that is kept: it is not what was sealed.
    pub(crate) fn forget(&self) {
        if let Ok((cache, _, name)) = self.place() {
            cache.forget(&name);
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
        let source = digest.finish();
        if self.digest.is_some_and(|known| known != source) {
            return Ok(Err(CompileError::Changed(self.module.to_string())));
        }
        module
            .finish()
            .map_err(StartError::file("seal the module's copy"))?;
        // From its start, and for reading alone.
        let module = File::open(module.name()).map_err(StartError::file("open the module's copy"))?;
        let run = compiler::Run {
            module: &module,
            name: self.module.to_string(),
            program: self.program.as_deref(),
            out: out.file(),
            target: self.target,
            budget,
            jail,
            background: self.background,
        };
        if let Err(error) = run.run(deadline, progress)? {
            return Ok(Err(error));
        }
        if !begins_code(out.file()).map_err(StartError::file("read the compiled code"))? {
            return Ok(Err(CompileError::Failed {
                module: self.module.to_string(),
                reason: "what the compiler has written is no native code".to_string(),
            }));
        }
        let trailer = Trailer {
            level: self.target.level,
            options: self.target.options,
            source,
        };
        let length = cache::seal(out.file(), &trailer, key, deadline)?
            .map_err(StartError::file("seal the compiled code"))?;
        let copy = out.file().try_clone();
        let file = copy.map_err(StartError::file("keep the compiled code open"))?;
        Ok(Ok(Code {
            file: file.into(),
            length,
            trailer,
            path: self.module.name().to_path_buf(),
            sealer: Some(Box::new(Sealer::new(key))),
        }))
    }
}

/// Whether a file begins as the compiler's code does: as anything else it would be refused in the machine, as a module
/// that is none.
fn begins_code(file: &File) -> io::Result<bool> {
    let mut start = [0; file_kind::START];
    let mut length = 0;
    while let Some(rest) = start.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, u64::try_from(length).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(count) => length = length.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(FileKind::of(start.get(..length).unwrap_or_default()) == FileKind::NativeCode)
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
