//! Runs a module: the interpreter's configuration, instantiation, `_start`, and how it all may end.
//!
//! Layer: the only part of the application that names wasmi. Why each setting is as it is: `docs/rationale.md`.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use boot_protocol::file_kind;
use boot_protocol::shown::{self, Layout};
use wasi_shim::System;
use wasi_shim::context::WasiCtx;
use wasi_shim::linker::{self, Host, Stop};
use wasmi::errors::{ErrorKind, InstantiationError, MemoryError, TableError};
use wasmi::{CompilationMode, Config, Engine, Error, Extern, ExternType, Instance, Module, Store, TrapCode};

use crate::exit_status::Outcome;
use crate::{limits, origin, preflight};

/// Most nested calls of a guest. wasmtime's default, 512 KiB of native stack, allows about a quarter of this.
const MAX_CALL_DEPTH: usize = 1 << 16;
/// Most bytes that a guest's calls may use for parameters and locals.
const MAX_STACK_BYTES: usize = 16 << 20;

/// Most missing imports that a message names.
const MAX_NAMED_IMPORTS: usize = 20;
/// Longest name of an import in a message, in bytes.
const LONGEST_NAME: usize = 200;

/// Runs `wasm` with the world that `ctx` describes until it ends.
///
/// Gives `ctx` back, so that its console can say how it ended.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn run<S: System + 'static>(wasm: &[u8], ctx: WasiCtx<S>) -> (Outcome, WasiCtx<S>) {
    if let Some(text) = file_kind::refusal(wasm) {
        return (Outcome::Refused(format!("it {text}")), ctx);
    }
    if let Some(text) = limits::refusal(wasm) {
        return (Outcome::Refused(text), ctx);
    }
    let engine = Engine::new(&config());
    let module = match Module::new(&engine, wasm) {
        Ok(module) => module,
        Err(error) => return (refused_by_parser(&error), ctx),
    };
    let mut store = Store::new(&engine, Host::new(ctx));
    store.limiter(|host| &mut host.growth);
    let outcome = run_module(&mut store, &module).unwrap_or_else(|outcome| outcome);
    let host = store.into_data();
    (outcome.of_refused_memory(host.growth.failed), host.context)
}

/// The interpreter's configuration. Whoever runs modules as the image does uses it, and
/// with it wasmi's features of the workspace's `Cargo.toml`: `kernel-app/tests/engine.rs` holds them against it.
#[must_use]
pub fn config() -> Config {
    let mut config = Config::default();
    config
        .set_max_recursion_depth(MAX_CALL_DEPTH)
        .set_max_stack_height(MAX_STACK_BYTES)
        // wasmi has these and leaves them off, since the proposals are young.
        .wasm_wide_arithmetic(true)
        .wasm_custom_page_sizes(true)
        // Debug information would be copied for nothing.
        .ignore_custom_sections(true)
        // Validates everything at load, translates each function when it is first called.
        .compilation_mode(CompilationMode::LazyTranslation);
    config
}

/// Instantiates the module and calls its `_start`. Both sides of the result are ends of the run.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn run_module<S: System + 'static>(store: &mut Store<Host<S>>, module: &Module) -> Result<Outcome, Outcome> {
    let imports = check_start(module)
        .and_then(|()| resolve_imports(store, module))
        .map_err(|problem| refused_module(module, problem))?;
    let instance = Instance::new(&mut *store, module, &imports).map_err(|error| ended_by(&error))?;
    if let Some(memory) = instance.get_memory(&*store, "memory") {
        store.data_mut().attach_memory(memory);
    }
    let start = instance
        .get_typed_func::<(), ()>(&*store, "_start")
        .map_err(|error| Outcome::Refused(error.to_string()))?;
    match start.call(&mut *store, ()) {
        Ok(()) => Ok(Outcome::Exit(0)),
        Err(error) => Err(ended_by(&error)),
    }
}

/// Why a module cannot run: the reason, and what to do unless its imports show something better.
struct Problem {
    reason: String,
    advice: Option<&'static str>,
}

/// The refusal of a module with this `problem`.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn refused_module(module: &Module, problem: Problem) -> Outcome {
    let imports: Vec<_> = module
        .imports()
        .map(|import| (import.module(), import.name()))
        .collect();
    let Problem { reason, advice } = problem;
    Outcome::Refused(match origin::advice(imports.iter().copied()).or(advice) {
        Some(advice) => format!("{reason}; {advice}"),
        None => reason,
    })
}

/// Checks that the module is a command: that it exports a function `_start` without parameters and results.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn check_start(module: &Module) -> Result<(), Problem> {
    let (reason, advice) = match module.get_export("_start") {
        Some(ExternType::Func(ty)) if ty.params().is_empty() && ty.results().is_empty() => return Ok(()),
        Some(ExternType::Func(_)) => (
            "its `_start` takes parameters or returns results, which a command's does not",
            None,
        ),
        Some(_) => ("its export `_start` is not a function", None),
        None if module.get_export("_initialize").is_some() => (
            "it exports `_initialize` and no `_start`, so it is a library (a reactor)",
            Some("build it as a program with a `main`"),
        ),
        None => (
            "it exports no function `_start`",
            Some("build it as a program (a WASI command) with a `main`"),
        ),
    };
    Err(Problem {
        reason: reason.into(),
        advice,
    })
}

