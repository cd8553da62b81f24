//! Why a module cannot be compiled: it is not valid, or it needs a proposal that the machines do not have, or more than
//! the compiler can do.

use aot_config::protocol::Refusal;
use aot_config::settings::MORE_PROPOSALS;
use std::panic::{self, AssertUnwindSafe};

use aot_config::CpuLevel;
use wasmparser::{FunctionBody, Operator, Parser, Payload, TypeRef, Validator, WasmFeatures};

/// Why a module is not compiled that the compiler would take: what the machines' runtime cannot carry out.
///
/// Waiting takes threads, which the runtime does not have: without its feature `threads` it takes these instructions
/// for unreachable, also where the memory is not shared. Nor has it shared memories.
pub(crate) fn before(module: &[u8], level: CpuLevel) -> Option<Refusal> {
    // Without the vector extension, Cranelift panics there.
    let vectors = WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD;
    if level == CpuLevel::Rv64gc
        && check(module, WasmFeatures::all()).is_ok()
        && check(module, WasmFeatures::all() - vectors).is_err()
    {
        return Some(without_vectors(
            "rv64gc has no vectors, without which the compiler has no SIMD",
        ));
    }
    for payload in Parser::new(0).parse_all(module) {
        // The compiler says what is wrong with it.
        let refusal = match payload.ok()? {
            Payload::ImportSection(imports) => imports
                .into_imports()
                .map_while(Result::ok)
                .any(|import| matches!(import.ty, TypeRef::Memory(memory) if memory.shared))
                .then(shared),
            Payload::MemorySection(memories) => memories
                .into_iter()
                .map_while(Result::ok)
                .any(|memory| memory.shared)
                .then(shared),
            Payload::CodeSectionEntry(body) => waits(&body),
            _ => None,
        };
        if refusal.is_some() {
            return refusal;
        }
    }
    None
}

/// The refusal of a module that takes vectors, for a processor without.
fn without_vectors(why: &str) -> Refusal {
    Refusal::Unsupported {
        proposals: vec!["simd".to_string()],
        message: format!("{why}; rv64gcv has them"),
    }
}

/// What `compile` gives. If it panics for a processor without vectors, that is a refusal: wasmtime takes some of its own
/// accord to copy a constant number of bytes (`memory.copy`, `table.copy`, `array.copy`; 16 to 128), without asking
/// whether there are any. No other panic at that level is known.
pub(crate) fn of_panic<T>(level: CpuLevel, compile: impl FnOnce() -> T) -> Result<T, Refusal> {
    if level != CpuLevel::Rv64gc {
        return Ok(compile());
    }
    panic::catch_unwind(AssertUnwindSafe(compile)).map_err(|_| {
        without_vectors("the compiler panicked, as it does where it wants vectors to copy 16 to 128 bytes")
    })
}

/// The refusal of a module with a shared memory.
fn shared() -> Refusal {
    Refusal::Unsupported {
        proposals: vec!["threads".to_string()],
        message: "it has a shared memory: only one thread runs here".to_string(),
    }
}

/// The refusal of a function that waits.
fn waits(body: &FunctionBody<'_>) -> Option<Refusal> {
    for operator in body.get_operators_reader().ok()?.into_iter_with_offsets() {
        let (operator, offset) = operator.ok()?;
        let name = match operator {
            Operator::MemoryAtomicWait32 { .. } => "memory.atomic.wait32",
            Operator::MemoryAtomicWait64 { .. } => "memory.atomic.wait64",
            Operator::MemoryAtomicNotify { .. } => "memory.atomic.notify",
            _ => continue,
        };
        return Some(Refusal::Unsupported {
            proposals: vec!["threads".to_string()],
            message: format!("{name} at offset {offset:#x}: only one thread runs here"),
        });
    }
    None
}

/// What the error of a compilation means.
pub(crate) fn of(error: &wasmtime::Error, module: &[u8]) -> Refusal {
    let why = error.root_cause().to_string();
    // Known from here on: what is wrong even if every proposal is there.
    match check(module, WasmFeatures::all()) {
        Err(error) => Refusal::Invalid {
            offset: u64::try_from(error.offset()).unwrap_or(u64::MAX),
            message: error.message().to_string(),
        },
        Ok(()) => {
            let proposals = needed(module);
            match proposals.is_empty() {
                true => Refusal::Failed(why),
                false => Refusal::Unsupported {
                    proposals,
                    message: why,
                },
            }
        }
    }
}

fn check(module: &[u8], features: WasmFeatures) -> Result<(), wasmparser::BinaryReaderError> {
    Validator::new_with_features(features)
        .validate_all(module)
        .map(drop)
}

/// The proposals that the module needs and the machines do not have, by wasmparser's names for them. The machines have
/// WebAssembly 3.0, and what the settings add.
fn needed(module: &[u8]) -> Vec<String> {
    let there = MORE_PROPOSALS
        .into_iter()
        .fold(WasmFeatures::WASM3, WasmFeatures::union);
    let missing = WasmFeatures::all() - there;
    missing
        .iter_names()
        .filter(|(_, proposal)| check(module, WasmFeatures::all() - *proposal).is_err())
        .map(|(name, _)| name.to_lowercase().replace('_', "-"))
        .collect()
}
