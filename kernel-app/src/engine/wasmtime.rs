//! Native code: wasmtime's runtime, for what its compiler made of a module before.
//!
//! Layer: engine, and the only part of the application that names wasmtime. What touches the machine is behind
//! [`Machine`]. Settings and the trailer of a program: `aot-config`.
//!
//! Native code is trusted: nothing here could tell whether it keeps to what WebAssembly allows. What is checked is
//! whether it was made for this runtime and this processor. Whoever hands it over answers for where it is from.

mod ending;

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use aot_config::trailer::TrailerError;
use aot_config::{Arch, CpuLevel, Options, Trailer, settings};
use boot_protocol::file_kind::{self, FileKind};
use boot_protocol::run_spec::Limit;
use wasi_core::System;
use wasi_core::context::WasiCtx;
use wasi_p1::linker::Growth;
use wasi_p1::linker::wasmtime::{Host, resolve};
use wasmtime::{Config, Engine, Extern, ExternType, Func, Instance, Module, Store, Val, ValType};

use super::invoke::{self, Type, Value};
use super::{
    Entry, INITIALIZE, Job, MissingImports, Preload, Problem, Start, check_library, check_start, conclude,
    host, initialize_has_another_type,
};
use crate::exit_status::Outcome;
use ending::{ended_by, not_instantiated, not_loaded};

/// What a [`Machine`] says where it has too little memory.
pub const NO_MEMORY: &str = "no memory is left for a linear memory or for code";
/// What a [`Machine`] says where it has too few addresses, which more memory does not change.
pub const NO_ADDRESSES: &str = "too few addresses are left for a linear memory and its guards";

/// What to do about code that cannot be loaded.
const COMPILE_AGAIN: &str =
    "compile the module again with this version of hermit-wasm, for this architecture and processor";

/// What running native code takes of a machine.
pub trait Machine {
    /// Tells wasmtime where memories and code lie, how large the stack is ([`settings::limit_stack`]), and what the
    /// processor can do.
    fn configure(&self, config: &mut Config);

    /// Loads native code: where it lies, if it can be made executable there, else a copy.
    ///
    /// # Errors
    /// wasmtime's, where it refuses the code, and [`NO_MEMORY`].
    fn load(&self, engine: &Engine, code: &[u8]) -> wasmtime::Result<Module>;

    /// Bytes of the stack that guests may use, as [`Self::configure`] tells wasmtime: its own default.
    fn stack(&self) -> usize {
        512 << 10
    }

    /// Whether the application could allocate `bytes` for the guest.
    fn has_memory(bytes: usize) -> bool;

    /// Whether the processor lacks a feature of a [`CpuLevel`], by its name at run time, that wasmtime does not ask for:
    /// it asks for all of them on x86-64 and Arm, and for none on RISC-V.
    fn lacks(&self, _: &str) -> bool {
        false
    }
}

/// Whether there is memory for a table: `Growth::prepare` of `wasi-p1`.
type Prepare = fn(usize, usize) -> bool;

/// The engine for native code, on a machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native<M>(pub M);

impl<M: Machine> super::Engine for Native<M> {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn run<S: System + 'static>(&self, job: Job<'_>, ctx: WasiCtx<S>) -> (Outcome, WasiCtx<S>) {
        #[cfg(feature = "spec-tests")]
        if spec_script::is_script(job.program) {
            return script(&self.0, job.program, ctx);
        }
        let limits = job.limits;
        let stack = super::stack(&limits, self.0.stack());
        let fixed = ctx.virtual_time().is_some();
        let modules = match Modules::load(&self.0, job, stack, fixed) {
            Ok(modules) => modules,
            Err(outcome) => return (outcome, ctx),
        };
        let mut store = Store::new(&modules.engine, host(&job, ctx));
        store.limiter(|host| &mut host.growth);
        let prepare: Prepare = |_, desired| M::has_memory(desired);
        let fuel = limits.get(Limit::Fuel).unwrap_or(u64::MAX);
        let outcome =
            run_modules(&mut store, &modules, job.entry, fuel, prepare).unwrap_or_else(|outcome| outcome);
        if let (Some(time), Ok(fuel)) = (store.data().context.core.virtual_time(), store.get_fuel()) {
            time.set_left(fuel);
        }
        conclude(store.into_data(), outcome, &limits, stack)
    }
}

