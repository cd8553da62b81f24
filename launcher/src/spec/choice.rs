//! Which engine a run gets. Without a demand (`--engine auto`) nobody waits longer than for the interpreter: code that
//! was compiled before runs natively, and so does what is compiled in no time; anything else is interpreted at once,
//! and compiled meanwhile for the next run.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use super::deadline::Deadline;
use super::engine::Engine;
use super::module::Module;
use super::outline::Outline;
use super::program::Program;
use super::run::Run;
use crate::compile::{Budget, Code, Compilation, CompileError, CpuLevel, Lookup, Options, Progress, Target};
use crate::error::Error;
use crate::host::image;
use crate::host::units::{show_duration, show_size};

/// What is compiled before it runs, in bytes of code: some 15 ms of a processor's time, a fifth of the shortest run's.
/// A compiler makes about a megabyte a second, and needs 5 ms to start.
pub(crate) const SMALL: u64 = 12 * 1024;

/// Of a module that is larger in all, the rest takes its time too: it is read, hashed and checked.
const SMALL_MODULE: u64 = 1 << 20;

/// How long a small module may take to be compiled before it is interpreted after all. Few bytes can be much work, as
/// thousands of functions with 50,000 variables each; whoever waits has been promised no time. A busy host takes some
/// tenths of a second for an honest module.
const PATIENCE: Duration = Duration::from_secs(1);

/// From here on somebody wonders what goes on.
const LONG: Duration = Duration::from_secs(2);

/// What the user says about engines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Engines {
    /// The engine that is demanded.
    pub(crate) demanded: Option<Engine>,
    /// The processors that code is made for; `None`: all that machines of the architecture have.
    pub(crate) level: Option<CpuLevel>,
    /// Whether native code runs that somebody else has compiled.
    pub(crate) precompiled: bool,
    /// The program `hermit-wasm`, which can compile when this process has ended.
    pub(crate) program: Option<PathBuf>,
}

/// What the machine is given.
#[derive(Debug)]
pub(crate) enum Chosen {
    /// The module.
    Module,
    /// Native code.
    Code(Code),
}

impl Chosen {
    /// The same of `module`.
    pub(crate) fn program<'a>(&'a self, module: &'a Module) -> Program<'a> {
        match self {
            Self::Module => Program::Module(module),
            Self::Code(code) => Program::Code(code),
        }
    }
}

/// Chooses, and compiles where that comes first.
///
/// # Errors
/// What is demanded cannot be had; the run is over.
pub(super) fn choose(run: &Run, deadline: &Deadline) -> Result<Chosen, Error> {
    let target = target(run)?;
    if run.module.is_precompiled() {
        return precompiled(run, target, deadline);
    }
    let (chosen, reason) = match run.engines.demanded {
        Some(Engine::Interp) => (Chosen::Module, "it is demanded".to_string()),
        Some(Engine::Native) => (
            Chosen::Code(demanded(run, target, deadline)?),
            "it is demanded".to_string(),
        ),
        None => auto(run, target, deadline)?,
    };
    log::info!("the engine is {}: {reason}", chosen.program(&run.module).engine());
    Ok(chosen)
}

/// Removes kept code that was found to be damaged on its way into the machine.
pub(super) fn forget(run: &Run, deadline: &Deadline) -> Result<(), Error> {
    Compilation::new(&run.module, target(run)?, deadline)?.forget();
    Ok(())
}

/// Sees to it that code which the machine has refused is not tried again soon.
pub(super) fn refused(run: &Run, deadline: &Deadline) -> Result<(), Error> {
    let compilation = Compilation::new(&run.module, target(run)?, deadline)?;
    compilation.refused("a machine could not load its code");
    Ok(())
}

/// What code is made for.
fn target(run: &Run) -> Result<Target, Error> {
    let arch = run.machine.arch;
    let own = aot_config::Arch::from_name(arch.name());
    let level = match (run.engines.level, own) {
        (Some(level), Some(own)) if level.arch() == own => level,
        (None, Some(own)) => own.default_level(),
        (level, _) => {
            return Err(Error::Invalid(format!(
                "--cpu {}: no processor of --arch {} has this level",
                level.map_or("", CpuLevel::name),
                arch.name()
            )));
        }
    };
    Ok(Target {
        level,
        options: Options::default(),
    })
}

/// A file that is native code already.
fn precompiled(run: &Run, target: Target, deadline: &Deadline) -> Result<Chosen, Error> {
    let module = &run.module;
    if run.engines.demanded == Some(Engine::Interp) {
        return Err(Error::Invalid(format!(
            "--engine interp: {module} is native code, which only --engine native runs"
        )));
    }
    let code = Code::open(module.name(), run.engines.precompiled, deadline)??;
    let arch = code.target().level.arch();
    if arch != target.level.arch() {
        return Err(Error::Invalid(format!(
            "{module} is native code for --arch {}, not for --arch {}",
            arch.name(),
            run.machine.arch.name()
        )));
    }
    log::info!("the engine is native: {module} is native code");
    Ok(Chosen::Code(code))
}

/// Native code at any price.
fn demanded(run: &Run, target: Target, deadline: &Deadline) -> Result<Code, Error> {
    if run.module.is_greeting() {
        return Err(Error::Invalid(
            "--engine native: the built-in greeting is interpreted; name a module".to_string(),
        ));
    }
    image::of(run.machine.arch, Engine::Native)?;
    let compilation = Compilation::new(&run.module, target, deadline)?;
    match compilation.lookup() {
        Lookup::Found(code) => Ok(code),
        why => {
            explain(&why);
            Ok(compile(run, &compilation, deadline)??)
        }
    }
}

