//! Runs a module on the host: on our WASI, or on `wasmi_wasi`, both with the application's interpreter.
//!
//! Standard output and error are the guest's; its standard input is empty. The exit code is the guest's; 134 for a trap
//! or a module that cannot be run, with a message.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use differential::{World, shim, theirs};

#[derive(Parser)]
struct Arguments {
    /// Whose functions the module gets.
    #[arg(long, value_enum)]
    wasi: Wasi,
    /// A directory of the host (HOST::GUEST); wasmi_wasi only.
    #[arg(long, value_name = "HOST::GUEST")]
    dir: Vec<String>,
    /// An empty directory in memory; ours only.
    #[arg(long, value_name = "GUEST")]
    tmpfs: Vec<String>,
    /// An environment variable.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Grants the host's network; ours only.
    #[arg(long)]
    network: bool,
    /// Listens there for the guest, which gets the listener behind its directories; ours only.
    #[arg(long, value_name = "ADDRESS:PORT")]
    tcplisten: Vec<SocketAddr>,
    /// Instead of running it with WASI, say on standard error how much of wasmi's fuel the module, which imports
    /// nothing, uses.
    #[arg(long)]
    fuel: bool,
    /// At the end, say on standard error how much CPU time it all took.
    #[arg(long)]
    time: bool,
    /// The module.
    module: PathBuf,
    /// The guest's arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Wasi {
    /// This project's.
    Shim,
    /// The interpreter's own project's.
    WasmiWasi,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let time = arguments.time;
    let end = run(arguments);
    if time {
        match cpu_time() {
            Ok(nanoseconds) => eprintln!("cpu-time: {nanoseconds} ns"),
            Err(error) => eprintln!("wasi-host: --time: {error:#}"),
        }
    }
    match end {
        // As the launcher does it: what does not fit is a failure.
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("wasi-host: {error:#}");
            ExitCode::from(134)
        }
    }
}

/// Nanoseconds that this process, which has one thread, has had a processor; the standard library does not tell.
fn cpu_time() -> Result<u64> {
    let path = "/proc/self/schedstat";
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let first = text.split_whitespace().next().context("it is empty")?;
    Ok(first.parse()?)
}

fn run(arguments: Arguments) -> Result<u32> {
    if arguments.fuel {
        let wasm = std::fs::read(&arguments.module)?;
        eprintln!("fuel: {}", shim::fuel(&wasm)?);
        return Ok(0);
    }
    let name = arguments.module.file_name().context("MODULE has no name")?;
    let mut world = World {
        args: vec![name.to_string_lossy().into_owned()],
        network: arguments.network,
        listeners: arguments.tcplisten,
        ..World::default()
    };
    world.args.extend(arguments.args);
    for variable in &arguments.env {
        let (name, value) = variable.split_once('=').context("--env wants NAME=VALUE")?;
        world.env.push((name.into(), value.into()));
    }
    for directory in &arguments.dir {
        let (host, guest) = directory.split_once("::").context("--dir wants HOST::GUEST")?;
        world.directories.push((Some(host.into()), guest.into()));
    }
    for guest in arguments.tmpfs {
        world.directories.push((None, guest));
    }
    let wasm = std::fs::read(&arguments.module)
        .with_context(|| format!("cannot read {}", arguments.module.display()))?;
    match arguments.wasi {
        Wasi::Shim => shim::run(&wasm, &world),
        Wasi::WasmiWasi => theirs::run(&wasm, &world),
    }
}
