//! Carries scripts out in wasmtime.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use alloc::{format, vec};

use wasmtime::{
    AnyRef, Engine, Error, Extern, ExternRef, Func, HeapType, Instance, Module, Result as Loaded, Rooted,
    Store, ThrownException, Trap, Val,
};

use crate::{Answer, Seen, Sum, Top, Value, World};

/// Everything that a test has made.
pub struct Native<L> {
    engine: Engine,
    load: L,
    store: Store<()>,
    modules: BTreeMap<u32, Module>,
    instances: BTreeMap<u32, Instance>,
    names: BTreeMap<String, Instance>,
}

impl<L> core::fmt::Debug for Native<L> {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.debug_struct("Native").finish_non_exhaustive()
    }
}

impl<L: Fn(&Engine, &[u8]) -> Loaded<Module>> Native<L> {
    /// On this engine; `load` makes modules of a script's bytes.
    #[must_use]
    pub fn new(engine: &Engine, load: L) -> Self {
        Self {
            store: Store::new(engine, ()),
            engine: engine.clone(),
            load,
            modules: BTreeMap::new(),
            instances: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// The export of an instance.
    fn export(&mut self, instance: u32, name: &str) -> Result<Extern, Answer> {
        let made = self.instances.get(&instance);
        let made = made.ok_or_else(|| Answer::Missing(format!("instance {instance}")))?;
        made.get_export(&mut self.store, name)
            .ok_or_else(|| Answer::Missing(format!("export {name}")))
    }

    fn number(&mut self, number: u32) -> Result<Rooted<ExternRef>, Answer> {
        ExternRef::new(&mut self.store, number).map_err(|error| Answer::Trap(error.to_string()))
    }

    fn argument(&mut self, value: Value) -> Result<Val, Answer> {
        Ok(match value {
            Value::I32(value) => Val::I32(value.cast_signed()),
            Value::I64(value) => Val::I64(value.cast_signed()),
            Value::F32(value) => Val::F32(value),
            Value::F64(value) => Val::F64(value),
            Value::V128(value) => Val::V128(value.into()),
            Value::Null(Top::Func) => Val::null_func_ref(),
            Value::Null(Top::Extern) => Val::null_extern_ref(),
            Value::Null(Top::Any) => Val::null_any_ref(),
            Value::Null(Top::Exn) => Val::ExnRef(None),
            Value::Extern(value) => Val::ExternRef(Some(self.number(value)?)),
            Value::Host(value) => {
                let number = self.number(value)?;
                let host = AnyRef::convert_extern(&mut self.store, number)
                    .map_err(|error| Answer::Trap(error.to_string()))?;
                Val::AnyRef(Some(host))
            }
        })
    }

    /// A number of the host's.
    fn number_of(&self, reference: Rooted<ExternRef>) -> Option<u32> {
        let data = reference.data(&self.store).ok()??;
        data.downcast_ref::<u32>().copied()
    }

    /// What an internal reference is.
    fn any(&mut self, reference: Rooted<AnyRef>) -> Seen {
        let ty = reference.ty(&self.store);
        let kind = match ty {
            Ok(HeapType::I31) => "i31",
            Ok(HeapType::ConcreteStruct(_) | HeapType::Struct) => "struct",
            Ok(HeapType::ConcreteArray(_) | HeapType::Array) => "array",
            _ => match ExternRef::convert_any(&mut self.store, reference) {
                Ok(host) => match self.number_of(host) {
                    Some(number) => return Seen::Value(Value::Host(number)),
                    None => "other",
                },
                Err(_) => "other",
            },
        };
        Seen::Any(kind.into())
    }

    fn seen(&mut self, value: &Val) -> Seen {
        let value = match value {
            Val::I32(value) => Value::I32(value.cast_unsigned()),
            Val::I64(value) => Value::I64(value.cast_unsigned()),
            Val::F32(value) => Value::F32(*value),
            Val::F64(value) => Value::F64(*value),
            Val::V128(value) => Value::V128(value.as_u128()),
            Val::FuncRef(None) => Value::Null(Top::Func),
            Val::FuncRef(Some(_)) => return Seen::Func,
            Val::ExternRef(None) => Value::Null(Top::Extern),
            Val::ExternRef(Some(value)) => match self.number_of(*value) {
                Some(number) => Value::Extern(number),
                // An internal one that was made external.
                None => return Seen::Any("extern".into()),
            },
            Val::AnyRef(None) => Value::Null(Top::Any),
            Val::AnyRef(Some(value)) => return self.any(*value),
            Val::ExnRef(None) => Value::Null(Top::Exn),
            Val::ExnRef(Some(_)) | Val::ContRef(_) => return Seen::Exn,
        };
        Seen::Value(value)
    }

    fn call(&mut self, function: Func, arguments: &[Value]) -> Result<Answer, Answer> {
        let arguments = arguments.iter().map(|value| self.argument(*value));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let count = function.ty(&self.store).results().len();
        let mut results = vec![Val::I32(0); count];
        let called = function.call(&mut self.store, &arguments, &mut results);
        called.map_err(|error| self.ended(&error))?;
        Ok(Answer::Values(
            results.iter().map(|value| self.seen(value)).collect(),
        ))
    }

    /// An error of a call or of a start function.
    fn ended(&mut self, error: &Error) -> Answer {
        if error.is::<ThrownException>() {
            // Nobody shall see it later.
            let _ = self.store.take_pending_exception();
            return Answer::Exception;
        }
        Answer::Trap(match error.downcast_ref::<Trap>() {
            Some(trap) => trap.to_string(),
            None => format!("{error:#}"),
        })
    }

    fn link(&mut self, module: u32, instance: u32) -> Result<Answer, Answer> {
        let module = self.modules.get(&module).cloned();
        let module = module.ok_or_else(|| Answer::Missing("module".into()))?;
        let mut imports = Vec::new();
        for import in module.imports() {
            let from = self.names.get(import.module());
            let found = from.and_then(|from| from.get_export(&mut self.store, import.name()));
            imports.push(found.ok_or_else(|| {
                Answer::Unlinkable(format!("unknown import {}::{}", import.module(), import.name()))
            })?);
        }
        match Instance::new(&mut self.store, &module, &imports) {
            Ok(made) => {
                self.instances.insert(instance, made);
                Ok(Answer::Done)
            }
            Err(error) if error.is::<Trap>() || error.is::<ThrownException>() => Err(self.ended(&error)),
            Err(error) => Err(Answer::Unlinkable(format!("{error:#}"))),
        }
    }
}

/// Both sides are answers.
fn either(result: Result<Answer, Answer>) -> Answer {
    result.unwrap_or_else(|answer| answer)
}

impl<L: Fn(&Engine, &[u8]) -> Loaded<Module>> World for Native<L> {
    fn reset(&mut self) {
        self.names.clear();
        self.instances.clear();
        self.modules.clear();
        self.store = Store::new(&self.engine, ());
    }

    fn module(&mut self, module: u32, bytes: &[u8]) -> Answer {
        match (self.load)(&self.engine, bytes) {
            Ok(loaded) => {
                self.modules.insert(module, loaded);
                Answer::Done
            }
            Err(error) => Answer::Refused(format!("{error:#}")),
        }
    }

    fn instantiate(&mut self, module: u32, instance: u32) -> Answer {
        either(self.link(module, instance))
    }

    fn register(&mut self, instance: u32, name: &str) -> Answer {
        match self.instances.get(&instance) {
            Some(instance) => {
                self.names.insert(name.into(), *instance);
                Answer::Done
            }
            None => Answer::Missing(format!("instance {instance}")),
        }
    }

    fn invoke(&mut self, instance: u32, name: &str, arguments: &[Value]) -> Answer {
        either(self.export(instance, name).and_then(|export| match export {
            Extern::Func(function) => self.call(function, arguments),
            _ => Err(Answer::Missing(format!("function {name}"))),
        }))
    }

    fn get(&mut self, instance: u32, name: &str) -> Answer {
        either(self.export(instance, name).and_then(|export| match export {
            Extern::Global(global) => {
                let value = global.get(&mut self.store);
                Ok(Answer::Values(vec![self.seen(&value)]))
            }
            _ => Err(Answer::Missing(format!("global {name}"))),
        }))
    }

    fn sum(&mut self, instance: u32) -> Answer {
        let Some(made) = self.instances.get(&instance).copied() else {
            return Answer::Missing(format!("instance {instance}"));
        };
        let mut sum = Sum::default();
        let mut exports: Vec<(String, Extern)> = made
            .exports(&mut self.store)
            .map(|export| (export.name().into(), export.into_extern()))
            .collect();
        exports.sort_by(|one, other| one.0.cmp(&other.0));
        for (name, export) in exports {
            match export {
                Extern::Memory(memory) => sum.add(memory.data(&self.store)),
                Extern::Global(global) => {
                    let value = global.get(&mut self.store);
                    sum.add(format!("{name} {}", self.seen(&value)).as_bytes());
                }
                _ => {}
            }
        }
        sum.answer()
    }
}