/// The engine that is best for whoever waits, and why.
fn auto(run: &Run, target: Target, deadline: &Deadline) -> Result<(Chosen, String), Error> {
    let module = &run.module;
    let interpreted = |reason: String| Ok((Chosen::Module, reason));
    if module.is_greeting() {
        return interpreted("the image carries the module".to_string());
    }
    if image::of(run.machine.arch, Engine::Native).is_err() {
        return interpreted("this hermit-wasm was built without a native image".to_string());
    }
    let compilation = Compilation::new(module, target, deadline)?;
    let found = compilation.lookup();
    explain(&found);
    if let Lookup::Found(code) = found {
        return Ok((Chosen::Code(code), "the module was compiled before".to_string()));
    }
    let outline = Outline::of(module, deadline).map_err(|error| error.into_error("look at the module"))?;
    match (found, outline.native_only) {
        (Lookup::Failed(reason), needed) => {
            if let Some(proposal) = needed {
                log::warn!("{module} needs {proposal}, which only native code has: {reason}");
            }
            interpreted(format!("the module cannot be compiled: {reason}"))
        }
        (_, Some(proposal)) => match compile(run, &compilation, deadline)? {
            Ok(code) => Ok((Chosen::Code(code), format!("the module needs {proposal}"))),
            Err(error) => {
                log::warn!("{module} needs {proposal}, which only native code has: {error}");
                interpreted(error.to_string())
            }
        },
        // What is not kept would have to be compiled each time.
        (Lookup::NoCache(reason), None) => interpreted(format!("compiled code is not kept: {reason}")),
        (_, None) if outline.code <= SMALL && module.length() <= SMALL_MODULE => {
            small(run, &compilation, outline.code, deadline)
        }
        _ => Ok(meanwhile(run, &compilation, deadline)),
    }
}

/// Compiles a small module, for as long as whoever waits may be kept waiting.
fn small(
    run: &Run,
    compilation: &Compilation<'_>,
    code: u64,
    deadline: &Deadline,
) -> Result<(Chosen, String), Error> {
    let interpreted = |reason: String| Ok((Chosen::Module, reason));
    log::info!("compiling {}", run.module);
    let budget = Budget {
        time: PATIENCE,
        ..compilation.budget()
    };
    match compilation.compile_unless_busy(&budget, run.jail, deadline)? {
        Some(Ok(made)) => Ok((Chosen::Code(made), format!("only {} of code", show_size(code)))),
        Some(Err(CompileError::Time { .. })) => Ok(meanwhile(run, compilation, deadline)),
        Some(Err(error)) => interpreted(error.to_string()),
        // It may take long, or be stopped.
        None => interpreted("another process compiles the module".to_string()),
    }
}

/// Interprets the module, which is compiled for the next run.
fn meanwhile(run: &Run, compilation: &Compilation<'_>, deadline: &Deadline) -> (Chosen, String) {
    let reason = match later(run, compilation, deadline) {
        Ok(()) => "the module is compiled meanwhile, for the next run".to_string(),
        Err(reason) => format!("the module is not compiled: {reason}"),
    };
    (Chosen::Module, reason)
}

/// Native code for a module that the interpreter has refused, since it lacks a proposal: what an [`Outline`] does not
/// see. `None`: there is none either, which is said.
pub(super) fn instead_of_the_interpreter(run: &Run, deadline: &Deadline) -> Result<Option<Chosen>, Error> {
    let module = &run.module;
    if module.is_greeting() || image::of(run.machine.arch, Engine::Native).is_err() {
        return Ok(None);
    }
    let compilation = Compilation::new(module, target(run)?, deadline)?;
    let code = match compilation.lookup() {
        Lookup::Found(code) => Ok(code),
        Lookup::Failed(reason) => Err(reason),
        Lookup::Missing(_) | Lookup::NoCache(_) => {
            compile(run, &compilation, deadline)?.map_err(|error| error.to_string())
        }
    };
    match code {
        Ok(code) => {
            log::warn!("{module} is run as native code instead");
            Ok(Some(Chosen::Code(code)))
        }
        Err(reason) => {
            log::warn!("{module} cannot be run as native code either: {reason}");
            Ok(None)
        }
    }
}

/// Says what is wrong with the cache, if something is.
fn explain(why: &Lookup) {
    match why {
        Lookup::Missing(Some(reason)) => log::warn!("code that was compiled before is not used: {reason}"),
        Lookup::NoCache(reason) => log::info!("compiled code is not kept: {reason}"),
        Lookup::Found(_) | Lookup::Missing(None) | Lookup::Failed(_) => {}
    }
}

/// Compiles now. Whoever waits at a terminal is told; what is kept of standard error is the same however fast the host.
fn compile(
    run: &Run,
    compilation: &Compilation<'_>,
    deadline: &Deadline,
) -> Result<Result<Code, CompileError>, Error> {
    let level = match io::stderr().is_terminal() {
        true => log::Level::Warn,
        false => log::Level::Info,
    };
    let mut next = LONG;
    let mut progress = |progress: Progress| {
        if progress.elapsed >= next {
            next = progress.elapsed.saturating_add(LONG);
            log::log!(
                level,
                "compiling {}: {} of {} functions after {}",
                run.module,
                progress.done,
                progress.all,
                show_duration(Duration::from_secs(progress.elapsed.as_secs()))
            );
        }
    };
    log::info!("compiling {}", run.module);
    compilation.compile(&compilation.budget(), run.jail, deadline, &mut progress)
}

/// Has it compiled by a process that goes on when this one has ended; why not.
fn later(run: &Run, compilation: &Compilation<'_>, deadline: &Deadline) -> Result<(), String> {
    let Some(program) = &run.engines.program else {
        return Err("nobody has named the program that does it".to_string());
    };
    compilation.later(program, run.jail, deadline)
}
