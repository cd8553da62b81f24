//! Why an application cannot be loaded.

use core::fmt;

use super::machine_name;

/// Why an application cannot be loaded. Displayed as the middle of a sentence, with what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElfError {
    /// There are no bytes.
    Empty,
    /// The file is a WebAssembly module: a likely mix-up.
    WebAssembly,
    /// The file starts like nothing we know.
    NotElf,
    /// The file ends before something it announces.
    Truncated {
        /// What lies past the end.
        what: &'static str,
        /// Length of the file.
        len: u64,
        /// Where that thing ends; [`None`] if it is past the address space.
        end: Option<u64>,
    },
    /// 32-bit or big-endian.
    WrongClass,
    /// Built for another architecture.
    WrongMachine {
        /// The file's `e_machine`.
        found: u16,
        /// Ours.
        expected: u16,
    },
    /// It has no Hermit entry note.
    NotHermit,
    /// Its kernel expects another version of the boot information.
    EntryVersion(u8),
    /// It needs shared libraries.
    DynamicallyLinked,
    /// A relocation type that is not for us.
    Relocation(u32),
    /// A feature that linkers do not use for Hermit applications.
    Unsupported(&'static str),
    /// Something in it contradicts something else.
    Damaged(&'static str),
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Empty => f.write_str("it is empty; pass the hermit-wasm application"),
            Self::WebAssembly => f.write_str(
                "it is a WebAssembly module, and this loader has no application inside to run it; boot the image \
                 hermit-wasm.img instead",
            ),
            Self::NotElf => f.write_str("it is not an ELF file; pass the hermit-wasm application"),
            Self::Truncated { what, len, end } => {
                write!(f, "it is truncated or damaged: it has {len} bytes, but its {what} ")?;
                match end {
                    Some(end) => write!(f, "would end at {end}")?,
                    None => f.write_str("would end beyond any address")?,
                }
                f.write_str("; copy or build it again")
            }
            Self::WrongClass => {
                f.write_str("it is a 32-bit or big-endian ELF file; build the application for this architecture")
            }
            Self::WrongMachine { found, expected } => {
                f.write_str("it is built for ")?;
                write_machine(f, found)?;
                f.write_str(", this loader boots ")?;
                write_machine(f, expected)?;
                f.write_str("; use loader and application of one architecture")
            }
            Self::NotHermit => f.write_str(
                "it is not a Hermit application: it has no Hermit entry note; pass the hermit-wasm application",
            ),
            Self::EntryVersion(version) => write!(
                f,
                "its kernel has entry version {version}, this loader speaks {}; use a loader of the same release",
                super::note::ENTRY_VERSION
            ),
            Self::DynamicallyLinked => f.write_str("it needs shared libraries; link it statically"),
            Self::Relocation(kind) => write!(f, "it has a relocation of type {kind}, which is not supported; build it as documented"),
            Self::Unsupported(what) => write!(f, "it has {what}, which is not supported; build it as documented"),
            Self::Damaged(what) => write!(f, "it is damaged: {what}; copy or build it again"),
        }
    }
}

fn write_machine(f: &mut fmt::Formatter<'_>, machine: u16) -> fmt::Result {
    match machine_name(machine) {
        Some(name) => f.write_str(name),
        None => write!(f, "machine {machine}"),
    }
}
