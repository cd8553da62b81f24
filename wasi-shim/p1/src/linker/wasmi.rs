//! The binder for wasmi.
//!
//! Layer: linker, and the only file that names wasmi.

use core::fmt;

use wasi_core::System;
use wasmi::errors::{HostError, MemoryError, TableError};
use wasmi::{AsContextMut, Caller, Extern, Func, FuncType, Memory, ResourceLimiter, Store, Val, ValType};
use wasmi_core::{LimiterError, RawRef};

use super::{
    Body, Bounds, Growth, Resource, Shared, SignatureMismatch, Stop, ValueType, bind, leave,
    table::{self, Function, scope::*},
    trace::{Arguments, Step},
};
use crate::{
    context::WasiP1Ctx,
    error::{Error, Trap},
    memory::GuestMemory,
};

/// What a store holds for a guest: put it into `wasmi::Store::new`.
pub type Host<S> = super::Host<S, Memory>;

impl HostError for Stop {}

/// Why a WASI call ended the run, if one did; else the error is the engine's own (a Wasm trap, out of fuel, …).
pub fn stop(error: &wasmi::Error) -> Option<&Stop> {
    error.downcast_ref()
}

/// The answer to a growth: no may be an end.
const fn answer(bounds: Bounds, may: bool) -> Result<bool, LimiterError> {
    match may || !bounds.trap {
        true => Ok(may),
        false => Err(LimiterError::ResourceLimiterDeniedAllocation),
    }
}

impl ResourceLimiter for Growth {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        let has_room = self.asked();
        if !self.may_grow(Resource::Memory, desired, maximum) {
            return answer(self.bounds, false);
        }
        let is_prepared = self.prepared(has_room, current, desired);
        self.failed |= !is_prepared;
        answer(self.of_system(), is_prepared)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn memory_grow_failed(&mut self, error: &MemoryError) -> Result<(), LimiterError> {
        let is_systems = matches!(error, MemoryError::OutOfSystemMemory);
        self.failed |= is_systems;
        self.refused();
        (self.prepare)(0, 0);
        let bounds = if is_systems { self.of_system() } else { self.bounds };
        answer(bounds, false).map(|_| ())
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        let [current, desired_bytes] =
            [current, desired].map(|elements| elements.saturating_mul(size_of::<RawRef>()));
        let has_room = self.asked();
        if !self.may_grow(Resource::Table, desired, maximum) {
            return answer(self.bounds, false);
        }
        let is_prepared = self.prepared(has_room, current, desired_bytes);
        self.failed |= self.bounds.fixed && !is_prepared;
        answer(self.of_system(), is_prepared)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn table_grow_failed(&mut self, error: &TableError) -> Result<(), LimiterError> {
        let is_systems = matches!(error, TableError::OutOfSystemMemory);
        self.failed |= self.bounds.fixed && is_systems;
        self.refused();
        (self.prepare)(0, 0);
        let bounds = if is_systems { self.of_system() } else { self.bounds };
        answer(bounds, false).map(|_| ())
    }

    fn instances(&self) -> usize {
        usize::MAX
    }

    fn tables(&self) -> usize {
        usize::MAX
    }

    fn memories(&self) -> usize {
        usize::MAX
    }
}

/// The WASI function that an import names, as a function of `store`; `None` if WASI has none of that name.
///
/// # Errors
/// [`SignatureMismatch`] if the import wants another type.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn resolve<S: System + 'static>(
    store: &mut Store<Host<S>>,
    module: &str,
    name: &str,
    ty: &FuncType,
) -> Result<Option<Func>, SignatureMismatch> {
    let types = || {
        let [params, results] = [ty.params(), ty.results()];
        (params.iter().map(value_type), results.iter().map(value_type))
    };
    let is_fixed = store.data().is_fixed();
    let found = table::find(module, name, is_fixed, types)?;
    Ok(found.map(|function| {
        let func = bind(store, function);
        match store.data().is_traced() {
            true => traced(store, function, func),
            false => func,
        }
    }))
}

