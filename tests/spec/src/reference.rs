//! wasmtime on this host, which compiles for itself, with the machine's proposals.

use anyhow::{Result, anyhow};
use aot_config::{Options, settings};
use spec_script::World;
use spec_script::native::Native;
use wasmtime::{Config, Engine, Module};

/// The engine.
pub(crate) fn engine() -> Result<Engine> {
    let mut config = Config::new();
    settings::configure(&mut config, Options::default());
    Engine::new(&config).map_err(|error| anyhow!("{error:#}"))
}

/// What carries scripts of wasm out.
pub(crate) fn world() -> Result<impl World> {
    Ok(Native::new(&engine()?, |engine, wasm| Module::new(engine, wasm)))
}
