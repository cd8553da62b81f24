//! Native code for a run that another process makes, which has no compiler and keeps no code: a container's launcher.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::choice::{PATIENCE, SMALL, SMALL_MODULE, target};
use super::deadline::Deadline;
use super::engine::Engine;
use super::outline::Outline;
use super::run::Run;
use crate::compile::{Budget, Code, Compilation, Lookup};
use crate::error::Error;
use crate::host::image;

/// Whose turn it is to compile.
#[derive(Debug)]
pub(crate) enum Turn {
    /// This process's, while it holds the lock, if there is a place for one.
    Taken(Option<File>),
    /// Another's.
    Busy,
}

/// Native code for a run's module, where the run is to have it. What was compiled before is taken. Otherwise it is
/// compiled, as far as `most` allows, if the engine is demanded, or if nothing else can run the module; without a demand
/// also a module that takes no time. Nothing is compiled for the next run. Each compiling has its `turn`, which is
/// told whether to wait for it: what need not be compiled does not wait for others, and is interpreted. `compiler` is the
/// program that does it, if one was named.
///
/// # Errors
/// Native code is demanded and cannot be had; the module cannot be read.
pub(crate) fn code(
    run: &Run,
    most: Budget,
    compiler: Option<&Path>,
    turn: &dyn Fn(bool) -> Result<Turn, Error>,
    deadline: &Deadline,
) -> Result<Option<Code>, Error> {
    let module = &run.module;
    let demanded = run.engines.demanded;
    // The engines' fuel differs, and what was compiled before is chance.
    let is_deterministic = run.spec.deterministic.is_some() && demanded.is_none();
    if module.is_precompiled() || is_deterministic || demanded == Some(Engine::Interp) {
        return Ok(None);
    }
    match image::of(run.machine.arch, Engine::Native) {
        Err(error) if demanded.is_some() => return Err(error.into()),
        Err(_) => return Ok(None),
        Ok(_) => {}
    }
    let compilation = Compilation::new(module, target(run)?, deadline)?.by(compiler.map(Path::to_path_buf));
    let own = compilation.budget();
    let budget = |time: Duration| Budget {
        time: own.time.min(time),
        memory: own.memory.min(most.memory),
    };
    let lookup = compilation.lookup();
    if let Lookup::Found(code) = lookup {
        return Ok(Some(code));
    }
    if demanded.is_some() {
        let _turn = turn(true)?;
        let made = compilation.compile(&budget(most.time), run.jail, deadline, &mut |_| {})?;
        return Ok(Some(made?));
    }
    if let Lookup::Failed(reason) = lookup {
        log::info!("{module} is interpreted: {reason}");
        return Ok(None);
    }
    let outline = Outline::of(module, deadline).map_err(|error| error.into_error("look at the module"))?;
    let made = match outline.native_only {
        // Nothing else runs it, so that it waits as if native code were demanded.
        Some(_) => {
            let _turn = turn(true)?;
            Some(compilation.compile(&budget(most.time), run.jail, deadline, &mut |_| {})?)
        }
        None if outline.code <= SMALL && module.length() <= SMALL_MODULE => match turn(false)? {
            Turn::Busy => {
                log::info!("{module} is interpreted: another module is being compiled");
                None
            }
            Turn::Taken(_turn) => compilation.compile_unless_busy(&budget(PATIENCE), run.jail, deadline)?,
        },
        None => None,
    };
    match made {
        Some(Ok(code)) => Ok(Some(code)),
        Some(Err(error)) => {
            log::info!("{module} is interpreted: {error}");
            Ok(None)
        }
        None => Ok(None),
    }
}
