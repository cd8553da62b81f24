//! The format: headers, numbers, extensions.
//!
//! Layer: file systems. Reads ustar and v7 archives, the extended headers of POSIX (pax: path, linkpath, size,
//! mtime) and GNU's long names. Everything is a slice of the archive; nothing is allocated. The bytes are not
//! trusted: what does not add up is an error with its place, never a panic.

use core::ops::Range;

use super::{TarError, TarErrorKind};

/// Unit of the format.
const BLOCK: usize = 512;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    File {
        data: Range<usize>,
    },
    Directory,
    SymbolicLink {
        target: &'a [u8],
    },
    /// Another name for an entry before; the target is a path in the archive.
    HardLink {
        target: &'a [u8],
    },
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Where its header is in the archive.
    pub(super) offset: usize,
    /// Its path is the one and then the other.
    pub(super) path: [&'a [u8]; 2],
    pub(super) kind: Kind<'a>,
    /// Nanoseconds since 1970.
    pub(super) mtime: u64,
}

impl<'a> Entry<'a> {
    /// The components of the path, without empty ones and `.`.
    pub(super) fn components(&self) -> impl Iterator<Item = &'a [u8]> + Clone {
        let [prefix, name] = self.path;
        components(prefix).chain(components(name))
    }
}

/// The components of a path, without empty ones and `.`.
pub(super) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    path.split(|byte| *byte == b'/')
        .filter(|component| !component.is_empty() && *component != b".")
}

/// What extended headers say of the entry that follows.
#[derive(Clone, Copy, Debug, Default)]
struct Extended<'a> {
    path: Option<&'a [u8]>,
    link: Option<&'a [u8]>,
    size: Option<u64>,
    mtime: Option<u64>,
}

/// Walks the entries of an archive.
pub(super) struct Entries<'a> {
    archive: &'a [u8],
    at: usize,
    /// From headers that hold for the rest of the archive.
    global: Extended<'a>,
}

/// Whether a block is zeros. All of it is looked at, which is quicker than to stop at the first byte that is not. Out of
/// line, since what is compiled for size is slow with bytes.
#[inline(never)]
fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().fold(0, |all, byte| all | byte) == 0
}

/// What a header's checksum may be: the sum of its bytes, with spaces in the checksum's own place; some old programs
/// took bytes for signed. A boot computes this once or twice for each member of its payload, so it is a plain loop, out
/// of line for the same reason.
#[inline(never)]
fn checksums(block: &[u8; BLOCK]) -> [i64; 2] {
    let mut block = *block;
    if let Some(own) = block.get_mut(148..156) {
        own.fill(b' ');
    }
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let negative: u32 = block.iter().map(|byte| u32::from(*byte >> 7)).sum();
    let sum = i64::from(sum);
    [sum, sum.saturating_sub(i64::from(negative).saturating_mul(256))]
}

/// A header block whose checksum is right.
struct Header<'a> {
    block: &'a [u8; BLOCK],
    offset: usize,
}

impl<'a> Entries<'a> {
    pub(super) fn new(archive: &'a [u8]) -> Self {
        Self {
            archive,
            at: 0,
            global: Extended::default(),
        }
    }

    fn fail(&self, kind: TarErrorKind) -> TarError {
        TarError {
            offset: self.at,
            kind,
        }
    }

