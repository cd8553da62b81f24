//! QEMU: what it is given, how its accelerator is chosen, and how its machine is started.
//!
//! - `config`: the command line, by pure functions.
//! - `fit`: whether the payload can fit into the machine's memory.
//! - `missing`: what to do where there is none.
//! - `limits`: what QEMU may use of the host.
//! - `probe`: whether KVM works here.
//! - `shares`: the daemons of mounted directories.
//! - `standalone`: a command line that works without this program.

mod config;
mod fit;
mod limits;
mod missing;
pub(crate) mod probe;
mod shares;
mod slirp;
mod standalone;

use std::fs::File;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot_protocol::arch::Arch;
use boot_protocol::command_line::{self, CommandLine, Console};
use boot_protocol::payload;
use boot_protocol::run_spec;

pub use config::MachineKind;

use super::capabilities::{Accelerator, Capabilities, ConsoleKind};
use super::{Command, Machine, Prepared, Vmm};
use crate::error::{Error, StartError};
use crate::host::cgroup::Cgroup;
use crate::host::files::HostFile;
use crate::host::identity::{self, Identity};
use crate::host::image;
use crate::host::memory::{self, GuestMemory};
use crate::host::units::{show_duration, show_size};
use crate::host::virtiofsd::Daemon;
use crate::host::{program, shown};
use crate::jail::{Confinement, Jail};
use crate::relay::Relay;
use crate::session::streams::{self, Input, Output};
use crate::session::{self, Diagnostics, ExitReason, SessionConfig};
use crate::spec::engine::Engine;
use crate::spec::mounts::MountSource;
use crate::spec::payload::{self as host_payload, Payload};
use crate::spec::request::Request;
use config::{Connection, MemoryBackend, MountDevice, QemuConfig, Told, Wire};
use missing::{missing, usual_program};
pub(crate) use probe::Known;
use probe::{Decision, Probe, ProbeCache};

/// QEMU.
#[derive(Clone, Debug, Default)]
pub struct Qemu {
    /// Its program; default: `qemu-system-` with the architecture's name, in PATH.
    pub program: Option<PathBuf>,
    /// The virtiofsd program; default: the usual one.
    pub virtiofsd: Option<PathBuf>,
}

const NAME: &str = "qemu";

/// What messages call it.
const TITLE: &str = "QEMU";

/// Where Red Hat's distributions keep theirs for the host's architecture, outside of every search path.
const ELSEWHERE: &[&str] = &["/usr/libexec/qemu-kvm"];

/// How long a probe of KVM may take. It takes a fraction of a second where KVM works.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

impl Vmm for Qemu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            architectures: &Arch::ALL,
            accelerators: &[Accelerator::Kvm, Accelerator::Tcg],
            copies: true,
            directories: true,
            quotas: true,
            console: ConsoleKind::SharedMemory,
            network: true,
            exit_code: false,
            memory: 0..=u64::MAX,
            machines: true,
            commands: true,
        }
    }

    fn program(&self, arch: Arch) -> Result<PathBuf, StartError> {
        if let Some(name) = &self.program {
            return program::named("qemu", name);
        }
        program::search_path(Path::new(usual_program(arch)))
            .or_else(|| {
                let mut elsewhere = ELSEWHERE.iter().map(Path::new);
                elsewhere
                    .find_map(program::search_path)
                    .filter(|_| arch.is_hosts())
            })
            .ok_or_else(|| StartError::NotInstalled(missing(arch)))
    }

    fn prepare<'a>(&'a self, request: &'a Request<'a>) -> Result<Box<dyn Prepared + 'a>, Error> {
        let kind = kind(request)?;
        // Before anything is read or started: without it nothing can run.
        let image = request.image()?;
        let spec = lower(request)?;
        fit::check_module(request)?;
        let payload = match request.packed() {
            Some(packed) => host_payload::of_packed(packed, request.deadline())?,
            None => host_payload::build(&spec, request.programs(), &request.copies(), request.bounds())?,
        };
        fit::check_payload(request, payload.length)?;
        for warning in &payload.warnings {
            log::warn!("{warning}");
        }
        log::info!("the payload has {}", show_size(payload.length));
        if identity::is_wanted() {
            let identity = File::open(payload.file.name())
                .and_then(|payload| Identity::of(image, payload))
                .map_err(StartError::file("read the payload"))?;
            identity::log("the image, loader and application", &identity.image);
            identity::log("the payload", &identity.payload);
            identity::log("both, one behind the other", &identity.all);
        }
        let program = self.program(request.arch())?;
        let daemons = self.daemons(request, kind)?;
        let relay = request.relay()?;
        log::info!("QEMU is {}", shown::path(&program));
        let image = HostFile::from_bytes("hermit-wasm.img", image)
            .map_err(StartError::file("keep the image in memory for QEMU"))?;
        let mut prepared = PreparedQemu {
            request,
            kind,
            program,
            spec,
            payload,
            daemons,
            relay,
            image,
            accelerator: Accelerator::Tcg,
        };
        let decision = prepared.decide()?;
        log::info!(
            "accelerator is {}: {}",
            decision.accelerator.name(),
            decision.reason
        );
        prepared.accelerator = decision.accelerator;
        Ok(Box::new(prepared))
    }

    fn command(&self, request: &Request<'_>, directory: Option<&Path>) -> Result<String, Error> {
        standalone::command(self, request, directory)
    }
}