/// A module's name for something, as a message quotes it.
fn quoted(name: &str) -> String {
    shown::bounded(name.as_bytes(), Layout::Line, LONGEST_NAME)
}

/// Finds what the module imports, in its order; names everything that is missing at once.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn resolve_imports<S: System + 'static>(
    store: &mut Store<Host<S>>,
    module: &Module,
) -> Result<Vec<Extern>, Problem> {
    let mut found = Vec::new();
    let mut problems = Vec::new();
    let mut unnamed = 0usize;
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let (kind, mismatch) = match import.ty() {
            ExternType::Func(ty) => match linker::resolve(store, from, name, ty) {
                Ok(Some(function)) => {
                    found.push(Extern::Func(function));
                    continue;
                }
                Ok(None) => ("", None),
                Err(mismatch) => ("", Some(mismatch)),
            },
            ExternType::Memory(_) => (" (a memory)", None),
            ExternType::Table(_) => (" (a table)", None),
            ExternType::Global(_) => (" (a global)", None),
        };
        // The rest is only counted: a module can import a million things, by names of 100,000 bytes.
        if problems.len() >= MAX_NAMED_IMPORTS {
            unnamed = unnamed.saturating_add(1);
            continue;
        }
        problems.push(match mismatch {
            Some(mismatch) => mismatch.to_string(),
            None => format!("{}::{}{kind}", quoted(from), quoted(name)),
        });
    }
    if problems.is_empty() {
        return Ok(found);
    }
    if unnamed > 0 {
        problems.push(format!("and {unnamed} more"));
    }
    Err(Problem {
        reason: format!(
            "it imports what nothing here provides (only wasi_snapshot_preview1 and wasi_unstable are): {}",
            problems.join(", ")
        ),
        advice: None,
    })
}

/// The end of a run that the parser refused to begin.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn refused_by_parser(error: &Error) -> Outcome {
    let text = error.to_string();
    Outcome::Refused(match preflight::missing_proposal(&text) {
        Some(proposal) => format!(
            "it needs the WebAssembly proposal \"{proposal}\", which the interpreter does not have ({text})"
        ),
        None if text.contains("unexpected end") => format!("it is truncated or damaged: {text}"),
        None => format!("it is not a valid module: {text}"),
    })
}

/// The end of a run that began.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn ended_by(error: &Error) -> Outcome {
    match Stop::of(error) {
        Some(Stop::Exit(code)) => return Outcome::Exit(*code),
        Some(Stop::Trap(trap)) => return Outcome::Trap(trap.to_string()),
        None => {}
    }
    let text = error.to_string();
    match error.kind() {
        // The module's declared memories and tables: it could not even begin.
        ErrorKind::Instantiation(
            InstantiationError::FailedToInstantiateMemory(MemoryError::OutOfSystemMemory)
            | InstantiationError::FailedToInstantiateTable(TableError::OutOfSystemMemory),
        ) => Outcome::Refused(too_little_memory(&text)),
        ErrorKind::TrapCode(TrapCode::OutOfSystemMemory)
        | ErrorKind::Memory(MemoryError::OutOfSystemMemory)
        | ErrorKind::Table(TableError::OutOfSystemMemory) => Outcome::MachineFailed(too_little_memory(&text)),
        ErrorKind::TrapCode(code) => Outcome::Trap(trap_name(*code).into()),
        ErrorKind::Instantiation(_) | ErrorKind::Memory(_) | ErrorKind::Table(_) => Outcome::Trap(text),
        // Lazily translated code can still fail to translate, by an implementation limit.
        _ => Outcome::Refused(text),
    }
}

/// What to say where the machine is too small.
fn too_little_memory(detail: &str) -> String {
    format!("the virtual machine has too little memory ({detail}): raise it with --memory SIZE")
}

/// A trap's name, in wasmtime's words.
fn trap_name(code: TrapCode) -> &'static str {
    match code {
        TrapCode::UnreachableCodeReached => "wasm `unreachable` instruction executed",
        TrapCode::MemoryOutOfBounds => "out of bounds memory access",
        TrapCode::TableOutOfBounds => "undefined element: out of bounds table access",
        TrapCode::IndirectCallToNull => "uninitialized element",
        TrapCode::IntegerDivisionByZero => "integer divide by zero",
        TrapCode::IntegerOverflow => "integer overflow",
        TrapCode::BadConversionToInteger => "invalid conversion to integer",
        TrapCode::StackOverflow => "call stack exhausted",
        TrapCode::BadSignature => "indirect call type mismatch",
        TrapCode::OutOfFuel => "all fuel consumed by WebAssembly",
        other => other.trap_message(),
    }
}
