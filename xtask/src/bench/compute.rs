//! What computing costs: instructions of programs in virtual machines on each engine, and of the same programs on other
//! runtimes in a process of this host, counted by the same plugin.
//!
//! Each figure is a difference: a program with a problem of twice the size against one of the size, so that boot, loading
//! and start-up cancel. Only the ratio to others means something.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use test_qemu::Engine;

use super::counter::{Counter, Machine, Program, machines, plugin, total};
use super::{Counted, grouped, precise, table, work};
use crate::arch::Arch;
use crate::toolchain::{find, output, root, run};
use crate::{differential, spec};

/// A program of `xtask/bench/compute`, and the size of its problem: the interpreter takes some ten million instructions
/// for it.
struct Module {
    name: &'static str,
    size: u32,
}

const MODULES: [Module; 6] = [
    Module { name: "fib", size: 2 },
    Module {
        name: "matmul",
        size: 12,
    },
    Module {
        name: "nbody",
        size: 5_000,
    },
    Module {
        name: "sha256",
        size: 400,
    },
    Module {
        name: "memops",
        size: 40,
    },
    Module {
        name: "heap",
        size: 20_000,
    },
];

/// How the programs are compiled for WebAssembly: the guests' libraries, and optimised as who wants speed would.
const CLANG: [&str; 7] = [
    "--target=wasm32-wasi",
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wl,--strip-all",
];

/// A runtime on this host, and how it is started; the module's path and its argument follow.
struct Peer {
    name: &'static str,
    program: PathBuf,
    arguments: &'static [&'static str],
    /// It takes code that it has compiled before.
    compiles: bool,
}

/// A program's figures.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// By peer.
    pub(super) peers: Vec<(&'static str, u64)>,
    pub(super) machines: Vec<(Arch, Engine, u64)>,
}

/// The peer that all others are compared with.
pub(super) const WASMTIME: &str = "wasmtime";

/// The figures of one machine, exact for a version of QEMU. The other architectures' are printed only.
pub(super) fn in_machines(counter: &Counter) -> Result<Vec<Counted>> {
    let machine = machines().next().context("no machine")?;
    let mut figures = Vec::new();
    for module in MODULES {
        let wasm = build(module.name)?;
        for engine in Engine::ALL {
            let name = format!(
                "{}: {}, of size {} less of {}",
                machine.arch.name(),
                module.name,
                module.size * 2,
                module.size
            );
            let cost = in_machine(counter, machine, engine, &wasm, module.size)?;
            figures.push(Counted::new(machine.arch, engine, name, cost));
        }
    }
    Ok(figures)
}

/// Measures and prints the tables.
pub(super) fn run_all() -> Result<()> {
    let rows = measure(&Counter::new()?)?;
    println!(
        "What computing costs: instructions, thousands; a problem of twice the size less one of the size\n"
    );
    println!("{}", instructions(&rows));
    println!("Relative to {WASMTIME} in a process of this host, x86_64\n");
    println!("{}", ratios(&rows));
    Ok(())
}

/// All figures that can be had here.
pub(super) fn measure(counter: &Counter) -> Result<Vec<Row>> {
    let peers = peers()?;
    let plugin = plugin()?;
    MODULES
        .iter()
        .map(|module| {
            let wasm = build(module.name)?;
            check_results(counter, &peers, &wasm, module.size)?;
            let mut in_machines = Vec::new();
            for machine in machines() {
                for engine in Engine::ALL {
                    let cost = in_machine(counter, machine, engine, &wasm, module.size)?;
                    in_machines.push((machine.arch, engine, cost));
                }
            }
            let on_peers = peers.iter().map(|peer| {
                let code = peer.prepare(&wasm)?;
                let count = |size| peer.count(&plugin, &code, size);
                Ok((
                    peer.name,
                    difference(count(module.size)?, count(module.size * 2)?)?,
                ))
            });
            Ok(Row {
                name: module.name,
                peers: on_peers.collect::<Result<_>>()?,
                machines: in_machines,
            })
        })
        .collect()
}

/// Compiles a program for WebAssembly; its path.
fn build(name: &str) -> Result<PathBuf> {
    let source = root().join("xtask/bench/compute").join(name).with_extension("c");
    let wasm = work()?.join(format!("compute-{name}.wasm"));
    compile(&source, &wasm, &[])?;
    Ok(wasm)
}

