//! A run's description: its fields, each with its record, and what is refused of them. A new field is added here, and
//! read in `decode`.
//!
//! Layer: wire format; numbers are little-endian, texts are UTF-8 without zero bytes.
//!
//! ```text
//! 0  4  MAGIC, "HWRS"
//! 4  2  VERSION
//! 6     records, up to the end:
//!       0  2  kind
//!       2  4  length of the value
//!       6     value
//!
//! kind  value                                                                           how many
//! 1     module: 0 = the payload's, 1 = the embedded one, 2 + path                       1
//! 2     argument: text                                                                  any, in order
//! 3     environment variable: NAME=VALUE                                                any, in order
//! 4     mount: source (0 tmpfs, 1 copy, 2 virtio-fs, 3 uhyve), access (0 read and
//!       write, 1 read), length of the source's name (4 bytes), that name, guest's path; any, in order
//!       a tmpfs has its size there (8 bytes), or nothing
//! 5     terminals: bit 0 standard input, bit 1 standard output, bit 2 standard error    1
//! 6     log level: 0 off, 1 error, 2 warn, 3 info, 4 debug, 5 trace                     0 or 1
//! 7     entry: the name of the exported function that is called in place of _start     0 or 1
//! 8     preload: length of a name (4 bytes), that name, member of the payload           any, in order
//! 9     limit: which (1 byte, the place in Limit::ALL), value (8 bytes)                 each 0 or 1
//! 10    growth that fails traps: no bytes                                               0 or 1
//! 11    deterministic: seed (8 bytes)                                                   0 or 1
//! 12    trace: 0 = recorded, 1 = replayed from the payload's recording                  0 or 1
//! 13    flags: bit 0 the entry is invoked, bit 1 the run may be widened                 0 or 1
//! 14    open variable: its name                                                         any, in order
//! 15    network: bits (bit 0 no relay at its other end, bit 1 the host's is inherited,  0 or 1
//!       bit 2 any name may be looked up); then nothing (DHCP), or the IPv4 address
//!       (4 bytes), the prefix' length (1 byte) and the router's address (0 or 4 bytes)
//! 16    grant: text, NAME:PORT[/udp][=TARGET]                                           any, in order
//! 17    listener: port (2 bytes), address (4 or 16 bytes)                               any, in order
//! 18    published port: 0 TCP, 1 UDP; port (2 bytes)                                    any, in order
//! ```
//!
//! A reader refuses what it does not know, so that an old image never drops a limit that it has not heard of.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{
    Access, Limit, Limits, LogLevel, ModuleSource, Mount, MountSource, Network, Preload, SpecError,
    Terminals, Tracing,
};

/// Begins every description of a run.
pub const MAGIC: [u8; 4] = *b"HWRS";

/// The version that this program writes and reads.
pub const VERSION: u16 = 3;

/// Most bytes of a linear memory in a deterministic run, unless it is said.
pub const DETERMINISTIC_MEMORY: u64 = 128 << 20;

/// Longest text: half of what a length can say, since a record may hold two.
const LONGEST: usize = 1 << 30;

pub(super) const MODULE: u16 = 1;
pub(super) const ARGUMENT: u16 = 2;
pub(super) const VARIABLE: u16 = 3;
pub(super) const MOUNT: u16 = 4;
pub(super) const TERMINALS: u16 = 5;
pub(super) const LOG: u16 = 6;
pub(super) const ENTRY: u16 = 7;
pub(super) const PRELOAD: u16 = 8;
pub(super) const LIMIT: u16 = 9;
pub(super) const GROWTH: u16 = 10;
pub(super) const DETERMINISTIC: u16 = 11;
pub(super) const TRACING: u16 = 12;
pub(super) const FLAGS: u16 = 13;
pub(super) const OPEN: u16 = 14;
pub(super) const NETWORK: u16 = 15;
pub(super) const GRANT: u16 = 16;
pub(super) const LISTENER: u16 = 17;
pub(super) const PUBLISHED: u16 = 18;

