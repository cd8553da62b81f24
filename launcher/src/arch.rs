//! The architectures of virtual machines: their images, which this program carries, and their QEMU.

use clap::ValueEnum;

use crate::qemu::machine::Machine;

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// x86-64
    #[value(name = "x86_64")]
    X86_64,
    /// Arm, 64 bits
    #[value(name = "aarch64")]
    Aarch64,
    /// RISC-V, 64 bits
    #[value(name = "riscv64")]
    Riscv64,
}

impl Arch {
    /// This host's, if there is an image for it; else the first, which QEMU translates.
    pub(crate) const fn host() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Aarch64
        } else if cfg!(target_arch = "riscv64") {
            Self::Riscv64
        } else {
            Self::X86_64
        }
    }

    /// Whether this host executes its instructions itself.
    pub(crate) const fn is_hosts(self) -> bool {
        match self {
            Self::X86_64 => cfg!(target_arch = "x86_64"),
            Self::Aarch64 => cfg!(target_arch = "aarch64"),
            Self::Riscv64 => cfg!(target_arch = "riscv64"),
        }
    }

    /// Its name in flags and messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }

    /// The machine that QEMU is unless another is asked for.
    pub(crate) const fn usual_machine(self) -> Machine {
        match self {
            Self::X86_64 => Machine::Microvm,
            Self::Aarch64 | Self::Riscv64 => Machine::Virt,
        }
    }

    /// The usual name of the QEMU program.
    pub(crate) const fn qemu(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
            Self::Riscv64 => "qemu-system-riscv64",
        }
    }

    /// The packages that have it: of Debian and Ubuntu, Fedora, and Arch Linux.
    pub(crate) const fn packages(self) -> [&'static str; 3] {
        match self {
            Self::X86_64 => ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86"],
            Self::Aarch64 => [
                "qemu-system-arm",
                "qemu-system-aarch64-core",
                "qemu-system-aarch64",
            ],
            Self::Riscv64 => ["qemu-system-misc", "qemu-system-riscv-core", "qemu-system-riscv"],
        }
    }
}
