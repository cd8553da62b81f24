//! Why native code has ended, or has not begun: wasmtime's errors as ends of the run.

use alloc::format;
use alloc::string::{String, ToString as _};
use core::fmt::Write as _;

use wasi_p1::linker::{Stop, wasmtime::stop};
use wasmtime::{Error, GcHeapOutOfMemory, OutOfMemory, Trap, WasmBacktrace};

use super::super::{quoted, too_little_memory};
use super::{COMPILE_AGAIN, NO_ADDRESSES, NO_MEMORY};
use crate::exit_status::Outcome;

/// What wasmtime's error begins with where something is imported that has another type.
const INCOMPATIBLE: &str = "incompatible import type";

/// The end of a run whose code wasmtime refuses.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn not_loaded(error: &Error) -> Outcome {
    if is_lack_of_memory(error) {
        return Outcome::CodeDoesNotFit(too_little_memory("there is no room for its code"));
    }
    // The chain of causes, outermost first.
    Outcome::CodeRefused(format!("{error:#}; {COMPILE_AGAIN}"))
}

/// The end of a run of which a module could not be instantiated; `called`: it has called something in its start function.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn not_instantiated(error: &Error, called: bool) -> Outcome {
    // The module's declared memories and tables: it could not even begin. If it has called nothing in its start function,
    // and the error has no backtrace, as those of lacking memory have not, nobody can tell whether it has run.
    if is_lack_of_memory(error) && !called && !error.is::<WasmBacktrace>() {
        return Outcome::CodeDoesNotFit(too_little_memory("its memories and tables do not fit"));
    }
    if error.root_cause().to_string() == NO_ADDRESSES {
        return Outcome::CodeDoesNotFit(format!(
            "{NO_ADDRESSES}: natively, each memory takes 4 GiB of addresses, however small it is; run the module with \
             --engine interp"
        ));
    }
    // The chain of causes, outermost first.
    if error.to_string().starts_with(INCOMPATIBLE) {
        return Outcome::Refused(format!("{error:#}"));
    }
    ended_by(error)
}

/// The end of a run that began.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn ended_by(error: &Error) -> Outcome {
    let text = match stop(error) {
        Some(Stop::Exit(code)) => return Outcome::Exit(*code),
        Some(stop @ (Stop::Trap(_) | Stop::Limit(_))) => stop.to_string(),
        Some(Stop::Replay(stop)) => return Outcome::ReplayStopped(stop.clone()),
        None if is_lack_of_memory(error) => {
            return Outcome::MachineFailed(too_little_memory(&error.root_cause().to_string()));
        }
        None => match error.downcast_ref::<Trap>() {
            Some(trap) => {
                let text = trap.to_string();
                text.strip_prefix("wasm trap: ")
                    .map_or(text.clone(), String::from)
            }
            // An exception that nobody caught.
            None => error.root_cause().to_string(),
        },
    };
    Outcome::Trap(match error.downcast_ref::<WasmBacktrace>() {
        Some(backtrace) => text + &frames(backtrace),
        None => text,
    })
}

/// Where the guest was, innermost first, as wasmtime prints it.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn frames(backtrace: &WasmBacktrace) -> String {
    let mut text = String::from("\nwasm backtrace:");
    for (number, frame) in backtrace.frames().iter().enumerate() {
        let module = quoted(frame.module().name().unwrap_or("<unknown>"));
        let function = match frame.func_name() {
            Some(name) => quoted(name),
            None => format!("<wasm function {}>", frame.func_index()),
        };
        // Writing to a string never fails.
        let _ = match frame.module_offset() {
            Some(offset) => write!(text, "\n  {number:>3}: {offset:#8x} - {module}!{function}"),
            None => write!(text, "\n  {number:>3}: {module}!{function}"),
        };
    }
    text
}

/// Whether the machine lacked memory.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn is_lack_of_memory(error: &Error) -> bool {
    error.is::<OutOfMemory>()
        || error.is::<GcHeapOutOfMemory<()>>()
        || error.root_cause().to_string() == NO_MEMORY
}
