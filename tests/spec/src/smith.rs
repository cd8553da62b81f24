//! Compares random modules with this host's wasmtime: what each exported function answers to fixed arguments, and what is
//! in memories and globals afterwards.

use std::ops::Range;

use anyhow::{Context as _, Result, anyhow, ensure};
use spec_script::{Answer, Command, MAGIC, Top, Value};
use test_qemu::Engine;
use wasm_smith::{Config, Module as Smith};
use wasmtime::{Engine as Wasmtime, ExternType, HeapType, Module, ValType};

use crate::boot::{self, Answers};
use crate::code::{Made, Maker};
use crate::{Machine, reference};

/// How many bytes of entropy a module is made of.
const ENTROPY: usize = 4096;
/// How many blocks and calls a module may enter before it stops itself.
const FUEL: u32 = 1000;
/// How many modules one machine gets.
const BATCH: usize = 200;
/// Most differences that are shown.
const SHOWN: usize = 40;

/// A module and what is done with it.
struct Case {
    number: u64,
    wasm: Vec<u8>,
    commands: Vec<Done>,
}

/// A command behind the module.
enum Done {
    Instantiate,
    Invoke(String, Vec<Value>),
    Sum,
}

/// What came of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
struct Compared {
    /// Answers that are the same.
    equal: usize,
    /// Modules that were left where one side had no room: how much there is, is each one's own.
    stopped: usize,
    /// Modules with an answer that is not.
    unequal: usize,
}

/// Compares the modules of these numbers; false if an answer differs.
pub(crate) fn run(machine: &Machine, seed: u64, numbers: Range<u64>) -> Result<bool> {
    let maker = Maker::of(machine)?;
    let host = reference::engine()?;
    let numbers: Vec<u64> = numbers.collect();
    let (mut made, mut shown, mut all) = (0_usize, 0_usize, Compared::default());
    for batch in numbers.chunks(BATCH) {
        let cases: Vec<Case> = batch
            .iter()
            .filter_map(|number| case(&host, seed, *number, machine.engine).transpose())
            .collect::<Result<_>>()?;
        let theirs = boot::here(Engine::Native, &script(&cases, &Maker::Wasm)?)?;
        ensure!(theirs.trouble.is_none(), "{:?}", theirs.trouble);
        let ours = boot::run(machine, &script(&cases, &maker)?)?;
        // Each command's, and those for memories and globals at the end.
        let wanted: usize = cases.iter().map(|case| case.commands.len()).sum();
        ensure!(
            theirs.answers.len() >= wanted,
            "wasmtime here gave {} of {wanted} answers",
            theirs.answers.len()
        );
        if let Some(trouble) = &ours.trouble {
            println!("{trouble}");
            all.unequal += 1;
        } else if ours.answers.len() != theirs.answers.len() {
            println!(
                "the machine gave {} answers, wasmtime here {}",
                ours.answers.len(),
                theirs.answers.len()
            );
            all.unequal += 1;
        }
        made += cases.len();
        let compared = compare(&cases, &theirs, &ours, |number, place, theirs, ours| {
            shown += 1;
            if shown <= SHOWN {
                println!(
                    "seed {seed}, module {number}, command {place}: wasmtime here: {theirs}; in the machine: {ours}"
                );
            }
        });
        all.equal += compared.equal;
        all.stopped += compared.stopped;
        all.unequal += compared.unequal;
    }
    println!(
        "{}: {made} modules of seed {seed}: {} answers are equal, {} modules differ, {} were left where there was no room",
        machine.engine.name(),
        all.equal,
        all.unequal,
        all.stopped
    );
    ensure!(all.equal > 0, "nothing was compared");
    Ok(all.unequal == 0)
}

/// What both sides have, and what makes their answers the same: no NaN's bits, no growth that one may refuse. `more` is
/// what the interpreter has not.
fn config(more: bool) -> Config {
    Config {
        export_everything: true,
        canonicalize_nans: true,
        memory_max_size_required: true,
        table_max_size_required: true,
        max_memory32_bytes: 4 << 20,
        max_memory64_bytes: 4 << 20,
        max_table_elements: 1000,
        min_funcs: 2,
        min_exports: 2,
        min_memories: 1,
        max_memories: 2,
        max_imports: 0,
        max_instructions: 300,
        gc_enabled: more,
        exceptions_enabled: more,
        custom_page_sizes_enabled: true,
        wide_arithmetic_enabled: true,
        // What no machine has, and what processors may answer differently.
        threads_enabled: false,
        relaxed_simd_enabled: false,
        ..Config::default()
    }
}

