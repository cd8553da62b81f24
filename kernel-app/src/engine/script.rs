//! Scripts of the specification's tests, in an image that was built for them: the feature `spec-tests`.
//!
//! Layer: engine. No image that anybody ships has it; what scripts are: `tests/spec-script`.

use alloc::string::ToString as _;

use spec_script::World;
use wasi_core::context::WasiCtx;
use wasi_core::{Errno, Stream, System};

use crate::exit_status::Outcome;

/// Carries out a script in `world`; its answers are standard output.
pub(super) fn run<S: System + 'static>(
    script: &[u8],
    world: &mut impl World,
    mut ctx: WasiCtx<S>,
) -> (Outcome, WasiCtx<S>) {
    let mut written = Ok(());
    let done = spec_script::run(script, world, |line| {
        if written.is_ok() {
            written = write(&mut ctx.system, line.as_bytes());
        }
    });
    let outcome = match (done, written) {
        (Ok(()), Ok(())) => Outcome::Exit(0),
        (Err(error), _) => Outcome::Refused(error),
        (_, Err(error)) => Outcome::Unreadable(error.to_string()),
    };
    (outcome, ctx)
}

/// Writes all of it.
fn write(system: &mut impl System, mut line: &[u8]) -> Result<(), Errno> {
    while !line.is_empty() {
        let taken = system.console_write(Stream::Stdout, line)?;
        line = line.get(taken..).unwrap_or_default();
    }
    Ok(())
}
