//! Exported functions and several modules, as native code. The same on the interpreter: `kernel-app/tests/linking.rs`.

#[path = "../../../kernel-app/tests/support/linking.rs"]
mod linking;

use aot_config::Options;
use kernel_app::engine::wasmtime::Native;
use kernel_app::engine::{Engine as _, Entry, Job, Preload};
use kernel_app::exit_status::Outcome;
use native_host::Process;
use wasi_core::context::WasiCtxBuilder;
use wasi_core::testing::TestSystem;

fn compile(module: &[u8], options: Options) -> Vec<u8> {
    let level = native_host::level().expect("native code is made for this architecture");
    native_host::compile(module, level, options).expect("the test's module can be compiled")
}

fn execute(preloads: &[(&str, Vec<u8>)], program: &[u8], entry: Option<Entry<'_>>) -> (Outcome, TestSystem) {
    let compile = |module: &[u8]| compile(module, Options::default());
    let preloads: Vec<_> = preloads
        .iter()
        .map(|(name, module)| (*name, compile(module)))
        .collect();
    run(&preloads, &compile(program), entry)
}

fn run(preloads: &[(&str, Vec<u8>)], program: &[u8], entry: Option<Entry<'_>>) -> (Outcome, TestSystem) {
    let preloads: Vec<_> = preloads
        .iter()
        .map(|(name, program)| Preload { name, program })
        .collect();
    let job = Job {
        limits: Default::default(),
        program,
        preloads: &preloads,
        entry,
        tracing: None,
    };
    let context = WasiCtxBuilder::new().build(TestSystem::default());
    let (outcome, context) = Native(Process).run(job, context);
    (outcome, context.system)
}

#[test]
fn code_for_other_options_and_modules_are_refused() {
    let program = wat::parse_str(r#"(module (func (export "_start")))"#).unwrap();
    let library = wat::parse_str("(module)").unwrap();
    let program = compile(&program, Options::default());
    let fuel = Options {
        fuel: true,
        ..Options::default()
    };
    match run(&[("p", compile(&library, fuel))], &program, None).0 {
        Outcome::CodeRefused(text) => {
            assert!(text.contains("preload `p`: it was compiled with other"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    match run(&[("p", library)], &program, None).0 {
        Outcome::Refused(text) => assert!(text.contains("preload `p`: it is a WebAssembly module"), "{text}"),
        other => panic!("{other:?}"),
    }
}
