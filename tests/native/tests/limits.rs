//! What a guest may use up, as native code. The same on the interpreter: `kernel-app/tests/limits.rs`.

#[path = "../../../kernel-app/tests/support/limits.rs"]
mod limits;

use aot_config::Options;
use boot_protocol::run_spec::{Limit, Limits};
use kernel_app::engine::wasmtime::Native;
use kernel_app::engine::{Engine as _, Job};
use kernel_app::exit_status::Outcome;
use native_host::Process;
use wasi_core::context::WasiCtxBuilder;
use wasi_core::testing::TestSystem;

/// Runs code that counts fuel if `fuel`.
fn run(module: &[u8], fuel: bool, limits: Limits) -> Outcome {
    let level = native_host::level().expect("native code is made for this architecture");
    let options = Options {
        fuel,
        ..Options::default()
    };
    let code = native_host::compile(module, level, options).expect("the test's module can be compiled");
    let job = Job {
        limits,
        ..Job::of(&code)
    };
    let context = WasiCtxBuilder::new().build(TestSystem::default());
    Native(Process).run(job, context).0
}

fn execute(program: &[u8], limits: Limits) -> Outcome {
    run(program, limits.get(Limit::Fuel).is_some(), limits)
}

#[test]
fn code_that_does_not_count_is_refused_where_fuel_is_limited() {
    let module = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
    match run(&module, false, Limits::NONE.with(Limit::Fuel, 1000)) {
        Outcome::CodeRefused(text) => assert!(text.contains("--fuel"), "{text}"),
        other => panic!("{other:?}"),
    }
    // The other way round, it has all the fuel there is.
    assert_eq!(run(&module, true, Limits::NONE), Outcome::Exit(0));
}

#[test]
fn growth_that_the_memory_itself_forbids_traps_on_demand() {
    let wasm = wat::parse_str(limits::GROWS_BEYOND_ITS_MAXIMUM).unwrap();
    assert_eq!(execute(&wasm, Limits::NONE), Outcome::Exit(0));
    // As under wasmtime.
    match execute(&wasm, Limits::NONE.trapping_on_grow_failure()) {
        Outcome::Trap(text) => assert!(
            text.starts_with("forcing a growth failure to be a trap"),
            "{text}"
        ),
        other => panic!("{other:?}"),
    }
}
