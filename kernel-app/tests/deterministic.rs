//! Deterministic runs of guests in text, on the interpreter, on two machines that have nothing in common: neither their
//! clocks nor their entropy, nor how input arrives. The same in virtual machines of all architectures, with all guests
//! and both engines: `tests/vm/tests/deterministic.rs`.

use std::fs;
use std::path::Path;

use boot_protocol::run_spec::{Limit, Limits};
use kernel_app::engine::wasmi::Interpreter;
use kernel_app::engine::{Engine as _, Job};
use kernel_app::exit_status::Outcome;
use wasi_core::context::WasiCtxBuilder;
use wasi_core::deterministic::{Deterministic, START};
use wasi_core::fs::Permission;
use wasi_core::fs::mem::{self, MemFs};
use wasi_core::testing::{Stdin, TestSystem};

/// What each guest may spend.
const FUEL: u64 = 100_000;

/// All that comes of a run.
#[derive(Debug, PartialEq)]
struct Seen {
    outcome: Outcome,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    spent: u64,
    slept: u64,
}

fn run(wasm: &[u8], seed: u64, system: TestSystem, host_time: u64) -> Seen {
    let limits = Limits::NONE.with(Limit::Fuel, FUEL).with(Limit::Memory, 16 << 20);
    let job = Job {
        limits,
        ..Job::of(wasm)
    };
    let context = WasiCtxBuilder::new()
        .deterministic(Deterministic::new(seed, FUEL))
        .arg("test.wasm")
        .unwrap()
        .preopen(
            MemFs::new(mem::Limits::NONE, host_time),
            "/",
            Permission::ReadWrite,
        )
        .unwrap()
        .build(system);
    let (outcome, context) = Interpreter::default().run(job, context);
    let time = context.virtual_time().unwrap();
    Seen {
        outcome,
        spent: time.spent(),
        slept: time.slept(),
        stdout: context.system.stdout,
        stderr: context.system.stderr,
    }
}

/// Two machines with the same input.
fn machines() -> [TestSystem; 2] {
    [
        TestSystem::with_stdin(b"one line\nand half of one"),
        TestSystem {
            realtime: 12,
            monotonic: 1 << 50,
            cpu_time: Some(9),
            resolution: 777,
            random: None,
            sleep_short: 5,
            stdin: [
                Stdin::Pause(5_000_000_000),
                Stdin::Bytes(b"one ".to_vec()),
                Stdin::Bytes(b"line\nand half".to_vec()),
                Stdin::Pause(1),
                Stdin::Bytes(b" of one".to_vec()),
            ]
            .into(),
            ..TestSystem::default()
        },
    ]
}

/// The same on both machines; what came of it.
#[track_caller]
fn same(name: &str, wasm: &[u8]) -> Seen {
    let [one, other] = machines();
    let seen = run(wasm, 7, one, 1);
    assert_eq!(seen, run(wasm, 7, other, 1 << 60), "{name}");
    seen
}

#[test]
fn all_guests_in_text_run_the_same() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/wat");
    let mut number = 0;
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let Ok(wasm) = wat::parse_file(&path) else {
            continue;
        };
        same(&path.display().to_string(), &wasm);
        number += 1;
    }
    assert!(number > 50, "{number}");
}

/// A guest that calls `body` and writes what lies in its memory from 64 to 256.
fn guest(body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_res_get" (func $resolution (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\40\00\00\00\c0\00\00\00")
        (func (export "_start") (local i32) {body}
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#
    );
    wat::parse_str(text).unwrap()
}

/// The number at an address of the guest's.
fn number(seen: &Seen, address: usize) -> u64 {
    u64::from_le_bytes(seen.stdout[address - 64..address - 56].try_into().unwrap())
}

