//! The flags of a run, their help, and the run that they describe. Flags are called as wasmtime calls them where it has
//! them.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{ArgAction, Args, ValueEnum, ValueHint};
use hermit_wasm_vm::compile::CpuLevel;
use hermit_wasm_vm::host::units;
use hermit_wasm_vm::vmm::Vmm;
use hermit_wasm_vm::vmm::capabilities::Accelerator;
use hermit_wasm_vm::vmm::qemu::{MachineKind, Qemu};
use hermit_wasm_vm::vmm::uhyve::Uhyve;
use hermit_wasm_vm::{
    self as vm, Access, Arch, Deadline, Diagnostics, Engine, Error, Figures, Hermitfile, Input, Jail,
    LogLevel, Module, MountSource, Report, RunResult,
};

use super::guest::{parse_descriptor, parse_memory, parse_seed, utf8};
use super::mounts::MountFlags;
use super::network::{NetworkFlags, Wasi, parse_wasi};
use super::outputs;
use super::packed::ArchSaid;
use super::status::{self, Status};
use super::values::{ACCELERATORS, ARCHITECTURES, CPU_LEVELS, ENGINES, JAILS, LOG_LEVELS, MACHINES, one_of};
use crate::{stderr, watchdog};

/// What to run, and how.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Memory of the virtual machine: 512M, 1G or bytes; 256M by default, or what MEMORY of a Hermitfile needs
    ///
    /// The kernel, the module, its translated code and the guest's own memory all have to fit. The host provides only
    /// what is actually used.
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub(super) memory: Option<u64>,

    /// Take the module and what it is given from a Hermitfile; all words behind the flags are arguments
    ///
    /// Its arguments come first. Variables and directories of flags are added; of a variable the flag's value counts, as
    /// does --invoke for ENTRYPOINT, and --engine for ENGINE (docs/hermitfile.md).
    #[arg(short = 'f', long = "file", value_name = "HERMITFILE", value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,

    /// Options of WASI, separated by commas: inherit-env passes all variables of the host
    ///
    /// As wasmtime's; --env sets single variables and counts instead. inherit-network lets the guest connect to all
    /// that this host reaches, but the host itself and metadata of clouds; allow-ip-name-lookup lets it look up any
    /// name; tcplisten=ADDR:PORT is --tcplisten.
    #[arg(short = 'S', value_name = "OPTIONS", value_delimiter = ',', action = ArgAction::Append, value_parser = parse_wasi)]
    pub(super) wasi: Vec<Wasi>,

    /// Set an environment variable for the guest; K alone passes the host's value
    ///
    /// Can be repeated. The guest sees only these variables. `--env K` sets nothing if K is not set on the host.
    #[arg(long = "env", value_name = "K[=V]", action = ArgAction::Append)]
    pub(super) env: Vec<OsString>,

    /// Call this exported function instead of _start; its arguments and results are numbers
    ///
    /// Arguments are those behind the module: i32 and i64 in decimal or behind 0x, f32 and f64 in decimal. Results go to
    /// standard output, one on a line. A library's _initialize runs first.
    #[arg(long, value_name = "FUNCTION")]
    pub(super) invoke: Option<OsString>,

    /// Instantiate a module before, whose exports others import by NAME
    ///
    /// Can be repeated: a module can import from those that stand before it.
    #[arg(long = "preload", value_name = "NAME=MODULE", value_hint = ValueHint::FilePath, action = ArgAction::Append)]
    pub(super) preload: Vec<OsString>,

    /// The guest's directories.
    #[command(flatten)]
    pub(super) mounts: MountFlags,

    /// The guest's network.
    #[command(flatten)]
    pub(super) network: NetworkFlags,

    /// Hypervisor; 'hermit-wasm hypervisors' lists what each can do
    ///
    /// auto takes the first that is installed and can do what the flags ask for. uhyve requires KVM and x86-64. It
    /// serves the directories of --dir itself, where some operations that work under QEMU fail (docs/uhyve.md).
    #[arg(long, value_enum, default_value_t = Hypervisor::Auto)]
    pub(super) vmm: Hypervisor,

    /// How guest code is executed
    ///
    /// auto uses KVM if a trial boot succeeds, otherwise TCG. Success is remembered until the host reboots, failure for
    /// an hour.
    #[arg(long, value_name = "ACCEL", value_parser = one_of(ACCELERATORS), default_value = "auto")]
    pub(super) accel: AcceleratorChoice,

    /// What executes the guest's code inside of the machine
    ///
    /// auto makes nobody wait longer than for the interpreter. Native code is made by the program hermit-wasm-compiler,
    /// in a jail, and kept in ~/.cache/hermit-wasm for the next run; 'hermit-wasm compile' does that ahead of time
    /// (docs/engines.md).
    #[arg(long, value_parser = one_of(ENGINES), default_value = "auto")]
    pub(super) engine: EngineChoice,

    /// Processors that native code is made for; all that can run the machine by default
    ///
    /// Code of a higher level is faster and runs on fewer processors. Where one cannot run it, the module is
    /// interpreted.
    #[arg(long, value_name = "LEVEL", value_parser = one_of(CPU_LEVELS))]
    pub(super) cpu: Option<CpuLevel>,

    /// Run a .cwasm file that this user's hermit-wasm has not compiled
    ///
    /// Native code is trusted as no module is: it owns the virtual machine from the start, and the jail around the
    /// hypervisor is all that holds it.
    #[arg(long)]
    pub(super) allow_precompiled: bool,

    /// Whether `arch` was said. It stands before that: who reads it there takes it away.
    #[command(flatten)]
    pub(super) arch_said: ArchSaid,

    /// Architecture of the virtual machine; this host's by default
    ///
    /// The same module runs on all of them. QEMU emulates an architecture that is not the host's.
    #[arg(long, value_parser = one_of(ARCHITECTURES), default_value = Arch::host().name())]
    pub(super) arch: Arch,

    /// QEMU machine type; microvm on x86_64 and virt elsewhere by default
    #[arg(long, value_parser = one_of(MACHINES))]
    pub(super) machine: Option<MachineKind>,

    /// The guest's first argument, its own name; the module's file name by default
    #[arg(long, value_name = "NAME")]
    pub(super) argv0: Option<OsString>,

    /// Stop the run after this time: 10s, 500ms, 2m
    ///
    /// Wall-clock time of everything from the program's start on: reading the module, the boot, the guest. The exit
    /// code is 124.
    #[arg(long, value_name = "DUR", value_parser = units::parse_duration)]
    pub(super) timeout: Option<Duration>,

    /// Limit what the guest may use up: fuel=N, timeout=5s, max-memory-size=64MiB and others, comma-separated
    ///
    /// max-table-elements=N, max-wasm-stack=SIZE, trap-on-grow-failure; max-descriptors=N, max-file-bytes=SIZE,
    /// max-output-bytes=SIZE. The machine holds them, and ends the guest with an exit code for each, 241 to 248
    /// (docs/limits.md).
    #[arg(short = 'W', long = "wasm", value_name = "LIMIT=VALUE", value_delimiter = ',', action = ArgAction::Append)]
    pub(super) limits: Vec<String>,

    /// The same output on every run, host and architecture: clocks count what the guest executes, and random numbers are
    /// made of SEED, a number below 2^64; default: 0
    ///
    /// Terminals are none, directories are in order, file times are the run's. --engine auto is the interpreter then;
    /// the engines differ (docs/determinism.md).
    #[arg(long, value_name = "SEED", value_parser = parse_seed)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    pub(super) deterministic: Option<u64>,

    /// Show the log of kernel and application on standard error, at this level and above
    #[arg(long, value_name = "LEVEL", value_parser = one_of(LOG_LEVELS))]
    pub(super) log: Option<LogLevel>,

    /// How much of the jail around hypervisor and virtiofsd is demanded
    ///
    /// auto demands what every Linux has: an empty environment, no inherited descriptors, limits, no capabilities, a
    /// filter of system calls. off starts them with all rights of this user. -v says which layers hold.
    #[arg(long, value_name = "LEVEL", value_parser = one_of(JAILS), default_value = Jail::Auto.name())]
    pub(super) jail: Jail,

    /// Write how the run ended to this file, as JSON, whatever the guest prints
    ///
    /// Exit code, cause, limits, times, memory (docs/status.md). While the run lasts, the file says "unfinished".
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "print_command")]
    pub(super) status_file: Option<PathBuf>,

    /// The same to a descriptor that is open already
    #[arg(long, value_name = "N", value_parser = parse_descriptor, conflicts_with_all = ["status_file", "print_command"])]
    pub(super) status_fd: Option<u16>,

    /// Record what the guest's calls answer in this file, for 'hermit-wasm replay'
    ///
    /// It is written while the guest runs, so that a run that is killed can be replayed to where it ended. It holds what
    /// the guest has read, secrets included, and is for this user alone (docs/replay.md).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "print_command")]
    pub(super) record: Option<PathBuf>,

    /// QEMU program; qemu-system-ARCH in PATH by default
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    pub(super) qemu: Option<PathBuf>,

    /// virtiofsd program for --dir; virtiofsd in PATH by default
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    pub(super) virtiofsd: Option<PathBuf>,

    /// uhyve program for --vmm uhyve; uhyve in PATH by default
    #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
    pub(super) uhyve: Option<PathBuf>,

    /// Run the built-in greeting instead of a module
    #[arg(long, conflicts_with_all = ["module_and_args", "file"])]
    pub(super) greet: bool,

    /// Print commands that run the module without this program, then exit
    ///
    /// =DIRECTORY says where to write the files that they need: the image, and what travels besides the module. Without
    /// it, they name the image as the build does. The commands show the guest's arguments and environment, values of
    /// --env included. Standard output and standard error are one stream. On riscv64, QEMU
    /// exits with the guest's exit code; on x86_64 with 3 if the guest's is 0, and with 1 otherwise; on aarch64, QEMU's
    /// exit status says nothing about the guest. Run by hand, they are in no jail.
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, require_equals = true, value_hint = ValueHint::DirPath)]
    pub(super) print_command: Option<Option<PathBuf>>,

    /// Report progress, the QEMU command line and everything the machine prints; -vv also names each frame
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,

    /// Module (.wasm, .wat, .cwasm, or - for standard input) and its arguments; flags after the module go to the guest
    #[arg(value_name = "MODULE [ARGS]", trailing_var_arg = true, value_hint = ValueHint::FilePath)]
    pub(super) module_and_args: Vec<OsString>,

    /// Whether the module is this program, behind which it was packed.
    #[arg(skip)]
    pub(super) is_itself: bool,
}

