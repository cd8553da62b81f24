//! Checks an application's file and takes out of it what loading needs.

use super::{ElfError, Target, note, read};
use crate::ranges::{LARGE_PAGE, PAGE, Span, align_up};

/// How many loadable segments an image may have. Linkers make four to six.
pub const MAX_SEGMENTS: usize = 16;

const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;
const MAX_PROGRAM_HEADERS: u16 = 64;
const DYNAMIC_ENTRY: u64 = 16;
/// Size of a relocation with addend.
pub(super) const RELA: usize = 24;
/// Size of a symbol.
pub(super) const SYMBOL: u64 = 24;

const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const PT_TLS: u32 = 7;
const PT_GNU_RELRO: u32 = 0x6474_e552;
const PF_X: u32 = 1;
const PF_W: u32 = 2;

const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_PLTRELSZ: u64 = 2;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELAENT: u64 = 9;
const DT_SYMENT: u64 = 11;
const DT_RELSZ: u64 = 18;
const DT_RELRSZ: u64 = 35;

const NOTHING_TO_LOAD: ElfError = ElfError::Damaged("it has nothing to load");

/// Where each program header is in the file.
type ProgramHeaders = core::iter::StepBy<core::ops::Range<u64>>;

/// A loadable segment. Addresses are relative to where the image is placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where its bytes are in the file.
    pub file: Span,
    /// Where it lies in the image. At least as long as `file`; the rest is zero.
    pub memory: Span,
    /// Whether the application may write to it.
    pub write: bool,
    /// Whether the application may execute it.
    pub execute: bool,
}

/// The image of thread-local storage. Addresses are relative to where the image is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Where its initial bytes lie.
    pub start: u64,
    /// How many initial bytes there are.
    pub file_size: u64,
    /// How large it is for each thread.
    pub memory_size: u64,
    /// Its alignment.
    pub align: u64,
}

/// A checked application.
#[derive(Clone, Debug)]
pub struct Image {
    segments: [Segment; MAX_SEGMENTS],
    count: usize,
    /// The only place where it runs; [`None`] if it can be relocated to any.
    pub fixed: Option<u64>,
    /// How many bytes of memory it takes.
    pub size: u64,
    /// Where execution starts, relative to where it is placed.
    pub entry: u64,
    /// Thread-local storage, if it has some.
    pub tls: Option<Tls>,
    /// The pages that become read-only once relocated.
    pub relro: Option<Span>,
    /// The relocations, in memory.
    pub(super) relocations: Span,
    /// The symbols, in memory; there is no telling how many.
    pub(super) symbols: u64,
    pub(super) target: Target,
}

/// One entry of the program header table.
struct ProgramHeader {
    kind: u32,
    flags: u32,
    file: Span,
    /// [`None`] if it leaves the address space.
    memory: Option<Span>,
    align: u64,
}

impl Image {
    /// Checks that `file` is a Hermit application for `target` and wholly there.
    pub fn parse(file: &[u8], target: Target) -> Result<Self, ElfError> {
        check_identity(file, target)?;
        let mut image = Self {
            segments: [Segment::default(); MAX_SEGMENTS],
            count: 0,
            fixed: None,
            size: 0,
            entry: field(read::u64(file, 24))?,
            tls: None,
            relro: None,
            relocations: Span::default(),
            symbols: 0,
            target,
        };
        let mut dynamic = None;
        let mut entry_version = None;

        let table = program_headers(file)?;
        if field(read::u16(file, 16))? == ET_EXEC {
            let start = lowest_address(file, table.clone())?;
            image.entry = image.entry.wrapping_sub(start);
            image.fixed = Some(start);
        }
        for at in table {
            let header = program_header(file, at, image.fixed.unwrap_or(0))?;
            match header.kind {
                PT_LOAD => image.add_segment(&header)?,
                PT_DYNAMIC => dynamic = Some(header.file),
                PT_NOTE => {
                    let notes = read::bytes(file, header.file.start, header.file.len()).unwrap_or(&[]);
                    entry_version = entry_version.or_else(|| note::entry_version(notes, header.align));
                }
                PT_TLS => image.tls = Some(tls(&header)?),
                PT_GNU_RELRO => image.relro = header.memory.and_then(relro),
                _ => {}
            }
        }

        match entry_version {
            None => return Err(ElfError::NotHermit),
            Some(note::ENTRY_VERSION) => {}
            Some(other) => return Err(ElfError::EntryVersion(other)),
        }
        if let Some(dynamic) = dynamic {
            image.read_dynamic(read::bytes(file, dynamic.start, dynamic.len()).unwrap_or(&[]))?;
        }
        image.check()?;
        Ok(image)
    }