/// Carries out a script of the specification's tests.
#[cfg(feature = "spec-tests")]
fn script<S: System + 'static>(
    machine: &impl Machine,
    script: &[u8],
    ctx: WasiCtx<S>,
) -> (Outcome, WasiCtx<S>) {
    let mut config = Config::new();
    settings::configure(&mut config, Options::default());
    machine.configure(&mut config);
    match Engine::new(&config) {
        Ok(engine) => {
            let load = |engine: &Engine, code: &[u8]| machine.load(engine, code);
            super::script::run(script, &mut spec_script::native::Native::new(&engine, load), ctx)
        }
        Err(error) => (not_loaded(&error), ctx),
    }
}

/// What a job's programs are, loaded.
struct Modules<'a> {
    engine: Engine,
    options: Options,
    preloads: Vec<(&'a str, Module)>,
    program: Module,
}

impl<'a> Modules<'a> {
    /// Loads all of them, if they are native code for this machine, before anything of any runs.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn load(
        machine: &impl Machine,
        job: Job<'a>,
        stack: Option<usize>,
        fixed: bool,
    ) -> Result<Self, Outcome> {
        job.check()?;
        let (options, code) = inspect(machine, job.program)?;
        if job.limits.get(Limit::Fuel).is_some() && !options.fuel {
            return Err(Outcome::CodeRefused(
                "its fuel is limited, but the code does not count it; compile the module with --fuel".into(),
            ));
        }
        if fixed && !(options.fuel && options.deterministic) {
            return Err(Outcome::CodeRefused(
                "the run is deterministic, but the code is not; compile the module with --fuel --deterministic"
                    .into(),
            ));
        }
        let mut config = Config::new();
        settings::configure(&mut config, options);
        machine.configure(&mut config);
        if let Some(stack) = stack {
            // wasmtime refuses to have none. One byte is as little: every call ends there.
            settings::limit_stack(&mut config, stack.max(1));
        }
        let engine = Engine::new(&config).map_err(|error| not_loaded(&error))?;
        let load = |code: &[u8]| machine.load(&engine, code).map_err(|error| not_loaded(&error));
        let program = load(code)?;
        let library = |program: &[u8]| {
            let (its, code) = inspect(machine, program)?;
            if its != options {
                return Err(Outcome::CodeRefused(format!(
                    "it was compiled with other options than the program that imports from it; {COMPILE_AGAIN}"
                )));
            }
            let module = load(code)?;
            check_library(&start(&module)).map(|()| module)
        };
        let preload = |preload: &Preload<'a>| {
            let module = library(preload.program).map_err(|outcome| outcome.of_preload(preload.name))?;
            Ok((preload.name, module))
        };
        let preloads = job.preloads.iter().map(preload).collect::<Result<_, _>>()?;
        Ok(Self {
            engine,
            options,
            preloads,
            program,
        })
    }
}

/// What the compiler was asked for, and the code alone.
///
/// Code without a trailer is another program's, which whoever started the machine trusts.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn inspect<'a>(machine: &impl Machine, program: &'a [u8]) -> Result<(Options, &'a [u8]), Outcome> {
    match FileKind::of(program) {
        FileKind::NativeCode => {}
        FileKind::Module => {
            return Err(Outcome::Refused(
                "it is a WebAssembly module, and this is the image for native code: boot the image hermit-wasm, or \
                 compile the module first (hermit-wasm compile)"
                    .into(),
            ));
        }
        _ => {
            let text = file_kind::refusal(program).unwrap_or_default();
            return Err(Outcome::Refused(format!("it {text}")));
        }
    }
    match Trailer::of(program) {
        Ok((trailer, code)) if Arch::CURRENT == Some(trailer.level.arch()) => {
            check_processor(machine, trailer.level)?;
            Ok((trailer.options, code))
        }
        Ok((trailer, _)) => Err(Outcome::CodeRefused(format!(
            "it was compiled for {}, and this machine is {}; {COMPILE_AGAIN}",
            trailer.level.arch().name(),
            Arch::CURRENT.map_or("another", Arch::name),
        ))),
        Err(TrailerError::Missing) => Ok((Options::default(), program)),
        Err(error) => Err(Outcome::CodeRefused(format!("{error}; {COMPILE_AGAIN}"))),
    }
}

/// Checks that the processor has what code of this level may use, as far as wasmtime does not.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn check_processor(machine: &impl Machine, level: CpuLevel) -> Result<(), Outcome> {
    match level
        .features()
        .iter()
        .find(|feature| machine.lacks(feature.name))
    {
        None => Ok(()),
        Some(feature) => Err(Outcome::CodeRefused(format!(
            "it was compiled for {}, and this machine's processor lacks the feature {}; {COMPILE_AGAIN}",
            level.name(),
            feature.name,
        ))),
    }
}