/// The usual QEMU for an architecture.
pub(crate) fn program(arch: Arch) -> Result<PathBuf, StartError> {
    Qemu::default().program(arch)
}

/// Its flags by which it confines itself.
pub(crate) const CONFINED: [&str; 2] = ["-sandbox", config::SANDBOX];

/// What is known of KVM without a trial: for machines of the host's own architecture, by the QEMU
/// that is named, or by the usual one.
pub(crate) fn kvm(named: Option<&Path>) -> Known {
    let own = Arch::ALL.into_iter().find(|arch| arch.is_hosts());
    let cache = own.and_then(|arch| {
        let image = image::of(arch, Engine::Interp).ok()?.fingerprint;
        Some(ProbeCache::new(
            &match named {
                Some(named) => named.to_path_buf(),
                None => program(arch).ok()?,
            },
            MachineKind::usual(arch).name(),
            image,
        ))
    });
    probe::known(cache.as_ref())
}

/// The machine to make.
fn kind(request: &Request<'_>) -> Result<MachineKind, Error> {
    let (arch, usual) = (request.arch(), MachineKind::usual(request.arch()));
    let kind = request.kind().unwrap_or(usual);
    if kind.is_of(arch) {
        return Ok(kind);
    }
    Err(Error::Invalid(format!(
        "--machine {}: --arch {} does not have this machine; use {} or omit --machine",
        kind.name(),
        arch.name(),
        usual.name()
    )))
}

/// The description of the run, for the machine: copies are members of the payload, directories are devices.
pub(crate) fn lower(request: &Request<'_>) -> Result<run_spec::RunSpec, Error> {
    let mut copies = 0..;
    let mut directories = 0..;
    request.spec(|_, source| {
        Ok(match source {
            MountSource::Tmpfs => run_spec::MountSource::Tmpfs { size: None },
            MountSource::Copy(_) | MountSource::Files(_) => run_spec::MountSource::Copy {
                member: payload::directory(copies.next().unwrap_or_default()),
            },
            MountSource::Dir(_) => run_spec::MountSource::VirtioFs {
                tag: tag(directories.next().unwrap_or_default()),
            },
        })
    })
}

/// What the machine calls the mounted directory `index`, counted from 0.
fn tag(index: usize) -> String {
    format!("mount-{index}")
}

/// A run that needs only to be started.
#[derive(Debug)]
struct PreparedQemu<'a> {
    request: &'a Request<'a>,
    kind: MachineKind,
    program: PathBuf,
    spec: run_spec::RunSpec,
    payload: Payload,
    daemons: Vec<Daemon>,
    relay: Option<Relay>,
    image: HostFile,
    accelerator: Accelerator,
}

