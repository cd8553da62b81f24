//! Carries scripts out in wasmi.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use alloc::{format, vec};

use wasmi::{Config, Engine, Error, Extern, ExternRef, Func, Instance, Module, Nullable, Store, Val};

use crate::{Answer, Seen, Sum, Top, Value, World};

/// Everything that a test has made.
#[derive(Debug)]
pub struct Interpreter {
    engine: Engine,
    store: Store<()>,
    modules: BTreeMap<u32, Module>,
    instances: BTreeMap<u32, Instance>,
    names: BTreeMap<String, Instance>,
}

impl Interpreter {
    /// With this configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let engine = Engine::new(config);
        Self {
            store: Store::new(&engine, ()),
            engine,
            modules: BTreeMap::new(),
            instances: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// The export of an instance.
    fn export(&self, instance: u32, name: &str) -> Result<Extern, Answer> {
        let instance = self.instances.get(&instance);
        let instance = instance.ok_or_else(|| Answer::Missing(format!("instance {instance:?}")))?;
        instance
            .get_export(&self.store, name)
            .ok_or_else(|| Answer::Missing(format!("export {name}")))
    }

    fn argument(&mut self, value: Value) -> Result<Val, Answer> {
        Ok(match value {
            Value::I32(value) => Val::I32(value.cast_signed()),
            Value::I64(value) => Val::I64(value.cast_signed()),
            Value::F32(value) => Val::F32(f32::from_bits(value).into()),
            Value::F64(value) => Val::F64(f64::from_bits(value).into()),
            Value::V128(value) => Val::V128(value.into()),
            Value::Null(Top::Func) => Val::FuncRef(Nullable::Null),
            Value::Null(Top::Extern) => Val::ExternRef(Nullable::Null),
            Value::Extern(value) => Val::ExternRef(Nullable::Val(ExternRef::new(&mut self.store, value))),
            Value::Null(_) | Value::Host(_) => {
                return Err(Answer::Refused("the interpreter has no such references".into()));
            }
        })
    }

    fn seen(&self, value: &Val) -> Seen {
        let value = match value {
            Val::I32(value) => Value::I32(value.cast_unsigned()),
            Val::I64(value) => Value::I64(value.cast_unsigned()),
            Val::F32(value) => Value::F32(value.to_bits()),
            Val::F64(value) => Value::F64(value.to_bits()),
            Val::V128(value) => Value::V128(value.as_u128()),
            Val::FuncRef(Nullable::Null) => Value::Null(Top::Func),
            Val::FuncRef(Nullable::Val(_)) => return Seen::Func,
            Val::ExternRef(Nullable::Null) => Value::Null(Top::Extern),
            Val::ExternRef(Nullable::Val(value)) => {
                let number = value.data(&self.store).downcast_ref::<u32>();
                Value::Extern(number.copied().unwrap_or(u32::MAX))
            }
        };
        Seen::Value(value)
    }

    fn call(&mut self, function: Func, arguments: &[Value]) -> Result<Answer, Answer> {
        let arguments = arguments.iter().map(|value| self.argument(*value));
        let arguments = arguments.collect::<Result<Vec<_>, _>>()?;
        let count = function.ty(&self.store).results().len();
        let mut results = vec![Val::I32(0); count];
        function
            .call(&mut self.store, &arguments, &mut results)
            .map_err(|error| trapped(&error))?;
        Ok(Answer::Values(
            results.iter().map(|value| self.seen(value)).collect(),
        ))
    }

    fn link(&mut self, module: u32, instance: u32) -> Result<Answer, Answer> {
        let module = self.modules.get(&module);
        let module = module.ok_or_else(|| Answer::Missing(format!("module {module:?}")))?;
        let mut imports = Vec::new();
        for import in module.imports() {
            let from = self.names.get(import.module());
            let found = from.and_then(|from| from.get_export(&self.store, import.name()));
            imports.push(found.ok_or_else(|| {
                Answer::Unlinkable(format!("unknown import {}::{}", import.module(), import.name()))
            })?);
        }
        let made = Instance::new(&mut self.store, module, &imports).map_err(|error| match error.kind() {
            wasmi::errors::ErrorKind::TrapCode(_) => trapped(&error),
            _ if error.to_string().contains("out of bounds") => trapped(&error),
            _ => Answer::Unlinkable(error.to_string()),
        })?;
        self.instances.insert(instance, made);
        Ok(Answer::Done)
    }
}

/// An error of a call.
fn trapped(error: &Error) -> Answer {
    Answer::Trap(error.to_string())
}

/// Both sides are answers.
fn either(result: Result<Answer, Answer>) -> Answer {
    result.unwrap_or_else(|answer| answer)
}

impl World for Interpreter {
    fn reset(&mut self) {
        self.names.clear();
        self.instances.clear();
        self.modules.clear();
        self.store = Store::new(&self.engine, ());
    }

    fn module(&mut self, module: u32, bytes: &[u8]) -> Answer {
        match Module::new(&self.engine, bytes) {
            Ok(loaded) => {
                self.modules.insert(module, loaded);
                Answer::Done
            }
            Err(error) => Answer::Refused(error.to_string()),
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
                let value = global.get(&self.store);
                Ok(Answer::Values(vec![self.seen(&value)]))
            }
            _ => Err(Answer::Missing(format!("global {name}"))),
        }))
    }

    fn sum(&mut self, instance: u32) -> Answer {
        let Some(made) = self.instances.get(&instance) else {
            return Answer::Missing(format!("instance {instance}"));
        };
        let mut sum = Sum::default();
        let mut exports: Vec<(String, Extern)> = made
            .exports(&self.store)
            .map(|export| (export.name().into(), export.into_extern()))
            .collect();
        exports.sort_by(|one, other| one.0.cmp(&other.0));
        for (name, export) in exports {
            match export {
                Extern::Memory(memory) => sum.add(memory.data(&self.store)),
                Extern::Global(global) => {
                    let value = global.get(&self.store);
                    sum.add(format!("{name} {}", self.seen(&value)).as_bytes());
                }
                _ => {}
            }
        }
        sum.answer()
    }
}
