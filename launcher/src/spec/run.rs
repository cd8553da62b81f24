//! The builder of a run. The way of a run from there to its result: `course`.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boot_protocol::arch::Arch;
use boot_protocol::run_spec::{Access, Limits, LogLevel, RunSpec};

use super::choice::Engines;
use super::deadline::Deadline;
use super::engine::Engine;
use super::module::Module;
use super::mounts::{Mount, MountSource};
use super::network::Outside;
use crate::compile::CpuLevel;
use crate::error::{Error, StartError};
use crate::host::interrupt::Interrupt;
use crate::host::units::MIB;
use crate::jail::Jail;
use crate::pack::Packed;
use crate::recording::Recording;
use crate::report::Figures;
use crate::result::RunResult;
use crate::running::Running;
use crate::session::Diagnostics;
use crate::session::streams::{self, Input, OtherEnds, Output, Streams};
use crate::vmm::capabilities::Accelerator;
use crate::vmm::qemu::MachineKind;
use crate::vmm::{self, Vmm};

/// 256 MiB: room for the image (a few MiB), a module of tens of MiB with its translation, and a guest memory of 128
/// MiB that is copied when it grows. QEMU takes from the host only what the guest has touched, so more costs nothing,
/// but a guest that runs wild is stopped before it troubles the host.
pub const DEFAULT_MEMORY: u64 = 256 * MIB;

/// Below this not even the image fits, whatever the module. With a little more it is the loader in the machine that says
/// what is missing.
pub const SMALLEST_MEMORY: u64 = 4 * MIB;

/// A module to run in a virtual machine of its own, and all that it may see.
///
/// ```no_run
/// use hermit_wasm_vm::{Module, Run};
///
/// let run = Run::new(Module::open("app.wasm")?)
///     .args(["one", "two"])
///     .env("MODE", "fast")
///     .tmpfs("/tmp");
/// let result = run.output()?;
/// assert_eq!(result.status.code(), 0);
/// # Ok::<(), hermit_wasm_vm::Error>(())
/// ```
#[derive(Debug)]
pub struct Run {
    /// What the guest gets: its arguments, its environment, the log's level. What depends on the hypervisor is filled
    /// in when the run is prepared.
    pub(super) spec: RunSpec,
    pub(super) argv0: Option<String>,
    pub(super) module: Module,
    /// What was packed, instead of the module.
    pub(crate) packed: Option<Packed>,
    /// Whether it may be given more once it is packed.
    pub(crate) may_be_widened: bool,
    /// The Hermitfile that describes it, if one does.
    pub(super) manifest: Option<hermitfile::Manifest>,
    /// The modules that others import from, each with the name that imports give.
    pub(crate) preloads: Vec<(String, Module)>,
    /// Whether these are put in order by what they import.
    pub(super) linked: bool,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) machine: MachineOptions,
    pub(super) vmms: Vec<Arc<dyn Vmm>>,
    pub(super) engines: Engines,
    pub(super) jail: Jail,
    /// Whether this process is in a container that has nothing but this run: the container is the outer wall.
    pub(crate) contained: bool,
    /// The host's end of the guest's network.
    pub(super) outside: Outside,
    timeout: Option<Duration>,
    deadline: Deadline,
    stdin: Input,
    stdout: Output,
    stderr: Output,
    /// What stops it: the user's, and that of its [`Running`].
    interrupts: Vec<Interrupt>,
    pub(super) diagnostics: Diagnostics,
    pub(super) show_machine: bool,
    /// Where its recording goes.
    pub(super) record: Option<Arc<File>>,
    /// What answers the guest's calls.
    pub(crate) replay: Option<Arc<Recording>>,
}

/// What the machine is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineOptions {
    pub(crate) arch: Arch,
    /// In bytes.
    pub(crate) memory: u64,
    /// `None`: the best that works.
    pub(crate) accelerator: Option<Accelerator>,
    /// `None`: the usual one.
    pub(crate) kind: Option<MachineKind>,
}

