//! Native code for a container's module. It is compiled on the node, in the compiler's jail, and kept there by the
//! module's digest; a container gets a copy of it, which was found whole on its way, and can change nothing that is kept.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use boot_protocol::run_spec::Limits;
use rustix::fs::FlockOperation;

use super::annotations::Annotations;
use super::config::Config;
use super::entry::Entry;
use super::mounts::cannot;
use super::refusal::Refusal;
use super::request::{CODE, Request};
use crate::compile::Code;
use crate::error::Error;
use crate::host::files;
use crate::pack::Packed;
use crate::spec::ahead::{self, Turn};
use crate::spec::deadline::Deadline;
use crate::spec::module::Module;
use crate::spec::run::{DEFAULT_MEMORY, Run};

/// What is needed besides compiling: reading the module, and looking for what is kept.
const MARGIN: Duration = Duration::from_secs(10);

/// Native code for the module `entry`, if its machine is to have some.
pub(super) fn code(
    entry: &Entry,
    request: &Request,
    annotations: &Annotations,
    config: &Config,
) -> Result<Option<Code>, Refusal> {
    let budget = config.budget();
    let deadline = Deadline::since(Instant::now(), budget.time.saturating_add(MARGIN));
    let name = Path::new(&request.name);
    let memory = request.memory.unwrap_or(DEFAULT_MEMORY);
    let find = || -> Result<Option<Code>, Error> {
        // What does not fit into the machine is not worth reading: the launcher inside says so.
        let length = entry
            .file
            .metadata()
            .map_err(crate::error::StartError::file("look at the module"))?
            .len();
        if length > memory {
            return Ok(None);
        }
        // What was packed has its engine.
        if Packed::has_payload(name, &entry.file)? {
            return Ok(None);
        }
        let mut limits = Limits::NONE;
        for word in &annotations.limits {
            limits
                .apply(word)
                .map_err(|error| Error::Invalid(error.to_string()))?;
        }
        // From the file's beginning, whoever has read of it.
        std::io::Seek::rewind(&mut &entry.file).map_err(crate::error::StartError::file("read the module"))?;
        let file = entry
            .file
            .try_clone()
            .map_err(crate::error::StartError::file("read the module"))?;
        let module = Module::of_file(name, file, memory, &deadline)?;
        let mut run = Run::new(module).memory(memory).limits(limits);
        if let Some(engine) = annotations.engine {
            run = run.engine(engine);
        }
        if let Some(seed) = annotations.deterministic {
            run = run.deterministic(seed);
        }
        ahead::code(
            &run,
            budget,
            config.compiler.as_deref(),
            &|wait| turn(wait.then_some(&deadline)),
            &deadline,
        )
    };
    find().map_err(|error| Refusal::new(error.to_string()))
}

/// Copies code to where the container's launcher finds it.
pub(super) fn keep(code: &Code, root: &Path) -> Result<(), Refusal> {
    let path = root.join(CODE.trim_start_matches('/'));
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o444)
        .open(&path);
    let mut file = file.map_err(cannot("make", &path))?;
    code.write_to(&mut file).map_err(cannot("write", &path))
}

/// Takes the turn to compile: one container's module at a time, since one has bounds, but there may be many. Without a
/// deadline until which it is waited for, another's turn is the answer.
fn turn(until: Option<&Deadline>) -> Result<Turn, Error> {
    match files::cache_directory() {
        Some(directory) => turn_in(&directory, until),
        None => Ok(Turn::Taken(None)),
    }
}

fn turn_in(directory: &Path, until: Option<&Deadline>) -> Result<Turn, Error> {
    let path = directory.join("oci-compiles");
    // As all that is kept there: others' rights to write would be rights to choose what is executed.
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let opened = made.and_then(|()| {
        let mut options = File::options();
        options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
    });
    let Ok(file) = opened else {
        return Ok(Turn::Taken(None));
    };
    while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let Some(deadline) = until else {
            return Ok(Turn::Busy);
        };
        deadline.check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Turn::Taken(Some(file)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_kept_is_nobody_elses_to_write() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("above/cache");
        let turn = turn_in(&directory, None).unwrap();
        assert!(matches!(turn, Turn::Taken(Some(_))));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            [
                mode(&scratch.path().join("above")),
                mode(&directory),
                mode(&directory.join("oci-compiles"))
            ],
            [0o700, 0o700, 0o600]
        );
    }

    #[test]
    fn only_who_must_waits_for_anothers_turn() {
        let scratch = tempfile::tempdir().unwrap();
        let short = || Deadline::since(Instant::now(), Duration::from_millis(50));
        let first = turn_in(scratch.path(), None).unwrap();
        assert!(matches!(first, Turn::Taken(Some(_))));
        assert!(matches!(turn_in(scratch.path(), None), Ok(Turn::Busy)));
        assert!(turn_in(scratch.path(), Some(&short())).is_err());
        drop(first);
        assert!(matches!(
            turn_in(scratch.path(), Some(&short())),
            Ok(Turn::Taken(Some(_)))
        ));
    }
}
