//! The few fields of ELF files of 64 bits that are read and changed here.
//!
//! Spec: System V ABI, ELF-64. Little-endian, as all our architectures are.

use boot_protocol::arch::Arch;

use crate::PackError;

/// A program header's size.
pub(crate) const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;
const MACHINE: usize = 18;
const PROGRAM_HEADERS: usize = 32;
const SECTION_HEADERS: usize = 40;
const PROGRAM_HEADER_SIZE: usize = 54;
pub(crate) const PROGRAM_HEADER_COUNT: usize = 56;
const SECTION_HEADER_COUNT: usize = 60;

/// A segment that is loaded.
pub(crate) const LOAD: u32 = 1;
/// A segment that says what a stack may be; Hermit does not look at it.
pub(crate) const GNU_STACK: u32 = 0x6474_e551;
const READ: u32 = 4;

/// An ELF file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elf<'a>(&'a [u8]);

/// A program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where the header is in the file.
    pub(crate) at: usize,
    pub(crate) kind: u32,
    /// Where it is in the file.
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) file_size: u64,
    pub(crate) memory_size: u64,
}

/// A number of eight bytes.
pub(crate) fn number(file: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*file.get(at..)?.first_chunk()?))
}

fn half(file: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*file.get(at..)?.first_chunk()?).into())
}

/// Writes to a file where it has bytes.
pub(crate) fn put(file: &mut [u8], at: usize, bytes: &[u8]) -> Result<(), PackError> {
    at.checked_add(bytes.len())
        .and_then(|end| file.get_mut(at..end))
        .ok_or(PackError::NotElf)?
        .copy_from_slice(bytes);
    Ok(())
}

/// Zeros until a page begins.
pub(crate) fn pad(file: &mut Vec<u8>) {
    file.resize(file.len().next_multiple_of(crate::PAGE), 0);
}

impl<'a> Elf<'a> {
    /// Whether a file begins as one.
    pub(crate) fn is(file: &[u8]) -> bool {
        file.starts_with(b"\x7fELF\x02\x01")
    }

    pub(crate) fn new(file: &'a [u8]) -> Result<Self, PackError> {
        let sized = half(file, PROGRAM_HEADER_SIZE) == Some(PROGRAM_HEADER);
        (Self::is(file) && sized)
            .then_some(Self(file))
            .ok_or(PackError::NotElf)
    }

    /// The architecture that it is for, if we have that.
    pub(crate) fn arch(self) -> Option<Arch> {
        match half(self.0, MACHINE)? {
            62 => Some(Arch::X86_64),
            183 => Some(Arch::Aarch64),
            243 => Some(Arch::Riscv64),
            _ => None,
        }
    }

    /// Where the table of program headers is, and how many it has.
    pub(crate) fn table(self) -> Option<(usize, usize)> {
        let start = usize::try_from(number(self.0, PROGRAM_HEADERS)?).ok()?;
        Some((start, half(self.0, PROGRAM_HEADER_COUNT)?))
    }

    /// The program headers.
    pub(crate) fn segments(self) -> Result<Vec<Segment>, PackError> {
        let all = || {
            let (start, count) = self.table()?;
            (0..count)
                .map(|index| {
                    let at = start.checked_add(index * PROGRAM_HEADER)?;
                    Some(Segment {
                        at,
                        kind: u32::from_le_bytes(*self.0.get(at..)?.first_chunk()?),
                        offset: number(self.0, at + 8)?,
                        address: number(self.0, at + 16)?,
                        file_size: number(self.0, at + 32)?,
                        memory_size: number(self.0, at + 40)?,
                    })
                })
                .collect::<Option<Vec<_>>>()
        };
        all().ok_or(PackError::NotElf)
    }

    /// Where in memory the last loaded segment ends.
    pub(crate) fn end(self) -> Result<u64, PackError> {
        let segments = self.segments()?;
        let loaded = segments.iter().filter(|segment| segment.kind == LOAD);
        let ends = loaded.map(|segment| segment.address.checked_add(segment.memory_size));
        let ends = ends.collect::<Option<Vec<_>>>();
        ends.and_then(|ends| ends.into_iter().max())
            .ok_or(PackError::NotElf)
    }

    /// Where in memory the byte lies that is here in the file.
    pub(crate) fn address_of(self, offset: usize) -> Option<u64> {
        let offset = u64::try_from(offset).ok()?;
        self.segments().ok()?.iter().find_map(|segment| {
            let within = offset.checked_sub(segment.offset)?;
            (segment.kind == LOAD && within < segment.file_size)
                .then(|| segment.address.checked_add(within))
                .flatten()
        })
    }

    /// Where in the file `len` bytes are that lie at this address, if they all are.
    pub(crate) fn offset_of(self, address: u64, len: u64) -> Option<u64> {
        self.segments().ok()?.iter().find_map(|segment| {
            let within = address.checked_sub(segment.address)?;
            let end = within.checked_add(len)?;
            (segment.kind == LOAD && end <= segment.file_size)
                .then(|| segment.offset.checked_add(within))
                .flatten()
        })
    }
}

/// The program header of a segment that is `len` bytes of the file from `offset` on, at `address`, to be read only.
pub(crate) fn read_only(offset: u64, address: u64, len: u64) -> [u8; PROGRAM_HEADER] {
    let mut header = [0; PROGRAM_HEADER];
    let (kinds, numbers) = header.split_at_mut(8);
    let kind = u64::from(LOAD) | u64::from(READ) << 32;
    kinds.copy_from_slice(&kind.to_le_bytes());
    let fields = [offset, address, address, len, len, crate::PAGE as u64];
    for (to, from) in numbers.chunks_exact_mut(8).zip(fields) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    header
}

/// Moves the section headers to the file's end, where loaders see by them that the file is all there.
pub(crate) fn move_sections_to_end(file: &mut Vec<u8>) -> Result<(), PackError> {
    let count = half(file, SECTION_HEADER_COUNT).ok_or(PackError::NotElf)?;
    if count == 0 {
        return Ok(());
    }
    let table = number(file, SECTION_HEADERS)
        .and_then(|start| usize::try_from(start).ok())
        .and_then(|start| file.get(start..start.checked_add(count * SECTION_HEADER)?))
        .ok_or(PackError::NotElf)?
        .to_vec();
    file.resize(file.len().next_multiple_of(8), 0);
    let start = file.len() as u64;
    file.extend(table);
    put(file, SECTION_HEADERS, &start.to_le_bytes())
}