/// Compiles a C file for WebAssembly.
pub(super) fn compile(source: &Path, wasm: &Path, flags: &[&str]) -> Result<()> {
    let mut command = Command::new("clang");
    command
        .args(CLANG)
        .args(flags)
        // `__FILE__` must not tell where the checkout lies.
        .arg(format!("-ffile-prefix-map={}/=", root().display()))
        .arg("-o")
        .arg(wasm)
        .arg(source);
    run(&mut command).context("scripts/setup installs what programs in C need")
}

/// What a program of twice the size takes more than one of the size.
fn in_machine(counter: &Counter, machine: Machine, engine: Engine, wasm: &Path, size: u32) -> Result<u64> {
    let count = |size: u32| {
        let size = size.to_string();
        let program = Program {
            arguments: &[&size],
            ..Program::new(wasm)
        };
        counter.instructions(machine, engine, program)
    };
    difference(count(size)?, count(size * 2)?)
}

fn difference(once: u64, twice: u64) -> Result<u64> {
    twice
        .checked_sub(once)
        .filter(|difference| *difference > 0)
        .with_context(|| format!("twice the size costs no more: {once}, then {twice}"))
}

/// All of them compute the same.
fn check_results(counter: &Counter, peers: &[Peer], wasm: &Path, size: u32) -> Result<()> {
    let size = size.to_string();
    let mut known: Option<String> = None;
    let mut commands = Vec::new();
    for engine in Engine::ALL {
        let mut command = counter.launcher(Arch::host(), engine);
        command.arg(wasm).arg(&size);
        commands.push(command);
    }
    for peer in peers {
        commands.push(peer.command(&peer.prepare(wasm)?, &size));
    }
    for mut command in commands {
        let said = output(&mut command)?;
        let known = known.get_or_insert_with(|| said.clone());
        ensure!(
            *known == said,
            "{command:?} printed {said:?}, and others {known:?}"
        );
    }
    Ok(())
}

/// Those that are here. Nothing of this host's architecture but x86_64 is emulated in user mode.
fn peers() -> Result<Vec<Peer>> {
    let Some(_) = find(EMULATOR) else {
        println!(
            "SKIP: other runtimes NOT MEASURED: {EMULATOR} is not here (Debian's package `qemu-user`; \
             `scripts/setup --for bench` installs it)"
        );
        return Ok(Vec::new());
    };
    let peer = |name, program, arguments, compiles| Peer {
        name,
        program,
        arguments,
        compiles,
    };
    let native_host = spec::build()?.with_file_name("native-host");
    let wasi_host = differential::build()?.join("wasi-host");
    let mut peers = vec![
        peer(WASMTIME, native_host, &["run"], true),
        peer("wasmi", wasi_host, &["--wasi", "shim"], false),
    ];
    // Whoever has them sees them in the table.
    for (name, program) in [("wasm3", "wasm3"), ("WAMR", "iwasm")] {
        peers.extend(find(program).map(|program| peer(name, program, &[], false)));
    }
    Ok(peers)
}

/// Runs programs of x86_64 with counted instructions.
const EMULATOR: &str = "qemu-x86_64";

impl Peer {
    /// The file that it runs, made of a module.
    fn prepare(&self, wasm: &Path) -> Result<PathBuf> {
        if !self.compiles {
            return Ok(wasm.to_owned());
        }
        let code = wasm.with_extension("host-code");
        run(Command::new(&self.program).arg("compile").arg(wasm).arg(&code))?;
        Ok(code)
    }

    fn command(&self, code: &Path, size: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.arguments).arg(code).arg(size);
        command
    }

    /// All instructions of a run.
    fn count(&self, plugin: &Path, code: &Path, size: u32) -> Result<u64> {
        let log = work()?.join("peer.log");
        let status = Command::new(EMULATOR)
            .args(["-cpu", "max", "-d", "plugin", "-D"])
            .arg(&log)
            .arg("-plugin")
            .arg(plugin)
            .arg(&self.program)
            .args(self.arguments)
            .arg(code)
            .arg(size.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("cannot start {EMULATOR}"))?;
        if !status.success() {
            bail!("the counted run of {} ended with {status}", self.name);
        }
        total(&fs::read_to_string(&log)?)
    }
}

fn column(arch: Arch, engine: Engine) -> String {
    format!("{}, {}", arch.name(), engine.name())
}

