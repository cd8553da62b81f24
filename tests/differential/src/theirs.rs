//! The other side: `wasmi_wasi`, with the application's configuration of the interpreter.

use anyhow::{Context as _, Result, anyhow, bail};
use kernel_app::engine::wasmi as engine;
use wasmi::{Engine, Linker, Module, Store};
use wasmi_wasi::{Dir, WasiCtx, WasiCtxBuilder, ambient_authority};

use crate::World;

/// Runs a module; its exit code.
///
/// # Errors
/// If a directory in memory is asked for, if the module cannot be run, and if it traps.
pub fn run(wasm: &[u8], world: &World) -> Result<u32> {
    let mut builder = WasiCtxBuilder::new();
    builder.inherit_stdout().inherit_stderr();
    builder.args(&world.args)?;
    builder.envs(&world.env)?;
    for (host, guest) in &world.directories {
        let Some(host) = host else {
            bail!("{guest}: wasmi_wasi has no directories in memory");
        };
        let directory = Dir::open_ambient_dir(host, ambient_authority())
            .with_context(|| format!("cannot open {}", host.display()))?;
        builder.preopened_dir(directory, guest)?;
    }

    let engine = Engine::new(&engine::config());
    let module = Module::new(&engine, wasm)?;
    let mut linker: Linker<WasiCtx> = Linker::new(&engine);
    wasmi_wasi::add_to_linker(&mut linker, |context| context)?;
    let mut store = Store::new(&engine, builder.build());
    let instance = linker.instantiate_and_start(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&store, "_start")?;
    match start.call(&mut store, ()) {
        Ok(()) => Ok(0),
        Err(error) => match error.i32_exit_status() {
            Some(code) => Ok(code.cast_unsigned()),
            None => Err(anyhow!("trap: {error}")),
        },
    }
}
