//! What both engines do with exported functions and with several modules: the same cases for each.
//!
//! Whoever includes this has a function `execute` beside it, which runs modules: those that others import from, each
//! with its name, the program, and the function to call.

use kernel_app::engine::Entry;
use kernel_app::exit_status::Outcome;
use wasi_core::testing::TestSystem;

use super::execute;

/// Modules given as text.
fn link(preloads: &[(&str, &str)], wat: &str, entry: Option<(&str, &[&str])>) -> (Outcome, TestSystem) {
    let parse = |wat: &str| wat::parse_str(wat).expect("the test's module is well-formed text");
    let preloads: Vec<_> = preloads.iter().map(|(name, wat)| (*name, parse(wat))).collect();
    let (name, arguments) = entry.unwrap_or_default();
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_string()).collect();
    let entry = entry.map(|_| Entry {
        name,
        arguments: &arguments,
        warns: true,
    });
    execute(&preloads, &parse(wat), entry)
}

fn invoke(wat: &str, name: &str, arguments: &[&str]) -> (Outcome, String) {
    let (outcome, system) = link(&[], wat, Some((name, arguments)));
    (outcome, text(system.stdout))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// What is printed by a run that ends well.
fn printed(preloads: &[(&str, &str)], wat: &str, entry: Option<(&str, &[&str])>) -> String {
    let (outcome, system) = link(preloads, wat, entry);
    assert_eq!(outcome, Outcome::Exit(0), "{}", text(system.stderr));
    text(system.stdout)
}

/// Why a run does not begin.
fn refusal(preloads: &[(&str, &str)], wat: &str) -> String {
    let (outcome, system) = link(preloads, wat, None);
    assert_eq!(system.stdout, b"");
    match outcome {
        Outcome::Refused(reason) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// A part of a module: `$say` prints the byte that it is given, from this module's memory.
const SAY: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\01\00\00\00")
    (func $say (param i32)
        (i32.store8 (i32.const 8) (local.get 0))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))"#;

#[test]
fn a_function_of_every_type_of_numbers_is_called() {
    let wat = r#"(module
        (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
        (func (export "all") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
            (local.get 3) (local.get 2) (local.get 1) (local.get 0))
        (func (export "none"))
        (func (export "references") (result funcref externref) (ref.null func) (ref.null extern))
        (func (export "some") (result funcref) (ref.func $f))
        (func $f)
        (elem declare func $f))"#;
    assert_eq!(
        invoke(wat, "add", &["1", "0x10"]),
        (Outcome::Exit(0), "17\n".into())
    );
    assert_eq!(
        invoke(wat, "all", &["-1", "0x-8000000000000000", "0.1", "1e300", "more"]),
        (
            Outcome::Exit(0),
            format!("{}\n0.1\n-9223372036854775808\n-1\n", 1e300f64)
        )
    );
    assert_eq!(invoke(wat, "none", &[]), (Outcome::Exit(0), String::new()));
    assert_eq!(
        invoke(wat, "references", &[]),
        (Outcome::Exit(0), "<null funcref>\n<null externref>\n".into())
    );
    assert_eq!(invoke(wat, "some", &[]), (Outcome::Exit(0), "<funcref>\n".into()));
}

#[test]
fn bits_of_floating_point_numbers_stay() {
    let wat = r#"(module
        (func (export "narrow") (param f32) (result i32) (i32.reinterpret_f32 (local.get 0)))
        (func (export "nan") (result f64 f32) (f64.const -nan) (f32.const inf)))"#;
    assert_eq!(invoke(wat, "narrow", &["-0"]).1, "-2147483648\n");
    assert_eq!(invoke(wat, "nan", &[]).1, "NaN\ninf\n");
}

#[test]
fn a_function_that_is_not_there_or_has_other_arguments_is_refused_before_anything_runs() {
    let wat = format!(
        r#"(module {SAY}
            (func $s (call $say (i32.const 83))) (start $s)
            (func (export "_initialize") (call $say (i32.const 73)))
            (func (export "f") (param i32) (result i32) (local.get 0))
            (func (export "r") (param externref))
            (global (export "g") i32 (i32.const 0)))"#
    );
    for (name, arguments, words) in [
        (
            "h",
            &[][..],
            "no func export named `h` found; it exports `_initialize`, `f`, `r`",
        ),
        ("g", &[], "no func export named `g` found"),
        ("r", &["1"], "unsupported argument type (ref null extern) of `r`"),
    ] {
        match invoke(&wat, name, arguments) {
            (Outcome::Refused(text), out) => assert!(text.contains(words) && out.is_empty(), "{text}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    for (arguments, words) in [
        (&[][..], "not enough arguments for `f`"),
        (&["one"], "invalid digit found in string"),
    ] {
        match invoke(&wat, "f", arguments) {
            (Outcome::Usage(text), out) => assert!(text.contains(words) && out.is_empty(), "{text}"),
            other => panic!("{arguments:?}: {other:?}"),
        }
    }
    assert_eq!(invoke(&wat, "f", &["7"]), (Outcome::Exit(0), "SI7\n".into()));
}

#[test]
fn warnings_are_wasmtimes() {
    let wat =
        r#"(module (func (export "f") (param i32) (result i32) (local.get 0)) (func (export "_start")))"#;
    let (_, system) = link(&[], wat, Some(("f", &["7"])));
    assert_eq!(
        text(system.stderr),
        "warning: using `--invoke` with a function that takes arguments is experimental and may break in the future\n\
         warning: using `--invoke` with a function that returns values is experimental and may break in the future\n"
    );
    assert_eq!(link(&[], wat, None).1.stderr, b"");
    assert_eq!(link(&[], wat, Some(("_start", &["7"]))).1.stderr, b"");
}

#[test]
fn a_function_that_exits_or_traps_prints_no_results() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 0)
        (func (export "exit") (result i32) (call $exit (i32.const 7)) (i32.const 1))
        (func (export "trap") (result i32) unreachable))"#;
    assert_eq!(invoke(wat, "exit", &[]), (Outcome::Exit(7), String::new()));
    let (outcome, out) = invoke(wat, "trap", &[]);
    assert!(matches!(outcome, Outcome::Trap(_)), "{outcome:?}");
    assert_eq!(out, "");
}

