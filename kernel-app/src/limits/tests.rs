//! Tests of the limits: modules at the limit and one beyond, in each place, built byte by byte.

use alloc::vec;
use alloc::vec::Vec;

use std::thread;

use wasmi::{Engine, Module};

use super::*;

/// An integer as the binary format writes it.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Bytes behind their length.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [leb(bytes.len()), bytes.to_vec()].concat()
}

/// Items behind their number.
fn items(items: &[Vec<u8>]) -> Vec<u8> {
    [leb(items.len()), items.concat()].concat()
}

fn module(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    for (id, content) in sections {
        wasm.push(*id);
        wasm.extend(sized(content));
    }
    wasm
}

const I32: u8 = 0x7f;
const END: u8 = 0x0b;

/// A sum of so many operators in all, an odd number.
fn sum(operators: usize) -> Vec<u8> {
    let additions = operators.checked_sub(1).unwrap() / 2;
    [&[0x41, 1][..], &[0x41, 1, 0x6a].repeat(additions), &[END]].concat()
}

/// A module with this expression as the third of its kind, in each place that may hold one; the section's name.
fn places(expression: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let short = &[0x41, 0, END][..];
    let three = |entry: &dyn Fn(&[u8]) -> Vec<u8>| items(&[entry(short), entry(short), entry(expression)]);
    let types = (1, items(&[vec![0x60, 0, 0]]));
    let functions = (3, items(&[vec![0]]));
    let table = (4, items(&[vec![0x70, 0, 1]]));
    let memory = (5, items(&[vec![0, 1]]));
    let code = (10, items(&[sized(&[0, END])]));
    let globals = three(&|value| [&[I32, 0], value].concat());
    let data = three(&|offset| [&[0], offset, &[0]].concat());
    let tables = three(&|value| [&[0x40, 0, 0x70, 0, 1], value].concat());
    let elements = |flags: u8, end: &'static [u8]| three(&move |offset| [&[flags], offset, end].concat());
    let with_elements = |content| {
        let element = (9, content);
        module(&[
            types.clone(),
            functions.clone(),
            table.clone(),
            element,
            code.clone(),
        ])
    };
    // Passive, of references, which are expressions.
    let references = three(&|value| [&[0x05, 0x70, 1], value].concat());
    vec![
        ("global", module(&[(6, globals)])),
        ("data", module(&[memory, (11, data)])),
        ("table", module(&[(4, tables)])),
        ("element", with_elements(elements(0, &[0]))),
        ("element", with_elements(elements(4, &[0]))),
        ("element", with_elements(references)),
    ]
}

#[test]
fn long_constant_expressions_are_refused_wherever_they_stand() {
    let at_the_limit = [sum(MAX_CONSTANT_OPERATORS - 1).as_slice(), &[]].concat();
    for (section, wasm) in places(&at_the_limit) {
        assert_eq!(refusal(&wasm), None, "{section}");
    }
    for operators in [MAX_CONSTANT_OPERATORS + 1, 50_001] {
        for (section, wasm) in places(&sum(operators)) {
            let text = refusal(&wasm).unwrap();
            assert!(
                text.starts_with(&format!("entry 2 of its {section} section "))
                    && text.contains("more than 1000 "),
                "{text}"
            );
        }
    }
    // No arithmetic, but operators: exactly at the limit, and one beyond.
    let nops = |count: usize| [vec![0x41, 0], vec![0x01; count - 1], vec![END]].concat();
    assert_eq!(refusal(&places(&nops(MAX_CONSTANT_OPERATORS)).remove(0).1), None);
    assert!(refusal(&places(&nops(MAX_CONSTANT_OPERATORS + 1)).remove(0).1).is_some());
}