/// One description of a run.
///
/// `{:?}` shows of arguments their number and of variables their names: their values may be secrets, and logs are kept.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RunSpec {
    /// Where the module is.
    pub module: ModuleSource,
    /// The guest's arguments, `argv[0]` first. None: `argv[0]` is [`ModuleSource::default_name`].
    pub argv: Vec<String>,
    /// The guest's environment, in order: names and values. See [`unique_variables`](super::unique_variables).
    pub env: Vec<(String, String)>,
    /// The names of variables that, once this is packed, whoever runs it may give. None of them is in `env`.
    pub open: Vec<String>,
    /// The guest's directories, its descriptors 3, 4, …: in order.
    pub mounts: Vec<Mount>,
    /// Which of the guest's standard streams are terminals.
    pub terminals: Terminals,
    /// Which messages of the application and the kernel are shown; `None`: the usual ones.
    pub log: Option<LogLevel>,
    /// The exported function that is called in place of `_start`, with the guest's arguments behind `argv[0]` as its
    /// own; its results are printed. As wasmtime's `--invoke`.
    pub entry: Option<String>,
    /// Whether a person has named the entry for this run: wasmtime's warnings about that are printed, too.
    pub invoked: bool,
    /// Modules that are instantiated before, in order, and whose exports the later ones import by name.
    pub preloads: Vec<Preload>,
    /// What the guest may use up.
    pub limits: Limits,
    /// The same output on every run: clocks that count what is executed, and random numbers made of this seed.
    pub deterministic: Option<u64>,
    /// Whether what the guest's calls answer is recorded, or taken from a recording.
    pub tracing: Option<Tracing>,
    /// Whether this, once packed, may be given more than it says. See [`RunSpec::narrowed`].
    pub may_be_widened: bool,
    /// What the guest has of a network. `None`: nothing, and the machine has no network device. In a box, since a run
    /// without one moves this, too, and each byte of it takes an instruction.
    pub network: Option<Box<Network>>,
}

impl fmt::Debug for RunSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("RunSpec")
            .field("module", &self.module)
            .field("argv", &format_args!("{} arguments", self.argv.len()))
            .field("env", &format_args!("values of {names:?}"))
            .field("open", &self.open)
            .field("mounts", &self.mounts)
            .field("terminals", &self.terminals)
            .field("log", &self.log)
            .field("entry", &self.entry)
            .field("preloads", &self.preloads)
            .field("limits", &self.limits)
            .field("deterministic", &self.deterministic)
            .field("tracing", &self.tracing)
            .field("invoked", &self.invoked)
            .field("may_be_widened", &self.may_be_widened)
            .field("network", &self.network)
            .finish()
    }
}

/// A kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Where the module is.
    Module,
    /// One of the guest's arguments.
    Argument,
    /// One of the guest's environment variables.
    Variable,
    /// One of the variables that whoever runs it may give.
    Open,
    /// One of the guest's directories.
    Mount,
    /// Which standard streams are terminals.
    Terminals,
    /// The log's level.
    Log,
    /// The function that is called.
    Entry,
    /// A module that is instantiated before.
    Preload,
    /// One of the limits.
    Limit,
    /// Growth that fails traps.
    Growth,
    /// The seed of a deterministic run.
    Deterministic,
    /// Whether calls are recorded or replayed.
    Tracing,
    /// What is or is not.
    Flags,
    /// What the guest has of a network.
    Network,
    /// What it may connect to.
    Grant,
    /// A listener that is open when it starts.
    Listener,
    /// A port of its that is reachable.
    Published,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Module => "module",
            Self::Argument => "argument",
            Self::Variable => "environment variable",
            Self::Open => "open variable",
            Self::Mount => "mount",
            Self::Terminals => "terminals",
            Self::Log => "log level",
            Self::Entry => "entry",
            Self::Preload => "preload",
            Self::Limit => "limit",
            Self::Growth => "trap on grow failure",
            Self::Deterministic => "deterministic",
            Self::Tracing => "trace",
            Self::Flags => "flags",
            Self::Network => "network",
            Self::Grant => "grant",
            Self::Listener => "listener",
            Self::Published => "published port",
        })
    }
}

