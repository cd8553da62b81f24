//! Which engine a run gets. Without a demand (`--engine auto`) nobody waits longer than for the interpreter: code that
//! was compiled before runs natively, and so does what is compiled in no time; anything else is interpreted at once,
//! and compiled meanwhile for the next run.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use boot_protocol::run_spec::Limit;

use super::deadline::Deadline;
use super::engine::Engine;
use super::module::Module;
use super::outline::Outline;
use super::program::{Program, Programs};
use super::run::Run;
use crate::compile::{Budget, Code, Compilation, CompileError, CpuLevel, Lookup, Options, Progress, Target};
use crate::error::Error;
use crate::host::image;
use crate::host::units::{show_duration, show_size};
use crate::pack::Packed;

/// What is compiled before it runs, in bytes of code: some 15 ms of a processor's time, a fifth of the shortest run's.
/// A compiler makes about a megabyte a second, and needs 5 ms to start.
pub(crate) const SMALL: u64 = 12 * 1024;

/// Of a module that is larger in all, the rest takes its time too: it is read, hashed and checked.
pub(super) const SMALL_MODULE: u64 = 1 << 20;

/// How long a small module may take to be compiled before it is interpreted after all. Few bytes can be much work, as
/// thousands of functions with 50,000 variables each; whoever waits has been promised no time. A busy host takes some
/// tenths of a second for an honest module.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

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
    /// The modules.
    Module,
    /// Native code of each: of the run's module, and of those that it and others import from.
    Code(Vec<Code>),
    /// What was packed.
    Packed(Box<Packed>),
}

impl Chosen {
    /// The same of the modules of `run`.
    pub(crate) fn programs<'a>(&'a self, run: &'a Run) -> Programs<'a> {
        let mut programs: Vec<_> = match self {
            Self::Module => run.modules().map(Program::Module).collect(),
            Self::Code(codes) => codes.iter().map(Program::Code).collect(),
            Self::Packed(packed) => vec![Program::Packed(packed)],
        };
        // There is one for each module, of which a run has one at least.
        let preloads = programs.split_off(programs.len().min(1));
        let recording = run.replay.as_deref();
        match programs.pop() {
            Some(main) => Programs {
                main,
                preloads,
                source: None,
                recording,
            },
            None => Program::Module(&run.module).into(),
        }
    }

    /// The engine that runs it.
    fn engine(&self) -> Engine {
        match self {
            Self::Module => Engine::Interp,
            Self::Code(_) => Engine::Native,
            Self::Packed(packed) => packed.engine(),
        }
    }
}

/// Chooses, and compiles where that comes first.
///
/// # Errors
/// What is demanded cannot be had; the run is over.
pub(super) fn choose(run: &Run, deadline: &Deadline) -> Result<Chosen, Error> {
    if let Some(packed) = &run.packed {
        return match run.engines.demanded {
            Some(engine) if engine != packed.engine() => Err(Error::Invalid(format!(
                "--engine {engine}: {} was packed for the engine {}",
                run.module,
                packed.engine()
            ))),
            _ if packed.engine() == Engine::Native && !run.engines.precompiled => {
                Err(Error::Invalid(format!(
                    "{} contains native code, which can do what no module can; pass --allow-precompiled to run it",
                    run.module
                )))
            }
            _ => Ok(Chosen::Packed(Box::new(packed.clone()))),
        };
    }
    let target = target(run)?;
    let precompiled = run.modules().find(|module| module.is_precompiled());
    let (chosen, reason) = match (run.engines.demanded, precompiled) {
        (Some(Engine::Interp), Some(module)) => {
            return Err(Error::Invalid(format!(
                "--engine interp: {module} is native code, which only --engine native runs"
            )));
        }
        (Some(Engine::Interp), None) => (Chosen::Module, "it is demanded".to_string()),
        (_, Some(module)) => (
            Chosen::Code(demanded(run, target, deadline)?),
            format!("{module} is native code"),
        ),
        (Some(Engine::Native), None) => (
            Chosen::Code(demanded(run, target, deadline)?),
            "it is demanded".to_string(),
        ),
        // What was compiled before is chance.
        (None, None) if run.spec.deterministic.is_some() => {
            (Chosen::Module, "the run is deterministic".to_string())
        }
        (None, None) => auto(run, target, deadline)?,
    };
    log::info!("the engine is {}: {reason}", chosen.engine());
    Ok(chosen)
}

/// Removes kept code that was found to be damaged on its way into the machine.
pub(super) fn forget(run: &Run, deadline: &Deadline) -> Result<(), Error> {
    for module in run.modules() {
        Compilation::new(module, target(run)?, deadline)?.forget();
    }
    Ok(())
}

/// Sees to it that code which the machine has refused is not tried again soon. Whose it was is not known: the program
/// stands for all.
pub(super) fn refused(run: &Run, deadline: &Deadline) -> Result<(), Error> {
    let compilation = Compilation::new(&run.module, target(run)?, deadline)?;
    compilation.refused("a machine could not load its code");
    Ok(())
}

