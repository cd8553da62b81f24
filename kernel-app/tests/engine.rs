//! How runs end: exit codes, traps, and why modules are refused, each with its message.

use kernel_app::engine::wasmi::Interpreter;
use kernel_app::engine::{Engine as _, Job};
use kernel_app::exit_status::Outcome;
use wasi_core::context::WasiCtxBuilder;
use wasi_core::testing::TestSystem;

/// Runs a module given as text; returns how it ended and what it printed.
fn run(wat: &str) -> (Outcome, Vec<u8>) {
    run_bytes(&wat::parse_str(wat).expect("the test's module is well-formed text"))
}

fn run_bytes(wasm: &[u8]) -> (Outcome, Vec<u8>) {
    let context = WasiCtxBuilder::new()
        .arg("test.wasm")
        .unwrap()
        .build(TestSystem::default());
    let (outcome, context) = Interpreter::default().run(Job::of(wasm), context);
    (outcome, context.system.stdout)
}

/// The reason for which a module is refused.
fn refusal(wat: &str) -> String {
    match run(wat).0 {
        Outcome::Refused(reason) | Outcome::ProposalMissing(reason) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// The message of the trap that the body of `_start` runs into.
fn trap(body: &str) -> String {
    match run(&format!("(module (table 2 funcref) {body})")).0 {
        Outcome::Trap(message) => message,
        other => panic!("expected a trap, got {other:?}"),
    }
}

/// Like wasmtime, WASI demands a memory even for a call that does not use it.
const PROC_EXIT: &str =
    r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 0)"#;

#[test]
fn returning_means_zero() {
    assert_eq!(run(r#"(module (func (export "_start")))"#).0, Outcome::Exit(0));
}

#[test]
fn exit_codes_come_through_whole() {
    for code in [0, 1, 42, 255, 256, u32::MAX] {
        let wat = format!(
            r#"(module {PROC_EXIT} (func (export "_start") (call $exit (i32.const {code})) unreachable))"#
        );
        assert_eq!(run(&wat).0, Outcome::Exit(code));
    }
}

#[test]
fn output_reaches_the_machine_even_from_the_start_section() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\08\00\00\00\03\00\00\00abc")
        (func $say (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))
        (start $say)
        (func (export "_start") (call $say)))"#;
    assert_eq!(run(wat), (Outcome::Exit(0), b"abcabc".to_vec()));
}

#[test]
fn the_start_section_may_exit_and_trap() {
    let exits = format!(
        r#"(module {PROC_EXIT} (func $s (call $exit (i32.const 7))) (start $s) (func (export "_start")))"#
    );
    assert_eq!(run(&exits).0, Outcome::Exit(7));
    let traps = r#"(module (func $s unreachable) (start $s) (func (export "_start")))"#;
    assert!(matches!(run(traps).0, Outcome::Trap(_)));
}

#[test]
fn traps_have_wasmtimes_names() {
    let cases = [
        ("unreachable", "wasm `unreachable` instruction executed"),
        (
            "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
            "integer divide by zero",
        ),
        (
            "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
            "integer overflow",
        ),
        (
            "(drop (i32.trunc_f32_s (f32.const nan)))",
            "invalid conversion to integer",
        ),
        ("(call_indirect (i32.const 0))", "uninitialized element"),
        (
            "(call_indirect (i32.const 9))",
            "undefined element: out of bounds table access",
        ),
    ];
    for (instruction, name) in cases {
        assert_eq!(
            trap(&format!(r#"(func (export "_start") {instruction})"#)),
            name,
            "{instruction}"
        );
    }
    let memory = r#"(memory 1) (func (export "_start") (drop (i32.load (i32.const 65533))))"#;
    assert_eq!(trap(memory), "out of bounds memory access");
    let signature = r#"(func $f (param i32)) (elem (i32.const 0) $f) (func (export "_start") (call_indirect (i32.const 0)))"#;
    assert_eq!(trap(signature), "indirect call type mismatch");
    assert_eq!(
        trap(r#"(func $f (export "_start") (call $f))"#),
        "call stack exhausted"
    );
}

#[test]
fn a_bad_pointer_given_to_wasi_is_a_trap() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start") (drop (call $random (i32.const 65535) (i32.const 2)))))"#;
    assert!(matches!(run(wat).0, Outcome::Trap(text) if text.contains("out of bounds")));
}

#[test]
fn deep_recursion_that_ends_is_fine() {
    let wat = r#"(module
        (func $f (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))
                (else (i32.const 0))))
        (func (export "_start") (if (i32.ne (call $f (i32.const 30000)) (i32.const 30000)) (then unreachable))))"#;
    assert_eq!(run(wat).0, Outcome::Exit(0));
}