#[test]
fn a_library_is_initialized_before() {
    let wat = format!(
        r#"(module {SAY} (func (export "_initialize") (call $say (i32.const 73))) (func (export "f")))"#
    );
    assert_eq!(invoke(&wat, "f", &[]), (Outcome::Exit(0), "I".into()));
    let other = r#"(module (func (export "_initialize") (param i32)) (func (export "f")))"#;
    match invoke(other, "f", &[]).0 {
        Outcome::Refused(text) => assert!(text.contains("`_initialize`"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_that_modules_export_can_be_imported() {
    let provider = r#"(module
        (memory (export "m") 1)
        (data (i32.const 0) "\2a")
        (table (export "t") 2 funcref)
        (elem (i32.const 1) $seven)
        (func $seven (result i32) (i32.const 7))
        (global (export "g") i32 (i32.const 5))
        (global (export "v") (mut i32) (i32.const 1))
        (func (export "bump") (global.set 1 (i32.add (global.get 1) (i32.const 1)))))"#;
    let program = r#"(module
        (type $f (func (result i32)))
        (import "p" "m" (memory 1))
        (import "p" "t" (table 1 funcref))
        (import "p" "g" (global i32))
        (import "p" "v" (global $v (mut i32)))
        (import "p" "bump" (func $bump))
        (func (export "sum") (result i32 i32 i32 i32)
            (call $bump)
            (i32.load8_u (i32.const 0))
            (call_indirect (type $f) (i32.const 1))
            (global.get 0)
            (global.get $v)))"#;
    assert_eq!(
        printed(&[("p", provider)], program, Some(("sum", &[]))),
        "42\n7\n5\n2\n"
    );
}

#[test]
fn modules_begin_in_order_and_later_ones_import_from_earlier_ones() {
    let library = |letter: u8, import: &str| {
        format!(
            r#"(module {import} {SAY}
                (func $s (call $say (i32.const {letter}))) (start $s)
                (func (export "_initialize") (call $say (i32.const {})))
                (func (export "say") (call $say (i32.const {}))))"#,
            letter + 1,
            letter + 2
        )
    };
    let (first, second) = (
        library(b'a', ""),
        library(b'd', r#"(import "first" "say" (func))"#),
    );
    let program = format!(
        r#"(module
            (import "second" "say" (func $second)) (import "first" "say" (func $first)) {SAY}
            (func (export "_start") (call $second) (call $first) (call $say (i32.const 33))))"#
    );
    let preloads = [("first", first.as_str()), ("second", second.as_str())];
    assert_eq!(printed(&preloads, &program, None), "abdefc!");
    let reason = refusal(&[preloads[1], preloads[0]], &program);
    assert!(
        reason.starts_with("preload `second`: ") && reason.contains("first::say"),
        "{reason}"
    );
}

#[test]
fn a_call_of_wasi_works_on_the_memory_of_whoever_calls() {
    // Each has another byte at the same place, and calls the other between two calls of its own.
    let library = format!(
        r#"(module {SAY} (func (export "say") (call $say (i32.const 108)))
            (export "raw" (func $write)))"#
    );
    let program = format!(
        r#"(module
            (import "l" "say" (func $l))
            (import "l" "raw" (func $raw (param i32 i32 i32 i32) (result i32))) {SAY}
            (func (export "_start")
                (call $say (i32.const 112)) (call $l) (call $say (i32.const 113))
                (drop (call $raw (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#
    );
    assert_eq!(printed(&[("l", &library)], &program, None), "plqq");
    // One without a memory cannot call, whoever else has one.
    let none = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (func (export "say") (drop (call $yield))))"#;
    let (outcome, system) = link(
        &[("l", none)],
        &program
            .replace(
                r#"(import "l" "raw" (func $raw (param i32 i32 i32 i32) (result i32)))"#,
                "",
            )
            .replace(
                "(drop (call $raw (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))",
                "",
            ),
        None,
    );
    assert!(
        matches!(&outcome, Outcome::Trap(text) if text.contains("memory")),
        "{outcome:?}"
    );
    assert_eq!(text(system.stdout), "p");
}

#[test]
fn what_nobody_provides_is_named_and_so_is_what_was_preloaded() {
    let reason = refusal(
        &[("math", "(module)"), ("e\u{1b}v", "(module)")],
        r#"(module (import "math" "sin" (func)) (import "other" "x" (memory 1)) (func (export "_start")))"#,
    );
    assert_eq!(
        reason,
        "it imports what nothing here provides (only wasi_snapshot_preview1, wasi_unstable and what is preloaded \
         before, `math`, `e\\u{1b}v`, are): math::sin, other::x (a memory)"
    );
}

#[test]
fn an_import_of_another_type_is_refused_by_name() {
    let provider = r#"(module
        (func (export "f") (param i32)) (memory (export "m") 1) (table (export "t") 1 funcref)
        (global (export "g") i32 (i32.const 0)))"#;
    for import in [
        r#""f" (func)"#,
        r#""f" (memory 1)"#,
        r#""m" (memory 2)"#,
        r#""t" (table 2 funcref)"#,
        r#""t" (table 1 externref)"#,
        r#""g" (global i64)"#,
        r#""g" (global (mut i32))"#,
    ] {
        let program = format!(r#"(module (import "p" {import}) (func (export "_start")))"#);
        let reason = refusal(&[("p", provider)], &program);
        let name = format!("p::{}", &import[1..2]);
        assert!(reason.contains(&name), "{import}: {reason}");
    }
}

#[test]
fn programs_and_names_of_wasi_cannot_be_preloaded() {
    let program = r#"(module (func (export "_start")))"#;
    let reason = refusal(&[("p", program)], program);
    assert!(reason.starts_with("preload `p`: it exports `_start`"), "{reason}");
    for name in ["wasi_snapshot_preview1", "wasi_unstable"] {
        match link(&[(name, "(module)")], program, None).0 {
            Outcome::Usage(text) => assert!(text.contains(name), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn how_a_preload_ends_ends_the_run() {
    let program = format!(r#"(module {SAY} (func (export "_start") (call $say (i32.const 33))))"#);
    let traps = r#"(module (func $s unreachable) (start $s))"#;
    let (outcome, system) = link(&[("p", traps)], &program, None);
    let Outcome::Trap(reason) = outcome else {
        panic!("{outcome:?}");
    };
    let first = reason.lines().next().unwrap();
    assert_eq!(
        first,
        "wasm `unreachable` instruction executed, in the preload `p`"
    );
    assert_eq!(system.stdout, b"");
    let exits = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 0)
        (func (export "_initialize") (call $exit (i32.const 3))))"#;
    let (outcome, system) = link(&[("p", exits)], &program, None);
    assert_eq!((outcome, system.stdout), (Outcome::Exit(3), vec![]));
}