impl RunSpec {
    /// The description as bytes. Only what passes [`Self::check`] is read back.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Each by its name, so that the compiler misses a field which is not encoded.
        let Self {
            module,
            argv,
            env,
            open,
            mounts,
            terminals,
            log,
            entry,
            invoked,
            preloads,
            limits,
            deterministic,
            tracing,
            may_be_widened,
            network,
        } = self;
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        match module {
            ModuleSource::Payload => record(&mut out, MODULE, &[&[0]]),
            ModuleSource::Embedded => record(&mut out, MODULE, &[&[1]]),
            ModuleSource::Path(path) => record(&mut out, MODULE, &[&[2], path.as_bytes()]),
        }
        let Terminals {
            stdin,
            stdout,
            stderr,
        } = *terminals;
        let bits = u8::from(stdin) | u8::from(stdout) << 1 | u8::from(stderr) << 2;
        record(&mut out, TERMINALS, &[&[bits]]);
        if let Some(level) = *log {
            record(&mut out, LOG, &[&[level as u8]]);
        }
        for argument in argv {
            record(&mut out, ARGUMENT, &[argument.as_bytes()]);
        }
        for (name, value) in env {
            record(&mut out, VARIABLE, &[name.as_bytes(), b"=", value.as_bytes()]);
        }
        for name in open {
            record(&mut out, OPEN, &[name.as_bytes()]);
        }
        for mount in mounts {
            encode_mount(&mut out, mount);
        }
        if let Some(name) = entry {
            record(&mut out, ENTRY, &[name.as_bytes()]);
        }
        for Preload { name, member } in preloads {
            let length = length_bytes(name.len());
            record(&mut out, PRELOAD, &[&length, name.as_bytes(), member.as_bytes()]);
        }
        for (limit, value) in limits.iter() {
            record(&mut out, LIMIT, &[&[limit as u8], &value.to_le_bytes()]);
        }
        if limits.trap_on_grow_failure {
            record(&mut out, GROWTH, &[]);
        }
        if let Some(seed) = deterministic {
            record(&mut out, DETERMINISTIC, &[&seed.to_le_bytes()]);
        }
        if let Some(tracing) = *tracing {
            record(&mut out, TRACING, &[&[tracing as u8]]);
        }
        if let flags @ 1.. = u8::from(*invoked) | u8::from(*may_be_widened) << 1 {
            record(&mut out, FLAGS, &[&[flags]]);
        }
        if let Some(network) = network {
            network.encode(&mut out);
        }
        out
    }
}

impl RunSpec {
    /// Whether the machine has to be given a payload besides this description: a module, preloads, copies of directories,
    /// or a recording.
    #[must_use]
    pub fn has_payload(&self) -> bool {
        let copy = |mount: &Mount| matches!(mount.source, MountSource::Copy { .. });
        self.module == ModuleSource::Payload
            || self.mounts.iter().any(copy)
            || !self.preloads.is_empty()
            || self.tracing == Some(Tracing::Replay)
    }

    /// What the guest may use up. Of a deterministic run, a memory's size too, whatever the machine has.
    #[must_use]
    pub fn held_limits(&self) -> Limits {
        let mut limits = self.limits;
        if self.deterministic.is_some() && limits.get(Limit::Memory).is_none() {
            limits.set(Limit::Memory, Some(DETERMINISTIC_MEMORY));
        }
        limits
    }

    /// How many bytes of the machine's memory a deterministic run must find free when it begins: a linear memory as
    /// large as it may be, and half as much for files in memory. `None`: the run is not deterministic.
    #[must_use]
    pub fn memory_to_be_free(&self) -> Option<u64> {
        self.deterministic?;
        let memory = self.held_limits().get(Limit::Memory)?;
        Some(memory.saturating_add(memory / 2))
    }