    /// The loadable segments, in ascending order.
    pub fn segments(&self) -> &[Segment] {
        self.segments.get(..self.count).unwrap_or(&[])
    }

    fn add_segment(&mut self, header: &ProgramHeader) -> Result<(), ElfError> {
        let Some(memory) = header.memory else {
            return Err(ElfError::Damaged("a segment leaves the address space"));
        };
        if memory.is_empty() {
            return Ok(());
        }
        if header.file.len() > memory.len() {
            return Err(ElfError::Damaged(
                "a segment is larger in the file than in memory",
            ));
        }
        if header.align > LARGE_PAGE {
            return Err(ElfError::Unsupported("a segment aligned to more than 2 MiB"));
        }
        // The last page's end, so that two segments never share a page and each page has one segment's rights.
        if self.count > 0 && align_up(self.size, PAGE).is_none_or(|end| memory.start & !(PAGE - 1) < end) {
            return Err(ElfError::Unsupported(
                "segments that share a page or are not in ascending order",
            ));
        }
        if self.count == 0 && memory.start != 0 {
            return Err(ElfError::Unsupported("a first segment that is not at address 0"));
        }
        let Some(free) = self.segments.get_mut(self.count) else {
            return Err(ElfError::Unsupported("more than 16 loadable segments"));
        };
        *free = Segment {
            file: header.file,
            memory,
            write: header.flags & PF_W != 0,
            execute: header.flags & PF_X != 0,
        };
        self.count += 1;
        self.size = memory.end;
        Ok(())
    }

    fn read_dynamic(&mut self, table: &[u8]) -> Result<(), ElfError> {
        let mut start = 0;
        let mut size = 0;
        for entry in table.chunks_exact(16) {
            let tag = field(read::u64(entry, 0))?;
            let value = field(read::u64(entry, DYNAMIC_ENTRY / 2))?;
            match tag {
                DT_NULL => break,
                DT_NEEDED => return Err(ElfError::DynamicallyLinked),
                DT_RELA => start = value,
                DT_RELASZ => size = value,
                DT_SYMTAB => self.symbols = value,
                DT_RELAENT if value != RELA as u64 => {
                    return Err(ElfError::Damaged("relocations of an unknown size"));
                }
                DT_SYMENT if value != SYMBOL => return Err(ElfError::Damaged("symbols of an unknown size")),
                DT_PLTRELSZ if value != 0 => return Err(ElfError::Unsupported("a procedure linkage table")),
                DT_RELSZ if value != 0 => return Err(ElfError::Unsupported("relocations without addend")),
                DT_RELRSZ if value != 0 => return Err(ElfError::Unsupported("packed relocations (RELR)")),
                _ => {}
            }
        }
        self.relocations = Span::from_len(start, size).unwrap_or(Span { start, end: u64::MAX });
        Ok(())
    }

    /// What can only be checked once all is read.
    fn check(&self) -> Result<(), ElfError> {
        let image = Span {
            start: 0,
            end: self.size,
        };
        if self.count == 0 {
            return Err(NOTHING_TO_LOAD);
        }
        if !self.segments().iter().any(|segment| {
            segment.execute && segment.memory.start <= self.entry && self.entry < segment.memory.end
        }) {
            return Err(ElfError::Damaged(
                "its entry point is not in an executable segment",
            ));
        }
        if self.fixed.is_some() && !self.relocations.is_empty() {
            return Err(ElfError::Unsupported("relocations, but a fixed address"));
        }
        if self
            .fixed
            .is_some_and(|start| Span::from_len(start, self.size).is_none())
        {
            return Err(ElfError::Damaged("a segment leaves the address space"));
        }
        if !image.contains(self.relocations) || !self.relocations.len().is_multiple_of(RELA as u64) {
            return Err(ElfError::Damaged("its relocations are not in the image"));
        }
        if let Some(tls) = self.tls
            && !Span::from_len(tls.start, tls.file_size).is_some_and(|initial| image.contains(initial))
        {
            return Err(ElfError::Damaged("its thread-local storage is not in the image"));
        }
        if self
            .relro
            .is_some_and(|relro| !image.contains(relro.shrink_to(PAGE)))
        {
            return Err(ElfError::Damaged("its read-only data is not in the image"));
        }
        Ok(())
    }
}

