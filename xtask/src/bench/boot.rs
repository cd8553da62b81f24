//! What booting and running hello costs: instructions and device accesses, which are the same in each run, wall time,
//! sizes, and the least memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Figure, grouped, module, work};
use crate::arch::Arch;
use crate::image;
use crate::toolchain::{output, root, run};

/// Where QEMU's counting begins to matter; what it logs of one run.
#[derive(Default)]
struct Trace {
    /// Instructions until the loader's and the kernel's first.
    loader: u64,
    kernel: u64,
    /// Instructions, and accesses to devices from the loader on, until each byte that was written to the console. The
    /// firmware's and what prepares the console are among them.
    console: Vec<(u64, u64)>,
    /// Instructions until the machine was told to end.
    end: u64,
    /// All instructions.
    total: u64,
}

/// Runs modules with counted instructions.
pub(super) struct Counter {
    launcher: PathBuf,
    plugin: PathBuf,
    work: PathBuf,
}

impl Counter {
    /// Builds what it needs.
    pub(super) fn new() -> Result<Self> {
        let launcher = image::build_launcher(&Arch::ALL)?;
        let work = work()?;
        let plugin = work.join("icount.so");
        run(Command::new("cc")
            .args(["-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"])
            .arg(&plugin)
            .arg(root().join("xtask/bench/icount.c")))?;
        Ok(Self {
            launcher,
            plugin,
            work,
        })
    }

    /// Instructions until a module's end.
    pub(super) fn instructions(&self, machine: Machine, module: &Path) -> Result<u64> {
        Ok(self.trace(machine, module)?.end)
    }

    fn module(&self, name: &str, text: &str) -> Result<PathBuf> {
        module(&self.work, name, text)
    }
}

const EMPTY: &str = r#"(module (memory (export "memory") 0) (func (export "_start")))"#;

