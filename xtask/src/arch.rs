//! The architectures that images are built for, and what differs between their builds.

pub(crate) use boot_protocol::arch::Arch;

/// Flags that make the application small; `docs/performance.md` has what each saves, and costs.
///
/// - Of values that messages show with `{:?}`, the name of a type or variant stands for what is derived. Texts and numbers
///   stay. No message for users shows more, and panics still say where and why.
/// - Functions of the same machine code are one.
/// - A function is copied into its callers up to half the size that the optimiser finds worth it, and less where either
///   is cold or compiled for size: `-inline-threshold` would set aside that. The interpreter's loop loses nothing: its
///   parts are marked, and joined in any case. LLVM heeds this flag at `opt-level` 2 only.
const SMALL: &str = "-Zfmt-debug=shallow -Clink-arg=--icf=all -Cllvm-args=-inlinedefault-threshold=90";

/// How code for an architecture is built.
pub(crate) trait Target {
    /// The kernel's target: soft-float, without an operating system. On riscv64 there is none that is soft-float;
    /// the kernel saves the floating-point registers there.
    fn kernel_target(self) -> &'static str;

    /// The application's target.
    fn app_target(self) -> &'static str;

    /// Flags for rustc when it compiles the kernel: the application is relocated when it is loaded, which these
    /// bare-metal targets are not made for unless they are told.
    fn kernel_flags(self) -> &'static str;

    /// Flags for rustc when it compiles the application: [`SMALL`], and those of the architecture.
    ///
    /// aarch64: the target forbids unaligned accesses, so that each 8-byte load from a byte array becomes eight
    /// loads of a byte, which is most of what an interpreter does. Kernel and loader allow them (SCTLR_EL1.A is 0).
    /// riscv64: the same, without a flag of the target that says so. Processors may leave unaligned accesses to the
    /// firmware, which is slow but right; QEMU does them.
    ///
    /// rustc warns of both, for each crate and again whenever cargo repeats what it said; and nothing but silence for
    /// all warnings silences that. The x86_64 build shows those of our own code, and clippy denies them on every
    /// architecture.
    fn app_flags(self) -> String;

    /// Whether hypervisors take Linux's kernel image rather than an ELF file: QEMU hands no boot module to the latter
    /// on Arm.
    fn boots_flat_image(self) -> bool;

    /// What the linker wants to be told when it joins the kernel's objects.
    fn linker_emulation(self) -> &'static str;
}

/// Reads an architecture's name on the command line.
pub(crate) fn parse(name: &str) -> Result<Arch, String> {
    Arch::from_name(name).ok_or_else(|| {
        let names = Arch::ALL.map(Arch::name);
        format!("expected {}", names.join(", "))
    })
}

impl Target for Arch {
    fn kernel_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-none",
            Self::Aarch64 => "aarch64-unknown-none-softfloat",
            Self::Riscv64 => "riscv64gc-unknown-none-elf",
        }
    }

    fn app_target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-hermit",
            Self::Aarch64 => "aarch64-unknown-hermit",
            Self::Riscv64 => "riscv64gc-unknown-hermit",
        }
    }

    fn kernel_flags(self) -> &'static str {
        match self {
            Self::X86_64 => "",
            Self::Aarch64 | Self::Riscv64 => " -Crelocation-model=pic",
        }
    }

    fn app_flags(self) -> String {
        let own = match self {
            Self::X86_64 => "",
            Self::Aarch64 => " -Ctarget-feature=-strict-align -Awarnings",
            Self::Riscv64 => " -Ctarget-feature=+unaligned-scalar-mem -Awarnings",
        };
        format!("{SMALL}{own}")
    }

    fn boots_flat_image(self) -> bool {
        self == Self::Aarch64
    }

    fn linker_emulation(self) -> &'static str {
        match self {
            Self::X86_64 => "elf_x86_64",
            Self::Aarch64 => "aarch64linux",
            Self::Riscv64 => "elf64lriscv",
        }
    }
}
