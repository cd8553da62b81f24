//! What one process needs of the host, and how much of the jail is demanded for it.
//!
//! Layer: data.

use std::path::PathBuf;

use seccompiler::BpfProgram;

use super::{Calls, Limits};

/// How much of the jail a run demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jail {
    /// What every Linux has, and all else that this host has
    #[default]
    Auto,
    /// Every layer: without one of them, nothing runs
    Strict,
    /// Nothing: hypervisor and daemons run with all rights, and the environment, of this user
    Off,
}

impl Jail {
    /// All of them, the usual one first.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Strict, Self::Off];

    /// Its name, for the command line and for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Strict => "strict",
            Self::Off => "off",
        }
    }
}

/// What of the host's network a process reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// Nothing but the sockets that it is given.
    #[default]
    None,
    /// What this user reaches, but TCP at these ports only, where Landlock can say so. It listens nowhere.
    Ports(Vec<u16>),
    /// What this user reaches. It listens nowhere.
    All,
}

/// What one process needs of the host. All else is taken from it.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// How much of the jail is demanded.
    pub level: Jail,
    /// Which system calls it may make.
    pub calls: Calls,
    /// What it may use.
    pub limits: Limits,
    /// Capabilities that it keeps, if the launcher has them, as bits of capability(7)'s numbers. 0 for a hypervisor.
    pub capabilities: u64,
    /// Files that it reads, and directories with all below them.
    pub reads: Vec<PathBuf>,
    /// Files and directories that it changes.
    pub writes: Vec<PathBuf>,
    /// Devices that it uses.
    pub devices: Vec<PathBuf>,
    /// What it reaches of the network.
    pub network: Network,
    /// Whether it makes its own namespaces and its own root.
    pub confines_itself: bool,
    /// Whether it does so as root of a user namespace, in which the launching user is the only one.
    pub(crate) as_root: bool,
    /// Whether Landlock is all that walls it in.
    pub(crate) landlock_alone: bool,
    /// Whether it needs no data of its own besides its libraries: neither QEMU's, nor what lies beside the program.
    pub(crate) alone: bool,
    /// Where it starts; default: where the launcher is.
    pub(crate) directory: Option<PathBuf>,
    /// Filters of system calls on top of that of `calls`.
    pub(crate) filters: Vec<BpfProgram>,
}

impl Confinement {
    /// A process that needs nothing but its program and its descriptors.
    #[must_use]
    pub fn new(level: Jail) -> Self {
        Self {
            level,
            ..Self::default()
        }
    }

    /// Sets which system calls the process may make.
    #[must_use]
    pub fn calls(mut self, calls: Calls) -> Self {
        self.calls = calls;
        self
    }

    /// Sets what the process may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Lets the process read a file, or all below a directory.
    #[must_use]
    pub fn read(mut self, path: impl Into<PathBuf>) -> Self {
        self.reads.push(path.into());
        self
    }

    /// Lets the process change a file, or all below a directory.
    #[must_use]
    pub fn write(mut self, path: impl Into<PathBuf>) -> Self {
        self.writes.push(path.into());
        self
    }

    /// Lets the process use a device.
    #[must_use]
    pub fn device(mut self, path: impl Into<PathBuf>) -> Self {
        self.devices.push(path.into());
        self
    }

    /// Lets the process reach something of the network.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Shows the process its libraries and its program, and no data besides.
    #[must_use]
    pub(crate) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Leaves namespaces and root to the process itself.
    #[must_use]
    pub fn confines_itself(mut self) -> Self {
        self.confines_itself = true;
        self
    }

    /// Lets the process keep these capabilities, if the launcher has them.
    #[must_use]
    pub fn keeping(mut self, capabilities: u64) -> Self {
        self.capabilities = capabilities;
        self
    }
}