/// An accelerator, or the best that works. clap would take a plain `Option` for a flag that may be left out.
pub(super) type AcceleratorChoice = Option<Accelerator>;

/// An engine, or the best for whoever waits.
pub(super) type EngineChoice = Option<Engine>;

/// The hypervisors that a flag can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Hypervisor {
    /// The first that can do what the flags ask for
    Auto,
    /// QEMU; works on every host
    Qemu,
    /// Hermit's own hypervisor; requires KVM
    Uhyve,
}

/// An error of the command line.
pub(super) fn usage(message: impl Into<String>) -> Error {
    Error::Invalid(message.into())
}

impl Run {
    /// Runs, and reports; the exit code. `start` is when the program began.
    pub(super) fn perform(&self, start: Instant) -> Result<u8, Error> {
        let mut figures = Figures::since(start);
        // Before anything else is opened: nothing of this program's own has the descriptor's number.
        let status = self.status_fd.map(Status::descriptor).transpose()?;
        let deadline = Deadline::since(start, self.timeout.unwrap_or(Duration::MAX));
        let deadline = deadline.of(match self.module().or(self.file.as_deref()) {
            Some(path) => format!("'{}'", vm::host::shown::path(path)),
            None => Module::greeting().to_string(),
        });
        let hermitfile = self.file.as_ref().map(|path| Hermitfile::open(path, &deadline));
        let status = match (status, &self.status_file) {
            (None, Some(path)) => {
                // What is wrong with it is said in the status, too.
                let hermitfile = hermitfile.as_ref().and_then(|file| file.as_ref().ok());
                outputs::refuse_what_is_read("--status-file", path, &self.reads(hermitfile))?;
                Some(Status::file(path, &self.shared(hermitfile))?)
            }
            (status, _) => status,
        };
        let status = status.map(Arc::new);
        let with_identity = self.log.is_some_and(|level| level >= LogLevel::Info);
        stderr::init_log(self.verbose, with_identity, deadline.at());
        if let Some(directory) = &self.print_command {
            return self.print_commands(directory.as_deref(), hermitfile.transpose()?.as_ref(), deadline);
        }
        let result = self.run(hermitfile, deadline, &mut figures, status.clone());
        // From here on nothing waits for long.
        watchdog::call_off();
        if let Some(status) = status {
            status.write(&Report::new(&result, &figures));
        }
        let result = result?;
        stderr::show(&result.transcript);
        Ok(result.status.code())
    }

