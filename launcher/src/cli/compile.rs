//! `hermit-wasm compile`: a module as native code, in a file or for the next run.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_protocol::exit_code;
use clap::{Args, ValueHint};
use hermit_wasm_vm::compile::{self, Code, Compilation, CpuLevel, Options, Progress, Target};
use hermit_wasm_vm::host::shown;
use hermit_wasm_vm::host::units::{self, MIB};
use hermit_wasm_vm::{Arch, Deadline, Error, Jail, Module, StartError};

use super::run::usage;
use super::values::{ARCHITECTURES, CPU_LEVELS, JAILS, one_of};
use crate::{stderr, watchdog};

/// What to compile, and for what.
#[derive(Debug, Args)]
pub(super) struct Compile {
    /// Where the code goes; MODULE with the extension .cwasm, in the current directory, by default
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,

    /// Architecture of the machine that runs the code; this host's by default
    #[arg(long, value_parser = one_of(ARCHITECTURES))]
    arch: Option<Arch>,

    /// The same as wasmtime names it: x86_64, aarch64, riscv64, or a triple that begins so
    #[arg(long, value_name = "TARGET", value_parser = parse_target, conflicts_with = "arch")]
    target: Option<Arch>,

    /// The least processor that runs the code; one that every host has by default
    #[arg(long, value_name = "LEVEL", value_parser = one_of(CPU_LEVELS))]
    cpu: Option<CpuLevel>,

    /// Give up after this time: 10s, 2m; ten minutes by default
    #[arg(long, value_name = "DUR", value_parser = units::parse_duration)]
    timeout: Option<Duration>,

    /// How much of the jail around the compiler is demanded
    #[arg(long, value_name = "LEVEL", value_parser = one_of(JAILS), default_value = Jail::Auto.name())]
    jail: Jail,

    /// Have the code count fuel, for runs with -W fuel or --deterministic
    #[arg(long)]
    fuel: bool,

    /// Have the code compute the same bits on every processor; for runs with --deterministic, beside --fuel
    #[arg(long)]
    deterministic: bool,

    /// Keep the code for the next run, from the module on standard input, and let nobody wait
    #[arg(long, hide = true, conflicts_with_all = ["output", "target", "arch"])]
    for_next_time: bool,

    /// Module (.wasm or .wat)
    #[arg(value_name = "MODULE", value_hint = ValueHint::FilePath)]
    module: PathBuf,
}

/// What translating text may take.
const MEMORY: u64 = 1024 * MIB;

impl Compile {
    pub(super) fn perform(&self, start: Instant) -> Result<u8, Error> {
        let deadline = Deadline::since(start, self.timeout.unwrap_or(Duration::MAX));
        let deadline = deadline.of(format!("'{}'", shown::path(&self.module)));
        let target = self.wanted()?;
        if self.for_next_time {
            compile::for_next_time(target, self.jail, &deadline)?;
            return Ok(exit_code::SUCCESS);
        }
        stderr::init_log(0, false, deadline.at());
        watchdog::watch(deadline, |deadline| self.compile(target, deadline)).map(|()| exit_code::SUCCESS)
    }

    fn wanted(&self) -> Result<Target, Error> {
        let arch = self.arch.or(self.target);
        let level = match (self.cpu, arch) {
            (Some(level), Some(arch)) if level.arch().name() != arch.name() => {
                return Err(usage(format!(
                    "--cpu: {} is a processor of {}, and the code is to be for {}",
                    level.name(),
                    level.arch().name(),
                    arch.name()
                )));
            }
            (Some(level), _) => level,
            (None, arch) => compile::Arch::from_name(arch.unwrap_or(Arch::host()).name())
                .unwrap_or(compile::Arch::X86_64)
                .default_level(),
        };
        let options = Options {
            fuel: self.fuel,
            deterministic: self.deterministic,
        };
        Ok(Target { level, options })
    }

    fn compile(&self, target: Target, deadline: &Deadline) -> Result<(), Error> {
        let output = match &self.output {
            Some(output) => output.clone(),
            None => match self.module.file_stem() {
                Some(stem) => Path::new(stem).with_extension("cwasm"),
                None => {
                    return Err(usage(
                        "-o: the module has no name to make another of; name the file",
                    ));
                }
            },
        };
        let module = Module::open_until(&self.module, MEMORY, deadline)?;
        let compilation = Compilation::new(&module, target, deadline)?;
        let mut budget = compilation.budget();
        if let Some(timeout) = self.timeout {
            budget.time = timeout;
        }
        let mut bar = Bar::default();
        let code = compilation.compile(&budget, self.jail, deadline, &mut |progress| bar.show(progress));
        bar.end();
        let code = code??;
        write(&code, &output).map_err(|source| file_error("write the code to the file that -o names", source))
    }
}

/// Writes the file in one step: a name in the same directory first. What is no file (a pipe, a device) is written as it
/// is.
fn write(code: &Code, path: &Path) -> io::Result<()> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let mut out = File::options().write(true).open(path)?;
        return code.write_to(&mut out);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let result = File::options()
        .write(true)
        .create_new(true)
        .open(&name)
        .and_then(|mut file| code.write_to(&mut file).and_then(|()| file.flush()))
        .and_then(|()| std::fs::rename(&name, path));
    if result.is_err() {
        let _ = std::fs::remove_file(&name);
    }
    result
}

fn file_error(attempt: &'static str, source: io::Error) -> Error {
    StartError::File { attempt, source }.into()
}

/// Progress on standard error: only of what takes long, on one line of a terminal.
#[derive(Default)]
pub(super) struct Bar {
    shown: Option<Instant>,
}

impl Bar {
    /// What is done sooner needs none.
    const QUIET: Duration = Duration::from_secs(1);

    pub(super) fn show(&mut self, progress: Progress) {
        let terminal = io::stderr().is_terminal();
        // A line each in a log, so fewer of them.
        let often = if terminal {
            Duration::from_millis(250)
        } else {
            Duration::from_secs(10)
        };
        if progress.elapsed < Self::QUIET || self.shown.is_some_and(|shown| shown.elapsed() < often) {
            return;
        }
        self.shown = Some(Instant::now());
        let Progress { done, all, elapsed } = progress;
        let text = match all {
            0 => "another process compiles the same module; waiting for it".to_string(),
            _ => format!("compiled {done} of {all} functions in {} s", elapsed.as_secs()),
        };
        match terminal {
            true => stderr::show(&format!("\rhermit-wasm: {text}")),
            false => stderr::say(&text),
        }
    }

    /// Leaves the line to whatever comes.
    pub(super) fn end(&self) {
        if self.shown.is_some() && io::stderr().is_terminal() {
            stderr::show("\n");
        }
    }
}

/// A target as wasmtime writes it, whatever its vendor and its system: the machine is ours.
fn parse_target(text: &str) -> Result<Arch, String> {
    let first = text.split('-').next().unwrap_or_default();
    let name = if first.starts_with("riscv64") {
        "riscv64"
    } else {
        first
    };
    Arch::from_name(name)
        .ok_or_else(|| "expected x86_64, aarch64 or riscv64, or a triple that begins so".to_string())
}