    /// The next entry; `None` at the end of the archive.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn next(&mut self) -> Result<Option<Entry<'a>>, TarError> {
        let mut extended = self.global;
        loop {
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let size = match extended.size {
                // Of the entry itself, not of another header before it.
                Some(size) if !matches!(header.flag(), b'x' | b'g' | b'L' | b'K') => size,
                _ => header.number(124, 12, "size")?,
            };
            match header.flag() {
                b'x' => {
                    let data = self.data(size)?;
                    self.pax(data, &mut extended)?;
                }
                b'g' => {
                    let data = self.data(size)?;
                    let mut global = self.global;
                    self.pax(data, &mut global)?;
                    self.global = global;
                    extended = global;
                }
                b'L' => extended.path = Some(until_zero(self.slice(size)?)),
                b'K' => extended.link = Some(until_zero(self.slice(size)?)),
                _ => return self.entry(&header, size, &extended).map(Some),
            }
        }
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn entry(
        &mut self,
        header: &Header<'a>,
        size: u64,
        extended: &Extended<'a>,
    ) -> Result<Entry<'a>, TarError> {
        let path = match extended.path {
            Some(path) => [&[], path],
            None => header.path(),
        };
        let target = extended.link.unwrap_or_else(|| header.text(157, 100));
        let [_, name] = path;
        let kind = match header.flag() {
            // Before ustar, a directory was a file whose name ends in a slash.
            b'0' | 0 if name.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' => Kind::File {
                data: self.data(size)?,
            },
            b'1' => Kind::HardLink { target },
            b'2' => Kind::SymbolicLink { target },
            b'5' => Kind::Directory,
            flag => {
                return Err(TarError {
                    offset: header.offset,
                    kind: TarErrorKind::Unsupported(flag),
                });
            }
        };
        let mtime = match extended.mtime {
            Some(mtime) => mtime,
            None => header.number(136, 12, "mtime")?.saturating_mul(NANOSECONDS),
        };
        Ok(Entry {
            offset: header.offset,
            path,
            kind,
            mtime,
        })
    }

    /// Takes a block.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn block(&mut self) -> Result<&'a [u8; BLOCK], TarError> {
        let rest = self.archive.get(self.at..).unwrap_or_default();
        let block = rest
            .first_chunk()
            .ok_or_else(|| self.fail(TarErrorKind::Truncated))?;
        self.at = self.at.saturating_add(BLOCK);
        Ok(block)
    }

    /// Takes a header; `None` is the end of the archive: two blocks of zeros, or one at its very end.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn header(&mut self) -> Result<Option<Header<'a>>, TarError> {
        let offset = self.at;
        let block = self.block()?;
        if is_zero(block) {
            if self.at >= self.archive.len() || is_zero(self.block()?) {
                return Ok(None);
            }
            // A lone block of zeros in the middle: the archive is damaged.
            return Err(TarError {
                offset,
                kind: TarErrorKind::Checksum,
            });
        }
        let header = Header { block, offset };
        match header.number(148, 8, "checksum").map(i64::try_from) {
            Ok(Ok(sum)) if checksums(block).contains(&sum) => Ok(Some(header)),
            _ => Err(TarError {
                offset,
                kind: TarErrorKind::Checksum,
            }),
        }
    }

    /// Takes an entry's data, padding included; its range in the archive.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn data(&mut self, size: u64) -> Result<Range<usize>, TarError> {
        let size = usize::try_from(size).ok();
        let end = size.and_then(|size| self.at.checked_add(size));
        let Some(end) = end.filter(|end| *end <= self.archive.len()) else {
            return Err(self.fail(TarErrorKind::Truncated));
        };
        let data = self.at..end;
        // An archive may be cut off in the padding; what is missing then is missed at its end, not behind it.
        let padded = end.checked_next_multiple_of(BLOCK).unwrap_or(usize::MAX);
        self.at = padded.min(self.archive.len());
        Ok(data)
    }

    fn slice(&mut self, size: u64) -> Result<&'a [u8], TarError> {
        let data = self.data(size)?;
        Ok(self.archive.get(data).unwrap_or_default())
    }

    /// Reads the records of an extended header: `LENGTH KEY=VALUE\n` each.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn pax(&self, data: Range<usize>, extended: &mut Extended<'a>) -> Result<(), TarError> {
        let mut at = data.start;
        let mut rest = self.archive.get(data).unwrap_or_default();
        while !rest.is_empty() {
            let bad = |what| TarError {
                offset: at,
                kind: TarErrorKind::Extended(what),
            };
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let len = rest.get(..digits).and_then(decimal).map(usize::try_from);
            let Some(Ok(len)) = len else {
                return Err(bad("length"));
            };
            let record = rest
                .get(digits..len)
                .and_then(|record| record.strip_prefix(b" "))
                .and_then(|record| record.strip_suffix(b"\n"));
            let equals = record.and_then(|record| record.iter().position(|byte| *byte == b'='));
            let (Some(record), Some(equals)) = (record, equals) else {
                return Err(bad("record"));
            };
            let key = record.get(..equals).unwrap_or_default();
            let value = record.get(equals.saturating_add(1)..).unwrap_or_default();
            let given = (!value.is_empty()).then_some(value);
            match key {
                b"path" => extended.path = given,
                b"linkpath" => extended.link = given,
                b"size" => {
                    extended.size = match given {
                        Some(value) => Some(decimal(value).ok_or_else(|| bad("size"))?),
                        None => None,
                    }
                }
                b"mtime" => {
                    extended.mtime = match given {
                        Some(value) => Some(seconds(value).ok_or_else(|| bad("mtime"))?),
                        None => None,
                    }
                }
                // The data is not the file's data then.
                key if key.starts_with(b"GNU.sparse.") => {
                    return Err(TarError {
                        offset: at,
                        kind: TarErrorKind::Unsupported(b'S'),
                    });
                }
                _ => {}
            }
            rest = rest.get(len..).unwrap_or_default();
            at = at.saturating_add(len);
        }
        Ok(())
    }
}

