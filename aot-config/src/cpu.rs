//! Processors: which instructions native code may use.
//!
//! A level is a promise of the one who starts the machine: code of a level runs on every processor that has it. The
//! levels of x86-64 are those of its psABI; the machine asks its processor for each feature before it runs code.

/// An architecture that native code is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// Arm's A64.
    Aarch64,
    /// RISC-V, rv64gc.
    Riscv64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Riscv64];

    /// The architecture that this code itself is compiled for, if it is one of them.
    pub const CURRENT: Option<Self> = if cfg!(target_arch = "x86_64") {
        Some(Self::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Self::Aarch64)
    } else if cfg!(target_arch = "riscv64") {
        Some(Self::Riscv64)
    } else {
        None
    };

    /// Its name, as `--arch` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }

    /// The architecture of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name)
    }

    /// The target that the compiler compiles for.
    #[must_use]
    pub const fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-hermit",
            Self::Aarch64 => "aarch64-unknown-hermit",
            Self::Riscv64 => "riscv64gc-unknown-hermit",
        }
    }

    /// The level that is used unless another is asked for.
    #[must_use]
    pub const fn default_level(self) -> CpuLevel {
        match self {
            Self::X86_64 => CpuLevel::X86_64V2,
            Self::Aarch64 => CpuLevel::Armv8A,
            Self::Riscv64 => CpuLevel::Rv64gcv,
        }
    }

    /// How a trailer writes it.
    const fn raw(self) -> u8 {
        match self {
            Self::X86_64 => 1,
            Self::Aarch64 => 2,
            Self::Riscv64 => 3,
        }
    }
}

/// What a processor must have to run some code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CpuLevel {
    /// x86-64 as it began, with SSE2.
    X86_64V1,
    /// SSE4.2 and POPCNT: every processor that the kernel boots on.
    X86_64V2,
    /// AVX2, BMI, FMA and LZCNT besides.
    X86_64V3,
    /// Armv8.0-A.
    Armv8A,
    /// Armv8.1-A's atomic instructions besides.
    Armv81A,
    /// RISC-V with the extensions of `G` and `C`. The compiler has no SIMD there.
    Rv64gc,
    /// `V` besides: vectors of 128 bits or more.
    Rv64gcv,
}

/// A feature of a processor: by the compiler's name, which enables it, and by the name that the runtime asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Cranelift's flag.
    pub flag: &'static str,
    /// wasmtime's name at run time; on riscv64, where wasmtime asks for nothing, ours.
    pub name: &'static str,
}

const fn feature(flag: &'static str, name: &'static str) -> Feature {
    Feature { flag, name }
}

/// x86-64-v3's features in the order of the levels: the first [`V2_FEATURES`] are those of v2.
const X86_64_FEATURES: [Feature; 12] = [
    feature("has_cmpxchg16b", "cmpxchg16b"),
    feature("has_sse3", "sse3"),
    feature("has_ssse3", "ssse3"),
    feature("has_sse41", "sse4.1"),
    feature("has_sse42", "sse4.2"),
    feature("has_popcnt", "popcnt"),
    feature("has_avx", "avx"),
    feature("has_avx2", "avx2"),
    feature("has_bmi1", "bmi1"),
    feature("has_bmi2", "bmi2"),
    feature("has_fma", "fma"),
    feature("has_lzcnt", "lzcnt"),
];
const V2_FEATURES: usize = 6;
const AARCH64_FEATURES: [Feature; 1] = [feature("has_lse", "lse")];
const RISCV64_FEATURES: [Feature; 1] = [feature("has_v", "v")];

impl CpuLevel {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::X86_64V1,
        Self::X86_64V2,
        Self::X86_64V3,
        Self::Armv8A,
        Self::Armv81A,
        Self::Rv64gc,
        Self::Rv64gcv,
    ];

    /// Its name, as a flag takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64V1 => "x86-64",
            Self::X86_64V2 => "x86-64-v2",
            Self::X86_64V3 => "x86-64-v3",
            Self::Armv8A => "armv8-a",
            Self::Armv81A => "armv8.1-a",
            Self::Rv64gc => "rv64gc",
            Self::Rv64gcv => "rv64gcv",
        }
    }

    /// The level of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Whose level it is.
    #[must_use]
    pub const fn arch(self) -> Arch {
        match self {
            Self::X86_64V1 | Self::X86_64V2 | Self::X86_64V3 => Arch::X86_64,
            Self::Armv8A | Self::Armv81A => Arch::Aarch64,
            Self::Rv64gc | Self::Rv64gcv => Arch::Riscv64,
        }
    }

    /// What it needs beyond the architecture's least.
    #[must_use]
    pub fn features(self) -> &'static [Feature] {
        match self {
            Self::X86_64V1 | Self::Armv8A | Self::Rv64gc => &[],
            Self::X86_64V2 => X86_64_FEATURES.split_at(V2_FEATURES).0,
            Self::X86_64V3 => &X86_64_FEATURES,
            Self::Armv81A => &AARCH64_FEATURES,
            Self::Rv64gcv => &RISCV64_FEATURES,
        }
    }

    /// How a trailer writes it, within its architecture.
    const fn raw(self) -> u8 {
        match self {
            Self::X86_64V1 | Self::Armv8A | Self::Rv64gc => 1,
            Self::X86_64V2 | Self::Armv81A | Self::Rv64gcv => 2,
            Self::X86_64V3 => 3,
        }
    }

    /// As a trailer writes it: architecture, level.
    pub(crate) const fn to_bytes(self) -> [u8; 2] {
        [self.arch().raw(), self.raw()]
    }

    /// What [`Self::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: [u8; 2]) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.to_bytes() == bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bytes_lead_back() {
        for arch in Arch::ALL {
            assert_eq!(Arch::from_name(arch.name()), Some(arch));
            assert_eq!(arch.default_level().arch(), arch);
        }
        for level in CpuLevel::ALL {
            assert_eq!(CpuLevel::from_name(level.name()), Some(level));
            assert_eq!(CpuLevel::from_bytes(level.to_bytes()), Some(level));
        }
        assert_eq!(Arch::from_name("x86-64"), None);
        assert_eq!(CpuLevel::from_name("x86-64-v4"), None);
        assert_eq!(CpuLevel::from_bytes([0, 1]), None);
        assert_eq!(CpuLevel::from_bytes([3, 3]), None);
    }

    #[test]
    fn a_level_has_what_the_lower_ones_have() {
        let [v1, v2, v3] =
            [CpuLevel::X86_64V1, CpuLevel::X86_64V2, CpuLevel::X86_64V3].map(CpuLevel::features);
        assert!(v1.is_empty() && v3.starts_with(v2) && v3.len() > v2.len());
        assert_eq!(v2.last().map(|feature| feature.name), Some("popcnt"));
        assert!(v3.contains(&feature("has_avx2", "avx2")));
        assert!(CpuLevel::Rv64gc.features().is_empty());
        assert_eq!(CpuLevel::Rv64gcv.features(), [feature("has_v", "v")]);
    }
}
