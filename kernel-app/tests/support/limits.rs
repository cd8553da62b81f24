//! What both engines do with a guest that is limited: the same cases for each.
//!
//! Whoever includes this has a function `execute` beside it, which runs a program alone.

use boot_protocol::run_spec::{Limit, Limits};
use kernel_app::exit_status::Outcome;

use super::execute;

/// Runs a module given as text.
fn run(wat: &str, limits: Limits) -> Outcome {
    execute(
        &wat::parse_str(wat).expect("the test's module is well-formed text"),
        limits,
    )
}

/// A limit alone.
fn only(limit: Limit, value: u64) -> Limits {
    Limits::NONE.with(limit, value)
}

/// Why the guest has ended, beside the limit with this value.
#[track_caller]
fn reached(outcome: Outcome, limit: Limit, value: u64) -> String {
    match outcome {
        Outcome::LimitReached(reached, text) if reached == limit.of(value) => text,
        other => panic!("expected the limit {}, got {other:?}", limit.of(value)),
    }
}

/// A loop without end.
const LOOPS: &str = r#"(module (func (export "_start") (loop (br 0))))"#;

/// The same in what is called before `_start`.
const LOOPS_AT_ONCE: &str = r#"(module (func $f (loop (br 0))) (start $f) (func (export "_start")))"#;

/// A recursion without end.
const RECURS: &str = r#"(module (func $f (export "_start") (call $f)))"#;

/// A guest that asks for a page more and does not mind.
const GROWS: &str = r#"(module (memory 1) (func (export "_start") (drop (memory.grow (i32.const 1)))))"#;

/// A guest that asks for a page more and needs it.
const NEEDS: &str = r#"(module (memory 1)
    (func (export "_start") (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))))"#;

/// A guest that asks for a page more than its own maximum allows, and does not mind.
pub(super) const GROWS_BEYOND_ITS_MAXIMUM: &str =
    r#"(module (memory 1 1) (func (export "_start") (drop (memory.grow (i32.const 1)))))"#;

/// A guest that asks for an element of a table more and needs it.
const NEEDS_ELEMENTS: &str = r#"(module (table $t 1 funcref)
    (func (export "_start")
        (if (i32.eq (table.grow $t (ref.null func) (i32.const 1)) (i32.const -1)) (then unreachable))))"#;

#[test]
fn fuel_is_used_up_wherever_the_guest_loops() {
    for wat in [LOOPS, LOOPS_AT_ONCE] {
        for fuel in [0, 1, 10_000] {
            let text = reached(run(wat, only(Limit::Fuel, fuel)), Limit::Fuel, fuel);
            assert!(text.starts_with("all fuel consumed"), "{text}");
        }
    }
    assert_eq!(run(GROWS, only(Limit::Fuel, 100_000)), Outcome::Exit(0));
    // What does much at once costs as much, on the interpreter; the other has its own limit of that, the deadline.
    let many = r#"(module (func $f (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "_start") (call $f (i32.const 1000))))"#;
    assert_eq!(run(many, only(Limit::Fuel, 100_000)), Outcome::Exit(0));
    reached(run(many, only(Limit::Fuel, 1000)), Limit::Fuel, 1000);
}

#[test]
fn the_stack_ends_where_its_limit_says() {
    for stack in [0, 1, 4096, 65_536] {
        let text = reached(run(RECURS, only(Limit::Stack, stack)), Limit::Stack, stack);
        assert!(text.starts_with("call stack exhausted"), "{text}");
    }
    assert_eq!(run(GROWS, only(Limit::Stack, 65_536)), Outcome::Exit(0));
}

#[test]
fn a_limit_above_what_the_engine_has_changes_nothing() {
    match run(RECURS, only(Limit::Stack, u64::MAX)) {
        Outcome::Trap(text) => assert!(text.starts_with("call stack exhausted"), "{text}"),
        other => panic!("{other:?}"),
    }
    for limit in [Limit::Memory, Limit::TableElements] {
        assert_eq!(run(NEEDS, only(limit, u64::MAX)), Outcome::Exit(0));
        assert_eq!(run(NEEDS_ELEMENTS, only(limit, u64::MAX)), Outcome::Exit(0));
    }
}

#[test]
fn memory_does_not_grow_beyond_its_limit() {
    let page = only(Limit::Memory, 65_536);
    assert_eq!(run(GROWS, page), Outcome::Exit(0));
    let text = reached(run(NEEDS, page), Limit::Memory, 65_536);
    assert!(text.contains("unreachable"), "{text}");
    assert_eq!(run(NEEDS, only(Limit::Memory, 131_072)), Outcome::Exit(0));
    // What is declared, and what a second memory has.
    reached(run(GROWS, only(Limit::Memory, 65_535)), Limit::Memory, 65_535);
    reached(run(GROWS, only(Limit::Memory, 0)), Limit::Memory, 0);
    assert_eq!(
        run(r#"(module (memory 1) (memory 1) (func (export "_start")))"#, page),
        Outcome::Exit(0)
    );
}

#[test]
fn tables_do_not_grow_beyond_their_limit() {
    assert_eq!(
        run(NEEDS_ELEMENTS, only(Limit::TableElements, 2)),
        Outcome::Exit(0)
    );
    let text = reached(
        run(NEEDS_ELEMENTS, only(Limit::TableElements, 1)),
        Limit::TableElements,
        1,
    );
    assert!(text.contains("unreachable"), "{text}");
    reached(
        run(NEEDS_ELEMENTS, only(Limit::TableElements, 0)),
        Limit::TableElements,
        0,
    );
}

#[test]
fn growth_that_fails_traps_on_demand() {
    let page = only(Limit::Memory, 65_536).trapping_on_grow_failure();
    reached(run(GROWS, page), Limit::Memory, 65_536);
}

#[test]
fn a_guest_that_deals_with_a_refusal_ends_as_it_likes() {
    let exits = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start") (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (call $exit (i32.const 7))))))"#;
    assert_eq!(run(exits, only(Limit::Memory, 65_536)), Outcome::Exit(7));
}