#[test]
fn what_is_no_command_is_refused() {
    assert!(refusal("(module)").contains("exports no function `_start`"));
    assert!(refusal(r#"(module (func (export "_initialize")))"#).contains("reactor"));
    assert!(refusal(r#"(module (func (export "_start") (param i32)))"#).contains("takes parameters"));
    assert!(refusal(r#"(module (memory (export "_start") 1))"#).contains("not a function"));
}

#[test]
fn every_missing_import_is_named() {
    let reason = refusal(
        r#"(module
            (import "env" "puts" (func (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_frobnicate" (func))
            (import "wasi_snapshot_preview1" "sched_yield" (func (param i32)))
            (import "env" "memory" (memory 1))
            (import "env" "table" (table 1 funcref))
            (import "env" "base" (global i32))
            (func (export "_start")))"#,
    );
    for name in [
        "env::puts",
        "wasi_snapshot_preview1::fd_frobnicate",
        "env::memory",
        "env::table",
        "env::base",
        "sched_yield",
    ] {
        assert!(reason.contains(name), "{name} is not named in: {reason}");
    }
}

#[test]
fn names_of_missing_imports_are_quoted_and_few() {
    let long = "x".repeat(99_000);
    let imports: String = (0..40)
        .map(|number| format!(r#"(import "{number}\1b[2J{long}" "\u{{202e}}{long}" (func))"#))
        .collect();
    let reason = refusal(&format!(r#"(module {imports} (func (export "_start")))"#));
    assert!(
        reason.contains(r"0\u{1b}[2Jxxx") && reason.contains(r"::\u{202e}xxx"),
        "{reason}"
    );
    assert!(reason.ends_with("xxx, and 20 more"), "{reason}");
    assert!(reason.len() < 10_000, "{} bytes", reason.len());
}

#[test]
fn damaged_modules_are_refused() {
    let whole = wat::parse_str(r#"(module (func (export "_start") (nop) (nop)))"#).unwrap();
    for length in 0..whole.len() {
        assert!(
            matches!(run_bytes(&whole[..length]).0, Outcome::Refused(_)),
            "{length} bytes"
        );
    }
    let mut invalid = whole;
    let last = invalid.len() - 2;
    invalid[last] = 0xff;
    assert!(matches!(run_bytes(&invalid).0, Outcome::Refused(_)));
    // Translation is lazy, validation is not: a function that is never called must still be valid.
    let never_called = [b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x03\x02\0\0\x07\x0a\x01\x06_start\0\0\x0a\x08\x02\x02\0\x0b\x03\0\x6a\x0b".as_slice()].concat();
    assert!(
        matches!(run_bytes(&never_called).0, Outcome::Refused(text) if text.contains("not a valid module"))
    );
}

/// Each proposal that the interpreter lacks is named to the user. The modules are the smallest that need it.
#[test]
fn missing_proposals_are_named() {
    let cases = [
        ("threads", "(module (memory 1 1 shared))"),
        (
            "threads",
            r#"(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))"#,
        ),
        ("exception handling", "(module (tag))"),
        ("exception handling", "(module (tag $t) (func (throw $t)))"),
        ("exception handling", "(module (func (try_table)))"),
        ("garbage collection", "(module (type (struct (field i32))))"),
        ("garbage collection", "(module (type (array i8)))"),
        ("garbage collection", "(module (func (param anyref)))"),
        (
            "garbage collection",
            "(module (func (drop (ref.i31 (i32.const 1)))))",
        ),
        (
            "typed function references",
            "(module (type $f (func)) (func (param (ref $f))))",
        ),
        ("stack switching", "(module (type $f (func)) (type (cont $f)))"),
        (
            "shared-everything threads",
            "(module (global (shared i32) (i32.const 0)))",
        ),
    ];
    for (proposal, wat) in cases {
        match run(wat).0 {
            // The host may try native code.
            Outcome::ProposalMissing(reason) => {
                assert!(reason.contains(&format!("\"{proposal}\"")), "{wat}: {reason}");
            }
            other => panic!("{wat}: {other:?}"),
        }
    }
}

/// Every proposal that the interpreter has, by a module that only it makes valid. A manifest that leaves a feature of
/// wasmi's out, or another configuration, fails here.
#[test]
fn the_interpreters_features() {
    for (proposal, body) in FEATURES {
        let wat = format!(r#"(module {body} (func (export "_start")))"#);
        assert_eq!(run(&wat).0, Outcome::Exit(0), "{proposal}");
    }
}

/// What each of them needs, as a part of a module.
const FEATURES: [(&str, &str); 13] = [
    (
        "multi-value",
        "(func (result i32 i32) (i32.const 0) (i32.const 0))",
    ),
    ("multi-memory", "(memory 0) (memory 0)"),
    (
        "saturating conversions",
        "(func (drop (i32.trunc_sat_f32_s (f32.const 0))))",
    ),
    ("sign extension", "(func (drop (i32.extend8_s (i32.const 0))))"),
    (
        "bulk memory",
        "(memory 0) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)))",
    ),
    ("reference types", "(func (param externref))"),
    (
        "mutable globals",
        r#"(global (export "g") (mut i32) (i32.const 0))"#,
    ),
    ("tail calls", "(func $f (return_call $f))"),
    (
        "extended constants",
        "(global i32 (i32.add (i32.const 1) (i32.const 1)))",
    ),
    ("SIMD", "(func (drop (v128.not (v128.const i64x2 0 0))))"),
    (
        "relaxed SIMD",
        "(func (param v128) (result v128) (i32x4.relaxed_trunc_f32x4_s (local.get 0)))",
    ),
    ("memory64", "(memory i64 0)"),
    (
        "wide arithmetic",
        "(func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1)))",
    ),
];

#[test]
fn pages_may_be_of_one_byte() {
    let wat = r#"(module (memory 3 (pagesize 1))
        (func (export "_start")
            (if (i32.ne (memory.size) (i32.const 3)) (then unreachable))
            (if (i32.ne (memory.grow (i32.const 2)) (i32.const 3)) (then unreachable))
            (i32.store8 (i32.const 4) (i32.const 7))
            (if (i32.ne (i32.load8_u (i32.const 4)) (i32.const 7)) (then unreachable))))"#;
    assert_eq!(run(wat).0, Outcome::Exit(0));
}

/// What was built for another world is told so, together with what is missing, whichever is looked at first.
#[test]
fn modules_for_javascript_are_told_what_to_do() {
    let cases = [
        (
            r#"(module (import "env" "abort" (func (param i32 i32 i32 i32))))"#,
            "AssemblyScript",
        ),
        (
            r#"(module (import "env" "emscripten_resize_heap" (func)) (func (export "_start")))"#,
            "Emscripten",
        ),
        (r#"(module (import "a" "a" (func)))"#, "Emscripten"),
        (
            r#"(module (import "gojs" "runtime.wasmExit" (func)))"#,
            "GOOS=wasip1",
        ),
        (
            r#"(module (import "wbg" "__wbindgen_throw" (func)))"#,
            "wasm-bindgen",
        ),
        (
            r#"(module (import "wasi" "thread-spawn" (func)) (func (export "_start")))"#,
            "threads",
        ),
    ];
    for (wat, advice) in cases {
        let reason = refusal(wat);
        assert!(
            reason.contains(advice) && reason.contains("it "),
            "{wat}: {reason}"
        );
    }
}

#[test]
fn memory_that_grows_too_far_fails_in_the_guest_and_not_around_it() {
    let wat = r#"(module (memory 1 3)
        (func (export "_start")
            (if (i32.ne (memory.grow (i32.const 2)) (i32.const 1)) (then unreachable))
            (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))))"#;
    assert_eq!(run(wat).0, Outcome::Exit(0));
}

#[test]
fn what_would_overflow_the_stack_or_take_too_much_work_is_refused() {
    // Without the limit this one ends the test's process.
    let sum = format!("i32.const 1 {}", "i32.const 1 i32.add ".repeat(100_000));
    let reason = refusal(&format!(
        r#"(module (global i32 {sum}) (func (export "_start")))"#
    ));
    assert!(reason.contains("entry 0 of its global section"), "{reason}");
    let results = "i32 ".repeat(1_000);
    let branches = "br_if 0 ".repeat(10_000);
    let reason = refusal(&format!(
        r#"(module (func (result {results}) unreachable {branches}) (func (export "_start")))"#
    ));
    assert!(reason.contains("out of proportion to its size"), "{reason}");
}