/// A field of something whose bounds were checked before.
fn field<T>(value: Option<T>) -> Result<T, ElfError> {
    value.ok_or(ElfError::Damaged("a header is incomplete"))
}

/// The address of the first loadable segment.
fn lowest_address(file: &[u8], table: ProgramHeaders) -> Result<u64, ElfError> {
    for at in table {
        if field(read::u32(file, at))? == PT_LOAD {
            return field(read::u64(file, at + 16));
        }
    }
    Err(NOTHING_TO_LOAD)
}

fn check_identity(file: &[u8], target: Target) -> Result<(), ElfError> {
    if file.is_empty() {
        return Err(ElfError::Empty);
    }
    if file.starts_with(b"\0asm") {
        return Err(ElfError::WebAssembly);
    }
    if !file.starts_with(b"\x7fELF") {
        return Err(ElfError::NotElf);
    }
    inside(file, "header", Span::from_len(0, HEADER))?;
    if file.get(4) != Some(&CLASS_64) || file.get(5) != Some(&LITTLE_ENDIAN) {
        return Err(ElfError::WrongClass);
    }
    let found = field(read::u16(file, 18))?;
    if found != target.machine {
        return Err(ElfError::WrongMachine {
            found,
            expected: target.machine,
        });
    }
    if !matches!(field(read::u16(file, 16))?, ET_EXEC | ET_DYN) {
        return Err(ElfError::Unsupported("a type other than an executable's"));
    }
    // Not needed for loading, but written last by every linker: tells a truncated file whatever was cut off.
    let sections = field(read::u64(file, 40))?;
    let size = u64::from(field(read::u16(file, 58))?) * u64::from(field(read::u16(file, 60))?);
    inside(file, "section headers", Span::from_len(sections, size))?;
    Ok(())
}

/// Where the program headers are in the file.
fn program_headers(file: &[u8]) -> Result<ProgramHeaders, ElfError> {
    let count = field(read::u16(file, 56))?;
    if field(read::u16(file, 54))? != 56 || count > MAX_PROGRAM_HEADERS {
        return Err(ElfError::Damaged("its program headers are of an unknown size"));
    }
    let start = field(read::u64(file, 32))?;
    let all = Span::from_len(start, u64::from(count) * PROGRAM_HEADER);
    let table = inside(file, "program headers", all)?;
    Ok((table.start..table.end).step_by(56))
}

/// The program header at `at`, its addresses relative to `start`.
fn program_header(file: &[u8], at: u64, start: u64) -> Result<ProgramHeader, ElfError> {
    let kind = field(read::u32(file, at))?;
    let len = field(read::u64(file, at + 32))?;
    let file_span = Span::from_len(field(read::u64(file, at + 8))?, len);
    Ok(ProgramHeader {
        kind,
        flags: field(read::u32(file, at + 4))?,
        file: inside(file, "segments", file_span)?,
        memory: Span::from_len(
            // An address below the start becomes a huge one, which is refused where it is used.
            field(read::u64(file, at + 16))?.wrapping_sub(start),
            field(read::u64(file, at + 40))?,
        ),
        align: field(read::u64(file, at + 48))?,
    })
}

fn tls(header: &ProgramHeader) -> Result<Tls, ElfError> {
    match header.memory {
        Some(memory) if header.file.len() <= memory.len() && header.align <= PAGE => Ok(Tls {
            start: memory.start,
            file_size: header.file.len(),
            memory_size: memory.len(),
            // 0 means 1; the kernel rounds up to this.
            align: header.align.max(1),
        }),
        _ => Err(ElfError::Damaged("its thread-local storage has impossible sizes")),
    }
}

/// The pages of read-only-once-relocated data. As the dynamic linker of Unix has it: such data is the first of its
/// segment, so no other shares its first page, but its last one may be shared.
fn relro(span: Span) -> Option<Span> {
    Span::new(span.start & !(PAGE - 1), span.end & !(PAGE - 1))
}

/// `span`, if it lies in the file.
fn inside(file: &[u8], what: &'static str, span: Option<Span>) -> Result<Span, ElfError> {
    // A slice's length fits in 64 bits on every architecture there is.
    let len = file.len() as u64;
    match span {
        Some(span) if span.end <= len => Ok(span),
        _ => Err(ElfError::Truncated {
            what,
            len,
            end: span.map(|span| span.end),
        }),
    }
}