    /// Directories of the host that the guest may change.
    fn shared(&self, hermitfile: Option<&Hermitfile>) -> Vec<PathBuf> {
        // What is wrong with the flags is said later.
        let mounts = self.mounts.mounts().unwrap_or_default().into_iter();
        mounts
            .filter_map(|mount| match (mount.source, mount.access) {
                (MountSource::Dir(host), Access::ReadWrite) => Some(host),
                _ => None,
            })
            .chain(hermitfile.into_iter().flat_map(Hermitfile::shared))
            .collect()
    }

    fn run(
        &self,
        hermitfile: Option<Result<Hermitfile, Error>>,
        deadline: Deadline,
        figures: &mut Figures,
        status: Option<Arc<Status>>,
    ) -> Result<RunResult, Error> {
        let begun = figures.clone();
        let result = watchdog::on_signals(deadline).and_then(|deadline| {
            watchdog::begin(&deadline, move |error| {
                if let Some(status) = &status {
                    let mut figures = begun.clone();
                    figures.finish();
                    status.write(&Report::failed(error, &figures));
                }
            });
            let hermitfile = hermitfile.transpose()?;
            self.describe(hermitfile.as_ref(), deadline)?
                .run_measured(figures)
        });
        figures.finish();
        result
    }

    fn print_commands(
        &self,
        directory: Option<&Path>,
        hermitfile: Option<&Hermitfile>,
        deadline: Deadline,
    ) -> Result<u8, Error> {
        watchdog::begin(&deadline, |_| {});
        let command = self
            .describe(hermitfile, deadline)
            .and_then(|run| run.command(directory));
        watchdog::call_off();
        let command = command?;
        // A shell needs it as it is; a person looks at it, and the names in it may be anybody's.
        let print = match std::io::stdout().is_terminal() {
            true => super::print,
            false => super::print_exactly,
        };
        print(&format!("{command}\n"))
    }

