//! One run, from the command line to the exit code: checks what can be checked, chooses, boots, and reports.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_protocol::boot_line::{self, BootLine, Console};
use boot_protocol::payload as names;

use crate::accel::{self, Decision, Look, Memory};
use crate::arch::Arch;
use crate::bundle::{self, Bounds, Bundle, Stopped};
use crate::cli::{AccelChoice, Run, Vmm};
use crate::directories::Directory;
use crate::failure::Failure;
use crate::files::{self, QemuFile};
use crate::image;
use crate::memory::{self, GuestMemory};
use crate::module::{self, Module};
use crate::outcome::{self, Outcome};
use crate::qemu::discover;
use crate::qemu::machine::{Accelerator, Machine, Setup, Share, show_command};
use crate::qemu::process::Process;
use crate::say::say;
use crate::session::{self, Ending, Terms};
use crate::signals::Signals;
use crate::tsc::Measurement;
use crate::uhyve;
use crate::units;
use crate::virtiofsd::{self, Daemon, Sandbox};

/// How long the trial of KVM may take. It takes a fraction of a second where KVM works.
const TRIAL: Duration = Duration::from_secs(10);

/// How long the VM may take to its first sign of life: a boot that hangs must not hang for ever. Generous, since the
/// host may be busy; seconds are usual.
const fn longest_boot(accelerator: Accelerator) -> Duration {
    match accelerator {
        Accelerator::Kvm => Duration::from_secs(30),
        Accelerator::Tcg => Duration::from_secs(120),
    }
}

/// What the system in the VM needs besides image and module, at the very least. Only to refuse what is hopeless
/// before anything is booted; the VM itself knows better.
const SYSTEM_MEMORY: u64 = 8 * units::MIB;

/// Says what is done, if that is wanted.
struct Progress {
    wanted: bool,
    start: Instant,
}

impl Progress {
    fn say(&self, message: impl FnOnce() -> String) {
        if self.wanted {
            say(&format!(
                "[{:7.3} s] {}",
                self.start.elapsed().as_secs_f64(),
                message()
            ));
        }
    }
}

/// How a trial of KVM ended.
enum Trial {
    /// It works, or fails for this reason.
    Verdict(Result<(), String>),
    /// A signal asks this program to end, which says nothing about KVM.
    Signal(i32),
    /// The run's time is over, which does not either.
    Timeout,
}

/// All that is known before QEMU is needed.
struct Plan<'a> {
    run: &'a Run,
    machine: Machine,
    qemu: PathBuf,
    module: Option<Module>,
    /// The boot file, if it is more than the module.
    bundle: Option<Bundle>,
    /// The daemons of shared directories, in order.
    daemons: Vec<Daemon>,
    image: QemuFile,
    boot_line: BootLine,
    progress: Progress,
    deadline: Option<Instant>,
}

/// Does what the command line asks for.
pub(crate) fn run(run: &Run) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let measurement = Measurement::begin();
    let progress = Progress {
        wanted: run.verbose > 0,
        start,
    };
    // A time beyond what the clock can say is no limit.
    let deadline = run.timeout.and_then(|timeout| start.checked_add(timeout));

    let machine = run.machine()?;
    if let Some(why) = image::missing(run.arch) {
        return Err(Failure::machine(why));
    }
    let directories = run.directories.directories()?;
    let boot_line = boot_line(run, &directories)?;
    let module = run.module().map(module::open).transpose()?;
    check_memory(run, module.as_ref())?;
    if run.vmm == Vmm::Uhyve {
        return uhyve::run(run, module.as_ref(), &directories, boot_line, deadline, |text| {
            progress.say(|| text);
        });
    }
    let bundle = match bundle(run, module.as_ref(), &directories, deadline) {
        Ok(bundle) => bundle,
        Err(Stopped::Failure(failure)) => return Err(failure),
        Err(Stopped::Timeout) => return Err(outcome::timeout(run)),
    };
    if let Some(bundle) = &bundle {
        for warning in &bundle.warnings {
            say(warning);
        }
        progress.say(|| format!("the boot file has {}", units::show_size(bundle.length)));
    }
    let qemu = discover::find(run.qemu.as_deref(), run.arch)?;
    let daemons = daemons(run, machine, &directories, &progress)?;
    progress.say(|| format!("QEMU is {}", qemu.display()));
    let image = QemuFile::from_bytes("hermit-wasm.img", image::of(run.arch))
        .map_err(|error| Failure::machine(format!("cannot keep the image in memory for QEMU: {error}")))?;
    let mut plan = Plan {
        run,
        machine,
        qemu,
        module,
        bundle,
        daemons,
        image,
        boot_line,
        progress,
        deadline,
    };

    let signals =
        Signals::catch().map_err(|error| Failure::machine(format!("cannot watch for signals: {error}")))?;
    let decision = match plan.decide(&signals)? {
        Ok(decision) => decision,
        Err(outcome) => return Ok(outcome),
    };
    plan.progress.say(|| {
        format!(
            "accelerator is {}: {}",
            decision.accelerator.name(),
            decision.reason
        )
    });
    if run.arch == Arch::X86_64 {
        plan.boot_line.tsc_mhz = measurement.finish();
    }
    if run.print_command {
        return plan.print_command(decision.accelerator);
    }
    plan.boot(decision.accelerator, &signals)
}

