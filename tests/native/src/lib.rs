//! The application's native engine in a process of this host: a compiler for the host's processor, and a machine whose
//! memory and faults are wasmtime's own. Engine and settings are the image's.
//!
//! Layer: host tests and measurements.

use aot_config::{Arch, CpuLevel, Options, Trailer, settings};
use kernel_app::engine::wasmtime::{Machine, Native};
use kernel_app::engine::{Engine as _, Job};
use kernel_app::exit_status::Outcome;
use wasi_core::context::WasiCtx;
use wasi_core::testing::TestSystem;
use wasmtime::{Config, Engine, Module, Result};

/// This process.
#[derive(Clone, Copy, Debug)]
pub struct Process;

impl Machine for Process {
    fn configure(&self, _: &mut Config) {}

    fn load(&self, engine: &Engine, code: &[u8]) -> Result<Module> {
        #[allow(unsafe_code, reason = "whoever loads code answers for it")]
        // SAFETY: the code is what `compile` made, or is damaged and never called.
        unsafe {
            Module::deserialize(engine, code)
        }
    }

    fn has_memory(bytes: usize) -> bool {
        bytes <= MEMORY
    }
}

/// Bytes that there are for tables.
const MEMORY: usize = 64 << 20;

/// The level that the images' code is for on this host's architecture; [`None`] if no code is made for it.
#[must_use]
pub fn level() -> Option<CpuLevel> {
    Some(Arch::CURRENT?.default_level())
}

/// The native code of a module, with our trailer. It uses what a processor of that level has, and nothing else that this
/// one may have.
///
/// # Errors
/// wasmtime's, for a module that cannot be compiled.
pub fn compile(module: &[u8], level: CpuLevel, options: Options) -> Result<Vec<u8>> {
    let mut config = Config::new();
    // By name, so that the processor at hand does not add to it.
    config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))?;
    settings::configure(&mut config, options);
    config
        .native_unwind_info(false)
        .cranelift_nan_canonicalization(options.deterministic);
    for feature in level.features() {
        enable(&mut config, feature.flag);
    }
    let code = Engine::new(&config)?.precompile_module(module)?;
    let trailer = Trailer {
        level,
        options,
        source: [0; 32],
    };
    let trailer = trailer.to_bytes(code.len() as u64);
    Ok([code.as_slice(), &trailer].concat())
}

/// Has code use a feature of the processor.
#[allow(
    unsafe_code,
    reason = "wasmtime has it so, since code for another processor must not be run"
)]
fn enable(config: &mut Config, flag: &str) {
    // SAFETY: the runtime asks whether the processor has the feature, and refuses the code otherwise.
    unsafe {
        config.cranelift_flag_enable(flag);
    }
}

/// Runs native code to its end.
pub fn run(code: &[u8], context: WasiCtx<TestSystem>) -> (Outcome, WasiCtx<TestSystem>) {
    Native(Process).run(Job::of(code), context)
}