impl PreparedQemu<'_> {
    /// Chooses the accelerator.
    fn decide(&self) -> Result<Decision, Error> {
        let cache = ProbeCache::new(
            &self.program,
            self.kind.name(),
            self.request.named_image()?.fingerprint,
        );
        match probe::decide(self.request.accelerator(), self.request.arch(), &cache)? {
            Probe::Decided(decision) => Ok(decision),
            Probe::Needed => {
                log::info!("trying KVM once; the result is remembered");
                let verdict = self.probe_kvm()?;
                cache.remember(&verdict);
                Ok(probe::judge(verdict))
            }
        }
    }

    /// Boots the image under KVM up to its first sign of life. An `Err` outside is one that TCG cannot help either.
    fn probe_kvm(&self) -> Result<Result<(), String>, Error> {
        let line = CommandLine {
            console: Console::Framed,
            ..CommandLine::default()
        }
        .build();
        let config = QemuConfig {
            accelerator: Accelerator::Kvm,
            initrd: None,
            ..self.config(&line)
        };
        let command = self.qemu(&config, []);
        let mut machine = Machine::spawn(TITLE, Accelerator::Kvm, &command)?;
        let config = SessionConfig {
            deadline: self.request.deadline().at(),
            boot_deadline: Instant::now() + PROBE_LIMIT,
            only_boot: true,
            show_text: false,
            show_hypervisor: false,
            recording: None,
            diagnostics: Diagnostics::Keep,
        };
        let (streams, _) = streams::open(Input::Null, Output::Null, Output::Null)
            .map_err(StartError::file("open /dev/null"))?;
        let report = session::run(&mut machine, self.request.interrupts(), &config, streams);
        let words = report.hypervisor.first_line();
        match report.reason {
            ExitReason::Started => Ok(Ok(())),
            ExitReason::Stopped(stop) => Err(Error::Stopped(stop)),
            ExitReason::Timeout => Err(self.request.deadline().error()),
            ExitReason::NeverStarted => Ok(Err(format!(
                "no sign of life within {}",
                show_duration(PROBE_LIMIT)
            ))),
            ExitReason::KvmFailed => Ok(Err("KVM internal error".to_string())),
            _ => Ok(Err(words.unwrap_or_else(|| "QEMU ended".to_string()))),
        }
    }

    fn config<'a>(&'a self, command_line: &'a str) -> QemuConfig<'a> {
        QemuConfig {
            arch: self.request.arch(),
            machine: self.kind,
            accelerator: self.accelerator,
            memory: self.request.memory(),
            backend: MemoryBackend::Private,
            kernel: self.image.name(),
            initrd: Some(self.payload.file.name()),
            payload: self.payload.length,
            mounts: &[],
            network: None,
            command_line,
            sandbox: self.request.jail() != Jail::Off,
            told: Told {
                wall_clock: true,
                frequency: false,
            },
        }
    }

    /// The kernel command line. What was packed describes itself, and what this run says besides stands there in words.
    fn command_line(&self, line: &CommandLine) -> Result<String, Error> {
        if self.request.packed().is_none() {
            return Ok(line.build());
        }
        let words = line
            .words_with(&self.spec)
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let line = command_line::join(words);
        let longest = self.kind.longest_command_line();
        if line.len() > longest {
            return Err(Error::Invalid(format!(
                "arguments and options take {} bytes, but a packed file under --machine {} can be given at most {longest}",
                line.len(),
                self.kind.name()
            )));
        }
        Ok(line)
    }

    /// QEMU with what it inherits: the image, the payload, and `more`.
    fn qemu<'a>(
        &'a self,
        config: &QemuConfig<'_>,
        more: impl IntoIterator<Item = BorrowedFd<'a>>,
    ) -> Command<'a> {
        let files = [&self.image, &self.payload.file];
        let confinement = self.request.confinement().limits(limits::limits(config));
        let confinement = files
            .into_iter()
            .filter_map(HostFile::path)
            .fold(confinement, Confinement::read);
        Command {
            program: self.program.clone(),
            arguments: config.arguments(),
            descriptors: files
                .into_iter()
                .filter_map(HostFile::inherit)
                .chain(more)
                .collect(),
            confinement: match config.accelerator {
                Accelerator::Kvm => confinement.device(probe::DEVICE),
                Accelerator::Tcg => confinement,
            },
        }
    }

    /// Memory for the machine that this program sees too; without it the console is only slower.
    fn memory(&self) -> Option<GuestMemory> {
        let size = memory::rounded(self.request.memory());
        match GuestMemory::new(size, self.kind.ram(self.request.arch())) {
            Ok(memory) => Some(memory),
            Err(error) => {
                log::info!("the machine's memory is not shared: {error}");
                None
            }
        }
    }

    /// A cgroup for QEMU, where one can be made: its own limits hold without it.
    fn cgroup(&self, most: u64) -> Option<Cgroup> {
        if self.request.jail() == Jail::Off {
            return None;
        }
        match Cgroup::new(most) {
            Ok(cgroup) => {
                log::info!("QEMU's memory is bounded by a cgroup, too: {}", show_size(most));
                Some(cgroup)
            }
            Err(reason) => {
                log::info!("QEMU's memory is bounded by its own limits alone: {reason}");
                None
            }
        }
    }

    /// The mounted directories as QEMU is told of them.
    fn mounts(&self, memory_is_shared: bool) -> Result<Vec<MountDevice>, Error> {
        if !self.daemons.is_empty() && !memory_is_shared {
            return Err(StartError::Virtiofsd(
                "--dir: this system has no memory files or no /proc, without which a directory cannot be mounted; \
                 --copy-dir gives the guest a copy"
                    .to_string(),
            )
            .into());
        }
        let connections = self.daemons.iter().filter_map(Daemon::connection).enumerate();
        let device = |(index, connection): (usize, BorrowedFd<'_>)| MountDevice {
            connection: Connection::Inherited(connection.as_raw_fd()),
            tag: tag(index),
        };
        Ok(connections.map(device).collect())
    }
}