#[test]
fn clocks_count_fuel() {
    let seen = same(
        "clocks",
        &guest(
            "(drop (call $time (i32.const 1) (i64.const 0) (i32.const 64)))
            (loop (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br_if 0 (i32.lt_u (local.get 0) (i32.const 9))))
            (drop (call $time (i32.const 1) (i64.const 0) (i32.const 72)))
            (drop (call $time (i32.const 0) (i64.const 0) (i32.const 80)))
            (drop (call $time (i32.const 2) (i64.const 0) (i32.const 88)))
            (drop (call $resolution (i32.const 0) (i32.const 96)))",
        ),
    );
    let [first, second, real, cpu, resolution] = [64, 72, 80, 88, 96].map(|at| number(&seen, at));
    assert!(first > 0 && first < second && second <= cpu, "{seen:?}");
    assert!(cpu <= seen.spent && second + START <= real, "{seen:?}");
    assert_eq!((resolution, seen.slept), (1, 0));
}

#[test]
fn sleep_takes_no_time_of_the_hosts() {
    // A clock subscription of an hour at 256; relative, monotonic.
    let wasm = guest(
        "(i32.store (i32.const 272) (i32.const 1))
        (i64.store (i32.const 280) (i64.const 3600000000000))
        (drop (call $poll (i32.const 256) (i32.const 512) (i32.const 1) (i32.const 640)))
        (drop (call $time (i32.const 1) (i64.const 0) (i32.const 64)))
        (drop (call $time (i32.const 2) (i64.const 0) (i32.const 72)))",
    );
    let seen = same("sleep", &wasm);
    assert_eq!(seen.slept, 3_600_000_000_000);
    assert!(number(&seen, 64) > seen.slept && number(&seen, 72) < FUEL);
    // Nothing was waited for.
    let context = WasiCtxBuilder::new()
        .deterministic(Deterministic::new(0, u64::MAX))
        .build(TestSystem::default());
    let (outcome, context) = Interpreter::default().run(Job::of(&wasm), context);
    assert_eq!((outcome, context.system.sleeps.len()), (Outcome::Exit(0), 0));
}

#[test]
fn random_numbers_are_the_seeds() {
    let wasm = guest("(drop (call $random (i32.const 64) (i32.const 100)))");
    let seen = same("random", &wasm);
    let [one, other] = machines();
    assert_ne!(seen.stdout, run(&wasm, 8, one, 0).stdout);
    // The key is the seed and zeros: the stream of ChaCha20 with a key of zeros is a known one.
    let zeros = run(&wasm, 0, other, 0).stdout;
    assert_eq!(zeros[..8], [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
}

#[test]
fn input_comes_line_by_line() {
    // Two buffers of 6 bytes, then of 60.
    let wasm = guest(
        "(i64.store (i32.const 256) (i64.const 0x0000000600000040))
        (i64.store (i32.const 264) (i64.const 0x0000003c00000048))
        (drop (call $read (i32.const 0) (i32.const 256) (i32.const 2) (i32.const 136)))
        (i32.store (i32.const 256) (i32.const 144))
        (drop (call $read (i32.const 0) (i32.const 256) (i32.const 2) (i32.const 140)))",
    );
    let seen = same("input", &wasm);
    assert_eq!(seen.stdout[..6], *b"one li");
    assert_eq!(number(&seen, 136) & 0xffff_ffff, 9);
    assert_eq!(number(&seen, 136) >> 32, 15);
}

#[test]
fn nans_have_one_form() {
    let wasm = guest(
        "(i64.store (i32.const 256) (i64.const 0xfff0123456789abc))
        (f64.store (i32.const 64) (f64.add (f64.load (i32.const 256)) (f64.const 1)))
        (f64.store (i32.const 72) (f64.div (f64.const 0) (f64.load (i32.const 512))))
        (f64.store (i32.const 80) (f64.sqrt (f64.sub (f64.load (i32.const 512)) (f64.const 1))))
        (f64.store (i32.const 88) (f64.promote_f32 (f32.load (i32.const 260))))
        (f64.store (i32.const 96) (f64.floor (f64.load (i32.const 256))))
        (v128.store (i32.const 112) (f64x2.mul (v128.load (i32.const 256)) (v128.load (i32.const 256))))",
    );
    let seen = same("NaNs", &wasm);
    for at in [64, 72, 80, 88, 96, 112] {
        assert_eq!(number(&seen, at), 0x7ff8_0000_0000_0000, "at {at}");
    }
}
