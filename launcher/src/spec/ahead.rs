//! Native code for a run that another process makes, which has no compiler and keeps no code: a container's launcher.

use std::fs::File;
use std::time::Duration;

use super::choice::{PATIENCE, SMALL, SMALL_MODULE, target};
use super::deadline::Deadline;
use super::engine::Engine;
use super::outline::Outline;
use super::run::Run;
use crate::compile::{Budget, Code, Compilation, Lookup};
use crate::error::Error;
use crate::host::image;

/// Native code for a run's module, where the run is to have it. What was compiled before is taken. Otherwise it is
/// compiled, as far as `most` allows, if the engine is demanded, or if nothing else can run the module; without a demand
/// also a module that takes no time. Nothing is compiled for the next run. `turn` is waited for before anything is
/// compiled, and what it gives is held until then.
///
/// # Errors
/// Native code is demanded and cannot be had; the module cannot be read.
pub(crate) fn code(
    run: &Run,
    most: Budget,
    turn: &dyn Fn() -> Result<Option<File>, Error>,
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
    let compilation = Compilation::new(module, target(run)?, deadline)?;
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
        let _turn = turn()?;
        let made = compilation.compile(&budget(most.time), run.jail, deadline, &mut |_| {})?;
        return Ok(Some(made?));
    }
    if let Lookup::Failed(reason) = lookup {
        log::info!("{module} is interpreted: {reason}");
        return Ok(None);
    }
    let outline = Outline::of(module, deadline).map_err(|error| error.into_error("look at the module"))?;
    let _turn = match outline.native_only.is_some() || outline.code <= SMALL {
        true => turn()?,
        false => None,
    };
    let made = match outline.native_only {
        Some(_) => Some(compilation.compile(&budget(most.time), run.jail, deadline, &mut |_| {})?),
        None if outline.code <= SMALL && module.length() <= SMALL_MODULE => {
            compilation.compile_unless_busy(&budget(PATIENCE), run.jail, deadline)?
        }
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
