//! Our side: the application's way of running a module, with `wasi-p1` on a machine that is the host.

use std::io::{ErrorKind, Write as _};
use std::time::{Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use kernel_app::engine::wasmi::{Interpreter, config};
use kernel_app::engine::{Engine as _, Job};
use kernel_app::exit_status::Outcome;
use wasi_core::context::WasiCtxBuilder;
use wasi_core::fs::Permission;
use wasi_core::fs::mem::{Limits, MemFs};
use wasi_core::{Clock, Errno, Network, Stream, System, Wait};
use wasmi::{Engine, Instance, Module, Store};

use crate::World;
use crate::network::HostNetwork;

/// What a directory in memory may hold.
const LIMITS: Limits = Limits {
    bytes: 8 << 30,
    entries: 10_000_000,
};

/// How many connections may wait for a guest.
const BACKLOG: usize = 128;

/// Runs a module; its exit code.
///
/// # Errors
/// If a directory of the host is asked for, if the module cannot be run, and if it traps.
pub fn run(wasm: &[u8], world: &World) -> Result<u32> {
    let mut builder = WasiCtxBuilder::new().args(&world.args)?;
    for (name, value) in &world.env {
        builder = builder.env(name, value)?;
    }
    let mut machine = Machine {
        start: Instant::now(),
        network: HostNetwork::default(),
        is_granted: world.network || !world.listeners.is_empty(),
    };
    let now = machine
        .clock_time(Clock::Realtime)
        .ok()
        .context("the host does not know the time")?;
    for (host, guest) in &world.directories {
        if let Some(host) = host {
            bail!("{}: our WASI has directories in memory only", host.display());
        }
        builder = builder.preopen(MemFs::new(LIMITS, now), guest, Permission::ReadWrite)?;
    }
    for local in &world.listeners {
        let listener = machine.network.listen(*local, BACKLOG);
        let listener = listener.with_context(|| format!("cannot listen at {local}"))?;
        let local = machine.network.local_address(listener)?;
        builder = builder.listener(listener, local);
    }
    match Interpreter::default()
        .run(Job::of(wasm), builder.build(machine))
        .0
    {
        Outcome::Exit(code) => Ok(code),
        Outcome::Trap(text) => bail!("trap: {text}"),
        other => bail!("{other:?}"),
    }
}

/// Runs a module that imports nothing, as the application does; the fuel that it has used.
///
/// # Errors
/// If it cannot be run, or traps.
pub fn fuel(wasm: &[u8]) -> Result<u64> {
    let mut config = config();
    config.consume_fuel(true);
    let engine = Engine::new(&config);
    let mut store = Store::new(&engine, ());
    store.set_fuel(u64::MAX)?;
    let instance = Instance::new(&mut store, &Module::new(&engine, wasm)?, &[])?;
    let start = instance.get_typed_func::<(), ()>(&store, "_start")?;
    start.call(&mut store, ())?;
    Ok(u64::MAX - store.get_fuel()?)
}

/// The host as a machine, without standard input: what a module does must not depend on who starts it.
struct Machine {
    start: Instant,
    network: HostNetwork,
    is_granted: bool,
}

impl System for Machine {
    fn clock_time(&mut self, clock: Clock) -> Result<u64, Errno> {
        let time = match clock {
            Clock::Realtime => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_err(|_| Errno::OVERFLOW)?,
            // One thread that only runs: its time is all that passes.
            Clock::Monotonic | Clock::ProcessCpuTime | Clock::ThreadCpuTime => self.start.elapsed(),
        };
        u64::try_from(time.as_nanos()).map_err(|_| Errno::OVERFLOW)
    }

    fn clock_resolution(&mut self, clock: Clock) -> Result<u64, Errno> {
        self.clock_time(clock).map(|_| 1)
    }

    fn fill_random(&mut self, buf: &mut [u8]) -> Result<(), Errno> {
        getrandom::fill(buf).map_err(|_| Errno::NOSYS)
    }

    fn console_write(&mut self, stream: Stream, buf: &[u8]) -> Result<usize, Errno> {
        // What the guest has written it has written: nothing is kept back.
        match stream {
            Stream::Stdout => {
                let mut out = std::io::stdout().lock();
                out.write_all(buf).and_then(|()| out.flush())
            }
            Stream::Stderr => std::io::stderr().write_all(buf),
        }
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Errno::PIPE,
            _ => Errno::IO,
        })?;
        Ok(buf.len())
    }

    fn console_read(&mut self, _buf: &mut [u8]) -> Result<usize, Errno> {
        Ok(0)
    }

    fn wait(&mut self, on: &mut [Wait], timeout: Option<u64>) {
        self.network.wait(on, timeout);
    }

    fn network(&mut self) -> Option<&mut dyn Network> {
        self.is_granted.then_some(&mut self.network as _)
    }

    fn yield_now(&mut self) {
        std::thread::yield_now();
    }

    fn record(&mut self, _: &[u8]) {}

    fn recorded(&mut self, _: bool) {}
}
