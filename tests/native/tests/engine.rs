//! What is compiled runs in the application's native engine, here on the host: exit codes, traps with their backtraces,
//! refusals, proposals, options.

use aot_config::{Options, settings};
use kernel_app::engine::wasmtime::{Machine, NO_ADDRESSES, Native};
use kernel_app::engine::{Engine as _, Job};
use kernel_app::exit_status::Outcome;
use native_host::Process;
use wasi_core::context::WasiCtxBuilder;
use wasi_core::testing::TestSystem;
use wasmtime::{Config, Engine, Module, Result};

/// The native code of a module given as text, with our trailer.
fn compile(wat: &str, options: Options) -> Vec<u8> {
    let module = wat::parse_str(wat).expect("the test's module is well-formed text");
    let level = native_host::level().expect("native code is made for this architecture");
    native_host::compile(&module, level, options).expect("the test's module can be compiled")
}

fn run_code(code: &[u8]) -> (Outcome, Vec<u8>) {
    let context = WasiCtxBuilder::new()
        .arg("test.cwasm")
        .unwrap()
        .build(TestSystem::default());
    let (outcome, context) = native_host::run(code, context);
    (outcome, context.system.stdout)
}

/// Runs a module given as text; returns how it ended and what it printed.
fn run(wat: &str) -> (Outcome, Vec<u8>) {
    run_code(&compile(wat, Options::default()))
}

/// The first line of the trap that a module runs into, and the rest.
fn trap(wat: &str) -> (String, String) {
    match run(wat).0 {
        Outcome::Trap(text) => match text.split_once('\n') {
            Some((first, rest)) => (first.into(), rest.into()),
            None => (text, String::new()),
        },
        other => panic!("expected a trap, got {other:?}"),
    }
}

