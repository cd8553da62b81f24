//! The interpreter: its configuration, instantiation, `_start`, and how it all may end.
//!
//! Layer: engine, and the only part of the application that names wasmi.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use boot_protocol::file_kind::{self, FileKind};
use wasi_core::System;
use wasi_core::context::WasiCtx;
use wasi_p1::linker::{
    Stop,
    wasmi::{Host, resolve, stop},
};
use wasmi::errors::{ErrorKind, InstantiationError, MemoryError, TableError};
use wasmi::{CompilationMode, Config, Engine, Error, Extern, ExternType, Instance, Module, Store, TrapCode};

use super::{MissingImports, Problem, Start, check_start, too_little_memory};
use crate::exit_status::Outcome;
use crate::{limits, preflight};

/// Most nested calls of a guest. The native engine allows as many, if their frames are small and the machine is not
/// (`hermit/stack.rs`); wasmtime's default, 512 KiB of native stack, about a quarter.
const MAX_CALL_DEPTH: usize = 1 << 16;
/// Most bytes that a guest's calls may use for parameters and locals.
const MAX_STACK_BYTES: usize = 16 << 20;

/// The interpreter, for WebAssembly modules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interpreter {
    prepare: Option<fn(usize, usize) -> bool>,
}

impl Interpreter {
    /// The interpreter on an allocator that wants to be told how memories and tables grow: `prepare` gets how many bytes
    /// one has and how many it wants, and says whether it can have them.
    #[must_use]
    pub fn on(prepare: fn(usize, usize) -> bool) -> Self {
        Self {
            prepare: Some(prepare),
        }
    }
}

impl super::Engine for Interpreter {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn run<S: System + 'static>(&self, program: &[u8], ctx: WasiCtx<S>) -> (Outcome, WasiCtx<S>) {
        #[cfg(feature = "spec-tests")]
        if spec_script::is_script(program) {
            let mut world = spec_script::interpreter::Interpreter::new(&config());
            return super::script::run(program, &mut world, ctx);
        }
        if let Some(text) = refusal(program) {
            return (Outcome::Refused(text), ctx);
        }
        let engine = Engine::new(&config());
        let module = match Module::new(&engine, program) {
            Ok(module) => module,
            Err(error) => return (refused_by_parser(&error), ctx),
        };
        let mut host = Host::new(ctx);
        if let Some(prepare) = self.prepare {
            host.growth.prepare = prepare;
        }
        let mut store = Store::new(&engine, host);
        store.limiter(|host| &mut host.growth);
        let outcome = run_module(&mut store, &module).unwrap_or_else(|outcome| outcome);
        let host = store.into_data();
        (outcome.of_refused_memory(host.growth.failed), host.context.core)
    }
}

/// Why the interpreter does not even look at a program.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn refusal(program: &[u8]) -> Option<String> {
    match FileKind::of(program) {
        FileKind::NativeCode => Some(
            "it is native code, compiled from a module, and this is the image of the interpreter: boot the image \
             hermit-wasm-native, or hand over the module itself"
                .into(),
        ),
        _ => file_kind::refusal(program)
            .map(|text| format!("it {text}"))
            .or_else(|| limits::refusal(program)),
    }
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
    let imports = check_start(&start(module))
        .and_then(|()| resolve_imports(store, module))
        .map_err(|problem| {
            problem.refusal(module.imports().map(|import| (import.module(), import.name())))
        })?;
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

/// What the module exports as `_start`.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn start(module: &Module) -> Start {
    match module.get_export("_start") {
        Some(ExternType::Func(ty)) if ty.params().is_empty() && ty.results().is_empty() => Start::Command,
        Some(ExternType::Func(_)) => Start::OtherType,
        Some(_) => Start::NoFunction,
        None => Start::Missing {
            is_reactor: module.get_export("_initialize").is_some(),
        },
    }
}

/// Finds what the module imports, in its order; names everything that is missing at once.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn resolve_imports<S: System + 'static>(
    store: &mut Store<Host<S>>,
    module: &Module,
) -> Result<Vec<Extern>, Problem> {
    let mut found = Vec::new();
    let mut missing = MissingImports::default();
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let kind = match import.ty() {
            ExternType::Func(ty) => match resolve(store, from, name, ty) {
                Ok(Some(function)) => {
                    found.push(Extern::Func(function));
                    continue;
                }
                Ok(None) => "",
                Err(mismatch) => {
                    missing.add_mismatch(&mismatch);
                    continue;
                }
            },
            ExternType::Memory(_) => " (a memory)",
            ExternType::Table(_) => " (a table)",
            ExternType::Global(_) => " (a global)",
        };
        missing.add(from, name, kind);
    }
    missing.check().map(|()| found)
}

/// The end of a run that the parser refused to begin.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn refused_by_parser(error: &Error) -> Outcome {
    let text = error.to_string();
    if let Some(proposal) = preflight::missing_proposal(&text) {
        return Outcome::ProposalMissing(format!(
            "it needs the WebAssembly proposal \"{proposal}\", which the interpreter does not have ({text})"
        ));
    }
    Outcome::Refused(match text.contains("unexpected end") {
        true => format!("it is truncated or damaged: {text}"),
        false => format!("it is not a valid module: {text}"),
    })
}

/// The end of a run that began.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn ended_by(error: &Error) -> Outcome {
    match stop(error) {
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
