//! A Hermit application's ELF file: checking it, loading it, relocating it.
//!
//! Layer: pure, on byte slices. Spec: System V ABI (ELF-64), the processor supplements' relocations, and
//! hermit-entry's note. hermit-entry 0.10.11 has a loader too, but it panics on a truncated or damaged file, copies
//! where an embedded application can stay where it lies, and needs section headers for symbols: only its boot
//! information is used, here everything is checked. Nothing here panics, whatever the bytes.

mod cut;
mod error;
mod load;
mod note;
mod parse;
mod prelink;
mod read;

pub use cut::{cut, dispensable};
pub use error::ElfError;
pub use load::Source;
pub use parse::{Image, MAX_SEGMENTS, Segment, Tls};
pub use prelink::{memory_size, prelink};

/// What an ELF file must be to run here, and how its relocations are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// `e_machine`.
    pub machine: u16,
    /// Base address + addend.
    pub relative: u32,
    /// Symbol + addend, 64 bits.
    pub absolute: u32,
    /// Symbol's address in the global offset table, where the architecture has that.
    pub glob_dat: Option<u32>,
}

impl Target {
    /// x86_64: `R_X86_64_RELATIVE`, `R_X86_64_64`, `R_X86_64_GLOB_DAT`.
    pub const X86_64: Self = Self {
        machine: 62,
        relative: 8,
        absolute: 1,
        glob_dat: Some(6),
    };

    /// aarch64: `R_AARCH64_RELATIVE`, `R_AARCH64_ABS64`, `R_AARCH64_GLOB_DAT`.
    pub const AARCH64: Self = Self {
        machine: 183,
        relative: 1027,
        absolute: 257,
        glob_dat: Some(1025),
    };

    /// riscv64: `R_RISCV_RELATIVE`, `R_RISCV_64`, which is also what its global offset table has.
    pub const RISCV64: Self = Self {
        machine: 243,
        relative: 3,
        absolute: 2,
        glob_dat: None,
    };
}

/// A machine's customary name, for messages.
pub const fn machine_name(machine: u16) -> Option<&'static str> {
    match machine {
        3 => Some("i386"),
        40 => Some("arm"),
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        243 => Some("riscv"),
        _ => None,
    }
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
