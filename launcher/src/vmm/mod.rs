//! Hypervisors behind one trait: what each can do, how a run is prepared for it, how its machine is started.
//!
//! - [`capabilities`]: what hypervisors can do, and what is said where one cannot.
//! - `process`: a hypervisor as a running process.
//! - [`qemu`], [`uhyve`]: one room each. They borrow nothing from each other.
//!
//! `docs/adding-a-hypervisor.md` is the recipe for another one.

pub mod capabilities;
pub(crate) mod process;
pub mod qemu;
pub mod uhyve;

use std::ffi::OsString;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use boot_protocol::arch::Arch;
use boot_protocol::command_line::quote;
use tempfile::TempDir;

use crate::error::{Error, MachineFailure, StartError};
use crate::host::cgroup::Cgroup;
use crate::host::files::HostFile;
use crate::host::memory::GuestMemory;
use crate::host::virtiofsd::Daemon;
use crate::jail::{Confinement, Jail};
use crate::relay::Relay;
use crate::spec::request::Request;
use capabilities::{Accelerator, Capabilities};
use process::Process;

/// A hypervisor.
pub trait Vmm: fmt::Debug + Send + Sync {
    /// Its name, as `--vmm` takes it.
    fn name(&self) -> &'static str;

    /// What it can do. What a run needs beyond that is refused before anything else is asked of the hypervisor.
    fn capabilities(&self) -> Capabilities;

    /// Its program for machines of that architecture, if it can be used here.
    ///
    /// # Errors
    /// It is not installed, or this host lacks what it needs; the message says what to do.
    fn program(&self, arch: Arch) -> Result<PathBuf, StartError>;

    /// Makes ready what the machine needs: files, daemons, the accelerator. The machine does not run yet.
    ///
    /// # Errors
    /// What the run needs cannot be made ready.
    fn prepare<'a>(&'a self, request: &'a Request<'a>) -> Result<Box<dyn Prepared + 'a>, Error>;

    /// A command line that runs the same without this program. Asked only of those whose capabilities have it.
    /// `directory` is where the files go that the command needs; without one it names them as they are usually called.
    ///
    /// # Errors
    /// No such command can be given, or its files cannot be written.
    fn command(&self, request: &Request<'_>, directory: Option<&Path>) -> Result<String, Error> {
        let _ = (request, directory);
        Err(Error::Invalid(format!("{} prints no commands", self.name())))
    }
}

/// A run that needs only to be started.
pub trait Prepared {
    /// Starts the machine, on the thread that will wait for its end.
    ///
    /// # Errors
    /// The hypervisor's program cannot be started.
    fn spawn(self: Box<Self>) -> Result<Machine, Error>;
}

/// A machine that runs: a process whose standard input and output are the machine's serial line.
#[derive(Debug)]
pub struct Machine {
    /// The hypervisor's name.
    pub(crate) hypervisor: &'static str,
    /// What executes the guest.
    pub(crate) accelerator: Accelerator,
    pub(crate) process: Process,
    /// Most private memory that the process may use, in bytes, if there is a limit.
    pub(crate) most_data: Option<u64>,
    /// The machine's memory, if this program owns it.
    pub(crate) memory: Option<GuestMemory>,
    /// A file of which the machine has a copy in its memory once the application has started.
    pub(crate) payload: Option<HostFile>,
    /// The daemons of mounted directories.
    pub(crate) daemons: Vec<Daemon>,
    /// The host's end of the guest's network, if it has one.
    pub(crate) relay: Option<Relay>,
    /// How long the machine may take to its first sign of life.
    pub(crate) boot_limit: Duration,
    /// What to say of a machine that ended before the application had started, given the hypervisor's own words.
    pub(crate) explain: Option<fn(&str) -> MachineFailure>,
    /// A directory that is deleted when the process has ended.
    pub(crate) directory: Option<TempDir>,
    /// Files that must last as long as the process.
    _files: Vec<HostFile>,
    /// The cgroup that the process is in. The last, since it can be removed only when the process is gone.
    pub(crate) cgroup: Option<Cgroup>,
}

/// A hypervisor's program with its arguments and what it inherits.
#[derive(Debug)]
pub struct Command<'a> {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Descriptors that it inherits, under the numbers that they have here.
    pub descriptors: Vec<BorrowedFd<'a>>,
    /// What it needs of this host besides: [`Request::confinement`] for nothing.
    pub confinement: Confinement,
}

impl Command<'_> {
    /// The command line as one would type it, for people and shells to read.
    #[must_use]
    pub fn show(&self) -> String {
        let mut line = quote(&self.program.to_string_lossy()).into_owned();
        for argument in &self.arguments {
            line.push(' ');
            line.push_str(&quote(&argument.to_string_lossy()));
        }
        line
    }
}

/// A boot that hangs must not hang for ever. Generous, since the host may be busy; fractions of a second are usual.
const fn boot_limit(accelerator: Accelerator) -> Duration {
    match accelerator {
        Accelerator::Kvm => Duration::from_secs(30),
        Accelerator::Tcg => Duration::from_secs(120),
    }
}

impl Machine {
    /// Starts `command`, whose standard input and output are the machine's serial line.
    ///
    /// The process is killed when the thread that calls this ends.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(
        hypervisor: &'static str,
        accelerator: Accelerator,
        command: &Command<'_>,
    ) -> Result<Self, Error> {
        log::info!("{}", command.show());
        let process = Process::start(command).map_err(|source| StartError::Spawn {
            name: hypervisor,
            path: command.program.clone(),
            source,
        })?;
        log::info!("the jail of {hypervisor}: {}", process.jail);
        if process.jail.is_without_wall() {
            log::warn!(
                "this host gives no wall around files, neither namespaces nor Landlock: a machine that takes {hypervisor} over \
                 has this user's files; 'hermit-wasm check' says what is missing"
            );
        }
        Ok(Self {
            most_data: match command.confinement.level {
                Jail::Off => None,
                _ => command.confinement.limits.data,
            },
            ..Self::of(hypervisor, accelerator, process)
        })
    }

    /// A machine that is a process and nothing else.
    pub(crate) fn of(hypervisor: &'static str, accelerator: Accelerator, process: Process) -> Self {
        Self {
            hypervisor,
            accelerator,
            process,
            most_data: None,
            memory: None,
            payload: None,
            daemons: Vec::new(),
            relay: None,
            boot_limit: boot_limit(accelerator),
            explain: None,
            directory: None,
            _files: Vec::new(),
            cgroup: None,
        }
    }

    /// Keeps files until the machine's end.
    pub(crate) fn keeping(mut self, files: impl IntoIterator<Item = HostFile>) -> Self {
        self._files.extend(files);
        self
    }
}

/// The hypervisors of this crate, in the order in which `auto` tries them.
#[must_use]
pub fn all() -> [Arc<dyn Vmm>; 2] {
    [Arc::new(qemu::Qemu::default()), Arc::new(uhyve::Uhyve::default())]
}