impl Run {
    /// A run of `module` without arguments, environment or directories, on this process's standard streams.
    #[must_use]
    pub fn new(module: Module) -> Self {
        Self {
            spec: RunSpec::default(),
            argv0: None,
            module,
            packed: None,
            may_be_widened: false,
            manifest: None,
            preloads: Vec::new(),
            linked: false,
            mounts: Vec::new(),
            machine: MachineOptions {
                arch: Arch::host(),
                memory: DEFAULT_MEMORY,
                accelerator: None,
                kind: None,
            },
            vmms: vmm::all().into(),
            engines: Engines::default(),
            jail: Jail::default(),
            contained: false,
            outside: Outside::default(),
            timeout: None,
            deadline: Deadline::never(),
            stdin: Input::default(),
            stdout: Output::default(),
            stderr: Output::default(),
            interrupts: Vec::new(),
            diagnostics: Diagnostics::default(),
            show_machine: false,
            record: None,
            replay: None,
        }
    }

    /// Sets `argv[0]`; default: the module's file name.
    #[must_use]
    pub fn argv0(mut self, name: impl Into<String>) -> Self {
        self.argv0 = Some(name.into());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.spec.argv.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.spec.argv.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable. The last value given for a name counts.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec.env.push((name.into(), value.into()));
        self
    }

    /// Leaves an environment variable open: once [packed](Self::pack), whoever runs it may give its value.
    #[must_use]
    pub fn open_variable(mut self, name: impl Into<String>) -> Self {
        self.spec.open.push(name.into());
        self
    }

    /// Calls the exported function `name` instead of `_start`, with the arguments. They and its results are numbers;
    /// results go to standard output, one on a line. As `wasmtime run --invoke`.
    #[must_use]
    pub fn invoke(mut self, name: impl Into<String>) -> Self {
        self.spec.invoked = true;
        self.entrypoint(name)
    }

    /// The same without wasmtime's warnings, for a program that is made to be called so.
    #[must_use]
    pub fn entrypoint(mut self, name: impl Into<String>) -> Self {
        self.spec.entry = Some(name.into());
        self
    }

    /// Once [packed](Self::pack), it may be given more than this says, by whoever runs it.
    #[must_use]
    pub fn may_be_widened(mut self) -> Self {
        self.may_be_widened = true;
        self
    }

    /// Adds a module whose exports others import by `name`: those that are added behind it, and the run's. They are
    /// instantiated in this order. As `wasmtime run --preload`.
    #[must_use]
    pub fn preload(mut self, name: impl Into<String>, module: Module) -> Self {
        self.preloads.push((name.into(), module));
        self
    }

    /// The same in any order: once one is added so, all are put in order by what they import from each other. A cycle
    /// is [`Error::Invalid`].
    #[must_use]
    pub fn link(mut self, name: impl Into<String>, module: Module) -> Self {
        self.linked = true;
        self.preload(name, module)
    }

    /// Adds a directory.
    #[must_use]
    pub fn mount(mut self, mount: Mount) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Adds an empty directory in the machine's memory.
    #[must_use]
    pub fn tmpfs(self, guest: impl Into<String>) -> Self {
        self.mount(Mount {
            source: MountSource::Tmpfs,
            guest: guest.into(),
            access: Access::ReadWrite,
            quota: None,
        })
    }

    /// Adds a copy of the directory `host`, which the guest calls `guest`. What it changes is dropped at the end.
    #[must_use]
    pub fn copy_dir(self, host: impl Into<PathBuf>, guest: impl Into<String>, access: Access) -> Self {
        self.mount(Mount {
            source: MountSource::Copy(host.into()),
            guest: guest.into(),
            access,
            quota: None,
        })
    }

