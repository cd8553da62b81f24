//! What a server costs: of our machines and of a small Linux, on the same wire and with the same client.
//!
//! The server is `xtask/bench/serve-cost.c`: a guest here, the only process there. The client is this process.
//!
//! - `client`: what is asked of the server.
//! - `counted`: instructions.
//! - `processes`: what `/proc` tells of QEMU and the relay.
//! - `server`: a machine with the server, and its wire.
//! - `spread`: the middle of several measurements.
//! - `timed`: speed by the clock, and the cost of doing nothing.

mod client;
mod counted;
mod processes;
mod server;
mod spread;
mod timed;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use test_qemu::{Arch, Engine};

use self::server::{Host, Parts};
use super::counter::plugin;
use super::linux::Linux;
use super::{compute, work};
use crate::toolchain::{root, run};
use crate::{compiler, image};

/// Seconds after which a machine is ended, and an answer not awaited any longer.
const LIMIT: u32 = 900;

/// The port in the machine.
const PORT: u16 = 8080;

/// The modules that a network device on PCI needs, in the order in which they need each other.
const MODULES: [&str; 8] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
];

/// Measures and prints the tables, of machines of `arches` and their `engines`. What is told by the clock is of x86_64's interpreter.
pub(super) fn run_all(arches: &[Arch], engines: &[Engine]) -> Result<()> {
    let launcher = image::build_launcher(arches)?;
    if engines.contains(&Engine::Native) {
        // The launcher finds it.
        compiler::build()?;
    }
    let work = work()?.join("network");
    fs::create_dir_all(&work)?;
    let module = work.join("serve-cost.wasm");
    compute::compile(
        &root().join("xtask/bench/serve-cost.c"),
        &module,
        &["-nostartfiles"],
    )?;
    let linux = Linux::prepare(&work, "serve-cost.c", &MODULES, &[]);
    if let Err(reason) = &linux {
        println!("Linux: not measured: {reason:#}\n");
    }
    let parts = Parts {
        launcher,
        plugin: plugin()?,
        work,
        module,
        linux: linux.ok(),
    };
    let mut hosts = Vec::new();
    if parts.linux.is_some() && arches.contains(&Arch::X86_64) {
        hosts.push(Host::Linux);
    }
    for arch in arches {
        for engine in engines {
            if *engine == Engine::Native {
                compile(&parts, *arch)?;
            }
            hosts.push(Host::Ours(*arch, *engine));
        }
    }
    counted::run_all(&parts, &hosts)?;
    if arches.contains(&Arch::X86_64) {
        timed::run_all(&parts)?;
    }
    Ok(())
}

/// Compiles the server for the native engine.
fn compile(parts: &Parts, arch: Arch) -> Result<()> {
    let launcher: &Path = &parts.launcher;
    run(Command::new(launcher)
        .args(["compile", "--arch", arch.name(), "-o"])
        .arg(parts.module_for(arch, Engine::Native))
        .arg(&parts.module))
}
