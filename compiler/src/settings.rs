//! What the compiler sets: what the runtime has too, from `aot-config`, and what only code shows.

use aot_config::{CpuLevel, Options, settings};
use wasmtime::{Config, Engine, Result};

/// What to compile for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// The processor, and with it the architecture.
    pub(crate) level: CpuLevel,
    /// What the code is to do besides computing.
    pub(crate) options: Options,
    /// How many threads compile; 0: as many as there are processors.
    pub(crate) threads: usize,
}

/// The engine that compiles for `job`.
pub(crate) fn engine(job: &Job) -> Result<Engine> {
    let mut config = Config::new();
    config.target(job.level.arch().target())?;
    settings::configure(&mut config, job.options);
    config
        // In one form on every processor, whatever an operation makes of them.
        .cranelift_nan_canonicalization(job.options.deterministic)
        // wasmtime finds its frames by their pointers. Nothing in the machine unwinds by tables.
        .native_unwind_info(false)
        .parallel_compilation(true);
    for feature in job.level.features() {
        enable(&mut config, feature.flag);
    }
    Engine::new(&config)
}

/// Has code use a feature of the processor.
#[allow(
    unsafe_code,
    reason = "wasmtime has it so, since code for another processor must not be run"
)]
fn enable(config: &mut Config, flag: &str) {
    // SAFETY: what this promises, that the processor has the feature, is asked of it before the code runs: by the
    // runtime, and on riscv64, where that asks for none, by the application. The code is refused otherwise.
    unsafe {
        config.cranelift_flag_enable(flag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each level's flags are ones that this version of the compiler knows.
    #[test]
    fn there_is_an_engine_for_each_level() {
        for level in CpuLevel::ALL {
            for fuel in [false, true] {
                let job = Job {
                    level,
                    options: Options {
                        fuel,
                        deterministic: fuel,
                    },
                    threads: 1,
                };
                engine(&job).unwrap();
            }
        }
    }
}
