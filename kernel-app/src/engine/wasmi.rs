//! The interpreter: its configuration, instantiation, `_start`, and how it all may end.
//!
//! Layer: engine, and the only part of the application that names wasmi.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use boot_protocol::file_kind::{self, FileKind};
use boot_protocol::run_spec::Limit;
use wasi_core::System;
use wasi_core::context::WasiCtx;
use wasi_core::deterministic::VirtualTime;
use wasi_p1::linker::{
    Stop,
    wasmi::{Host, resolve, stop},
};
use wasmi::errors::{ErrorKind, FuelError, InstantiationError, MemoryError, TableError};
use wasmi::{
    CompilationMode, Config, Engine, Error, Extern, ExternType, F32, F64, Func, Instance, Module, Store,
    TrapCode, Val, ValType,
};

use super::invoke::{self, Type, Value};
use super::{
    Entry, FUEL_CONSUMED, INITIALIZE, Job, MissingImports, Preload, Problem, STACK_EXHAUSTED, Start,
    check_library, check_start, conclude, host, initialize_has_another_type, quoted, too_little_memory,
};
use crate::exit_status::Outcome;
use crate::{limits, preflight};

/// Most nested calls of a guest. The native engine allows as many, if their frames are small and the machine is not
/// (`hermit/stack.rs`); wasmtime's default, 512 KiB of native stack, about a quarter.
const MAX_CALL_DEPTH: usize = 1 << 16;
/// Most bytes that a guest's calls may use for parameters and locals.
const MAX_STACK_BYTES: usize = 16 << 20;

/// Bytes of the stack that a guest begins with.
const LEAST_STACK_BYTES: usize = 1 << 10;

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
    fn run<S: System + 'static>(&self, job: Job<'_>, ctx: WasiCtx<S>) -> (Outcome, WasiCtx<S>) {
        #[cfg(feature = "spec-tests")]
        if spec_script::is_script(job.program) {
            let mut world = spec_script::interpreter::Interpreter::new(&config());
            return super::script::run(job.program, &mut world, ctx);
        }
        let limits = job.limits;
        let mut config = config();
        let stack = super::stack(&limits, MAX_STACK_BYTES);
        if let Some(stack) = stack {
            config.set_min_stack_height(stack.min(LEAST_STACK_BYTES));
            config.set_max_stack_height(stack);
        }
        let fuel = limits
            .get(Limit::Fuel)
            .or_else(|| ctx.virtual_time().map(VirtualTime::fuel));
        config.consume_fuel(fuel.is_some());
        let engine = Engine::new(&config);
        let modules = match Modules::load(&engine, job) {
            Ok(modules) => modules,
            Err(outcome) => return (outcome, ctx),
        };
        let mut host = host(&job, ctx);
        if let Some(prepare) = self.prepare {
            host.growth.prepare = prepare;
        }
        let mut store = Store::new(&engine, host);
        host_limits(&mut store, fuel);
        let outcome = run_modules(&mut store, &modules, job.entry).unwrap_or_else(|outcome| outcome);
        if let (Some(time), Ok(fuel)) = (store.data().context.core.virtual_time(), store.get_fuel()) {
            time.set_left(fuel);
        }
        conclude(store.into_data(), outcome, &limits, stack)
    }
}

/// Has the store heed what limits memories, tables and fuel.
fn host_limits<S>(store: &mut Store<Host<S>>, fuel: Option<u64>) {
    store.limiter(|host| &mut host.growth);
    if let Some(fuel) = fuel {
        // It fails only where the engine does not count.
        let _ = store.set_fuel(fuel);
    }
}

/// What a job's programs are, loaded.
struct Modules<'a> {
    preloads: Vec<(&'a str, Module)>,
    program: Module,
}

impl<'a> Modules<'a> {
    /// Loads all of them before anything of any runs.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn load(engine: &Engine, job: Job<'a>) -> Result<Self, Outcome> {
        job.check()?;
        let program = load(engine, job.program)?;
        let preload = |preload: &Preload<'a>| {
            let module = load(engine, preload.program)
                .and_then(|module| check_library(&start(&module)).map(|()| module))
                .map_err(|outcome| outcome.of_preload(preload.name))?;
            Ok((preload.name, module))
        };
        Ok(Self {
            preloads: job.preloads.iter().map(preload).collect::<Result<_, _>>()?,
            program,
        })
    }
}