fn boot_line(run: &Run, directories: &[Directory]) -> Result<BootLine, Failure> {
    Ok(BootLine {
        // Measured while other things are done, and filled in at the end.
        tsc_mhz: None,
        log: run.log.map(|level| level.name().to_string()),
        console: Console::Framed,
        terminals: terminals(),
        file: None,
        argv0: run.argv0()?,
        env: run.environment(|key| std::env::var_os(key))?,
        directories: directory_words(directories),
        args: run.args()?,
    })
}

/// What the boot line says of the guest's directories.
fn directory_words(directories: &[Directory]) -> Vec<boot_line::Directory> {
    let mut copies = 0..;
    let mut shares = 0..;
    directories
        .iter()
        .map(|directory| match directory {
            Directory::Tmpfs { guest } => boot_line::Directory::Tmpfs { guest: guest.clone() },
            Directory::Copy { guest, read_only, .. } => boot_line::Directory::Archive {
                member: names::directory(copies.next().unwrap_or_default()),
                guest: guest.clone(),
                read_only: *read_only,
            },
            Directory::Share { guest, read_only, .. } => boot_line::Directory::Share {
                tag: tag(shares.next().unwrap_or_default()),
                guest: guest.clone(),
                read_only: *read_only,
            },
        })
        .collect()
}

/// What the machine calls the shared directory `index`, counted from 0.
fn tag(index: usize) -> String {
    format!("share-{index}")
}

/// Starts a daemon for each shared directory.
fn daemons(
    run: &Run,
    machine: Machine,
    directories: &[Directory],
    progress: &Progress,
) -> Result<Vec<Daemon>, Failure> {
    let mut daemons = Vec::new();
    for directory in directories {
        let Directory::Share { host, read_only, .. } = directory else {
            continue;
        };
        if run.print_command {
            return Err(Failure::usage(
                "--print-command: a run with --dir needs a daemon besides QEMU, which a printed command cannot start; \
                 the README shows how to do it by hand",
            ));
        }
        if daemons.len() >= machine.most_shares(run.arch) {
            return Err(Failure::usage(format!(
                "--dir: --machine {} has room for {} shared directories{}",
                machine.name(),
                machine.most_shares(run.arch),
                match machine {
                    Machine::Microvm => "; --machine q35 takes more, and --copy-dir and --tmpfs need no room",
                    _ => "; --copy-dir and --tmpfs need no room",
                }
            )));
        }
        let program = virtiofsd::find(run.virtiofsd.as_deref())?;
        let daemon = virtiofsd::start(&program, host, *read_only)?;
        progress.say(|| {
            format!(
                "'{}' serves '{}', sandbox: {}",
                program.display(),
                host.display(),
                daemon.sandbox.name()
            )
        });
        if daemon.sandbox == Sandbox::None {
            say(&format!(
                "--dir: this system does not let virtiofsd confine itself (neither by namespaces nor by chroot): it serves \
                 '{}' with all rights of this user",
                host.display()
            ));
        }
        daemons.push(daemon);
    }
    Ok(daemons)
}