/// What code is made for.
pub(super) fn target(run: &Run) -> Result<Target, Error> {
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
        options: Options {
            // Clocks count it.
            fuel: run.spec.limits.get(Limit::Fuel).is_some() || run.spec.deterministic.is_some(),
            deterministic: run.spec.deterministic.is_some(),
        },
    })
}

/// A file that is native code already.
fn precompiled(run: &Run, module: &Module, target: Target, deadline: &Deadline) -> Result<Code, Error> {
    let code = Code::open(module.name(), run.engines.precompiled, deadline)??;
    let arch = code.target().level.arch();
    if arch != target.level.arch() {
        return Err(Error::Invalid(format!(
            "{module} is native code for --arch {}, not for --arch {}",
            arch.name(),
            run.machine.arch.name()
        )));
    }
    Ok(code)
}

/// Native code at any price.
fn demanded(run: &Run, target: Target, deadline: &Deadline) -> Result<Vec<Code>, Error> {
    if run.module.is_greeting() {
        return Err(Error::Invalid(
            "--engine native: the built-in greeting is interpreted; name a module".to_string(),
        ));
    }
    image::of(run.machine.arch, Engine::Native)?;
    let mut codes = Vec::new();
    let mut missing = Vec::new();
    for (place, module) in run.modules().enumerate() {
        if module.is_precompiled() {
            codes.push((place, precompiled(run, module, target, deadline)?));
            continue;
        }
        let compilation = Compilation::new(module, target, deadline)?;
        match compilation.lookup() {
            Lookup::Found(code) => codes.push((place, code)),
            why => {
                explain(&why);
                missing.push((place, compilation));
            }
        }
    }
    codes.extend(compile_all(run, &missing, deadline)??);
    Ok(in_place(codes))
}

/// Codes in the order of their modules.
fn in_place(mut codes: Vec<(usize, Code)>) -> Vec<Code> {
    codes.sort_by_key(|(place, _)| *place);
    codes.into_iter().map(|(_, code)| code).collect()
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
    let mut codes = Vec::new();
    let mut missing = Vec::new();
    let mut seen = Seen::default();
    for (place, module) in run.modules().enumerate() {
        let compilation = Compilation::new(module, target, deadline)?;
        let found = compilation.lookup();
        explain(&found);
        match found {
            Lookup::Found(code) => {
                codes.push((place, code));
                continue;
            }
            Lookup::Failed(reason) => seen.failed = seen.failed.or(Some(reason)),
            Lookup::NoCache(reason) => seen.not_kept = Some(reason),
            Lookup::Missing(_) => {}
        }
        let outline =
            Outline::of(module, deadline).map_err(|error| error.into_error("look at the module"))?;
        seen.needed = seen
            .needed
            .or(outline.native_only.map(|proposal| (module, proposal)));
        seen.code = seen.code.saturating_add(outline.code);
        seen.length = seen.length.saturating_add(module.length());
        missing.push((place, compilation));
    }
    if missing.is_empty() {
        return Ok((
            Chosen::Code(in_place(codes)),
            "the module was compiled before".to_string(),
        ));
    }
    match seen {
        Seen {
            failed: Some(reason),
            needed,
            ..
        } => {
            if let Some((module, proposal)) = needed {
                log::warn!("{module} needs {proposal}, which only native code has: {reason}");
            }
            interpreted(format!("the module cannot be compiled: {reason}"))
        }
        Seen {
            needed: Some((module, proposal)),
            ..
        } => match compile_all(run, &missing, deadline)? {
            Ok(made) => {
                codes.extend(made);
                Ok((
                    Chosen::Code(in_place(codes)),
                    format!("the module needs {proposal}"),
                ))
            }
            Err(error) => {
                log::warn!("{module} needs {proposal}, which only native code has: {error}");
                interpreted(error.to_string())
            }
        },
        // What is not kept would have to be compiled each time.
        Seen {
            not_kept: Some(reason),
            ..
        } => interpreted(format!("compiled code is not kept: {reason}")),
        Seen { code, length, .. } if code <= SMALL && length <= SMALL_MODULE => {
            small(run, codes, &missing, code, deadline)
        }
        _ => Ok(meanwhile(run, &missing, deadline)),
    }
}

/// What is seen of modules that were not compiled before.
#[derive(Default)]
struct Seen<'a> {
    /// Why one cannot be compiled.
    failed: Option<String>,
    /// Why no code is kept.
    not_kept: Option<String>,
    /// One that only native code runs, and the proposal for which.
    needed: Option<(&'a Module, &'static str)>,
    /// Bytes of their code.
    code: u64,
    /// Bytes of them in all.
    length: u64,
}

/// A module's place among those of the run, and how it is compiled.
type Missing<'a> = (usize, Compilation<'a>);