impl<'a> Header<'a> {
    fn flag(&self) -> u8 {
        self.block.get(156).copied().unwrap_or_default()
    }

    fn field(&self, start: usize, len: usize) -> &'a [u8] {
        let rest = self.block.get(start..).unwrap_or_default();
        rest.get(..len).unwrap_or_default()
    }

    fn text(&self, start: usize, len: usize) -> &'a [u8] {
        until_zero(self.field(start, len))
    }

    fn path(&self) -> [&'a [u8]; 2] {
        // GNU's own format has other things where ustar has the first part of a long name.
        let prefix = match self.field(257, 6) {
            b"ustar\0" => self.text(345, 155),
            _ => &[],
        };
        [prefix, self.text(0, 100)]
    }

    /// A number: octal digits, or after a first byte of 0x80 binary.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn number(&self, start: usize, len: usize, name: &'static str) -> Result<u64, TarError> {
        let field = self.field(start, len);
        let number = match field.split_first() {
            Some((0x80, binary)) => binary.iter().try_fold(0_u64, |number, byte| {
                number.checked_mul(256)?.checked_add(u64::from(*byte))
            }),
            // Negative: a time before 1970.
            Some((0xff, _)) if name == "mtime" => Some(0),
            _ => {
                let is_blank = |byte: &u8| matches!(*byte, b' ' | 0);
                let start = field.iter().take_while(|byte| is_blank(byte)).count();
                let rest = field.get(start..).unwrap_or_default();
                let len = rest.iter().take_while(|byte| !is_blank(byte)).count();
                let (digits, tail) = rest.split_at(len);
                let digits = tail.iter().all(is_blank).then_some(digits);
                digits.and_then(|digits| {
                    digits.iter().try_fold(0_u64, |number, byte| match byte {
                        b'0'..=b'7' => number
                            .checked_mul(8)?
                            .checked_add(u64::from(byte.saturating_sub(b'0'))),
                        _ => None,
                    })
                })
            }
        };
        number.ok_or(TarError {
            offset: self.offset,
            kind: TarErrorKind::Number(name),
        })
    }
}

fn until_zero(text: &[u8]) -> &[u8] {
    let len = text.iter().take_while(|byte| **byte != 0).count();
    text.get(..len).unwrap_or_default()
}

/// A decimal number; `None` if it is none, or does not fit.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| match byte {
        b'0'..=b'9' => number
            .checked_mul(10)?
            .checked_add(u64::from(byte.saturating_sub(b'0'))),
        _ => None,
    })
}

/// Nanoseconds in a second.
const NANOSECONDS: u64 = 1_000_000_000;

/// A time in seconds with a fraction, as nanoseconds; before 1970 is 1970.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn seconds(text: &[u8]) -> Option<u64> {
    if text.first() == Some(&b'-') {
        return Some(0);
    }
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (text.get(..dot)?, text.get(dot.checked_add(1)?..)?),
        None => (text, &[][..]),
    };
    let mut nanoseconds = 0_u64;
    let mut unit = NANOSECONDS / 10;
    for byte in fraction {
        if !byte.is_ascii_digit() {
            return None;
        }
        let digit = u64::from(byte.saturating_sub(b'0'));
        nanoseconds = nanoseconds.saturating_add(digit.saturating_mul(unit));
        unit /= 10;
    }
    Some(
        decimal(whole)?
            .saturating_mul(NANOSECONDS)
            .saturating_add(nanoseconds),
    )
}