    /// Checks what the types do not: that each value can reach a guest, and that none contradicts another.
    ///
    /// # Errors
    /// [`SpecError`] names the first value that cannot, which is what [`Self::decode`] would say of it.
    pub fn check(&self) -> Result<(), SpecError> {
        if let ModuleSource::Path(path) = &self.module {
            check_text(Record::Module, path)?;
            not_empty(Record::Module, path)?;
        }
        for argument in &self.argv {
            check_text(Record::Argument, argument)?;
        }
        if let Some(name) = &self.entry {
            check_text(Record::Entry, name)?;
        }
        self.check_preloads()?;
        self.check_env()?;
        self.check_mounts()?;
        match &self.network {
            None => Ok(()),
            // What comes from a network is another on every run.
            Some(_) if self.deterministic.is_some() || self.tracing.is_some() => {
                Err(SpecError::NetworkOfATrace)
            }
            Some(network) => network.check(),
        }
    }

    fn check_preloads(&self) -> Result<(), SpecError> {
        let mut names = BTreeMap::new();
        for (index, Preload { name, member }) in self.preloads.iter().enumerate() {
            check_text(Record::Preload, name)?;
            check_text(Record::Preload, member)?;
            not_empty(Record::Preload, member)?;
            if names.insert(name.as_str(), index).is_some() {
                return Err(SpecError::DuplicatePreload(name.clone()));
            }
        }
        Ok(())
    }

    fn check_env(&self) -> Result<(), SpecError> {
        for (_, value) in &self.env {
            check_text(Record::Variable, value)?;
        }
        let mut names = BTreeMap::new();
        let given = self.env.iter().map(|(name, _)| name);
        for (index, name) in given.chain(&self.open).enumerate() {
            check_text(Record::Variable, name)?;
            if name.is_empty() || name.contains('=') {
                return Err(SpecError::VariableName(name.clone()));
            }
            if names.insert(name.as_str(), index).is_some() {
                return Err(SpecError::DuplicateVariable(name.clone()));
            }
        }
        Ok(())
    }

    fn check_mounts(&self) -> Result<(), SpecError> {
        let mut paths = BTreeMap::new();
        for (index, mount) in self.mounts.iter().enumerate() {
            if let Some(source) = mount.source.name() {
                check_text(Record::Mount, source)?;
                not_empty(Record::Mount, source)?;
            }
            check_text(Record::Mount, &mount.guest)?;
            not_empty(Record::Mount, &mount.guest)?;
            if paths.insert(mount.guest.as_str(), index).is_some() {
                return Err(SpecError::DuplicateMount(mount.guest.clone()));
            }
        }
        Ok(())
    }
}

/// WASI's strings end with a zero byte, and a value's length has to fit into its record.
fn check_text(record: Record, text: &str) -> Result<(), SpecError> {
    if text.as_bytes().contains(&0) {
        return Err(SpecError::Nul(record));
    }
    if text.len() > LONGEST {
        return Err(SpecError::TooLong(record));
    }
    Ok(())
}

fn not_empty(record: Record, text: &str) -> Result<(), SpecError> {
    if text.is_empty() {
        return Err(SpecError::Value(record, "a name that is not empty"));
    }
    Ok(())
}

/// Appends a record whose value is `parts`, one after the other.
pub(super) fn record(out: &mut Vec<u8>, kind: u16, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum();
    out.extend(kind.to_le_bytes());
    out.extend(length_bytes(length));
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// A length that [`RunSpec::check`] has not refused fits.
fn length_bytes(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn encode_mount(out: &mut Vec<u8>, mount: &Mount) {
    let source = match mount.source {
        MountSource::Tmpfs { .. } => 0,
        MountSource::Copy { .. } => 1,
        MountSource::VirtioFs { .. } => 2,
        MountSource::UhyveMap { .. } => 3,
    };
    let access = match mount.access {
        Access::ReadWrite => 0,
        Access::ReadOnly => 1,
    };
    let size = match mount.source {
        MountSource::Tmpfs { size } => size.map(u64::to_le_bytes),
        _ => None,
    };
    let name = match (&size, mount.source.name()) {
        (Some(size), _) => size.as_slice(),
        (None, name) => name.unwrap_or_default().as_bytes(),
    };
    record(
        out,
        MOUNT,
        &[
            &[source, access],
            &length_bytes(name.len()),
            name,
            mount.guest.as_bytes(),
        ],
    );
}