/// Compiles small modules, for as long as whoever waits may be kept waiting.
fn small(
    run: &Run,
    mut codes: Vec<(usize, Code)>,
    missing: &[Missing<'_>],
    code: u64,
    deadline: &Deadline,
) -> Result<(Chosen, String), Error> {
    let interpreted = |reason: String| Ok((Chosen::Module, reason));
    for (place, compilation) in missing {
        log::info!("compiling {}", compilation.module());
        let budget = Budget {
            time: PATIENCE,
            ..compilation.budget()
        };
        match compilation.compile_unless_busy(&budget, run.jail, deadline)? {
            Some(Ok(made)) => codes.push((*place, made)),
            Some(Err(CompileError::Time { .. })) => return Ok(meanwhile(run, missing, deadline)),
            Some(Err(error)) => return interpreted(error.to_string()),
            // It may take long, or be stopped.
            None => return interpreted("another process compiles the module".to_string()),
        }
    }
    Ok((
        Chosen::Code(in_place(codes)),
        format!("only {} of code", show_size(code)),
    ))
}

/// Interprets the modules, which are compiled for the next run.
fn meanwhile(run: &Run, missing: &[Missing<'_>], deadline: &Deadline) -> (Chosen, String) {
    let begun = missing
        .iter()
        .try_for_each(|(_, compilation)| later(run, compilation, deadline));
    let reason = match begun {
        Ok(()) => "the module is compiled meanwhile, for the next run".to_string(),
        Err(reason) => format!("the module is not compiled: {reason}"),
    };
    (Chosen::Module, reason)
}

/// Native code for modules that the interpreter has refused, since it lacks a proposal: what an [`Outline`] does not
/// see. `None`: there is none either, which is said.
pub(super) fn instead_of_the_interpreter(run: &Run, deadline: &Deadline) -> Result<Option<Chosen>, Error> {
    if run.module.is_greeting() || image::of(run.machine.arch, Engine::Native).is_err() {
        return Ok(None);
    }
    let refused = |module: &Module, reason: &dyn fmt::Display| {
        log::warn!("{module} cannot be run as native code either: {reason}");
        Ok(None)
    };
    let mut codes = Vec::new();
    let mut missing = Vec::new();
    for (place, module) in run.modules().enumerate() {
        let compilation = Compilation::new(module, target(run)?, deadline)?;
        match compilation.lookup() {
            Lookup::Found(code) => codes.push((place, code)),
            Lookup::Failed(reason) => return refused(module, &reason),
            Lookup::Missing(_) | Lookup::NoCache(_) => missing.push((place, compilation)),
        }
    }
    match compile_all(run, &missing, deadline)? {
        Ok(made) => codes.extend(made),
        Err(error) => return refused(&run.module, &error),
    }
    log::warn!("{} is run as native code instead", run.module);
    Ok(Some(Chosen::Code(in_place(codes))))
}

/// Says what is wrong with the cache, if something is.
fn explain(why: &Lookup) {
    match why {
        Lookup::Missing(Some(reason)) => log::warn!("code that was compiled before is not used: {reason}"),
        Lookup::NoCache(reason) => log::info!("compiled code is not kept: {reason}"),
        Lookup::Found(_) | Lookup::Missing(None) | Lookup::Failed(_) => {}
    }
}

/// Compiles now, several modules at the same time.
fn compile_all(
    run: &Run,
    missing: &[Missing<'_>],
    deadline: &Deadline,
) -> Result<Result<Vec<(usize, Code)>, CompileError>, Error> {
    let compile = |(place, compilation): &Missing<'_>| {
        let made = compile(run, compilation, deadline)?;
        Ok(made.map(|code| (*place, code)))
    };
    if let [one] = missing {
        return Ok(compile(one)?.map(|code| vec![code]));
    }
    thread::scope(|scope| {
        let begun: Vec<_> = missing
            .iter()
            .map(|one| scope.spawn(move || compile(one)))
            .collect();
        let ends = begun.into_iter().map(|thread| match thread.join() {
            Ok(end) => end,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // All of them end before the first error counts.
        let ends: Vec<_> = ends.collect();
        ends.into_iter()
            .collect::<Result<Result<Vec<_>, CompileError>, Error>>()
    })
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
    let module = compilation.module();
    let mut next = LONG;
    let mut progress = |progress: Progress| {
        if progress.elapsed >= next {
            next = progress.elapsed.saturating_add(LONG);
            log::log!(
                level,
                "compiling {module}: {} of {} functions after {}",
                progress.done,
                progress.all,
                show_duration(Duration::from_secs(progress.elapsed.as_secs()))
            );
        }
    };
    log::info!("compiling {module}");
    compilation.compile(&compilation.budget(), run.jail, deadline, &mut progress)
}

/// Has it compiled by a process that goes on when this one has ended; why not.
fn later(run: &Run, compilation: &Compilation<'_>, deadline: &Deadline) -> Result<(), String> {
    let Some(program) = &run.engines.program else {
        return Err("nobody has named the program that does it".to_string());
    };
    compilation.later(program, run.jail, deadline)
}
