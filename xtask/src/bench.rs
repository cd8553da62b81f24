//! `cargo xtask bench`: what a run costs, as a table; no pass or fail. What each figure means: `docs/performance.md`.

mod calls;
mod share;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::image;
use crate::toolchain::{output, root, run};

/// Where QEMU's counting begins to matter; what it logs of one run.
#[derive(Default)]
struct Trace {
    /// Instructions until the loader's and the kernel's first.
    loader: u64,
    kernel: u64,
    /// Instructions until the first byte on the console, if there was one.
    output: Option<u64>,
    /// Port accesses until the first byte on the console, or until the end.
    ports: u64,
    /// Instructions until the machine was told to end.
    end: u64,
}

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// Booting and running hello in a virtual machine.
    Boot,
    /// WASI calls on the host.
    Calls,
    /// Work in a shared directory, in a virtual machine.
    Share,
}

/// Measures all, or only one thing.
pub(crate) fn run_all(only: Option<What>) -> Result<()> {
    for (index, what) in [What::Boot, What::Calls, What::Share].into_iter().enumerate() {
        if only.is_some_and(|only| only != what) {
            continue;
        }
        if only.is_none() && index > 0 {
            println!();
        }
        match what {
            What::Boot => boot()?,
            What::Calls => calls::run_all()?,
            What::Share => share::run_all()?,
        }
    }
    Ok(())
}