/// The table of instructions.
fn instructions(rows: &[Row]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    let of_machines = first
        .machines
        .iter()
        .map(|(arch, engine, _)| column(*arch, *engine));
    let columns: Vec<String> = first
        .peers
        .iter()
        .map(|(name, _)| format!("{name}, x86_64"))
        .chain(of_machines)
        .collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    table(
        &columns,
        rows.iter().map(|row| {
            let counts = row.peers.iter().map(|(_, count)| count);
            let counts = counts.chain(row.machines.iter().map(|(.., count)| count));
            (
                row.name.to_owned(),
                counts.map(|count| grouped(*count / 1000)).collect(),
            )
        }),
    )
}

/// Each figure on x86_64 by [`WASMTIME`]'s: by name, each program's and the geometric mean.
pub(super) fn relative(rows: &[Row]) -> Vec<(String, Vec<f64>, f64)> {
    let mut series: Vec<(String, Vec<f64>)> = Vec::new();
    for row in rows {
        let Some((_, base)) = row.peers.iter().find(|(name, _)| *name == WASMTIME) else {
            continue;
        };
        let own = row.machines.iter().filter(|(arch, ..)| *arch == Arch::X86_64);
        let own = own.map(|(_, engine, count)| (format!("hermit-wasm, {}", engine.name()), *count));
        let others = row.peers.iter().map(|(name, count)| ((*name).to_owned(), *count));
        for (name, count) in own.chain(others) {
            let ratio = precise(count) / precise(*base);
            match series.iter_mut().find(|(known, _)| *known == name) {
                Some((_, ratios)) => ratios.push(ratio),
                None => series.push((name, vec![ratio])),
            }
        }
    }
    let with_mean = series.into_iter().map(|(name, ratios)| {
        let mean = geometric_mean(&ratios);
        (name, ratios, mean)
    });
    with_mean.collect()
}

fn ratios(rows: &[Row]) -> String {
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row.name)
        .chain(["geometric mean"])
        .collect();
    table(
        &names,
        relative(rows).into_iter().map(|(name, ratios, mean)| {
            let cells = ratios.iter().chain([&mean]);
            (name, cells.map(|ratio| format!("{ratio:.2}")).collect())
        }),
    )
}

fn geometric_mean(ratios: &[f64]) -> f64 {
    let count = precise(ratios.len() as u64);
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / count).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |name, wasmtime, interp, native| Row {
            name,
            peers: vec![(WASMTIME, wasmtime)],
            machines: vec![
                (Arch::X86_64, Engine::Interp, interp),
                (Arch::X86_64, Engine::Native, native),
                (Arch::Riscv64, Engine::Native, 99_000),
            ],
        };
        vec![row("a", 10_000, 40_000, 10_000), row("b", 10_000, 90_000, 40_000)]
    }

    #[test]
    fn ratios_are_of_x86_64_and_have_their_geometric_mean() {
        let relative = relative(&rows());
        let (name, ratios, mean) = &relative[0];
        assert_eq!(
            (name.as_str(), ratios.as_slice()),
            ("hermit-wasm, interp", [4.0, 9.0].as_slice())
        );
        assert!((mean - 6.0).abs() < 1e-9, "{mean}");
        assert!((relative[1].2 - 2.0).abs() < 1e-9);
        assert_eq!(relative[2].1, [1.0, 1.0]);
        assert_eq!(relative.len(), 3);
    }

    #[test]
    fn without_a_peer_there_are_counts_and_no_ratios() {
        let mut rows = rows();
        for row in &mut rows {
            row.peers.clear();
        }
        assert!(relative(&rows).is_empty());
        let text = instructions(&rows);
        assert!(
            text.starts_with("| | x86_64, interp | x86_64, native | riscv64, native |\n"),
            "{text}"
        );
        assert!(text.contains("| b | 90 | 40 | 99 |\n"), "{text}");
    }

    #[test]
    fn twice_the_size_must_cost_more() {
        assert_eq!(difference(3, 5).unwrap(), 2);
        assert!(difference(5, 5).is_err());
        assert!(difference(5, 3).is_err());
    }

    #[test]
    fn every_program_is_measured() {
        let mut sources: Vec<String> = fs::read_dir(root().join("xtask/bench/compute"))
            .unwrap()
            .map(|entry| {
                entry
                    .unwrap()
                    .path()
                    .file_stem()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        sources.sort();
        let mut named = MODULES.map(|module| module.name);
        named.sort_unstable();
        assert_eq!(sources, named);
    }
}
