//! The program as the launcher uses it: a module on standard input, code on standard output, lines on standard error.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use aot_config::CpuLevel;
use aot_config::protocol::{Message, Refusal, identity};

fn compile(module: &[u8], flags: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hermit-wasm-compiler"))
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever refuses the command line does not read the module.
    let _ = child.stdin.take().unwrap().write_all(module);
    child.wait_with_output().unwrap()
}

fn code(text: &str, flags: &[&str]) -> Vec<u8> {
    let output = compile(&wat::parse_str(text).unwrap(), flags);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.starts_with(&format!("{}\n", identity())), "{said}");
    output.stdout
}

/// Why a module is refused: the last line.
fn refusal(module: &[u8]) -> Refusal {
    let output = compile(module, &["--cpu", "x86-64-v2"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match said.lines().last().and_then(Message::parse) {
        Some(Message::Refused(refusal)) => refusal,
        _ => panic!("{said}"),
    }
}

/// Many functions, so that threads have something to share.
fn many() -> String {
    let functions: String = (0..500)
        .map(|number| {
            format!(
                "(func (export \"f{number}\") (param f32) (result i32)
                   (loop $l (br_if $l (i32.load offset={number} (i32.const {number}))))
                   (i32.trunc_sat_f32_s (f32.ceil (local.get 0))))"
            )
        })
        .collect();
    format!("(module (memory 1) {functions})")
}

#[test]
fn every_level_of_every_architecture_is_compiled_for() {
    // ELF's numbers of machines.
    const MACHINES: [(&str, [u8; 2]); 3] =
        [("x86_64", [62, 0]), ("aarch64", [183, 0]), ("riscv64", [243, 0])];
    let mut all = Vec::new();
    for level in CpuLevel::ALL {
        let code = code(&many(), &["--cpu", level.name()]);
        // wasmtime's mark.
        assert_eq!(
            (&code[..4], code[7]),
            (b"\x7fELF".as_slice(), 200),
            "{}",
            level.name()
        );
        let machine = MACHINES
            .iter()
            .find(|(arch, _)| *arch == level.arch().name())
            .unwrap()
            .1;
        assert_eq!(code[18..20], machine, "{}", level.name());
        assert!(!all.contains(&code), "{} is like another", level.name());
        all.push(code);
    }
}

#[test]
fn equal_modules_give_equal_code_whatever_the_threads() {
    let one = code(&many(), &["--cpu", "x86-64-v2", "--threads", "1"]);
    for threads in ["1", "2", "7"] {
        assert!(
            one == code(&many(), &["--cpu", "x86-64-v2", "--threads", threads]),
            "{threads}"
        );
    }
    assert!(one != code(&many(), &["--cpu", "x86-64-v2", "--fuel"]));
    assert!(one != code(&many(), &["--cpu", "x86-64-v2", "--deterministic"]));
}

#[test]
fn what_the_machines_have_is_compiled() {
    for text in [
        // Exceptions, garbage collection, tail calls, memories of 64 bits, several of them.
        "(module (tag $t) (func (throw $t)))",
        "(module (tag $t) (func (block $b (try_table (catch $t $b) (throw $t)))))",
        "(module (type $s (struct (field i32))) (func (result (ref $s)) (struct.new_default $s)))",
        "(module (func $f (return_call $f)))",
        "(module (memory i64 1) (memory 1))",
        // Atomics, on a memory that is not shared.
        "(module (memory 1) (func (result i32) (i32.atomic.load (i32.const 0))))",
        "(module (func (result v128) (i32x4.relaxed_trunc_f32x4_s (v128.const i64x2 0 0))))",
    ] {
        code(text, &["--cpu", "x86-64-v2"]);
    }
}

#[test]
fn an_invalid_module_is_refused_with_the_place() {
    let mut module = wat::parse_str("(module (func (result i32) i32.const 1))").unwrap();
    // `i32.const 1` becomes `nop nop`.
    let at = module.windows(2).rposition(|bytes| bytes == [0x41, 1]).unwrap();
    module[at] = 1;
    module[at + 1] = 1;
    match refusal(&module) {
        Refusal::Invalid { offset, message } => {
            assert_eq!(offset, u64::try_from(at + 2).unwrap());
            assert!(message.contains("expected i32"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    for bad in [b"".as_slice(), b"\0asm", b"nonsense", &module[..at]] {
        assert!(matches!(refusal(bad), Refusal::Invalid { .. }), "{bad:?}");
    }
}

#[test]
fn a_proposal_that_is_missing_is_named() {
    let stacks =
        "(module (type $f (func)) (type $c (cont $f)) (func (param (ref $c)) (resume $c (local.get 0))))";
    match refusal(&wat::parse_str(stacks).unwrap()) {
        Refusal::Unsupported { proposals, message } => {
            assert_eq!(proposals, ["stack-switching"], "{message}");
        }
        other => panic!("{other:?}"),
    }
    let component = b"\0asm\x0d\0\x01\0";
    match refusal(component) {
        Refusal::Unsupported { proposals, .. } => assert_eq!(proposals, ["component-model"]),
        other => panic!("{other:?}"),
    }
}

/// Without vectors in the processor, Cranelift would panic.
#[test]
fn vectors_are_refused_for_a_processor_without() {
    let text = "(module (memory 1) (func (v128.store (i32.const 0) (v128.const i64x2 0 0))))";
    let module = wat::parse_str(text).unwrap();
    for able in ["x86-64-v2", "rv64gcv"] {
        assert!(compile(&module, &["--cpu", able]).status.success(), "{able}");
    }
    assert_eq!(missing_on_rv64gc(&module), ["simd"]);
}

/// The proposals for whose lack a module is refused for a processor without vectors.
fn missing_on_rv64gc(module: &[u8]) -> Vec<String> {
    let output = compile(module, &["--cpu", "rv64gc"]);
    assert!(!output.status.success() && output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match said.lines().last().and_then(Message::parse) {
        Some(Message::Refused(Refusal::Unsupported { proposals, .. })) => proposals,
        _ => panic!("{said}"),
    }
}

/// wasmtime takes vectors for it on every processor.
#[test]
fn a_constant_number_of_bytes_is_copied_where_there_are_vectors() {
    for (bytes, takes_vectors) in [(15, false), (16, true), (127, true), (128, true), (129, false)] {
        let text = format!(
            "(module (memory 1) (func (memory.copy (i32.const 0) (i32.const 256) (i32.const {bytes}))))"
        );
        code(&text, &["--cpu", "rv64gcv"]);
        if takes_vectors {
            assert_eq!(
                missing_on_rv64gc(&wat::parse_str(&text).unwrap()),
                ["simd"],
                "{bytes}"
            );
        } else {
            code(&text, &["--cpu", "rv64gc"]);
        }
    }
}

/// The runtime has no threads, and takes what waits for them for unreachable: it would panic.
#[test]
fn waiting_for_another_thread_is_refused_on_any_memory() {
    for instruction in [
        "(memory.atomic.notify (i32.const 0) (i32.const 1))",
        "(memory.atomic.wait32 (i32.const 0) (i32.const 1) (i64.const 0))",
        "(memory.atomic.wait64 (i32.const 0) (i64.const 1) (i64.const 0))",
    ] {
        let text = format!("(module (memory 1) (func) (func (block (drop {instruction}))))");
        match refusal(&wat::parse_str(text).unwrap()) {
            Refusal::Unsupported { proposals, message } => {
                assert_eq!(proposals, ["threads"]);
                assert!(message.contains("memory.atomic."), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The runtime would fail to make one, when the guest has begun by all accounts.
#[test]
fn shared_memories_are_refused() {
    for text in [
        "(module (memory 1 1 shared))",
        "(module (memory 1) (memory 1 1 shared) (func))",
        r#"(module (import "a" "b" (func)) (import "a" "c" (memory 1 1 shared)))"#,
    ] {
        match refusal(&wat::parse_str(text).unwrap()) {
            Refusal::Unsupported { proposals, message } => {
                assert_eq!(proposals, ["threads"]);
                assert!(message.contains("shared memory"), "{message}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn progress_is_told_in_functions() {
    // Enough for more than one interval, on any machine.
    let body =
        "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 4)) (i32.load (i32.const 8))))".repeat(500);
    let functions = format!("(func {body})").repeat(300);
    let module = wat::parse_str(format!("(module (memory 1) {functions})")).unwrap();
    let output = compile(&module, &["--cpu", "riscv64gc", "--threads", "1"]);
    assert_eq!(output.status.code(), Some(2), "a level that does not exist");
    let output = compile(&module, &["--cpu", "rv64gc", "--threads", "1"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut last = 0;
    for line in said.lines().skip(1) {
        match Message::parse(line) {
            Some(Message::Progress { done, all: 300 }) if done > last && done <= 300 => last = done,
            _ => panic!("{said}"),
        }
    }
    assert!(last > 0 && output.status.success(), "{said}");
}
