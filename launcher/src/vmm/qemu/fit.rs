//! Refuses what cannot possibly fit into the machine's memory, before it starts.

use std::iter;

use crate::error::Error;
use crate::host::units::{MIB, show_size};
use crate::spec::engine::Engine;
use crate::spec::module::ModuleError;
use crate::spec::mounts::MountError;
use crate::spec::request::Request;

/// Refuses a module that is too large, by itself or with those before it.
pub(super) fn check_module(request: &Request<'_>) -> Result<(), Error> {
    let programs = request.programs();
    let mut all = 0u64;
    for (module, program) in request
        .modules()
        .zip(iter::once(&programs.main).chain(&programs.preloads))
    {
        let length = program.length();
        all = all.saturating_add(length);
        check(request, all, |memory, least| {
            ModuleError::DoesNotFit {
                path: module.name().into(),
                length,
                memory,
                least,
            }
            .into()
        })?;
    }
    Ok(())
}

/// Refuses a payload of `length` bytes that is too large although its module is not.
pub(super) fn check_payload(request: &Request<'_>, length: u64) -> Result<(), Error> {
    check(request, length, |memory, least| {
        if let Some(recording) = request.programs().recording {
            return recording.does_not_fit(memory, least).into();
        }
        if request.copies().is_empty() {
            return ModuleError::ArgumentsDoNotFit {
                path: request.module().name().into(),
                length,
                memory,
                least,
            }
            .into();
        }
        let what = format!(
            "the module and what --copy-dir takes along ({})",
            show_size(length)
        );
        MountError::DoesNotFit { what, memory, least }.into()
    })
}

/// Refuses what cannot possibly fit into the machine's memory; `error` is given that memory and the least that is
/// needed.
fn check(request: &Request<'_>, payload: u64, error: impl FnOnce(u64, u64) -> Error) -> Result<(), Error> {
    // Only what is hopeless: the module's translation and the guest's own memory come on top, and the machine knows. A
    // small module, of less than a MiB, runs with the least memory.
    let whole = payload / MIB * MIB;
    let native = request.engine() == Engine::Native;
    let least = boot_protocol::memory::least(request.arch(), native).saturating_add(whole);
    if least > request.memory() {
        return Err(error(request.memory(), least));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::module::Module;
    use crate::spec::run::Run;
    use boot_protocol::arch::Arch;

    #[test]
    fn a_small_module_runs_with_the_least_memory() {
        let least = boot_protocol::memory::least(Arch::X86_64, false);
        let check = |memory: u64, payload: u64| {
            let run = Run::new(Module::greeting()).arch(Arch::X86_64).memory(memory);
            let request = Request::for_tests(&run);
            check_payload(&request, payload)
        };
        for (memory, payload) in [
            (least, 0),
            (least, MIB - 1),
            (least + MIB, MIB),
            (u64::MAX, 1 << 40),
        ] {
            assert!(check(memory, payload).is_ok(), "{memory}, {payload}");
        }
        for (memory, payload) in [
            (least - 1, 0),
            (least, MIB),
            (least + MIB, 2 * MIB),
            (0, u64::MAX),
        ] {
            let error = check(memory, payload).unwrap_err();
            assert_eq!(error.exit_code(), boot_protocol::exit_code::MODULE_REFUSED);
            let message = error.to_string();
            // No flag is blamed that was not given.
            assert!(
                message.contains("its arguments and its environment") && !message.contains("--copy-dir"),
                "{message}"
            );
        }
    }
}
