//! Counts what a module's run in a virtual machine takes: instructions and device accesses, the same in every run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use test_qemu::Engine;

use super::{elf, module, work};
use crate::arch::Arch;
use crate::toolchain::{output, root, run, test_cache};
use crate::{compiler, image};

/// What is run: a module, with flags of the launcher and arguments of its own.
#[derive(Clone, Copy)]
pub(super) struct Program<'a> {
    pub(super) module: &'a Path,
    pub(super) flags: &'a [&'a str],
    pub(super) arguments: &'a [&'a str],
}

impl<'a> Program<'a> {
    /// A module that needs nothing.
    pub(super) const fn new(module: &'a Path) -> Self {
        Self {
            module,
            flags: &[],
            arguments: &[],
        }
    }
}

/// Where QEMU's counting begins to matter; what it logs of one run.
#[derive(Default)]
pub(super) struct Trace {
    /// Instructions until the loader's, the kernel's and the application's first.
    pub(super) loader: u64,
    pub(super) kernel: u64,
    pub(super) application: u64,
    /// Instructions, and accesses to devices from the loader on, until each byte that was written to the console. The
    /// firmware's and what prepares the console are among them.
    pub(super) console: Vec<(u64, u64)>,
    /// Instructions until the machine was told to end.
    pub(super) end: u64,
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
        // The launcher finds it.
        compiler::build()?;
        Ok(Self {
            launcher,
            plugin: plugin()?,
            work: work()?,
        })
    }

    /// The launcher, about to run modules on an engine: what it was asked before decides nothing.
    pub(super) fn launcher(&self, arch: Arch, engine: Engine) -> Command {
        let mut command = Command::new(&self.launcher);
        command
            .args(["run", "--arch", arch.name(), "--engine", engine.name()])
            .env("XDG_CACHE_HOME", test_cache());
        command
    }

    /// Instructions until a module's end.
    pub(super) fn instructions(&self, machine: Machine, engine: Engine, program: Program<'_>) -> Result<u64> {
        Ok(self.trace(machine, engine, program)?.end)
    }

    /// Writes a module given as text.
    pub(super) fn module(&self, name: &str, text: &str) -> Result<PathBuf> {
        module(&self.work, name, text)
    }

    /// Runs a program with counted instructions. The command line is the launcher's own, with counting added.
    pub(super) fn trace(&self, machine: Machine, engine: Engine, program: Program<'_>) -> Result<Trace> {
        let printed = output(
            self.launcher(machine.arch, engine)
                .args(["--accel", "tcg", "--machine", machine.name])
                .arg(format!("--print-command={}", self.work.display()))
                .args(program.flags)
                .arg(program.module)
                .args(program.arguments),
        )?;
        let printed = printed.trim();
        let entries = machine.entries(engine)?;
        let log = self.work.join("trace.log");
        let command = format!(
            "exec {} -icount shift=0,sleep=off -rtc base=2026-01-01,clock=vm -plugin {}{}{} -d plugin -D {}",
            match machine.arch {
                Arch::X86_64 => fixed_frequency(printed),
                // They read their counter's frequency from a register or the device tree.
                Arch::Aarch64 | Arch::Riscv64 => printed.to_owned(),
            },
            self.plugin.display(),
            entries.marks(),
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
        let mut trace = parse_trace(&fs::read_to_string(&log)?, entries)?;
        if !machine.outlives_its_end() {
            trace.end = trace.total;
        }
        Ok(trace)
    }
}

/// Compiles the plugin; its path.
pub(super) fn plugin() -> Result<PathBuf> {
    let plugin = work()?.join("icount.so");
    run(Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-o"])
        .arg(&plugin)
        .arg(root().join("xtask/bench/icount.c")))?;
    Ok(plugin)
}

/// All instructions, by the plugin's log.
pub(super) fn total(log: &str) -> Result<u64> {
    let line = log.lines().find_map(|line| line.strip_prefix("bench total "));
    let count = line
        .and_then(|line| line.split(' ').nth(1))
        .context("no total in the plugin's log")?;
    count.parse().with_context(|| format!("no number: {count}"))
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

/// One machine of each architecture.
pub(super) fn machines() -> impl Iterator<Item = Machine> {
    let mut before = None;
    MACHINES
        .into_iter()
        .filter(move |machine| before.replace(machine.arch) != Some(machine.arch))
}

/// Addresses of first instructions: the loader's, the kernel's, and the application's if its symbols are here.
#[derive(Clone, Copy)]
struct Entries {
    loader: u64,
    kernel: u64,
    application: Option<u64>,
}

impl Entries {
    /// The plugin's words.
    fn marks(self) -> String {
        let all = [Some(self.loader), Some(self.kernel), self.application];
        all.into_iter()
            .flatten()
            .map(|mark| format!(",mark={mark:#x}"))
            .collect()
    }
}

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

    /// `loader/src/arch/*/linker.ld` says where the loader is linked to; the application in an image is prelinked.
    fn entries(self, engine: Engine) -> Result<Entries> {
        let app = image::default_out().join(self.arch.name()).join(engine.file());
        let image = app.with_extension("img");
        let loader = match self.arch {
            // A flat image, entered at its first byte.
            Arch::Aarch64 => 0x4018_0000,
            Arch::X86_64 | Arch::Riscv64 => elf::entry(&image)?,
        };
        let kernel = elf::carried_entry(&image)?;
        let relative = elf::entry(&app)?;
        let base = kernel
            .checked_sub(relative)
            .context("the image carries another application")?;
        let symbols = image::app_with_symbols(self.arch, engine);
        // Symbols of another build would be somewhere else.
        let application = (elf::entry(&symbols).ok() == Some(relative))
            .then(|| elf::symbol(&symbols, "main"))
            .transpose()?
            .flatten();
        Ok(Entries {
            loader,
            kernel,
            application: application.map(|main| main + base),
        })
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
fn parse_trace(log: &str, entries: Entries) -> Result<Trace> {
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
            "entry" if place == entries.loader => {
                trace.loader = count;
                before = accesses;
            }
            "entry" if place == entries.kernel => trace.kernel = count,
            "entry" if Some(place) == entries.application => trace.application = count,
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
        let log = "noise\nbench console 8 4 1\nbench entry 10 5 1\nbench entry 20 9 1\nbench entry 24 10 1\nbench device 30 11 2\nbench console 31 20 3\nbench device 40 30 4\nbench total 0 33 4\n";
        let entries = Entries {
            loader: 0x10,
            kernel: 0x20,
            application: Some(0x24),
        };
        assert_eq!(entries.marks(), ",mark=0x10,mark=0x20,mark=0x24");
        let trace = parse_trace(log, entries).unwrap();
        assert_eq!((trace.loader, trace.kernel, trace.application), (5, 9, 10));
        assert_eq!(trace.console, [(4, 1), (20, 2)]);
        assert_eq!((trace.end, trace.total), (30, 33));
        let other = Entries {
            loader: 0x99,
            ..entries
        };
        assert!(parse_trace(log, other).is_err());
        assert_eq!(total(log).unwrap(), 33);
        assert!(total("").is_err());
    }

    #[test]
    fn one_machine_of_each_architecture_is_counted() {
        assert_eq!(
            machines().map(|machine| machine.arch).collect::<Vec<_>>(),
            Arch::ALL
        );
    }
}