/// A type of wasmi's: ours, if it is one of them, and its name.
fn value_type(ty: &ValType) -> (Option<ValueType>, ValTypeName) {
    let ours = match ty {
        ValType::I32 => Some(ValueType::I32),
        ValType::I64 => Some(ValueType::I64),
        _ => None,
    };
    (ours, ValTypeName(*ty))
}

/// Prints a value type as WAT writes it.
struct ValTypeName(ValType);

impl fmt::Display for ValTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            ValType::I32 => "i32",
            ValType::I64 => "i64",
            ValType::F32 => "f32",
            ValType::F64 => "f64",
            ValType::V128 => "v128",
            ValType::FuncRef => "funcref",
            ValType::ExternRef => "externref",
        })
    }
}

table::functions!(bind);

/// `func` with its recorder or its player around it.
#[cold]
#[cfg_attr(target_os = "hermit", optimize(size))]
fn traced<S: System + 'static>(store: &mut Store<Host<S>>, function: Function, func: Func) -> Func {
    let ty = func.ty(&*store);
    Func::new(store, ty, move |caller, params, results| {
        call_traced(caller, function, func, params, results)
    })
}

/// A call with its recorder or its player around it.
#[cfg_attr(target_os = "hermit", optimize(size))]
#[inline(never)]
fn call_traced<S: System>(
    mut caller: Caller<'_, Host<S>>,
    function: Function,
    func: Func,
    params: &[Val],
    results: &mut [Val],
) -> Result<(), wasmi::Error> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        None => find_memory(&mut caller)?,
    };
    let arguments = Arguments::new(params.iter().map(|param| match param {
        Val::I32(value) => value.cast_unsigned().into(),
        Val::I64(value) => value.cast_unsigned(),
        // No function has others.
        _ => 0,
    }));
    let (bytes, host) = memory.data_and_store_mut(caller.as_context_mut());
    let pending = match host.before(&mut GuestMemory::new(bytes), function, arguments) {
        Step::Make(pending) => pending,
        Step::Answered(end) => {
            let errno = end.map_err(stopped)?;
            if let Some(result) = results.first_mut() {
                *result = Val::I32(errno.cast_signed());
            }
            return Ok(());
        }
    };
    caller.data_mut().lend_memory(Some(memory));
    let end = func.call(caller.as_context_mut(), params, results);
    let errno = match results.first() {
        Some(Val::I32(errno)) => errno.cast_unsigned(),
        _ => 0,
    };
    let (bytes, host) = memory.data_and_store_mut(caller.as_context_mut());
    host.lend_memory(None);
    match end.as_ref().map_err(stop) {
        Ok(()) => host.after(&GuestMemory::new(bytes), &pending, Ok(errno)),
        Err(Some(stop)) => host.after(&GuestMemory::new(bytes), &pending, Err(stop)),
        Err(None) => {}
    }
    end
}

/// Runs a call on the guest's context and memory.
#[inline]
fn call<S>(
    mut caller: Caller<'_, Host<S>>,
    body: impl FnOnce(&mut WasiP1Ctx<S>, &mut GuestMemory<'_>) -> Result<(), Error>,
) -> Result<u32, wasmi::Error> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        None => find_memory(&mut caller)?,
    };
    let (bytes, host) = memory.data_and_store_mut(caller.as_context_mut());
    leave(body(&mut host.context, &mut GuestMemory::new(bytes))).map_err(stopped)
}

/// The first call: a start function may come before the embedder could attach the memory. Of several instances, each.
/// Of a run that is the same each time, each too: time passes with the fuel that is spent until then.
#[cold]
#[cfg_attr(target_os = "hermit", optimize(size))]
fn find_memory<S>(caller: &mut Caller<'_, Host<S>>) -> Result<Memory, wasmi::Error> {
    if let Some(time) = caller.data().context.core.virtual_time() {
        // It fails only where the engine does not count.
        time.set_left(caller.get_fuel().unwrap_or_default());
    }
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => {
            caller.data_mut().found_memory(memory);
            Ok(memory)
        }
        _ => Err(stopped(Stop::Trap(Trap::NoMemory))),
    }
}

/// Out of line: it happens once in a guest's life, and would stand in every function.
#[cold]
#[inline(never)]
fn stopped(stop: Stop) -> wasmi::Error {
    wasmi::Error::host(stop)
}
