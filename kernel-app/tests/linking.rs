//! Exported functions and several modules, on the interpreter. The same on the other engine: `tests/native`.

#[path = "support/linking.rs"]
mod linking;

use kernel_app::engine::wasmi::Interpreter;
use kernel_app::engine::{Engine as _, Entry, Job, Preload};
use kernel_app::exit_status::Outcome;
use wasi_core::context::WasiCtxBuilder;
use wasi_core::testing::TestSystem;

fn execute(preloads: &[(&str, Vec<u8>)], program: &[u8], entry: Option<Entry<'_>>) -> (Outcome, TestSystem) {
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
    let (outcome, context) = Interpreter::default().run(job, context);
    (outcome, context.system)
}

#[test]
fn vectors_are_printed_as_one_number() {
    let module = wat::parse_str(
        r#"(module (func (export "f") (result v128) (v128.const i64x2 1 1)) (func (export "g") (param v128)))"#,
    )
    .unwrap();
    let call = |name| {
        let arguments = &[];
        execute(
            &[],
            &module,
            Some(Entry {
                name,
                arguments,
                warns: false,
            }),
        )
    };
    assert_eq!(call("f").1.stdout, b"18446744073709551617\n");
    assert!(matches!(call("g").0, Outcome::Refused(text) if text.contains("unsupported argument type v128")));
}
