//! The architectures that a virtual machine can have: the one list, for launcher, build and tests.
//!
//! Layer: shared vocabulary. What each side knows about an architecture (its QEMU, its Rust target) stands there.

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// Arm, 64 bits.
    Aarch64,
    /// RISC-V, 64 bits.
    Riscv64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Riscv64];

    /// Its name, in flags, messages and paths.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }

    /// The architecture of this name.
    ///
    /// ```
    /// use boot_protocol::arch::Arch;
    /// assert_eq!(Arch::from_name("aarch64"), Some(Arch::Aarch64));
    /// assert_eq!(Arch::from_name("arm64"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// The architecture that this code was compiled for; x86-64 where it is none of these.
    #[must_use]
    pub const fn host() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Aarch64
        } else if cfg!(target_arch = "riscv64") {
            Self::Riscv64
        } else {
            Self::X86_64
        }
    }

    /// Whether this code was compiled for it: whether the host executes its instructions itself.
    #[must_use]
    pub const fn is_hosts(self) -> bool {
        match self {
            Self::X86_64 => cfg!(target_arch = "x86_64"),
            Self::Aarch64 => cfg!(target_arch = "aarch64"),
            Self::Riscv64 => cfg!(target_arch = "riscv64"),
        }
    }
}