/// The boot file with copies of directories, if there are any.
fn bundle(
    run: &Run,
    module: Option<&Module>,
    directories: &[Directory],
    deadline: Option<Instant>,
) -> Result<Option<Bundle>, Stopped> {
    let copies: Vec<&Path> = directories
        .iter()
        .filter_map(|directory| match directory {
            Directory::Copy { host, .. } => Some(host.as_path()),
            Directory::Tmpfs { .. } | Directory::Share { .. } => None,
        })
        .collect();
    if copies.is_empty() {
        return Ok(None);
    }
    let bounds = Bounds {
        bytes: run.memory,
        deadline,
    };
    let bundle = bundle::make(module, &copies, bounds)?;
    let least = least_memory(run.arch, bundle.length);
    if least > run.memory {
        return Err(Stopped::Failure(Failure::refused(format!(
            "the module and what --copy-dir takes along ({}) do not fit into the virtual machine's memory of {}; give it \
             more with --memory, {}M at least",
            units::show_size(bundle.length),
            units::show_size(run.memory),
            least.div_ceil(units::MIB),
        ))));
    }
    Ok(Some(bundle))
}

/// The memory of a machine for a boot file of so many bytes, at the very least.
fn least_memory(arch: Arch, boot_file: u64) -> u64 {
    let image = u64::try_from(image::of(arch).len()).unwrap_or(u64::MAX);
    boot_file.saturating_add(image).saturating_add(SYSTEM_MEMORY)
}

/// Which standard streams are terminals.
fn terminals() -> Vec<String> {
    [
        ("stdin", io::stdin().is_terminal()),
        ("stdout", io::stdout().is_terminal()),
        ("stderr", io::stderr().is_terminal()),
    ]
    .into_iter()
    .filter(|(_, terminal)| *terminal)
    .map(|(name, _)| name.to_string())
    .collect()
}

/// Refuses a module that cannot possibly fit.
fn check_memory(run: &Run, module: Option<&Module>) -> Result<(), Failure> {
    let (Some(module), Some(path)) = (module, run.module()) else {
        return Ok(());
    };
    let least = least_memory(run.arch, module.length);
    if least > run.memory {
        return Err(Failure::refused(format!(
            "'{}' ({}) does not fit into the virtual machine's memory of {}; give it more with --memory, {}M at least",
            path.display(),
            units::show_size(module.length),
            units::show_size(run.memory),
            least.div_ceil(units::MIB),
        )));
    }
    Ok(())
}