    /// The run that the flags describe.
    pub(super) fn describe(
        &self,
        hermitfile: Option<&Hermitfile>,
        deadline: Deadline,
    ) -> Result<vm::Run, Error> {
        let limits = self.limits()?;
        let memory = match hermitfile {
            Some(file) => file.memory(self.memory, &limits, self.deterministic.is_some())?,
            None => self.memory.unwrap_or(vm::DEFAULT_MEMORY),
        };
        let mut run = self.of_program(hermitfile, memory, &deadline)?;
        for (name, value) in self.inherited() {
            run = run.env(name, value);
        }
        if let Some(file) = hermitfile {
            run = file.apply(run, memory, &deadline)?;
        }
        let preloads = self.preloads(memory, &deadline)?;
        run = run
            .args(self.args()?)
            .jail(self.jail)
            .deadline(deadline)
            .diagnostics(Diagnostics::Stderr)
            .show_machine(self.verbose > 0)
            .allow_precompiled(self.allow_precompiled)
            .limits(limits);
        if let Some(seed) = self.deterministic {
            run = run.deterministic(seed);
        }
        if let Some(name) = &self.invoke {
            run = run.invoke(utf8(name, || "--invoke".to_string())?);
        }
        for (name, module) in preloads {
            run = run.preload(name, module);
        }
        if let Some(path) = &self.record {
            outputs::refuse_what_is_read("--record", path, &self.reads(hermitfile))?;
            run = run.record(status::recording(path, &self.shared(hermitfile))?);
        }
        if let Some(engine) = self.engine {
            run = run.engine(engine);
        }
        if let Some(level) = self.cpu {
            run = run.cpu_level(level);
        }
        if let Ok(this) = std::env::current_exe() {
            run = run.compile_later(&this).relay(this);
        }
        for (name, value) in self.environment(|key| std::env::var_os(key))? {
            run = run.env(name, value);
        }
        for mount in self.mounts.mounts()? {
            run = run.mount(mount);
        }
        run = self.with_network(run);
        if let Some(name) = &self.argv0 {
            run = run.argv0(utf8(name, || "--argv0".to_string())?);
        }
        if let Some(accelerator) = self.accel {
            run = run.accelerator(accelerator);
        }
        if let Some(kind) = self.machine {
            run = run.machine(kind);
        }
        if let Some(level) = self.log {
            run = run.log(level);
        }
        let qemu = Qemu {
            program: self.qemu.clone(),
            virtiofsd: self.virtiofsd.clone(),
        };
        let uhyve = Uhyve {
            program: self.uhyve.clone(),
        };
        Ok(match self.vmm {
            Hypervisor::Qemu => run.hypervisor(qemu),
            Hypervisor::Uhyve => run.hypervisor(uhyve),
            Hypervisor::Auto => run.hypervisors([Arc::new(qemu) as Arc<dyn Vmm>, Arc::new(uhyve)]),
        })
    }

    /// A run of the program, of which nothing else is said.
    fn of_program(
        &self,
        hermitfile: Option<&Hermitfile>,
        memory: u64,
        deadline: &Deadline,
    ) -> Result<vm::Run, Error> {
        let run = match (hermitfile, self.module()) {
            (Some(file), _) => vm::Run::new(file.module(memory, deadline)?),
            (None, None) => vm::Run::new(Module::greeting()),
            // It is read to its end, and nothing is left of it for the guest.
            (None, Some(path)) if path == Path::new(STDIN) => {
                vm::Run::new(Module::stdin_until(memory, deadline)?).stdin(Input::Null)
            }
            (None, Some(path)) => match self.packed(path, deadline)? {
                Some(packed) => return self.of_packed(packed),
                None => vm::Run::new(Module::open_until(path, memory, deadline)?),
            },
        };
        Ok(run.memory(memory).arch(self.arch))
    }
}

/// A module's name that means standard input.
const STDIN: &str = "-";