/// Bytes from a seed (splitmix64).
fn entropy(seed: u64, number: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03);
    let mut bytes = Vec::with_capacity(ENTROPY);
    while bytes.len() < ENTROPY {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((word ^ (word >> 31)).to_le_bytes());
    }
    bytes
}

/// The module of a number: those of even numbers are the same for both engines, the others have what the native engine
/// alone has, if it is that one. `None` if no module comes of these bytes.
fn module(seed: u64, number: u64, engine: Engine) -> Option<Vec<u8>> {
    let more = engine == Engine::Native && number % 2 == 1;
    let bytes = entropy(seed, number);
    let mut smith = Smith::new(config(more), &mut arbitrary::Unstructured::new(&bytes)).ok()?;
    smith.ensure_termination(FUEL).ok()?;
    Some(smith.to_bytes())
}

/// A module and its calls; `None` if there is no module.
fn case(host: &Wasmtime, seed: u64, number: u64, engine: Engine) -> Result<Option<Case>> {
    let Some(wasm) = module(seed, number, engine) else {
        return Ok(None);
    };
    let module = Module::new(host, &wasm)
        .map_err(|error| anyhow!("{error:#}"))
        .with_context(|| format!("wasmtime refuses module {number} of seed {seed}"))?;
    let mut commands = vec![Done::Instantiate];
    for export in module.exports() {
        if let ExternType::Func(function) = export.ty()
            && let Some(arguments) = function.params().map(|ty| argument(&ty)).collect()
        {
            commands.push(Done::Invoke(export.name().into(), arguments));
        }
    }
    commands.push(Done::Sum);
    Ok(Some(Case {
        number,
        wasm,
        commands,
    }))
}

/// An argument of this type; `None` if there is none that can be written down.
fn argument(ty: &ValType) -> Option<Value> {
    Some(match ty {
        ValType::I32 => Value::I32(0x8000_0007),
        ValType::I64 => Value::I64(0x1234_5678_9abc_def0),
        ValType::F32 => Value::F32(1.5_f32.to_bits()),
        ValType::F64 => Value::F64((-2.25_f64).to_bits()),
        ValType::V128 => Value::V128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
        ValType::Ref(reference) if reference.is_nullable() => {
            Value::Null(match reference.heap_type().top() {
                HeapType::Func => Top::Func,
                HeapType::Extern => Top::Extern,
                HeapType::Exn => Top::Exn,
                HeapType::Any => Top::Any,
                _ => return None,
            })
        }
        ValType::Ref(_) => return None,
    })
}

fn script(cases: &[Case], maker: &Maker) -> Result<Vec<u8>> {
    let mut script = MAGIC.to_vec();
    for case in cases {
        Command::Reset.encode(&mut script);
        // What the compiler refuses the machine must refuse too, and this host's wasmtime has not: that is told.
        let made = match maker.make(&case.wasm)? {
            Made::Bytes(made) => made,
            Made::Refused(why) => why.into_bytes(),
        };
        Command::Module(1, &made).encode(&mut script);
        for command in &case.commands {
            match command {
                Done::Instantiate => Command::Instantiate(1, 1),
                Done::Invoke(name, arguments) => Command::Invoke(1, name, arguments.clone()),
                Done::Sum => Command::Sum(1),
            }
            .encode(&mut script);
        }
    }
    Ok(script)
}

/// Compares the answers; tells each module's first that differs.
fn compare(
    cases: &[Case],
    theirs: &Answers,
    ours: &Answers,
    mut tell: impl FnMut(u64, usize, &Answer, &Answer),
) -> Compared {
    let mut counts = Compared::default();
    let mut pairs = theirs.answers.iter().zip(&ours.answers);
    for case in cases {
        // Reset and the module itself stand before the commands.
        let pairs: Vec<_> = pairs.by_ref().take(case.commands.len() + 2).collect();
        for (place, (theirs, ours)) in pairs.into_iter().enumerate() {
            if has_no_room(theirs) || has_no_room(ours) {
                counts.stopped += 1;
                break;
            }
            if same(theirs, ours) {
                counts.equal += 1;
                continue;
            }
            counts.unequal += 1;
            tell(case.number, place, theirs, ours);
            break;
        }
    }
    counts
}