impl Plan<'_> {
    /// What the machine is handed besides the image.
    fn boot_file(&self) -> Option<&QemuFile> {
        match (&self.bundle, &self.module) {
            (Some(bundle), _) => Some(&bundle.file),
            (None, Some(module)) => Some(&module.file),
            (None, None) => None,
        }
    }

    fn setup<'a>(&'a self, accelerator: Accelerator, boot_line: &'a str) -> Setup<'a> {
        Setup {
            arch: self.run.arch,
            machine: self.machine,
            accelerator,
            memory: self.run.memory,
            memory_file: None,
            kernel: self.image.name(),
            initrd: self.boot_file().map(QemuFile::name),
            shares: &[],
            boot_line,
        }
    }

    /// The boot line as text, if the machine takes one that long.
    fn line(&self, boot_line: &BootLine) -> Result<String, Failure> {
        let line = boot_line.build();
        let machine = self.machine;
        if line.len() <= machine.longest_boot_line() {
            return Ok(line);
        }
        let other = self.run.arch.usual_machine();
        let advice = match other.longest_boot_line() {
            longest if line.len() <= longest => format!("; --machine {} takes {longest}", other.name()),
            _ => String::new(),
        };
        Err(Failure::usage(format!(
            "the arguments and the environment are too long: with the boot options they take {} bytes, and \
             --machine {} takes {} at most{advice}",
            line.len(),
            machine.name(),
            machine.longest_boot_line(),
        )))
    }

    /// Chooses the accelerator; an outcome instead if a signal came in between.
    fn decide(&self, signals: &Signals) -> Result<Result<Decision, Outcome>, Failure> {
        let memory = Memory::new(
            &self.qemu,
            self.machine.name(),
            image::fingerprint(image::of(self.run.arch)),
        );
        let verdict = match accel::look(self.run.accel, self.run.arch, &memory)? {
            Look::Decided(decision) => return Ok(Ok(decision)),
            Look::Try => {
                self.progress
                    .say(|| "trying KVM, once; the result is remembered".to_string());
                match self.try_kvm(signals)? {
                    Trial::Verdict(verdict) => verdict,
                    Trial::Signal(signal) => return Ok(Err(Outcome::Signal(signal))),
                    Trial::Timeout => return Err(outcome::timeout(self.run)),
                }
            }
        };
        memory.remember(&verdict);
        Ok(Ok(accel::judge(verdict)))
    }

    /// Boots the image under KVM up to its first sign of life. An `Err` is something that TCG cannot help either.
    fn try_kvm(&self, signals: &Signals) -> Result<Trial, Failure> {
        let line = BootLine {
            console: Console::Framed,
            ..BootLine::default()
        }
        .build();
        let mut setup = self.setup(Accelerator::Kvm, &line);
        setup.initrd = None;
        let mut process = self.start(&setup)?;
        let terms = Terms {
            deadline: self.deadline,
            boot_deadline: Instant::now() + TRIAL,
            only_boot: true,
            show_text: false,
            verbose: 0,
        };
        let report = session::run(&mut process, signals, &terms, None, &mut []);
        let words = outcome::first_line(&report.qemu.text());
        Ok(match report.ending {
            Ending::Started => Trial::Verdict(Ok(())),
            Ending::Signal(signal) => Trial::Signal(signal),
            Ending::Timeout => Trial::Timeout,
            Ending::NeverStarted => Trial::Verdict(Err(format!(
                "no sign of life within {}",
                units::show_duration(TRIAL)
            ))),
            Ending::KvmFailed => Trial::Verdict(Err("KVM internal error".to_string())),
            _ => Trial::Verdict(Err(words.unwrap_or_else(|| "QEMU ended".to_string()))),
        })
    }

    fn start(&self, setup: &Setup<'_>) -> Result<Process, Failure> {
        let arguments = setup.arguments();
        self.progress.say(|| show_command(&self.qemu, &arguments));
        Process::start(&self.qemu, &arguments).map_err(|error| match error.kind() {
            io::ErrorKind::ArgumentListTooLong => Failure::usage(
                "the arguments and the environment are too long for this system to start QEMU with them",
            ),
            _ => Failure::machine(format!("cannot start QEMU, '{}': {error}", self.qemu.display())),
        })
    }

    /// Memory for the machine that this program sees too; without it the console is only slower.
    fn memory(&self) -> Option<GuestMemory> {
        let size = memory::rounded(self.run.memory);
        match GuestMemory::new(size, self.machine.ram(self.run.arch)) {
            Ok(memory) => Some(memory),
            Err(error) => {
                self.progress
                    .say(|| format!("the machine's memory is not shared: {error}"));
                None
            }
        }
    }

    /// The shared directories as QEMU is told of them.
    fn shares(&self, memory_is_shared: bool) -> Result<Vec<Share>, Failure> {
        if !self.daemons.is_empty() && !memory_is_shared {
            return Err(Failure::machine(
                "--dir: this system has no memory files or no /proc, without which a directory cannot be shared; \
                 --copy-dir gives the guest a copy",
            ));
        }
        let share = |(index, daemon): (usize, &Daemon)| {
            let connection = daemon.connection().map_err(|error| {
                Failure::machine(format!(
                    "--dir: cannot hand the connection to virtiofsd over: {error}"
                ))
            })?;
            Ok(Share {
                connection,
                tag: tag(index),
            })
        };
        self.daemons.iter().enumerate().map(share).collect()
    }

    /// Boots, and stays until the end.
    fn boot(&mut self, accelerator: Accelerator, signals: &Signals) -> Result<Outcome, Failure> {
        let memory = self.memory();
        let line = self.line(&BootLine {
            console: if memory.is_some() {
                Console::Shared
            } else {
                Console::Framed
            },
            ..self.boot_line.clone()
        })?;
        let shares = self.shares(memory.is_some())?;
        let mut setup = self.setup(accelerator, &line);
        setup.memory_file = memory.as_ref().map(GuestMemory::name);
        setup.shares = &shares;
        let mut process = self.start(&setup)?;
        for daemon in &mut self.daemons {
            daemon.handed_over();
        }
        let terms = Terms {
            deadline: self.deadline,
            boot_deadline: Instant::now() + longest_boot(accelerator),
            only_boot: false,
            show_text: self.run.verbose > 0 || self.run.log.is_some(),
            verbose: self.run.verbose,
        };
        let report = session::run(&mut process, signals, &terms, memory.as_ref(), &mut self.daemons);
        for daemon in &mut self.daemons {
            if let Some(complaint) = daemon.complaint() {
                say(&complaint);
            }
        }
        let status = process.ended().ok().flatten();
        // Whatever it still does, nobody waits for it.
        process.kill();
        self.progress
            .say(|| format!("the run is over: {:?}", report.ending));
        outcome::conclude(report, self.run, accelerator, status)
    }

    /// Prints a command that does not need this program any more.
    fn print_command(&self, accelerator: Accelerator) -> Result<Outcome, Failure> {
        let directory = files::cache_directory().ok_or_else(|| {
            Failure::machine(
                "--print-command: there is no directory to keep the image in; set HOME or XDG_CACHE_HOME",
            )
        })?;
        let kernel = keep(&directory, "hermit-wasm", "img", image::of(self.run.arch))?;
        let initrd = match (&self.bundle, &self.module, self.run.module()) {
            (Some(bundle), ..) => Some(keep_file(&directory, "bundle", "tar", &bundle.file)?),
            (None, Some(module), Some(path)) => Some(lasting(&directory, module, path)?),
            _ => None,
        };
        // By hand, there is nobody who understands frames.
        let line = self.line(&BootLine {
            console: Console::Plain,
            terminals: Vec::new(),
            ..self.boot_line.clone()
        })?;
        let mut setup = self.setup(accelerator, &line);
        setup.kernel = &kernel;
        setup.initrd = initrd.as_deref();
        writeln!(io::stdout(), "{}", show_command(&self.qemu, &setup.arguments()))
            .map_err(|error| Failure::machine(format!("--print-command: cannot write: {error}")))?;
        Ok(Outcome::Exit(boot_protocol::exit_code::SUCCESS))
    }
}