/// Loads a module.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn load(engine: &Engine, program: &[u8]) -> Result<Module, Outcome> {
    if let Some(text) = refusal(program) {
        return Err(Outcome::Refused(text));
    }
    Module::new(engine, program).map_err(|error| refused_by_parser(&error))
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

/// Instantiates the modules and calls the program's `_start`, or the function that was named. Both sides of the result
/// are ends of the run.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn run_modules<S: System + 'static>(
    store: &mut Store<Host<S>>,
    modules: &Modules<'_>,
    entry: Option<Entry<'_>>,
) -> Result<Outcome, Outcome> {
    let program = &modules.program;
    let (name, arguments) = prepare_call(program, entry)?;
    let warns = entry.is_some_and(|entry| entry.warns);
    let mut instances = Vec::with_capacity(modules.preloads.len());
    for (name, module) in &modules.preloads {
        let instance = instantiate(store, module, &instances).map_err(|outcome| outcome.of_preload(name))?;
        instances.push((*name, instance));
    }
    let instance = instantiate(store, program, &instances)?;
    let function = instance
        .get_func(&*store, name)
        .ok_or_else(|| Outcome::Refused(format!("no func export named `{name}` found")))?;
    let mut results: Vec<_> = function
        .ty(&*store)
        .results()
        .iter()
        .copied()
        .map(Val::default_for_ty)
        .collect();
    invoke::begin(&mut store.data_mut().context.core.system, warns, arguments.len());
    call(store, function, &arguments, &mut results)?;
    let results = results.iter().map(shown);
    invoke::finish(&mut store.data_mut().context.core, warns, results);
    Ok(Outcome::Exit(0))
}

/// Instantiates a module that may import from `others`, and initializes it.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn instantiate<S: System + 'static>(
    store: &mut Store<Host<S>>,
    module: &Module,
    others: &[(&str, Instance)],
) -> Result<Instance, Outcome> {
    let imports =
        resolve_imports(store, module, others).map_err(|problem| problem.refusal(imports(module)))?;
    let instance = Instance::new(&mut *store, module, &imports).map_err(|error| ended_by(&error))?;
    if let Some(memory) = instance.get_memory(&*store, "memory") {
        store.data_mut().attach_memory(memory);
    }
    if let Some(function) = instance.get_func(&*store, INITIALIZE) {
        let ty = function.ty(&*store);
        if !(ty.params().is_empty() && ty.results().is_empty()) {
            return Err(initialize_has_another_type());
        }
        call(store, function, &[], &mut [])?;
    }
    Ok(instance)
}

/// Calls a function. The one place for all of them, as an image has to be small.
#[cfg_attr(target_os = "hermit", optimize(size))]
#[inline(never)]
fn call<S: System + 'static>(
    store: &mut Store<Host<S>>,
    function: Func,
    arguments: &[Val],
    results: &mut [Val],
) -> Result<(), Outcome> {
    function
        .call(store, arguments, results)
        .map_err(|error| ended_by(&error))
}

/// Module and name of each import.
fn imports(module: &Module) -> impl Iterator<Item = (&str, &str)> {
    module.imports().map(|import| (import.module(), import.name()))
}

/// The function to call, and what it is called with.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn prepare_call<'a>(module: &Module, entry: Option<Entry<'a>>) -> Result<(&'a str, Vec<Val>), Outcome> {
    let Some(entry) = entry else {
        check_start(&start(module)).map_err(|problem| problem.refusal(imports(module)))?;
        return Ok(("_start", Vec::new()));
    };
    let Some(ExternType::Func(ty)) = module.get_export(entry.name) else {
        let functions = module.exports().filter(|export| export.ty().func().is_some());
        let problem = invoke::missing(entry, functions.map(|export| export.name()));
        return Err(problem.refusal(imports(module)));
    };
    let types: Vec<_> = ty.params().iter().map(type_of).collect();
    let values = invoke::arguments(entry, &types)?;
    let values = values.into_iter().map(|value| match value {
        Value::I32(value) => Val::I32(value),
        Value::I64(value) => Val::I64(value),
        Value::F32(bits) => Val::F32(F32::from_bits(bits)),
        Value::F64(bits) => Val::F64(F64::from_bits(bits)),
        // No argument is.
        Value::V128(_) | Value::Reference(_) => Val::I32(0),
    });
    Ok((entry.name, values.collect()))
}

