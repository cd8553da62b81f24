//! Modules before they run: what the application hands to the interpreter neither overflows a small stack, nor takes
//! memory out of proportion to its size, nor makes either panic.

use std::thread;

use arbitrary::{Arbitrary, Unstructured};
use kernel_app::engine::wasmi as engine;
use kernel_app::limits;
use wasmi::{Engine, Instance, Module, Store, StoreLimits, StoreLimitsBuilder};

use crate::heap;

/// A quarter of the machine's. Sanitizers make frames larger.
const STACK: usize = 256 << 10;
/// Bytes of heap that a module's byte may cost.
const HEAP_PER_BYTE: usize = 1024;
/// What the smallest module takes to be loaded.
const HEAP: usize = 256 << 10;
/// What it may take to be run: the values that any module may pass, some 30 bytes each once translated, and the stack.
const HEAP_TO_RUN: usize = 64 << 20;
/// Instructions that a module may run, about, translation included.
const FUEL: u64 = 1_000_000;

/// The first byte says what the others are: parts to make a module of, or the module.
pub fn run(data: &[u8]) {
    let wasm = match data.split_first() {
        Some((0, script)) => match Vec::<Part>::arbitrary(&mut Unstructured::new(script)) {
            Ok(parts) => build(&parts),
            Err(_) => return,
        },
        Some((_, wasm)) => wasm.to_vec(),
        None => return,
    };
    let thread = thread::Builder::new().stack_size(STACK);
    let loads = thread.spawn(move || load(&wasm)).expect("a thread can be made");
    loads.join().expect("no module makes the application panic");
}

/// Does what the application does, with a little fuel.
fn load(wasm: &[u8]) {
    let mut config = engine::config();
    config.consume_fuel(true);
    let engine = Engine::new(&config);
    let (module, taken) = heap::most(|| match limits::refusal(wasm) {
        Some(_) => None,
        None => Module::new(&engine, wasm).ok(),
    });
    let most = HEAP + HEAP_PER_BYTE * wasm.len();
    assert!(taken <= most, "{} bytes took {taken} of heap to load", wasm.len());
    let Some(module) = module else { return };
    let small = StoreLimitsBuilder::new()
        .memory_size(1 << 20)
        .table_elements(10_000)
        .build();
    let mut store = Store::new(&engine, small);
    store.limiter(|limits: &mut StoreLimits| limits);
    store.set_fuel(FUEL).expect("fuel is on");
    let ((), taken) = heap::most(|| {
        if let Ok(instance) = Instance::new(&mut store, &module, &[])
            && let Ok(start) = instance.get_typed_func::<(), ()>(&store, "_start")
        {
            let _ = start.call(&mut store, ());
        }
    });
    let most = HEAP_TO_RUN + HEAP_PER_BYTE * wasm.len();
    assert!(taken <= most, "{} bytes took {taken} of heap to run", wasm.len());
}

/// A part of a module, which a few bytes of input make large.
#[derive(Arbitrary, Debug)]
enum Part {
    /// A global with so many additions, whose operands come before each or before all.
    Global { additions: u16, nested: bool },
    /// A function of a type with these numbers of parameters and results, of so many of an instruction.
    Function {
        parameters: u16,
        results: u16,
        instruction: u8,
        times: u16,
    },
}

/// Instructions that name a type or nest: each is well-formed behind `unreachable`, with types 0 and up, and blocks
/// closed.
const INSTRUCTIONS: [&[u8]; 12] = [
    &[0x02, 0x00, 0x0b],
    &[0x03, 0x00, 0x0b],
    &[0x04, 0x00, 0x05, 0x0b],
    &[0x02, 0x40, 0x0b],
    &[0x0c, 0x00],
    &[0x0d, 0x00],
    &[0x0e, 0x03, 0x00, 0x00, 0x00, 0x00],
    &[0x0f],
    &[0x10, 0x00],
    &[0x12, 0x00],
    &[0x20, 0x00, 0x0d, 0x00],
    &[0x41, 0x00],
];

/// A module of these parts; the first function is `_start`.
fn build(parts: &[Part]) -> Vec<u8> {
    let (mut types, mut functions, mut globals, mut bodies) = (vec![], vec![], vec![], vec![]);
    for part in parts {
        match part {
            Part::Global { additions, nested } => {
                let additions = usize::from(*additions);
                let operators = match nested {
                    false => [0x41, 1, 0x6a].repeat(additions),
                    true => [[0x41, 1].repeat(additions), vec![0x6a; additions]].concat(),
                };
                globals.push([&[0x7f, 0, 0x41, 1][..], &operators, &[0x0b]].concat());
            }
            Part::Function {
                parameters,
                results,
                instruction,
                times,
            } => {
                let values = |count: &u16| sized(&vec![0x7f; usize::from(*count % 1001)]);
                types.push([vec![0x60], values(parameters), values(results)].concat());
                functions.push(leb(functions.len()));
                let instruction = INSTRUCTIONS.get(usize::from(*instruction) % INSTRUCTIONS.len());
                let code = instruction
                    .copied()
                    .unwrap_or_default()
                    .repeat(usize::from(*times));
                bodies.push(sized(&[&[0, 0x00][..], &code, &[0x00, 0x0b]].concat()));
            }
        }
    }
    let start = match bodies.is_empty() {
        true => vec![],
        false => vec![[sized(b"_start"), vec![0, 0]].concat()],
    };
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    for (id, items) in [(1, types), (3, functions), (6, globals), (7, start), (10, bodies)] {
        wasm.push(id);
        wasm.extend(sized(&[leb(items.len()), items.concat()].concat()));
    }
    wasm
}

/// Bytes behind their length.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [leb(bytes.len()), bytes.to_vec()].concat()
}

/// An integer as the binary format writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = vec![];
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
