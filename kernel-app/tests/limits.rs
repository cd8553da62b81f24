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
