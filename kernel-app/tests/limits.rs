//! What a guest may use up, on the interpreter. The same on the other engine: `tests/native`.

#[path = "support/limits.rs"]
mod limits;

use boot_protocol::run_spec::Limits;
use kernel_app::engine::wasmi::Interpreter;
use kernel_app::engine::{Engine as _, Job};
use kernel_app::exit_status::Outcome;
use wasi_core::context::WasiCtxBuilder;
use wasi_core::testing::TestSystem;

fn execute(program: &[u8], limits: Limits) -> Outcome {
    let job = Job {
        limits,
        ..Job::of(program)
    };
    let context = WasiCtxBuilder::new().build(TestSystem::default());
    Interpreter::default().run(job, context).0
}

/// The engine does not tell of such growth.
#[test]
fn growth_that_the_memory_itself_forbids_answers_as_always() {
    let wasm = wat::parse_str(limits::GROWS_BEYOND_ITS_MAXIMUM).unwrap();
    for limits in [Limits::NONE, Limits::NONE.trapping_on_grow_failure()] {
        assert_eq!(execute(&wasm, limits), Outcome::Exit(0));
    }
}