/// A path to the module that is good after this program has ended: its own, or that of a copy if it is not a binary
/// module in a file.
fn lasting(directory: &Path, module: &Module, path: &Path) -> Result<PathBuf, Failure> {
    let cannot =
        |error: io::Error| Failure::machine(format!("--print-command: cannot read the module: {error}"));
    let bytes = fs::read(module.file.name()).map_err(cannot)?;
    if path.is_file() && fs::read(path).map_err(cannot)? == bytes {
        return fs::canonicalize(path).map_err(cannot);
    }
    keep(directory, "module", "wasm", &bytes)
}

/// Keeps what is in a file of this program's.
fn keep_file(directory: &Path, stem: &str, extension: &str, file: &QemuFile) -> Result<PathBuf, Failure> {
    let bytes = fs::read(file.name())
        .map_err(|error| Failure::machine(format!("--print-command: cannot read the boot file: {error}")))?;
    keep(directory, stem, extension, &bytes)
}

/// Keeps bytes in a file whose name tells them from others.
fn keep(directory: &Path, stem: &str, extension: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
    let file = directory.join(format!("{stem}-{:016x}.{extension}", image::fingerprint(bytes)));
    if !fs::read(&file).is_ok_and(|kept| kept == bytes) {
        files::write_whole(&file, bytes).map_err(|error| {
            Failure::machine(format!(
                "--print-command: cannot write '{}': {error}",
                file.display()
            ))
        })?;
    }
    Ok(file)
}

/// The accelerator was asked for by name: its failure is the run's.
pub(crate) fn kvm_was_demanded(run: &Run) -> bool {
    run.accel == AccelChoice::Kvm
}