fn refusal(wat: &str) -> String {
    match run(wat).0 {
        Outcome::Refused(reason) => reason,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

const PROC_EXIT: &str =
    r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 0)"#;

#[test]
fn exit_codes_come_through_whole() {
    assert_eq!(run(r#"(module (func (export "_start")))"#).0, Outcome::Exit(0));
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
fn traps_have_the_names_that_the_interpreter_gives_them() {
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
        (
            "(drop (i32.load (i32.const 65533)))",
            "out of bounds memory access",
        ),
        ("(call $start)", "call stack exhausted"),
        (
            "(drop (call $random (i32.const 65535) (i32.const 2)))",
            "out of bounds",
        ),
    ];
    for (instruction, name) in cases {
        let (text, _) = trap(&format!(
            r#"(module
                (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
                (table 2 funcref) (memory (export "memory") 1)
                (func $start (export "_start") {instruction}))"#
        ));
        assert!(text.contains(name), "{instruction}: {text}");
    }
}

#[test]
fn a_backtrace_names_functions() {
    let (_, frames) = trap(
        r#"(module $test (func $inner unreachable) (func (call $inner)) (func $main (export "_start") (call 1)))"#,
    );
    let frames: Vec<&str> = frames.lines().collect();
    let ["wasm backtrace:", inner, unnamed, main] = frames[..] else {
        panic!("{frames:?}");
    };
    assert!(inner.starts_with("    0: ") && inner.contains(" 0x"), "{inner}");
    assert!(inner.ends_with(" - test!inner"), "{inner}");
    assert!(unnamed.ends_with("test!<wasm function 1>"), "{unnamed}");
    assert!(
        main.starts_with("    2: ") && main.ends_with("test!main"),
        "{main}"
    );
}

#[test]
fn what_cannot_run_is_refused_in_the_interpreters_words() {
    assert!(refusal("(module)").contains("exports no function `_start`"));
    assert!(refusal(r#"(module (func (export "_initialize")))"#).contains("reactor"));
    assert!(refusal(r#"(module (func (export "_start") (param i32)))"#).contains("takes parameters"));
    assert!(refusal(r#"(module (memory (export "_start") 1))"#).contains("not a function"));
    let reason = refusal(
        r#"(module
            (import "env" "puts" (func (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_frobnicate" (func))
            (import "wasi_snapshot_preview1" "sched_yield" (func (param i32)))
            (import "env" "memory" (memory 1))
            (import "env" "tag" (tag))
            (func (export "_start")))"#,
    );
    for name in [
        "env::puts",
        "fd_frobnicate",
        "env::memory (a memory)",
        "env::tag (a tag)",
        "sched_yield",
    ] {
        assert!(reason.contains(name), "{name} is not named in: {reason}");
    }
}

/// What docs/wasm.md says of the native engine, each by a module that only it makes valid, and what it computes.
#[test]
fn proposals() {
    let cases = [
        ("tail calls", "(func $f (return_call $g)) (func $g)", "(call $f)"),
        (
            "multiple memories",
            "(memory 1) (memory 1)",
            "(i32.store 1 (i32.const 0) (i32.const 1))",
        ),
        (
            "memory64",
            "(memory i64 1)",
            "(i32.store (i64.const 8) (i32.const 1))",
        ),
        (
            "relaxed SIMD",
            "",
            "(drop (i32x4.relaxed_trunc_f32x4_s (v128.const f32x4 0 0 0 0)))",
        ),
        (
            "wide arithmetic",
            "",
            "(drop (drop (i64.mul_wide_u (i64.const 1) (i64.const 2))))",
        ),
        (
            "custom page sizes",
            "(memory 3 (pagesize 1))",
            "(i32.store8 (i32.const 2) (i32.const 1))",
        ),
        (
            "atomics",
            "(memory 1)",
            "(drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))",
        ),
        (
            "function references",
            "(type $f (func)) (elem declare func $g) (func $g)",
            "(call_ref $f (ref.func $g))",
        ),
        (
            "garbage collection",
            "(type $s (struct (field i32)))",
            "(if (i32.ne (struct.get $s 0 (struct.new $s (i32.const 7))) (i32.const 7)) (then unreachable))",
        ),
        (
            "exceptions",
            "(tag $t (param i32)) (func $throw (throw $t (i32.const 7)))",
            "(if (i32.ne (i32.const 7) (block $caught (result i32) \
                (try_table (catch $t $caught) (call $throw)) (i32.const 0))) (then unreachable))",
        ),
    ];
    for (proposal, fields, body) in cases {
        let wat = format!(r#"(module {fields} (func (export "_start") {body}))"#);
        assert_eq!(run(&wat).0, Outcome::Exit(0), "{proposal}");
    }
}

#[test]
fn an_exception_that_nobody_catches_ends_the_guest() {
    let (text, _) = trap(r#"(module (tag $t) (func (export "_start") (throw $t)))"#);
    assert!(text.contains("exception"), "{text}");
}

#[test]
fn memory_grows_to_its_maximum_and_no_further() {
    let wat = r#"(module (memory 1 3)
        (func (export "_start")
            (if (i32.ne (memory.grow (i32.const 2)) (i32.const 1)) (then unreachable))
            (i32.store (i32.const 196604) (i32.const 1))
            (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))))"#;
    assert_eq!(run(wat).0, Outcome::Exit(0));
}

/// Code that counts fuel has enough, and code whose NaNs have one form has that form.
#[test]
fn options_of_the_trailer_take_effect() {
    let options = |fuel, deterministic| Options { fuel, deterministic };
    let loops = r#"(module (func (export "_start") (local i32)
        (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100000))))))"#;
    assert_eq!(
        run_code(&compile(loops, options(true, false))).0,
        Outcome::Exit(0)
    );
    // A quiet NaN with a payload goes through an addition: canonical code drops payload and sign.
    let nan = r#"(module (global $nan (mut f32) (f32.const -nan:0x400001)) (func (export "_start")
        (if (i32.ne (i32.reinterpret_f32 (f32.add (global.get $nan) (f32.const 1))) (i32.const 0x7fc00000))
            (then unreachable))))"#;
    assert_eq!(run_code(&compile(nan, options(false, true))).0, Outcome::Exit(0));
    assert!(matches!(
        run_code(&compile(nan, options(false, false))).0,
        Outcome::Trap(_)
    ));
}

/// The trailer says what the code was compiled with; wasmtime compares.
#[test]
fn code_with_other_settings_is_refused() {
    let mut code = compile(r#"(module (func (export "_start")))"#, Options::default());
    let options_at = code.len() - aot_config::trailer::SIZE + 14;
    code[options_at] = 1;
    match run_code(&code).0 {
        Outcome::CodeRefused(text) => assert!(
            text.contains("fuel") && text.contains("compile the module again"),
            "{text}"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn code_that_is_cut_off_is_refused() {
    let whole = compile(r#"(module (func (export "_start") nop))"#, Options::default());
    let elf = &whole[..whole.len() - aot_config::trailer::SIZE];
    for length in (8..elf.len()).step_by(97) {
        assert!(
            matches!(run_code(&elf[..length]).0, Outcome::CodeRefused(_)),
            "{length} bytes"
        );
    }
}

/// `table.grow` answers -1 where there is too little memory, and the program goes on.
#[test]
fn a_table_that_does_not_fit_is_not_grown() {
    for kind in ["funcref", "externref"] {
        let wat = format!(
            r#"(module {PROC_EXIT}
                (table $table 1 {kind})
                (func $grow (param i32) (result i32)
                    (table.grow $table (ref.null {}) (local.get 0)))
                (func (export "_start")
                    (if (i32.ne (call $grow (i32.const 0x1000_0000)) (i32.const -1)) (then (call $exit (i32.const 1))))
                    (if (i32.ne (call $grow (i32.const 1000)) (i32.const 1)) (then (call $exit (i32.const 2))))
                    (if (i32.ne (table.size $table) (i32.const 1001)) (then (call $exit (i32.const 3))))))"#,
            kind.trim_end_matches("ref")
        );
        assert_eq!(run(&wat).0, Outcome::Exit(0), "{kind}");
    }
}

/// What the guest has said is said: it has begun.
#[test]
fn a_lack_of_memory_in_the_start_function_is_no_refusal_of_the_module() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (table $table i64 0 funcref)
        (data (i32.const 0) "\08\00\00\00\03\00\00\00abc")
        (func $say
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
            (drop (table.grow $table (ref.null func) (i64.const 0x0100_0000_0000_0000))))
        (start $say)
        (func (export "_start")))"#;
    let (outcome, output) = run(wat);
    assert_eq!(output, b"abc");
    assert!(matches!(outcome, Outcome::MachineFailed(_)), "{outcome:?}");
}

/// A machine without addresses for memories.
struct Crowded;

impl Machine for Crowded {
    fn configure(&self, config: &mut Config) {
        config.with_host_memory(std::sync::Arc::new(Self));
    }

    fn load(&self, engine: &Engine, code: &[u8]) -> Result<Module> {
        Process.load(engine, code)
    }

    fn has_memory(_: usize) -> bool {
        true
    }
}

#[allow(unsafe_code, reason = "the trait is for whoever makes memories")]
// SAFETY: it makes none.
unsafe impl wasmtime::MemoryCreator for Crowded {
    fn new_memory(
        &self,
        _: wasmtime::MemoryType,
        _: usize,
        _: Option<usize>,
        _: Option<usize>,
        _: usize,
    ) -> std::result::Result<Box<dyn wasmtime::LinearMemory>, String> {
        Err(NO_ADDRESSES.into())
    }
}

/// More memory would not help, so that is not the advice.
#[test]
fn a_lack_of_addresses_is_called_that() {
    let code = compile(
        r#"(module (memory 1) (func (export "_start")))"#,
        Options::default(),
    );
    let context = WasiCtxBuilder::new()
        .arg("test.cwasm")
        .unwrap()
        .build(TestSystem::default());
    match Native(Crowded).run(Job::of(&code), context).0 {
        Outcome::CodeDoesNotFit(text) => {
            assert!(
                text.starts_with("too few addresses") && !text.contains("--memory"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// A machine with a larger stack, which its tests have to bring along.
struct Deep;

/// Bytes of it.
const STACK: usize = 6 << 20;

impl Machine for Deep {
    fn configure(&self, config: &mut Config) {
        settings::limit_stack(config, STACK);
    }

    fn load(&self, engine: &Engine, code: &[u8]) -> Result<Module> {
        Process.load(engine, code)
    }

    fn has_memory(_: usize) -> bool {
        true
    }
}

/// wasmtime's own limit would be reached after a quarter of these calls.
#[test]
fn calls_nest_as_deep_as_the_stack_is() {
    let run = || {
        let code = compile(
            r#"(module
                (func $sum (param i64) (result i64)
                    (if (result i64) (i64.eqz (local.get 0))
                        (then (i64.const 0))
                        (else (i64.add (local.get 0) (call $sum (i64.sub (local.get 0) (i64.const 1)))))))
                (func (export "_start")
                    (if (i64.ne (call $sum (i64.const 65000)) (i64.const 2112532500)) (then unreachable))))"#,
            Options::default(),
        );
        let context = WasiCtxBuilder::new()
            .arg("test.cwasm")
            .unwrap()
            .build(TestSystem::default());
        Native(Deep).run(Job::of(&code), context).0
    };
    let thread = std::thread::Builder::new()
        .stack_size(STACK + (4 << 20))
        .spawn(run);
    assert_eq!(thread.unwrap().join().unwrap(), Outcome::Exit(0));
}
