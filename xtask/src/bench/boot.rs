//! What booting and running hello costs: instructions and device accesses, which are the same in each run, wall time,
//! sizes, and the least memory.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use test_qemu::Engine;

use super::counter::{Counter, MACHINES, Machine, Program};
use super::{Counted, Figure, grouped, table};
use crate::arch::Arch;
use crate::image;
use crate::toolchain::output;

const EMPTY: &str = r#"(module (memory (export "memory") 0) (func (export "_start")))"#;

/// A module of 145 bytes.
const HELLO_TEXT: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
    (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// Booting and running hello on a machine, in numbers; all are exact.
pub(super) struct Boot {
    pub(super) firmware: u64,
    pub(super) loader: u64,
    /// Instructions of the kernel until the application begins; 0 if nobody knows where that is.
    pub(super) kernel: u64,
    empty: u64,
    pub(super) first_byte: u64,
    first_byte_from_reset: u64,
    accesses: u64,
}

impl Boot {
    pub(super) fn measure(counter: &Counter, machine: Machine, engine: Engine) -> Result<Self> {
        let run = |name, text| {
            let module = counter.module(name, text)?;
            counter.trace(machine, engine, Program::new(&module))
        };
        let (hello, empty) = (run("hello", HELLO_TEXT)?, run("empty", EMPTY)?);
        // The guest's bytes are the last ones.
        let index = hello.console.len().checked_sub(HELLO.len());
        let first = index.and_then(|index| hello.console.get(index));
        let (first, accesses) = first
            .copied()
            .context("the console has not got all bytes of hello")?;
        Ok(Self {
            firmware: hello.loader,
            loader: hello.kernel - hello.loader,
            kernel: hello.application.saturating_sub(hello.kernel),
            empty: empty.end - empty.loader,
            first_byte: first - hello.loader,
            first_byte_from_reset: first,
            accesses,
        })
    }

    /// Each figure with its name, for the table.
    fn rows(&self) -> [(&'static str, u64); 7] {
        [
            ("reset to the loader (firmware)", self.firmware),
            ("loader to kernel", self.loader),
            ("kernel to application", self.kernel),
            (END_OF_EMPTY, self.empty),
            (FIRST_BYTE, self.first_byte),
            ("reset to the first byte of hello", self.first_byte_from_reset),
            (ACCESSES, self.accesses),
        ]
    }
}

const END_OF_EMPTY: &str = "loader to the end of an empty _start";
const FIRST_BYTE: &str = "loader to the first byte of hello";
const ACCESSES: &str = "device accesses, loader to the first byte";
const LEAST_MEMORY: &str = "least memory that runs hello, MiB";

/// What this project answers for: all but the firmware. Exact, for a version of QEMU.
pub(super) fn figures(counter: &Counter) -> Result<Vec<Counted>> {
    let mut figures = Vec::new();
    for engine in Engine::ALL {
        for machine in MACHINES {
            let ours = [END_OF_EMPTY, FIRST_BYTE, ACCESSES];
            for (what, value) in Boot::measure(counter, machine, engine)?.rows() {
                if ours.contains(&what) {
                    let name = format!("{}: {what}", machine.column());
                    figures.push(Counted::new(machine.arch, engine, name, value));
                }
            }
        }
        let hello = counter.module("hello", HELLO_TEXT)?;
        for arch in Arch::ALL {
            let least = least_memory(counter, arch, engine, &hello)?;
            let name = format!("{}: {LEAST_MEMORY}", arch.name());
            figures.push(Counted::new(arch, engine, name, least.into()));
        }
    }
    Ok(figures)
}

/// The files that are booted.
fn files() -> Vec<String> {
    let of_engines = Engine::ALL.iter().flat_map(|engine| {
        let file = engine.file();
        [file.to_owned(), format!("{file}.img")]
    });
    ["hermit-loader".to_owned()]
        .into_iter()
        .chain(of_engines)
        .collect()
}

/// Their sizes in bytes.
pub(super) fn sizes() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for arch in Arch::ALL {
        for name in files() {
            let path = image::default_out().join(arch.name()).join(&name);
            let size = fs::metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
            figures.push((format!("{} {name}", arch.name()), size.len()));
        }
    }
    Ok(figures)
}

/// Measures and prints the tables.
pub(super) fn run_all() -> Result<()> {
    let counter = Counter::new()?;
    for engine in Engine::ALL {
        println!(
            "Guest instructions, {} (QEMU TCG, -icount shift=0, 256 MiB of memory)\n",
            engine.name()
        );
        let boots = MACHINES
            .iter()
            .map(|machine| Ok(Boot::measure(&counter, *machine, engine)?.rows()))
            .collect::<Result<Vec<_>>>()?;
        let first = boots.first().context("no machine")?;
        let rows = first.iter().enumerate().map(|(index, (what, _))| {
            let values = boots.iter().map(|rows| grouped(rows[index].1));
            ((*what).to_owned(), values.collect())
        });
        println!("{}", table(&MACHINES.map(Machine::column), rows));
        print_wall_times(&counter, engine)?;
    }
    print_sizes(&counter)
}

fn print_wall_times(counter: &Counter, engine: Engine) -> Result<()> {
    let hello = counter.module("hello", HELLO_TEXT)?;
    println!(
        "Wall time of `hermit-wasm run --engine {} hello.wasm`, {RUNS} runs, this machine as it is",
        engine.name()
    );
    for (arch, accelerator) in [
        (Arch::X86_64, "tcg"),
        (Arch::X86_64, "kvm"),
        (Arch::Aarch64, "tcg"),
        (Arch::Riscv64, "tcg"),
    ] {
        let name = arch.name();
        match wall_time(counter, arch, engine, accelerator, &hello) {
            Ok(mut times) => {
                times.sort();
                let median = times.get(times.len() / 2).copied().unwrap_or_default();
                let least = times.first().copied().unwrap_or_default();
                println!(
                    "  {name:8} {accelerator}: median {} ms, least {} ms",
                    median.as_millis(),
                    least.as_millis()
                );
            }
            Err(error) => println!(
                "  {name:8} {accelerator}: not measured: {}",
                error.to_string().lines().next().unwrap_or("")
            ),
        }
    }
    println!();
    Ok(())
}

fn print_sizes(counter: &Counter) -> Result<()> {
    let sizes = sizes()?;
    let files = files();
    let hello = counter.module("hello", HELLO_TEXT)?;
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for (index, name) in files.iter().enumerate() {
        let of_file = sizes.iter().skip(index).step_by(files.len());
        rows.push((
            format!("`{name}`"),
            of_file.map(|(_, size)| grouped(*size)).collect(),
        ));
    }
    for engine in Engine::ALL {
        let least: Result<Vec<String>> = Arch::ALL
            .iter()
            .map(|arch| Ok(least_memory(counter, *arch, engine, &hello)?.to_string()))
            .collect();
        rows.push((format!("{LEAST_MEMORY}, {}", engine.name()), least?));
    }
    println!(
        "Sizes in bytes, and memory\n\n{}",
        table(&Arch::ALL.map(Arch::name), rows)
    );
    Ok(())
}

const RUNS: usize = 9;

/// What hello writes.
const HELLO: &[u8] = b"hello\n";

fn wall_time(
    counter: &Counter,
    arch: Arch,
    engine: Engine,
    accelerator: &str,
    module: &Path,
) -> Result<Vec<Duration>> {
    let run = || {
        output(
            counter
                .launcher(arch, engine)
                .args(["--accel", accelerator])
                .arg(module),
        )
    };
    // The first one compiles, where that is to be done.
    run()?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// The least number of MiB with which hello still runs.
fn least_memory(counter: &Counter, arch: Arch, engine: Engine, module: &Path) -> Result<u32> {
    let runs = |mib: u32| -> Result<bool> {
        let output = counter
            .launcher(arch, engine)
            .args(["--accel", "tcg", "--memory", &format!("{mib}M")])
            .arg(module)
            .output()?;
        Ok(output.status.success() && output.stdout == HELLO)
    };
    let (mut too_little, mut enough) = (0, 64);
    if !runs(enough)? {
        bail!("hello does not run with {enough} MiB");
    }
    while enough - too_little > 1 {
        let middle = too_little + (enough - too_little) / 2;
        if runs(middle)? {
            enough = middle;
        } else {
            too_little = middle;
        }
    }
    Ok(enough)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_both_engines_are_weighed() {
        assert_eq!(
            files(),
            [
                "hermit-loader",
                "hermit-wasm",
                "hermit-wasm.img",
                "hermit-wasm-native",
                "hermit-wasm-native.img"
            ]
        );
    }
}