    /// Adds the directory `host`, which the guest calls `guest`. What it changes is changed here.
    #[must_use]
    pub fn dir(self, host: impl Into<PathBuf>, guest: impl Into<String>, access: Access) -> Self {
        self.mount(Mount {
            source: MountSource::Dir(host.into()),
            guest: guest.into(),
            access,
            quota: None,
        })
    }

    /// Sets the machine's memory in bytes; default: [`DEFAULT_MEMORY`].
    #[must_use]
    pub fn memory(mut self, bytes: u64) -> Self {
        self.machine.memory = bytes;
        self
    }

    /// Sets the machine's architecture; default: this host's.
    #[must_use]
    pub fn arch(mut self, arch: Arch) -> Self {
        self.machine.arch = arch;
        self
    }

    /// Demands an accelerator; default: KVM if a probe boots under it here, otherwise TCG.
    #[must_use]
    pub fn accelerator(mut self, accelerator: Accelerator) -> Self {
        self.machine.accelerator = Some(accelerator);
        self
    }

    /// Demands one of the hypervisor's machines; default: the usual one.
    #[must_use]
    pub fn machine(mut self, kind: MachineKind) -> Self {
        self.machine.kind = Some(kind);
        self
    }

    /// Limits what the guest may use up; default: nothing but the machine does. Of several values of a limit the lowest
    /// holds. `docs/limits.md` has more.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.spec.limits = self.spec.limits.narrowed(&limits);
        self
    }

    /// Makes the output the same on every run, host and architecture, with the same engine: clocks count what the guest
    /// executes, and random numbers are made of `seed`. Default engine: the interpreter. `docs/determinism.md` has more.
    #[must_use]
    pub fn deterministic(mut self, seed: u64) -> Self {
        self.spec.deterministic = Some(seed);
        self
    }

    /// Demands an engine; default: native code if the module was compiled before, or is compiled in no time, or if only
    /// native code has what it needs; otherwise the interpreter. `docs/engines.md` has more.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engines.demanded = Some(engine);
        self
    }

    /// Sets the processors that native code is made for; default: all that machines of the architecture have.
    #[must_use]
    pub fn cpu_level(mut self, level: CpuLevel) -> Self {
        self.engines.level = Some(level);
        self
    }

    /// Allows a module that is native code already although this user's launcher has not compiled it. The whole machine
    /// is in its hands from the start; the hypervisor in its jail is all that holds it.
    #[must_use]
    pub fn allow_precompiled(mut self, allow: bool) -> Self {
        self.engines.precompiled = allow;
        self
    }

    /// Names the program `hermit-wasm`, which compiles a module for its next run while the interpreter runs it, and
    /// goes on when this process has ended. Default: no module is compiled so.
    #[must_use]
    pub fn compile_later(mut self, program: impl Into<PathBuf>) -> Self {
        self.engines.program = Some(program.into());
        self
    }

    /// Sets how much of the [jail](crate::jail) hypervisor and daemons must have; default: what every Linux has, and
    /// all else that this host has.
    #[must_use]
    pub fn jail(mut self, level: Jail) -> Self {
        self.jail = level;
        self
    }

    /// Sets the hypervisor; default: the first that is installed and can do what the run needs.
    #[must_use]
    pub fn hypervisor(self, vmm: impl Vmm + 'static) -> Self {
        self.hypervisors([Arc::new(vmm) as Arc<dyn Vmm>])
    }

    /// Sets several hypervisors: the first is used that is installed and can do what the run needs.
    #[must_use]
    pub fn hypervisors(mut self, vmms: impl Into<Vec<Arc<dyn Vmm>>>) -> Self {
        self.vmms = vmms.into();
        self
    }

    /// Ends the run after this time, with [`Error::Timeout`]. The clock starts with [`Self::run`] or [`Self::start`]:
    /// all preparations count, and the boot. What comes before, as [`Module::open`], counts with [`Self::deadline`].
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Ends the run at this time, or by these interrupts. The clock may have started before: [`Module::open_until`] can
    /// be given the same deadline.
    #[must_use]
    pub fn deadline(mut self, deadline: Deadline) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets which messages of kernel and application are shown.
    #[must_use]
    pub fn log(mut self, level: LogLevel) -> Self {
        self.spec.log = Some(level);
        self
    }

    /// Sets where standard input comes from.
    #[must_use]
    pub fn stdin(mut self, input: Input) -> Self {
        self.stdin = input;
        self
    }

    /// Sets where standard output goes.
    #[must_use]
    pub fn stdout(mut self, output: Output) -> Self {
        self.stdout = output;
        self
    }

    /// Sets where standard error goes.
    #[must_use]
    pub fn stderr(mut self, output: Output) -> Self {
        self.stderr = output;
        self
    }

    /// Adds something that stops the run, besides [`Running::kill`]. Several runs may have the same one.
    #[must_use]
    pub fn interrupt(mut self, interrupt: Interrupt) -> Self {
        self.interrupts.push(interrupt);
        self
    }

    /// Sets what becomes of the application's own messages.
    #[must_use]
    pub fn diagnostics(mut self, diagnostics: Diagnostics) -> Self {
        self.diagnostics = diagnostics;
        self
    }

    /// Shows on the guest's standard error what machine and hypervisor print, as it comes.
    #[must_use]
    pub fn show_machine(mut self, show: bool) -> Self {
        self.show_machine = show;
        self
    }

    /// Runs on this thread until the end.
    ///
    /// # Errors
    /// [`Error`], where the guest did not come to its own end.
    pub fn run(self) -> Result<RunResult, Error> {
        self.run_measured(&mut Figures::begin())
    }

    /// Runs on this thread until the end, and notes in `figures` what it took, also where it fails. With the result
    /// they make a [`Report`](crate::Report).
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_measured(mut self, figures: &mut Figures) -> Result<RunResult, Error> {
        let deadline = self.deadline_from_now();
        let result = self
            .open_streams()
            .and_then(|(streams, ends)| self.execute(streams, ends, deadline, figures));
        figures.finish();
        result
    }

    /// Runs on this thread until the end, and keeps standard output and standard error.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn output(self) -> Result<RunResult, Error> {
        self.stdout(Output::Capture).stderr(Output::Capture).run()
    }

    /// Runs on a thread of its own.
    ///
    /// # Errors
    /// The streams cannot be opened, or the system has no thread left. All else is the run's result.
    pub fn start(mut self) -> Result<Running, Error> {
        // Of its own: ending this run must not end others that share an interrupt with it.
        let interrupt = Interrupt::new().map_err(StartError::file("make the run stoppable"))?;
        self.interrupts.push(interrupt.clone());
        let deadline = self.deadline_from_now();
        let (streams, ends) = self.open_streams()?;
        Running::start(interrupt, ends, move |ends| {
            self.execute(streams, ends, deadline, &mut Figures::begin())
        })
    }

    /// The module, and those that it and others import from.
    pub(super) fn modules(&self) -> impl Iterator<Item = &Module> {
        std::iter::once(&self.module).chain(self.preloads.iter().map(|(_, module)| module))
    }

    /// Whether some of them is native code already.
    pub(super) fn is_precompiled(&self) -> bool {
        self.modules().any(Module::is_precompiled)
    }

    /// When it must be over if it begins now.
    pub(super) fn deadline_from_now(&self) -> Deadline {
        let mut deadline = Deadline::since(Instant::now(), self.timeout.unwrap_or(Duration::MAX));
        for interrupt in &self.interrupts {
            deadline = deadline.interrupt(interrupt.clone());
        }
        deadline.and(self.deadline.clone()).of(self.module.to_string())
    }

    fn open_streams(&mut self) -> Result<(Streams, OtherEnds), Error> {
        streams::open(
            std::mem::take(&mut self.stdin),
            std::mem::take(&mut self.stdout),
            std::mem::take(&mut self.stderr),
        )
        .map_err(|error| StartError::file("open the guest's standard streams")(error))
    }
}
