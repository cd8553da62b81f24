//! The architectures that images are built for, and what differs between them.

use clap::ValueEnum;

/// A target architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// x86-64.
    #[value(name = "x86_64")]
    X86_64,
    /// Arm, 64 bits.
    #[value(name = "aarch64")]
    Aarch64,
    /// RISC-V, 64 bits.
    #[value(name = "riscv64")]
    Riscv64,
}

impl Arch {
    /// Every architecture.
    pub(crate) const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Riscv64];

    /// The name in target triples, folders and flags.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }

    /// This machine's, if it is one of them; else the first, which QEMU translates.
    pub(crate) const fn host() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Aarch64
        } else if cfg!(target_arch = "riscv64") {
            Self::Riscv64
        } else {
            Self::X86_64
        }
    }

    /// The kernel's target: soft-float, without an operating system. On riscv64 there is none that is soft-float;
    /// the kernel saves the floating-point registers there.
    pub(crate) fn kernel_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-none",
            Self::Aarch64 => "aarch64-unknown-none-softfloat",
            Self::Riscv64 => "riscv64gc-unknown-none-elf",
        }
    }

    /// The application's target.
    pub(crate) fn app_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-hermit",
            Self::Aarch64 => "aarch64-unknown-hermit",
            Self::Riscv64 => "riscv64gc-unknown-hermit",
        }
    }

    /// Flags for rustc when it compiles the kernel: the application is relocated when it is loaded, which these
    /// bare-metal targets are not made for unless they are told.
    pub(crate) fn kernel_flags(self) -> &'static str {
        match self {
            Self::X86_64 => "",
            Self::Aarch64 | Self::Riscv64 => " -Crelocation-model=pic",
        }
    }

    /// Flags for rustc when it compiles the application.
    ///
    /// aarch64: the target forbids unaligned accesses, so that each 8-byte load from a byte array becomes eight
    /// loads of a byte, which is most of what an interpreter does. Kernel and loader allow them (SCTLR_EL1.A is 0).
    /// riscv64: the same, without a flag of the target that says so. Processors may leave unaligned accesses to the
    /// firmware, which is slow but right; QEMU does them.
    ///
    /// rustc warns of both, for each crate and again whenever cargo repeats what it said; and nothing but silence for all
    /// warnings silences that. The x86_64 build shows those of our own code, and clippy denies them on every architecture.
    pub(crate) fn app_flags(self) -> &'static str {
        match self {
            Self::X86_64 => "",
            Self::Aarch64 => "-Ctarget-feature=-strict-align -Awarnings",
            Self::Riscv64 => "-Ctarget-feature=+unaligned-scalar-mem -Awarnings",
        }
    }

    /// Whether hypervisors take Linux's kernel image rather than an ELF file: QEMU hands no boot module to the latter
    /// on Arm.
    pub(crate) fn boots_flat_image(self) -> bool {
        self == Self::Aarch64
    }

    /// What the linker wants to be told when it joins the kernel's objects.
    pub(crate) fn linker_emulation(self) -> &'static str {
        match self {
            Self::X86_64 => "elf_x86_64",
            Self::Aarch64 => "aarch64linux",
            Self::Riscv64 => "elf64lriscv",
        }
    }
}
