//! What hypervisors can do, and the one place that refuses what one cannot.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use boot_protocol::arch::Arch;
use thiserror::Error;

use super::Vmm;
use crate::host::units::show_size;
use crate::spec::mounts::MountSource;
use crate::spec::run::Run;

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor, through /dev/kvm.
    Kvm,
    /// The hypervisor, by translation.
    Tcg,
}

impl Accelerator {
    /// Its name, as QEMU has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// How bulk data goes between guest and launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleKind {
    /// Frames on the serial line.
    Framed,
    /// Frames, and a buffer in memory that both sides see.
    SharedMemory,
}

/// What a hypervisor can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The machines it makes.
    pub architectures: &'static [Arch],
    /// What executes the guest.
    pub accelerators: &'static [Accelerator],
    /// Whether it hands the machine a payload of any size, with copies of directories, several modules or a recording
    /// in it.
    pub copies: bool,
    /// Whether the guest can see a directory of the host.
    pub directories: bool,
    /// Whether it can bound by how much such a directory grows.
    pub quotas: bool,
    /// The best console it has.
    pub console: ConsoleKind,
    /// Whether the machine can have a network device.
    pub network: bool,
    /// Whether its own exit status is the guest's exit code, without a launcher too.
    pub exit_code: bool,
    /// The machine's memory in bytes.
    pub memory: RangeInclusive<u64>,
    /// Whether it can be told by flags which of several machines to make (`--machine`).
    pub machines: bool,
    /// Whether it can print a command line that works without this program.
    pub commands: bool,
}

/// Something that a run needs of its hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// `--arch`.
    Architecture(Arch),
    /// `--accel`.
    Accelerator(Accelerator),
    /// `--copy-dir`.
    Copy,
    /// `--preload`.
    Preload,
    /// `--vmm`, for what was packed.
    Packed,
    /// What carries a recording into the machine, for `replay`.
    Replay,
    /// `--dir`.
    Directory,
    /// `--dir` with a quota.
    Quota,
    /// `--net`, `--publish`, `--tcplisten`.
    Network,
    /// `--memory`.
    Memory(u64),
    /// `--machine`.
    Machine,
    /// `--print-command`.
    Command,
}

impl Feature {
    /// The flag that asks for it, without dashes.
    const fn flag(self) -> &'static str {
        match self {
            Self::Architecture(_) => "arch",
            Self::Accelerator(_) => "accel",
            Self::Copy => "copy-dir",
            Self::Preload => "preload",
            Self::Packed | Self::Replay => "vmm",
            Self::Directory | Self::Quota => "dir",
            Self::Network => "net",
            Self::Memory(_) => "memory",
            Self::Machine => "machine",
            Self::Command => "print-command",
        }
    }
}

impl fmt::Display for Feature {
    /// What cannot be done: the rest of "NAME cannot …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Architecture(arch) => write!(f, "make {} machines here", arch.name()),
            Self::Accelerator(Accelerator::Tcg) => f.write_str("run without KVM"),
            Self::Accelerator(Accelerator::Kvm) => f.write_str("use KVM"),
            Self::Copy => f.write_str("hand the guest a copy of a directory"),
            Self::Preload => f.write_str("hand the machine more than one module"),
            Self::Packed => f.write_str("hand the machine what was packed"),
            Self::Replay => f.write_str("hand the machine a recording"),
            Self::Directory => f.write_str("show the guest a directory of this host"),
            Self::Quota => f.write_str("keep a directory of this host to a quota"),
            Self::Network => f.write_str("give the guest a network"),
            Self::Memory(bytes) => write!(f, "give a machine {} of memory", show_size(*bytes)),
            Self::Machine => f.write_str("choose among machines"),
            Self::Command => f.write_str("be started by a command alone"),
        }
    }
}

impl Capabilities {
    /// Whether it can do `feature`.
    #[must_use]
    pub fn has(&self, feature: Feature) -> bool {
        match feature {
            Feature::Architecture(arch) => self.architectures.contains(&arch),
            Feature::Accelerator(accelerator) => self.accelerators.contains(&accelerator),
            Feature::Copy | Feature::Preload | Feature::Packed | Feature::Replay => self.copies,
            Feature::Directory => self.directories,
            Feature::Quota => self.quotas,
            Feature::Network => self.network,
            Feature::Memory(bytes) => self.memory.contains(&bytes),
            Feature::Machine => self.machines,
            Feature::Command => self.commands,
        }
    }
}

/// A hypervisor cannot do what a run needs.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "--{}: {hypervisor} cannot {feature}{}",
    feature.flag(),
    match .instead {
        Some(other) => format!("; {other} can: --vmm {other}"),
        None => String::new(),
    }
)]
pub struct Unsupported {
    /// The one that cannot.
    pub hypervisor: &'static str,
    /// What.
    pub feature: Feature,
    /// One that can do all that the run needs, if there is one.
    pub instead: Option<&'static str>,
}

/// All that `run` needs of its hypervisor, besides what every one can do.
pub(crate) fn demands(run: &Run) -> Vec<Feature> {
    let mut demands = vec![
        Feature::Architecture(run.machine.arch),
        Feature::Memory(run.machine.memory),
    ];
    demands.extend(run.machine.accelerator.map(Feature::Accelerator));
    demands.extend(run.machine.kind.map(|_| Feature::Machine));
    demands.extend(run.packed.as_ref().map(|_| Feature::Packed));
    demands.extend(run.has_network().then_some(Feature::Network));
    demands.extend(run.replay.as_ref().map(|_| Feature::Replay));
    if !run.preloads.is_empty() {
        demands.push(Feature::Preload);
    }
    for mount in &run.mounts {
        match mount.source {
            MountSource::Tmpfs => {}
            MountSource::Copy(_) | MountSource::Files(_) => demands.push(Feature::Copy),
            MountSource::Dir(_) => {
                demands.push(Feature::Directory);
                demands.extend(mount.quota.map(|_| Feature::Quota));
            }
        }
    }
    demands
}

/// Refuses what `vmm` cannot do.
///
/// # Errors
/// [`Unsupported`] names the first of `demands` that it cannot meet, and one of `all` that meets every one.
pub(crate) fn refuse(vmm: &dyn Vmm, demands: &[Feature], all: &[Arc<dyn Vmm>]) -> Result<(), Unsupported> {
    let capabilities = vmm.capabilities();
    let Some(feature) = demands.iter().find(|feature| !capabilities.has(**feature)) else {
        return Ok(());
    };
    let able = |other: &&Arc<dyn Vmm>| {
        let capabilities = other.capabilities();
        demands.iter().all(|feature| capabilities.has(*feature))
    };
    Err(Unsupported {
        hypervisor: vmm.name(),
        feature: *feature,
        instead: all.iter().find(able).map(|other| other.name()),
    })
}