/// Instantiates the modules and calls the program's `_start`, or the function that was named. Both sides of the result
/// are ends of the run.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn run_modules<S: System + 'static>(
    store: &mut Store<Host<S>>,
    modules: &Modules<'_>,
    entry: Option<Entry<'_>>,
    fuel: u64,
    prepare: Prepare,
) -> Result<Outcome, Outcome> {
    let program = &modules.program;
    let (name, arguments) = prepare_call(program, entry)?;
    let warns = entry.is_some_and(|entry| entry.warns);
    if modules.options.fuel {
        store.set_fuel(fuel).map_err(|error| ended_by(&error))?;
    }
    let mut instances = Vec::with_capacity(modules.preloads.len());
    for (name, module) in &modules.preloads {
        let instance = instantiate(store, module, &instances, prepare);
        instances.push((*name, instance.map_err(|outcome| outcome.of_preload(name))?));
    }
    let instance = instantiate(store, program, &instances, prepare)?;
    let function = instance
        .get_func(&mut *store, name)
        .ok_or_else(|| Outcome::Refused(format!("no func export named `{name}` found")))?;
    let mut results = alloc::vec![Val::I32(0); function.ty(&*store).results().len()];
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
    prepare: Prepare,
) -> Result<Instance, Outcome> {
    let imports =
        resolve_imports(store, module, others).map_err(|problem| problem.refusal(imports(module)))?;
    // wasmtime has an error of its own for tables that do not fit at the start.
    store.data_mut().growth.prepare = Growth::default().prepare;
    let instance = Instance::new(&mut *store, module, &imports)
        .map_err(|error| not_instantiated(&error, store.data().knows_memory()))?;
    store.data_mut().growth.prepare = prepare;
    if let Some(memory) = instance.get_memory(&mut *store, "memory") {
        store.data_mut().attach_memory(memory);
    }
    if let Some(function) = instance.get_func(&mut *store, INITIALIZE) {
        let ty = function.ty(&*store);
        if !(ty.params().len() == 0 && ty.results().len() == 0) {
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
    let types: Vec<_> = ty.params().map(type_of).collect();
    let values = invoke::arguments(entry, &types)?;
    let values = values.into_iter().map(|value| match value {
        Value::I32(value) => Val::I32(value),
        Value::I64(value) => Val::I64(value),
        Value::F32(bits) => Val::F32(bits),
        Value::F64(bits) => Val::F64(bits),
        // No argument is.
        Value::V128(_) | Value::Reference(_) => Val::I32(0),
    });
    Ok((entry.name, values.collect()))
}

fn type_of(ty: ValType) -> Type {
    match ty {
        ValType::I32 => Type::I32,
        ValType::I64 => Type::I64,
        ValType::F32 => Type::F32,
        ValType::F64 => Type::F64,
        other => Type::Other(other.to_string()),
    }
}

/// A result as it is shown.
fn shown(value: &Val) -> Value {
    Value::Reference(match value {
        Val::I32(value) => return Value::I32(*value),
        Val::I64(value) => return Value::I64(*value),
        Val::F32(bits) => return Value::F32(*bits),
        Val::F64(bits) => return Value::F64(*bits),
        Val::V128(value) => return Value::V128(value.as_u128()),
        Val::ExternRef(None) => "<null externref>",
        Val::ExternRef(Some(_)) => "<externref>",
        Val::FuncRef(None) => "<null funcref>",
        Val::FuncRef(Some(_)) => "<funcref>",
        Val::AnyRef(None) => "<null anyref>",
        Val::AnyRef(Some(_)) => "<anyref>",
        Val::ExnRef(None) => "<null exnref>",
        Val::ExnRef(Some(_)) => "<exnref>",
        Val::ContRef(None) => "<null contref>",
        Val::ContRef(Some(_)) => "<contref>",
    })
}

/// What the module exports as `_start`.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn start(module: &Module) -> Start {
    match module.get_export("_start") {
        Some(ExternType::Func(ty)) if ty.params().len() == 0 && ty.results().len() == 0 => Start::Command,
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
        if let Some(export) = other.and_then(|(_, other)| other.get_export(&mut *store, name)) {
            found.push(export);
            continue;
        }
        let kind = match import.ty() {
            ExternType::Func(ty) => match resolve(store, from, name, &ty) {
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
            ExternType::Tag(_) => " (a tag)",
        };
        missing.add(from, name, kind);
    }
    missing
        .check(others.iter().map(|(name, _)| *name))
        .map(|()| found)
}