/// Stacks and heaps have sizes of their own, and what comes after depends on where they end.
fn has_no_room(answer: &Answer) -> bool {
    let full = [
        "call stack exhausted",
        "out of memory",
        "out of system memory",
        "allocation size too large",
    ];
    // A module that fills a heap at its start has no instance.
    matches!(answer, Answer::Trap(text) | Answer::Unlinkable(text) if full.iter().any(|words| text.contains(words)))
}

/// Whether two engines say the same; what a trap or a missing instance is called is each one's own.
fn same(theirs: &Answer, ours: &Answer) -> bool {
    match (theirs, ours) {
        (Answer::Trap(theirs), Answer::Trap(ours)) => kind(theirs) == kind(ours),
        (Answer::Missing(_), Answer::Missing(_)) => true,
        _ => theirs == ours,
    }
}

/// What a trap is about.
fn kind(text: &str) -> &str {
    let kinds = [
        "unreachable",
        "divide by zero",
        "integer overflow",
        "conversion to integer",
        "indirect call type mismatch",
        "out of bounds memory",
        "out of bounds table",
        "uninitialized element",
        "out of bounds array",
        "null reference",
        "cast failure",
    ];
    kinds.into_iter().find(|kind| text.contains(kind)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use spec_script::Seen;

    use super::*;

    fn answers(answers: &[Answer]) -> Answers {
        Answers {
            answers: answers.to_vec(),
            trouble: None,
        }
    }

    fn two_cases() -> [Case; 2] {
        [7, 8].map(|number| Case {
            number,
            wasm: Vec::new(),
            commands: vec![Done::Instantiate, Done::Sum],
        })
    }

    #[test]
    fn a_module_is_left_at_its_first_difference_and_the_next_is_compared() {
        let value = |bits| Answer::Values(vec![Seen::Value(Value::I32(bits))]);
        let done = Answer::Done;
        let theirs = [&done, &done, &value(1), &value(2), &done, &done, &done, &value(3)].map(Clone::clone);
        let ours = [&done, &done, &value(9), &value(2), &done, &done, &done, &value(3)].map(Clone::clone);
        let mut told = Vec::new();
        let compared = compare(
            &two_cases(),
            &answers(&theirs),
            &answers(&ours),
            |number, place, _, _| {
                told.push((number, place));
            },
        );
        assert_eq!(told, [(7, 2)]);
        let expected = Compared {
            equal: 6,
            stopped: 0,
            unequal: 1,
        };
        assert_eq!(compared, expected);
    }

    #[test]
    fn traps_are_compared_by_what_they_are_about() {
        let trap = |text: &str| Answer::Trap(text.into());
        assert!(same(
            &trap("wasm trap: integer overflow"),
            &trap("integer overflow")
        ));
        assert!(same(
            &trap("uninitialized element"),
            &trap("uninitialized element 2")
        ));
        assert!(!same(&trap("integer overflow"), &trap("integer divide by zero")));
        assert!(!same(&trap("unreachable"), &Answer::Done));
        assert!(has_no_room(&trap("wasm trap: call stack exhausted")));
        assert!(has_no_room(&Answer::Unlinkable(
            "GC heap out of memory: no capacity for allocation of 7 bytes".into()
        )));
        assert!(!has_no_room(&trap("out of bounds memory access")));
    }

    #[test]
    fn modules_are_the_same_each_time_and_even_ones_for_both_engines() {
        let mut made = 0;
        for number in 0..20 {
            let native = module(1, number, Engine::Native);
            assert_eq!(native, module(1, number, Engine::Native));
            if number % 2 == 0 {
                assert_eq!(native, module(1, number, Engine::Interp));
            }
            made += usize::from(native.is_some());
        }
        assert!(made > 10, "{made}");
    }
}