/// Runs each measurement in a virtual machine and prints its row.
fn boot() -> Result<()> {
    let launcher = image::build_launcher()?;
    let work = root().join("target/bench");
    fs::create_dir_all(&work)?;
    let plugin = work.join("icount.so");
    run(Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"])
        .arg(&plugin)
        .arg(root().join("xtask/bench/icount.c")))?;

    let empty = module(
        &work,
        "empty",
        r#"(module (memory (export "memory") 0) (func (export "_start")))"#,
    )?;
    let hello = module(
        &work,
        "hello",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
            (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#,
    )?;

    println!("Guest instructions (QEMU TCG, -icount shift=0, 256 MiB of memory)\n");
    println!("{:42} {:>12} {:>12} {:>12}", "", "microvm", "q35", "pc");
    let machines = ["microvm", "q35", "pc"];
    let mut hellos = Vec::new();
    let mut empties = Vec::new();
    for machine in machines {
        hellos.push(trace(&launcher, &plugin, &work, machine, &hello)?);
        empties.push(trace(&launcher, &plugin, &work, machine, &empty)?);
    }
    let row = |what: &str, values: Vec<u64>| {
        print!("{what:42}");
        for value in values {
            print!(" {:>12}", grouped(value));
        }
        println!();
    };
    let first = |trace: &Trace| trace.output.unwrap_or(trace.end);
    row(
        "reset to the loader (firmware)",
        hellos.iter().map(|t| t.loader).collect(),
    );
    row(
        "loader to kernel",
        hellos.iter().map(|t| t.kernel - t.loader).collect(),
    );
    row(
        "loader to the end of an empty _start",
        empties.iter().map(|t| t.end - t.loader).collect(),
    );
    row(
        "loader to the first byte of hello",
        hellos.iter().map(|t| first(t) - t.loader).collect(),
    );
    row(
        "reset to the first byte of hello",
        hellos.iter().map(first).collect(),
    );
    row(
        "port accesses, reset to the first byte",
        hellos.iter().map(|t| t.ports).collect(),
    );

    println!("\nWall time of `hermit-wasm run hello.wasm`, {RUNS} runs, this machine as it is");
    for accelerator in ["tcg", "kvm"] {
        match wall_time(&launcher, accelerator, &hello) {
            Ok(mut times) => {
                times.sort();
                let median = times.get(times.len() / 2).copied().unwrap_or_default();
                let least = times.first().copied().unwrap_or_default();
                println!(
                    "  {accelerator}: median {} ms, least {} ms",
                    median.as_millis(),
                    least.as_millis()
                );
            }
            Err(error) => println!(
                "  {accelerator}: not measured: {}",
                error.to_string().lines().next().unwrap_or("")
            ),
        }
    }

    println!("\nSizes in bytes");
    let images = image::default_out().join("x86_64");
    for name in ["hermit-loader", "hermit-wasm", "hermit-wasm.img"] {
        let size = fs::metadata(images.join(name))?.len();
        println!("  {name:20} {:>12}", grouped(size));
    }
    println!(
        "\nLeast memory that runs hello (microvm): {} MiB",
        least_memory(&launcher, &hello)?
    );
    Ok(())
}

const RUNS: usize = 9;

/// Writes a module given as text.
fn module(work: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = work.join(name).with_extension("wasm");
    fs::write(&path, wat::parse_str(text)?)?;
    Ok(path)
}

/// Runs `module` with counted instructions. The command line is the launcher's own, with counting added.
fn trace(launcher: &Path, plugin: &Path, work: &Path, machine: &str, module: &Path) -> Result<Trace> {
    let printed = output(
        Command::new(launcher)
            .args(["run", "--accel", "tcg", "--machine", machine, "--print-command"])
            .arg(module),
    )?;
    let images = image::default_out().join("x86_64");
    let loader = entry(&images.join("hermit-wasm.img"))?;
    // The image is linked to run where it lies: at 2 MiB.
    let kernel = entry(&images.join("hermit-wasm"))? + (2 << 20);
    let log = work.join("trace.log");
    let command = format!(
        "exec {} -icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm -plugin {},mark={loader:#x},mark={kernel:#x} \
         -d plugin -D {}",
        fixed_frequency(printed.trim()),
        plugin.display(),
        log.display()
    );
    // The status is isa-debug-exit's, 3 for success.
    let status = Command::new("sh")
        .args(["-c", &command])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    if status.code() != Some(3) {
        bail!("the counted run ended with {status}: {command}");
    }
    parse_trace(&fs::read_to_string(&log)?, loader, kernel)
}

/// Replaces the clock frequency: with `-icount shift=0` the time stamp counter counts nanoseconds.
fn fixed_frequency(command: &str) -> String {
    match command.split_once("-freq ") {
        Some((before, rest)) => {
            let digits = rest.chars().take_while(char::is_ascii_digit).count();
            format!("{before}-freq 1000{}", rest.get(digits..).unwrap_or_default())
        }
        None => command.replace("-append '", "-append '-freq 1000 "),
    }
}

/// Reads the plugin's log.
fn parse_trace(log: &str, loader: u64, kernel: u64) -> Result<Trace> {
    let mut trace = Trace::default();
    for line in log.lines() {
        let mut words = line.split(' ');
        if words.next() != Some("bench") {
            continue;
        }
        let (Some(what), Some(place), Some(count), Some(ports)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let place = u64::from_str_radix(place, 16)?;
        let (count, ports) = (count.parse()?, ports.parse()?);
        match what {
            "entry" if place == loader => trace.loader = count,
            "entry" if place == kernel => trace.kernel = count,
            "string" => {
                trace.output = Some(count);
                trace.ports = ports;
            }
            "port" => {
                trace.end = count;
                if trace.output.is_none() {
                    trace.ports = ports;
                }
            }
            _ => {}
        }
    }
    if trace.loader == 0 || trace.kernel == 0 || trace.end == 0 {
        bail!("the log has no counts for loader and kernel: is the image another one than the launcher's?");
    }
    Ok(trace)
}

/// The entry point that an ELF file names.
fn entry(elf: &Path) -> Result<u64> {
    let bytes = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
    let field = bytes.get(24..32).context("not an ELF file")?;
    Ok(u64::from_le_bytes(field.try_into()?))
}

fn wall_time(launcher: &Path, accelerator: &str, module: &Path) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        output(
            Command::new(launcher)
                .args(["run", "--accel", accelerator])
                .arg(module),
        )?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// The least number of MiB with which hello still runs.
fn least_memory(launcher: &Path, module: &Path) -> Result<u32> {
    let runs = |mib: u32| -> Result<bool> {
        let output = Command::new(launcher)
            .args(["run", "--accel", "tcg", "--memory", &format!("{mib}M")])
            .arg(module)
            .output()?;
        Ok(output.status.success() && output.stdout == b"hello\n")
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

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn the_frequency_is_replaced_or_added() {
        assert_eq!(
            fixed_frequency("q -append '-freq 2596 -- a'"),
            "q -append '-freq 1000 -- a'"
        );
        assert_eq!(fixed_frequency("q -append '-- a'"), "q -append '-freq 1000 -- a'");
    }

    #[test]
    fn a_log_becomes_a_trace() {
        let log = "noise\nbench entry 10 5 0\nbench entry 20 9 0\nbench port 30 11 1\nbench string 31 20 2\nbench port 40 30 3\nbench total 0 33 3\n";
        let trace = parse_trace(log, 0x10, 0x20).unwrap();
        assert_eq!(
            (trace.loader, trace.kernel, trace.output, trace.ports, trace.end),
            (5, 9, Some(20), 2, 30)
        );
        assert!(parse_trace(log, 0x99, 0x20).is_err());
    }
}