/// A module of 145 bytes.
const HELLO_TEXT: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
    (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// Booting and running hello on a machine, in numbers; all are exact.
struct Boot {
    firmware: u64,
    loader: u64,
    empty: u64,
    first_byte: u64,
    first_byte_from_reset: u64,
    accesses: u64,
}

impl Boot {
    fn measure(counter: &Counter, machine: Machine) -> Result<Self> {
        let hello = counter.trace(machine, &counter.module("hello", HELLO_TEXT)?)?;
        let empty = counter.trace(machine, &counter.module("empty", EMPTY)?)?;
        // The guest's bytes are the last ones.
        let index = hello.console.len().checked_sub(HELLO.len());
        let first = index.and_then(|index| hello.console.get(index));
        let (first, accesses) = first
            .copied()
            .context("the console has not got all bytes of hello")?;
        Ok(Self {
            firmware: hello.loader,
            loader: hello.kernel - hello.loader,
            empty: empty.end - empty.loader,
            first_byte: first - hello.loader,
            first_byte_from_reset: first,
            accesses,
        })
    }

    /// Each figure with its name, for the table.
    fn rows(&self) -> [(&'static str, u64); 6] {
        [
            ("reset to the loader (firmware)", self.firmware),
            ("loader to kernel", self.loader),
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

/// What this project answers for: all but the firmware. Exact, for a version of QEMU.
pub(super) fn figures(counter: &Counter) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for machine in MACHINES {
        let boot = Boot::measure(counter, machine)?;
        let ours = [END_OF_EMPTY, FIRST_BYTE, ACCESSES];
        let rows = boot.rows();
        let rows = rows.iter().filter(|(what, _)| ours.contains(what));
        figures.extend(rows.map(|(what, value)| (format!("{}: {what}", machine.column()), *value)));
    }
    let hello = counter.module("hello", HELLO_TEXT)?;
    for arch in Arch::ALL {
        let least = least_memory(&counter.launcher, arch, &hello)?;
        figures.push((
            format!("{}: least memory that runs hello, MiB", arch.name()),
            least.into(),
        ));
    }
    Ok(figures)
}

/// The sizes of the files that are booted, in bytes.
pub(super) fn sizes() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for arch in Arch::ALL {
        for name in FILES {
            let path = image::default_out().join(arch.name()).join(name);
            let size = fs::metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?;
            figures.push((format!("{} {name}", arch.name()), size.len()));
        }
    }
    Ok(figures)
}

const FILES: [&str; 3] = ["hermit-loader", "hermit-wasm", "hermit-wasm.img"];

/// Measures and prints the tables.
pub(super) fn run_all() -> Result<()> {
    let counter = Counter::new()?;
    println!("Guest instructions (QEMU TCG, -icount shift=0, 256 MiB of memory)\n");
    print!("{:42}", "");
    for machine in MACHINES {
        print!(" {:>12}", machine.column());
    }
    println!();
    let boots = MACHINES
        .iter()
        .map(|machine| Ok(Boot::measure(&counter, *machine)?.rows()))
        .collect::<Result<Vec<_>>>()?;
    let first = boots.first().context("no machine")?;
    for (index, (what, _)) in first.iter().enumerate() {
        row(what, boots.iter().map(|rows| rows[index].1));
    }
    let hello = counter.module("hello", HELLO_TEXT)?;
    let launcher = &counter.launcher;

    println!("\nWall time of `hermit-wasm run hello.wasm`, {RUNS} runs, this machine as it is");
    for (arch, accelerator) in [
        (Arch::X86_64, "tcg"),
        (Arch::X86_64, "kvm"),
        (Arch::Aarch64, "tcg"),
        (Arch::Riscv64, "tcg"),
    ] {
        let name = arch.name();
        match wall_time(launcher, arch, accelerator, &hello) {
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
    print!("{:42}", "Sizes in bytes");
    for arch in Arch::ALL {
        print!(" {:>12}", arch.name());
    }
    println!();
    let sizes = sizes()?;
    for (index, name) in FILES.iter().enumerate() {
        let of_file = sizes.iter().skip(index).step_by(FILES.len());
        row(&format!("  {name}"), of_file.map(|(_, size)| *size));
    }
    let least: Result<Vec<u64>> = Arch::ALL
        .iter()
        .map(|arch| least_memory(launcher, *arch, &hello).map(u64::from))
        .collect();
    row("Least memory that runs hello, MiB", least?);
    Ok(())
}

/// Prints a row of a table.
fn row(what: &str, values: impl IntoIterator<Item = u64>) {
    print!("{what:42}");
    for value in values {
        print!(" {:>12}", grouped(value));
    }
    println!();
}

/// What is counted: an architecture and one of its machines.
#[derive(Clone, Copy)]
pub(super) struct Machine {
    pub(super) arch: Arch,
    name: &'static str,
}

pub(super) const MACHINES: [Machine; 5] = [
    Machine::new(Arch::X86_64, "microvm"),
    Machine::new(Arch::X86_64, "q35"),
    Machine::new(Arch::X86_64, "pc"),
    Machine::new(Arch::Aarch64, "virt"),
    Machine::new(Arch::Riscv64, "virt"),
];

impl Machine {
    const fn new(arch: Arch, name: &'static str) -> Self {
        Self { arch, name }
    }

    /// The machine's name where the architecture has several, else the architecture's.
    pub(super) fn column(self) -> &'static str {
        match self.arch {
            Arch::X86_64 => self.name,
            Arch::Aarch64 | Arch::Riscv64 => self.arch.name(),
        }
    }

    /// The address of the console's data register, if devices are memory: of `virt`'s UART.
    fn console(self) -> Option<u64> {
        match self.arch {
            Arch::X86_64 => None,
            Arch::Aarch64 => Some(0x0900_0000),
            Arch::Riscv64 => Some(0x1000_0000),
        }
    }

    /// Addresses of the loader's and the kernel's first instructions. `loader/src/arch/*/linker.ld` says where the flat
    /// image is linked to; the application in an image is prelinked.
    fn entries(self) -> Result<(u64, u64)> {
        let image = image::default_out()
            .join(self.arch.name())
            .join("hermit-wasm.img");
        let kernel = application_entry(&fs::read(&image)?).context("the image carries no application")?;
        let loader = match self.arch {
            // Entered at its first byte.
            Arch::Aarch64 => 0x4018_0000,
            Arch::X86_64 | Arch::Riscv64 => entry(&image)?,
        };
        Ok((loader, kernel))
    }

    /// QEMU's status when the guest has ended well: isa-debug-exit's 3 for success, where there is one.
    fn success(self) -> i32 {
        match self.arch {
            Arch::X86_64 => 3,
            Arch::Aarch64 | Arch::Riscv64 => 0,
        }
    }

    /// Whether the machine goes on after the access to a device that ends it. On aarch64 and riscv64 it is ended by a call
    /// of the firmware instead, with which the count ends.
    fn outlives_its_end(self) -> bool {
        self.arch == Arch::X86_64
    }
}

const RUNS: usize = 9;

/// What hello writes.
const HELLO: &[u8] = b"hello\n";

impl Counter {
    /// Runs `module` with counted instructions. The command line is the launcher's own, with counting added.
    fn trace(&self, machine: Machine, module: &Path) -> Result<Trace> {
        let printed = output(
            Command::new(&self.launcher)
                .args([
                    "run",
                    "--engine",
                    "interp",
                    "--arch",
                    machine.arch.name(),
                    "--accel",
                    "tcg",
                ])
                .args(["--machine", machine.name])
                .arg(format!("--print-command={}", self.work.display()))
                .arg(module),
        )?;
        let printed = printed.trim();
        let (loader, kernel) = machine.entries()?;
        let log = self.work.join("trace.log");
        let command = format!(
            "exec {} -icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm -plugin {},mark={loader:#x},mark={kernel:#x}{} \
         -d plugin -D {}",
            match machine.arch {
                Arch::X86_64 => fixed_frequency(printed),
                // They read their counter's frequency from a register or the device tree.
                Arch::Aarch64 | Arch::Riscv64 => printed.to_owned(),
            },
            self.plugin.display(),
            machine
                .console()
                .map_or_else(String::new, |address| format!(",console={address:#x}")),
            log.display()
        );
        let status = Command::new("sh")
            .args(["-c", &command])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()?;
        if status.code() != Some(machine.success()) {
            bail!("the counted run ended with {status}: {command}");
        }
        let mut trace = parse_trace(&fs::read_to_string(&log)?, loader, kernel)?;
        if !machine.outlives_its_end() {
            trace.end = trace.total;
        }
        Ok(trace)
    }
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
    let mut before = 0;
    for line in log.lines() {
        let mut words = line.split(' ');
        if words.next() != Some("bench") {
            continue;
        }
        let (Some(what), Some(place), Some(count), Some(accesses)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let place = u64::from_str_radix(place, 16)?;
        let (count, accesses): (u64, u64) = (count.parse()?, accesses.parse()?);
        match what {
            "entry" if place == loader => {
                trace.loader = count;
                before = accesses;
            }
            "entry" if place == kernel => trace.kernel = count,
            "console" => {
                trace.console.push((count, accesses - before));
                trace.end = count;
            }
            "device" => trace.end = count,
            "total" => trace.total = count,
            _ => {}
        }
    }
    if trace.loader == 0 || trace.kernel == 0 || trace.end == 0 {
        bail!("the log has no counts for loader and kernel: is the image another one than the launcher's?");
    }
    Ok(trace)
}

/// Where the application that an image carries is entered: the entry of the last ELF file in it that is an executable of
/// the application's kind.
fn application_entry(image: &[u8]) -> Option<u64> {
    const HEADER: &[u8] = b"\x7fELF\x02\x01\x01";
    // Prelinked: e_type is ET_EXEC.
    let mut starts = (1..image.len()).rev();
    let start =
        starts.find(|&at| image[at..].starts_with(HEADER) && image.get(at + 16..at + 18) == Some(&[2, 0]))?;
    let entry = image.get(start + 24..start + 32)?;
    Some(u64::from_le_bytes(entry.try_into().ok()?))
}

/// The entry point that an ELF file names.
fn entry(elf: &Path) -> Result<u64> {
    let bytes = fs::read(elf).with_context(|| format!("cannot read {}", elf.display()))?;
    let field = bytes.get(24..32).context("not an ELF file")?;
    Ok(u64::from_le_bytes(field.try_into()?))
}

fn wall_time(launcher: &Path, arch: Arch, accelerator: &str, module: &Path) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let start = Instant::now();
        output(
            Command::new(launcher)
                .args([
                    "run",
                    "--engine",
                    "interp",
                    "--arch",
                    arch.name(),
                    "--accel",
                    accelerator,
                ])
                .arg(module),
        )?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// The least number of MiB with which hello still runs.
fn least_memory(launcher: &Path, arch: Arch, module: &Path) -> Result<u32> {
    let runs = |mib: u32| -> Result<bool> {
        let output = Command::new(launcher)
            .args([
                "run",
                "--engine",
                "interp",
                "--arch",
                arch.name(),
                "--accel",
                "tcg",
            ])
            .args(["--memory", &format!("{mib}M")])
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
    fn the_frequency_is_replaced_or_added() {
        assert_eq!(
            fixed_frequency("q -append '-freq 2596 -- a'"),
            "q -append '-freq 1000 -- a'"
        );
        assert_eq!(fixed_frequency("q -append '-- a'"), "q -append '-freq 1000 -- a'");
    }

    #[test]
    fn a_log_becomes_a_trace() {
        let log = "noise\nbench console 8 4 1\nbench entry 10 5 1\nbench entry 20 9 1\nbench device 30 11 2\nbench console 31 20 3\nbench device 40 30 4\nbench total 0 33 4\n";
        let trace = parse_trace(log, 0x10, 0x20).unwrap();
        assert_eq!((trace.loader, trace.kernel), (5, 9));
        assert_eq!(trace.console, [(4, 1), (20, 2)]);
        assert_eq!((trace.end, trace.total), (30, 33));
        assert!(parse_trace(log, 0x99, 0x20).is_err());
    }
}
