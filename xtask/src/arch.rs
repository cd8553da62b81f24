//! The architectures that images are built for, and what differs between them.

use clap::ValueEnum;

/// A target architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    /// x86-64.
    #[value(name = "x86_64")]
    X86_64,
}

impl Arch {
    /// Every architecture.
    pub(crate) const ALL: [Self; 1] = [Self::X86_64];

    /// The name in target triples and folders.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
        }
    }

    /// The kernel's target: soft-float, without an operating system.
    pub(crate) fn kernel_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-none",
        }
    }

    /// The application's target.
    pub(crate) fn app_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-hermit",
        }
    }

    /// What the linker wants to be told when it joins the kernel's objects.
    pub(crate) fn linker_emulation(self) -> &'static str {
        match self {
            Self::X86_64 => "elf_x86_64",
        }
    }
}