#[test]
fn what_follows_a_long_expression_does_not_hide_it() {
    let mut wasm = places(&sum(2_001)).remove(0).1;
    wasm.extend([11, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert!(refusal(&wasm).is_some());
    // Custom sections before it, an empty one among them, do not either.
    let global = wasm.split_off(PREAMBLE);
    wasm.extend([0, 1, 0, 0, 3, 1, 0x78, 0]);
    wasm.extend(global);
    assert!(refusal(&wasm).is_some());
}

/// The interpreter survives the longest expressions that it is given, on a sixteenth of the machine's stack.
#[test]
fn the_limit_leaves_much_of_the_stack() {
    let left = sum(MAX_CONSTANT_OPERATORS - 1);
    let depth = MAX_CONSTANT_OPERATORS / 2;
    let right = [[0x41, 1].repeat(depth), vec![0x6a; depth - 1], vec![END]].concat();
    for wasm in [left, right].iter().flat_map(|expression| places(expression)) {
        let run = move || {
            let engine = Engine::new(&crate::engine::wasmi::config());
            let mut store = wasmi::Store::new(&engine, ());
            assert_eq!(refusal(&wasm.1), None);
            let module = Module::new(&engine, &wasm.1);
            module.is_ok_and(|module| wasmi::Instance::new(&mut store, &module, &[]).is_ok())
        };
        thread::Builder::new()
            .stack_size(64 << 10)
            .spawn(run)
            .unwrap()
            .join()
            .unwrap();
    }
}

const UNREACHABLE: u8 = 0x00;
const BLOCK: u8 = 0x02;
const BR_IF: u8 = 0x0d;
const BR_TABLE: u8 = 0x0e;
const RETURN: u8 = 0x0f;
const CALL: u8 = 0x10;
const CALL_INDIRECT: u8 = 0x11;
const DROP: u8 = 0x1a;

/// A module of one function of a type with these numbers of parameters and results, with this code; type 0 has none.
fn function(parameters: usize, results: usize, code: &[u8]) -> Vec<u8> {
    let ty = |parameters: usize, results: usize| {
        [
            vec![0x60],
            sized(&vec![I32; parameters]),
            sized(&vec![I32; results]),
        ]
        .concat()
    };
    let body = [&[0, UNREACHABLE][..], code, &[UNREACHABLE, END]].concat();
    module(&[
        (1, items(&[ty(0, 0), ty(parameters, results)])),
        (3, items(&[leb(1)])),
        (4, items(&[vec![0x70, 0, 1]])),
        (10, items(&[sized(&body)])),
    ])
}

/// A branch table with so many targets, all of them this function's end.
fn table(targets: usize) -> Vec<u8> {
    [vec![BR_TABLE], leb(targets), vec![0; targets], vec![0]].concat()
}

#[test]
fn code_out_of_proportion_is_refused() {
    let wide = 1_000;
    let cases: [(&str, usize, usize, Vec<u8>); 7] = [
        ("br_table", 0, wide, table(100_000)),
        ("br_if", 0, wide, [BR_IF, 0].repeat(20_000)),
        ("return", 0, wide, [RETURN].repeat(20_000)),
        ("call", wide, wide, [CALL, 0].repeat(20_000)),
        ("call_indirect", wide, wide, [CALL_INDIRECT, 1, 0].repeat(20_000)),
        ("block", wide, wide, [BLOCK, 1, END].repeat(20_000)),
        ("loop", wide, 0, [0x03, 1, BR_IF, 0, END].repeat(20_000)),
    ];
    for (what, parameters, results, code) in cases {
        let text =
            refusal(&function(parameters, results, &code)).unwrap_or_else(|| panic!("{what} is not refused"));
        let most = format!("the limit, up to {} at a time;", parameters + results);
        assert!(
            text.contains("out of proportion to its size: by function 0 ") && text.contains(&most),
            "{what}: {text}"
        );
        // As many with few values are in order, and a few with many.
        assert_eq!(
            refusal(&function(parameters.min(5), results.min(5), &code)),
            None,
            "{what}"
        );
        if what != "br_table" {
            let few = code.get(..500).unwrap();
            assert_eq!(refusal(&function(parameters, results, few)), None, "{what}");
        }
    }
    // The type's values alone, once for each of many small functions.
    let many = 5_000;
    let wasm = module(&[
        (1, items(&[[vec![0x60], sized(&[I32; 1_000]), vec![0]].concat()])),
        (3, items(&vec![vec![0]; many])),
        (10, items(&vec![sized(&[0, END]); many])),
    ]);
    let text = refusal(&wasm).unwrap();
    assert!(text.contains("by function 1"), "{text}");
}

/// The interpreter checks the functions that are there, also where code ends too early.
#[test]
fn code_that_is_cut_off_counts_as_far_as_it_goes() {
    let body = sized(&[&[0, UNREACHABLE][..], &table(100_000), &[END]].concat());
    let ty = [vec![0x60, 0], sized(&[I32; 1_000])].concat();
    let mut wasm = module(&[
        (1, items(&[ty])),
        (3, items(&[vec![0], vec![0]])),
        (10, items(&[body, sized(&[0; 10_000])])),
    ]);
    wasm.truncate(wasm.len() - 5_000);
    assert!(refusal(&wasm).is_some());
}

#[test]
fn types_written_in_long_forms_are_counted_too() {
    // `(ref null func)` takes two bytes and is `funcref`; a final type without a supertype is a plain one.
    let ty = [vec![0x4f, 0, 0x60, 0], leb(1_000), [0x63, 0x70].repeat(1_000)].concat();
    let body = sized(&[&[0, UNREACHABLE][..], &table(100_000), &[END]].concat());
    let wasm = module(&[(1, items(&[ty])), (3, items(&[vec![0]])), (10, items(&[body]))]);
    assert!(refusal(&wasm).is_some());
}

#[test]
fn imported_functions_count_in_the_numbers() {
    // Function 0 is imported and narrow, function 1 is wide: calls of 1 are what counts.
    let wide = [vec![0x60], sized(&[I32; 1_000]), sized(&[I32; 1_000])].concat();
    let calls = |of: u8| sized(&[&[0, UNREACHABLE][..], &[CALL, of].repeat(20_000), &[DROP, END]].concat());
    let wasm = |of| {
        module(&[
            (1, items(&[vec![0x60, 0, 0], wide.clone()])),
            (2, items(&[vec![1, 0x6d, 1, 0x66, 0, 0]])),
            (3, items(&[vec![1], vec![0]])),
            (10, items(&[sized(&[0, UNREACHABLE, END]), calls(of)])),
        ])
    };
    assert_eq!(refusal(&wasm(0)), None);
    let text = refusal(&wasm(1)).unwrap();
    assert!(text.contains("by function 2 "), "{text}");
}

#[test]
fn what_is_malformed_is_left_to_the_interpreter() {
    let whole = function(1_000, 1_000, &[CALL, 0].repeat(500));
    assert_eq!(refusal(&whole), None);
    let engine = Engine::new(&crate::engine::wasmi::config());
    for end in 0..whole.len() {
        let cut = whole.get(..end).unwrap();
        assert_eq!(refusal(cut), None, "{end}");
    }
    // Each of the first bytes replaced by each value that means something somewhere: what is valid still passes.
    for place in PREAMBLE..60 {
        for value in [0, 1, 2, 4, 6, 9, 10, 11, 0x40, 0x60, 0x7f, 0x80, 0xff] {
            let mut wasm = whole.clone();
            wasm.splice(place..=place, [value]);
            if let Some(text) = refusal(&wasm) {
                assert!(Module::new(&engine, &wasm).is_err(), "{place} {value}: {text}");
            }
        }
    }
}