fn type_of(ty: &ValType) -> Type {
    match ty {
        ValType::I32 => Type::I32,
        ValType::I64 => Type::I64,
        ValType::F32 => Type::F32,
        ValType::F64 => Type::F64,
        ValType::V128 => Type::Other("v128".into()),
        ValType::FuncRef => Type::Other("(ref null func)".into()),
        ValType::ExternRef => Type::Other("(ref null extern)".into()),
    }
}

/// A result as it is shown.
fn shown(value: &Val) -> Value {
    match value {
        Val::I32(value) => Value::I32(*value),
        Val::I64(value) => Value::I64(*value),
        Val::F32(value) => Value::F32(value.to_bits()),
        Val::F64(value) => Value::F64(value.to_bits()),
        Val::V128(value) => Value::V128(value.as_u128()),
        Val::FuncRef(reference) => Value::Reference(match reference.is_null() {
            true => "<null funcref>",
            false => "<funcref>",
        }),
        Val::ExternRef(reference) => Value::Reference(match reference.is_null() {
            true => "<null externref>",
            false => "<externref>",
        }),
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
    others: &[(&str, Instance)],
) -> Result<Vec<Extern>, Problem> {
    let mut found = Vec::new();
    let mut missing = MissingImports::default();
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let other = others.iter().find(|(other, _)| *other == from);
        if let Some(export) = other.and_then(|(_, other)| other.get_export(&*store, name)) {
            found.push(export);
            continue;
        }
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
    missing
        .check(others.iter().map(|(name, _)| *name))
        .map(|()| found)
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
        Some(stop @ (Stop::Trap(_) | Stop::Limit(_))) => return Outcome::Trap(stop.to_string()),
        Some(Stop::Replay(stop)) => return Outcome::ReplayStopped(stop.clone()),
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
        ErrorKind::ResumableOutOfFuel(_)
        | ErrorKind::Fuel(FuelError::OutOfFuel { .. })
        | ErrorKind::Memory(MemoryError::OutOfFuel { .. })
        | ErrorKind::Table(TableError::OutOfFuel { .. }) => Outcome::Trap(FUEL_CONSUMED.into()),
        ErrorKind::TrapCode(code) => Outcome::Trap(trap_name(*code).into()),
        ErrorKind::Instantiation(error) if let Some(reason) = incompatible(error) => Outcome::Refused(reason),
        ErrorKind::Instantiation(_) | ErrorKind::Memory(_) | ErrorKind::Table(_) => Outcome::Trap(text),
        // Lazily translated code can still fail to translate, by an implementation limit.
        _ => Outcome::Refused(text),
    }
}

/// Which import has another type than what was found for it, if that is the error.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn incompatible(error: &InstantiationError) -> Option<String> {
    let (import, found) = match error {
        InstantiationError::ImportTypeMismatch { name, .. } => (name, "it is something else"),
        InstantiationError::FuncTypeMismatch { name, .. } => (name, "the function has another type"),
        InstantiationError::GlobalTypeMismatch { name, .. } => (name, "the global has another type"),
        InstantiationError::MemoryTypeMismatch { name, .. } => (name, "the memory has another type or size"),
        InstantiationError::TableTypeMismatch { name, .. } => (name, "the table has another type or size"),
        _ => return None,
    };
    let [from, name] = [import.module(), import.name()].map(quoted);
    Some(format!("incompatible import type for `{from}::{name}`: {found}"))
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
        TrapCode::StackOverflow => STACK_EXHAUSTED,
        TrapCode::BadSignature => "indirect call type mismatch",
        TrapCode::OutOfFuel => FUEL_CONSUMED,
        other => other.trap_message(),
    }
}
