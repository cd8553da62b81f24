//! Directory entries as uhyve hands them over: records of Linux's `getdents64`.
//!
//! Layer: pure. A record is, without gaps: inode (8 bytes), the position behind it (8), the record's length (2), the
//! type (1), the name with a zero byte, and up to the next multiple of 8 anything.

use wasi_core::types::Filetype;

/// Bytes before the name.
const NAME: usize = 19;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) ino: u64,
    /// Where the next one is found. uhyve sets none (0) in directories that only exist in its mapping.
    pub(super) position: u64,
    /// The record's length.
    pub(super) length: u64,
    /// What it is, if that is said.
    pub(super) filetype: Option<Filetype>,
    pub(super) name: &'a [u8],
}

/// The first record of `bytes` and what follows it; `None` at the end, and if it is none.
pub(super) fn next(bytes: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let (ino, rest) = bytes.split_first_chunk::<8>()?;
    let (position, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let kind = *rest.first()?;
    let length = u16::from_le_bytes(*length);
    let (record, following) = bytes.split_at_checked(length.into())?;
    let name = record.get(NAME..)?.split(|byte| *byte == 0).next()?;
    let record = Record {
        ino: u64::from_le_bytes(*ino),
        position: u64::from_le_bytes(*position),
        length: length.into(),
        filetype: match kind {
            4 => Some(Filetype::Directory),
            8 => Some(Filetype::RegularFile),
            10 => Some(Filetype::SymbolicLink),
            2 => Some(Filetype::CharacterDevice),
            6 => Some(Filetype::BlockDevice),
            _ => None,
        },
        name,
    };
    Some((record, following))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn record(name: &[u8], kind: u8) -> Vec<u8> {
        let length = (NAME + name.len() + 1).next_multiple_of(8);
        let mut bytes = Vec::new();
        bytes.extend(7_u64.to_le_bytes());
        bytes.extend(9_u64.to_le_bytes());
        bytes.extend(u16::try_from(length).unwrap().to_le_bytes());
        bytes.push(kind);
        bytes.extend(name);
        bytes.resize(length, 0);
        bytes
    }

    #[test]
    fn records_follow_each_other() {
        let mut bytes = record(b"a", 8);
        bytes.extend(record(b"a directory", 4));
        let (first, rest) = next(&bytes).unwrap();
        assert_eq!(
            (first.ino, first.position, first.length, first.name),
            (7, 9, 24, &b"a"[..])
        );
        assert_eq!(first.filetype, Some(Filetype::RegularFile));
        let (second, rest) = next(rest).unwrap();
        assert_eq!(
            (second.filetype, second.name),
            (Some(Filetype::Directory), &b"a directory"[..])
        );
        assert_eq!(next(rest), None);
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_no_record() {
        let bytes = record(b"name", 1);
        for length in 0..bytes.len() {
            assert_eq!(next(&bytes[..length]), None);
        }
        let mut short = bytes.clone();
        short[16] = 18;
        assert_eq!(next(&short), None, "a record without room for a name");
        assert_eq!(
            next(&bytes).unwrap().0.filetype,
            None,
            "a type that is not one of WASI's"
        );
    }
}
