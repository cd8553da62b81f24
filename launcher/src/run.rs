//! One run, from the command line to the exit code: checks what can be checked, chooses, boots, and reports.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_protocol::boot_line::{BootLine, Console};

use crate::accel::{self, Decision, Look, Memory};
use crate::cli::{AccelChoice, Run};
use crate::failure::Failure;
use crate::files::{self, QemuFile};
use crate::image;
use crate::memory::{self, GuestMemory};
use crate::module::{self, Module};
use crate::outcome::{self, Outcome};
use crate::qemu::discover;
use crate::qemu::machine::{Accelerator, Setup, show_command};
use crate::qemu::process::Process;
use crate::say::say;
use crate::session::{self, Ending, Terms};
use crate::signals::Signals;
use crate::tsc::Measurement;
use crate::units;

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
    qemu: PathBuf,
    module: Option<Module>,
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

    let boot_line = boot_line(run)?;
    let module = run.module().map(module::open).transpose()?;
    check_memory(run, module.as_ref())?;
    let qemu = discover::find(run.qemu.as_deref())?;
    progress.say(|| format!("QEMU is {}", qemu.display()));
    let image = QemuFile::from_bytes("hermit-wasm.img", image::X86_64)
        .map_err(|error| Failure::machine(format!("cannot keep the image in memory for QEMU: {error}")))?;
    let mut plan = Plan {
        run,
        qemu,
        module,
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
    plan.boot_line.tsc_mhz = measurement.finish();
    if run.print_command {
        return plan.print_command(decision.accelerator);
    }
    plan.boot(decision.accelerator, &signals)
}

fn boot_line(run: &Run) -> Result<BootLine, Failure> {
    Ok(BootLine {
        // Measured while other things are done, and filled in at the end.
        tsc_mhz: None,
        log: run.log.map(|level| level.name().to_string()),
        console: Console::Framed,
        terminals: terminals(),
        file: None,
        argv0: run.argv0()?,
        env: run.environment(|key| std::env::var_os(key))?,
        args: run.args()?,
    })
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
    let image = u64::try_from(image::X86_64.len()).unwrap_or(u64::MAX);
    let least = module.length.saturating_add(image).saturating_add(SYSTEM_MEMORY);
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
    fn setup<'a>(&'a self, accelerator: Accelerator, boot_line: &'a str) -> Setup<'a> {
        Setup {
            machine: self.run.machine,
            accelerator,
            memory: self.run.memory,
            memory_file: None,
            kernel: self.image.name(),
            initrd: self.module.as_ref().map(|module| module.file.name()),
            boot_line,
        }
    }

    /// The boot line as text, if the machine takes one that long.
    fn line(&self, boot_line: &BootLine) -> Result<String, Failure> {
        let line = boot_line.build();
        let machine = self.run.machine;
        if line.len() <= machine.longest_boot_line() {
            return Ok(line);
        }
        let other = crate::qemu::machine::Machine::Microvm;
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
            self.run.machine.name(),
            image::fingerprint(image::X86_64),
        );
        let verdict = match accel::look(self.run.accel, &memory)? {
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
        let report = session::run(&mut process, signals, &terms, None);
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
        match GuestMemory::new(size, self.run.machine.ram()) {
            Ok(memory) => Some(memory),
            Err(error) => {
                self.progress
                    .say(|| format!("the machine's memory is not shared: {error}"));
                None
            }
        }
    }

    /// Boots, and stays until the end.
    fn boot(&self, accelerator: Accelerator, signals: &Signals) -> Result<Outcome, Failure> {
        let memory = self.memory();
        let line = self.line(&BootLine {
            console: if memory.is_some() {
                Console::Shared
            } else {
                Console::Framed
            },
            ..self.boot_line.clone()
        })?;
        let mut setup = self.setup(accelerator, &line);
        setup.memory_file = memory.as_ref().map(GuestMemory::name);
        let mut process = self.start(&setup)?;
        let terms = Terms {
            deadline: self.deadline,
            boot_deadline: Instant::now() + longest_boot(accelerator),
            only_boot: false,
            show_text: self.run.verbose > 0 || self.run.log.is_some(),
            verbose: self.run.verbose,
        };
        let report = session::run(&mut process, signals, &terms, memory.as_ref());
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
        let kernel = keep(&directory, "hermit-wasm", "img", image::X86_64)?;
        let initrd = match (&self.module, self.run.module()) {
            (Some(module), Some(path)) => Some(lasting(&directory, module, path)?),
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