impl Prepared for PreparedQemu<'_> {
    fn spawn(self: Box<Self>) -> Result<Machine, Error> {
        let memory = self.memory();
        let tsc_mhz = self.request.tsc_mhz();
        let line = CommandLine {
            tsc_mhz,
            log: self.request.log(),
            console: match memory {
                Some(_) => Console::SharedMemory,
                None => Console::Framed,
            },
            spec: None,
        };
        let line = self.command_line(&line)?;
        let mounts = self.mounts(memory.is_some())?;
        let wire = self.relay.as_ref().and_then(Relay::wire);
        let config = QemuConfig {
            backend: match &memory {
                Some(memory) => MemoryBackend::File(memory.name()),
                None => MemoryBackend::Private,
            },
            mounts: &mounts,
            network: wire.map(|wire| Wire::Inherited(wire.as_raw_fd())),
            told: Told {
                wall_clock: true,
                frequency: tsc_mhz.is_some(),
            },
            ..self.config(&line)
        };
        let inherited = memory.iter().map(GuestMemory::inherit);
        let connections = self.daemons.iter().filter_map(Daemon::connection);
        let mut command = self.qemu(&config, inherited.chain(connections).chain(wire));
        let cgroup = self.cgroup(limits::most(&config));
        command.confinement.limits.cgroup = cgroup.as_ref().map(Cgroup::processes);
        let mut machine = Machine::spawn(TITLE, self.accelerator, &command)?;
        drop(command);
        machine.cgroup = cgroup;
        let Self {
            payload,
            image,
            mut daemons,
            mut relay,
            ..
        } = *self;
        if let Some(relay) = &mut relay {
            relay.handed_over();
        }
        for daemon in &mut daemons {
            daemon.handed_over();
        }
        machine.memory = memory;
        machine.payload = Some(payload.file);
        machine.daemons = daemons;
        machine.relay = relay;
        // In memory it is QEMU's alone from here on, and goes with QEMU.
        Ok(machine.keeping(Some(image).filter(|image| image.path().is_some())))
    }
}
