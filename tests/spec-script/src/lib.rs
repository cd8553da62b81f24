//! Scripts of the specification's tests: what is done, in which order, as bytes; and the answers, as lines of text.
//!
//! Programs on the host write scripts ([`Command::encode`]) and judge the answers. The application in the machine,
//! built with its feature `spec-tests`, carries a script out ([`run()`]) on the engine that it has; so can a host.
//! Nothing of this is in an image that anybody ships. Layer: pure, but for the engines in `interpreter` and `native`.
//!
//! A script is [`MAGIC`] and commands. Numbers are little-endian; bytes and text have their length before them, as u32.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod answer;
#[cfg(feature = "wasmi")]
pub mod interpreter;
#[cfg(feature = "wasmtime")]
pub mod native;
mod read;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

pub use answer::{ANSWER, Answer, END, Seen};

/// What a script begins with: no module, archive or native program does.
pub const MAGIC: &[u8; 8] = b"\0spec\x001\n";

/// A kind of references, by the top of its hierarchy of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Top {
    /// `func` and below.
    Func,
    /// `extern` and below.
    Extern,
    /// `any` and below.
    Any,
    /// `exn` and below.
    Exn,
}

/// An argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Of type `i32`.
    I32(u32),
    /// Of type `i64`.
    I64(u64),
    /// The bits of an `f32`.
    F32(u32),
    /// The bits of an `f64`.
    F64(u64),
    /// Of type `v128`.
    V128(u128),
    /// A null reference.
    Null(Top),
    /// A number of the host's, as an `externref`.
    Extern(u32),
    /// A number of the host's, as an `anyref`.
    Host(u32),
}

/// One step of a script. Modules and instances are called by numbers, which the script gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Forget all: the next test begins.
    Reset,
    /// Load a module: wasm for the interpreter, code for the native engine.
    Module(u32, &'a [u8]),
    /// Make an instance of a module; its imports are exports of the registered ones.
    Instantiate(u32, u32),
    /// Call an instance by a name in imports.
    Register(u32, &'a str),
    /// Call an exported function.
    Invoke(u32, &'a str, Vec<Value>),
    /// Read an exported global.
    Get(u32, &'a str),
    /// Make one number of all exported memories and globals.
    Sum(u32),
}

/// What carries a script out.
pub trait World {
    /// Forgets everything.
    fn reset(&mut self);
    /// Loads a module under this number.
    fn module(&mut self, module: u32, bytes: &[u8]) -> Answer;
    /// Makes the instance of this number.
    fn instantiate(&mut self, module: u32, instance: u32) -> Answer;
    /// Gives an instance a name.
    fn register(&mut self, instance: u32, name: &str) -> Answer;
    /// Calls a function.
    fn invoke(&mut self, instance: u32, name: &str, arguments: &[Value]) -> Answer;
    /// Reads a global.
    fn get(&mut self, instance: u32, name: &str) -> Answer;
    /// One number of memories and globals.
    fn sum(&mut self, instance: u32) -> Answer;
}

/// Whether these bytes are a script.
#[must_use]
pub fn is_script(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Carries a script out; `write` gets a line for each command, and one at the end.
///
/// # Errors
/// If the script is damaged.
pub fn run(script: &[u8], world: &mut impl World, mut write: impl FnMut(&str)) -> Result<(), String> {
    let mut number = 0_u32;
    let mut reader = read::Reader::new(script.strip_prefix(MAGIC).ok_or("it is no script")?);
    while let Some(command) = reader.command() {
        let answer = match command? {
            Command::Reset => {
                world.reset();
                Answer::Done
            }
            Command::Module(module, bytes) => world.module(module, bytes),
            Command::Instantiate(module, instance) => world.instantiate(module, instance),
            Command::Register(instance, name) => world.register(instance, name),
            Command::Invoke(instance, name, arguments) => world.invoke(instance, name, &arguments),
            Command::Get(instance, name) => world.get(instance, name),
            Command::Sum(instance) => world.sum(instance),
        };
        write(&format!("{ANSWER}{number} {answer}\n"));
        number = number.wrapping_add(1);
    }
    write(&format!("{ANSWER}{END}\n"));
    Ok(())
}

/// A running sum over bytes (FNV-1a).
#[derive(Clone, Copy, Debug)]
pub struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Sum {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// The sum, as a function's result would be told.
    #[must_use]
    pub fn answer(self) -> Answer {
        Answer::Values([Seen::Value(Value::I64(self.0))].into())
    }
}
