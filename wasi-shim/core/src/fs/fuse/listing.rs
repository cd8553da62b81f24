//! A directory's entries: a piece of the listing as the server sent it, and where the guest is in it.
//!
//! Layer: file systems. Implements `fuse_dirent` and `fuse_direntplus` of `linux/fuse.h`: each is followed by its
//! name, and padded to 8 bytes.

use alloc::vec::Vec;

use fuse_abi::linux::{fuse_dirent, fuse_entry_out};
use zerocopy::FromBytes;

use super::attr::{filetype, filetype_of_mode};
use crate::{Errno, fs::NAME_MAX, types::Filetype};

/// Bytes asked for at first: enough for most directories.
pub(super) const FIRST: usize = 4 << 10;
/// Bytes asked for when a listing goes on.
pub(super) const MORE: usize = 64 << 10;

/// The bytes in front of a name.
const DIRENT: usize = size_of::<fuse_dirent>();
/// What is in front of that in a listing with attributes.
const ENTRY: usize = size_of::<fuse_entry_out>();
const ALIGN: usize = 8;

/// A piece of a listing.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The bytes as they came.
    pub(super) bytes: Vec<u8>,
    /// Whether they are entries with attributes.
    pub(super) plus: bool,
    /// Where the guest is: a position in `bytes`, and the cookie that means it.
    at: usize,
    cookie: u64,
}

/// An entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The cookie of what follows.
    pub(super) next: u64,
    pub(super) ino: u64,
    pub(super) filetype: Filetype,
    /// The node that the server has counted a look-up of.
    pub(super) nodeid: Option<u64>,
    pub(super) name: &'a [u8],
    /// Where what follows begins.
    end: usize,
}

impl Listing {
    /// The piece begins with the entry that `cookie` means.
    pub(super) fn begin(&mut self, cookie: u64) {
        self.at = 0;
        self.cookie = cookie;
    }

    /// Goes to the entry that `cookie` means, if it is in this piece and not behind where the guest is.
    ///
    /// A guest goes on with the entry that its buffer had no room for, or with the one after that. The beginning is
    /// always read anew.
    pub(super) fn seek(&mut self, cookie: u64) -> Result<bool, Errno> {
        if cookie == 0 {
            return Ok(false);
        }
        while self.cookie != cookie {
            match self.peek()? {
                Some(entry) => (self.at, self.cookie) = (entry.end, entry.next),
                None => return Ok(false),
            }
        }
        Ok(self.at < self.bytes.len())
    }

    /// The entry where the guest is; `None` at the end of the piece. IO if the server has sent nonsense.
    pub(super) fn peek(&self) -> Result<Option<Entry<'_>>, Errno> {
        self.parse(self.at)
    }

    /// Goes on behind an entry.
    pub(super) fn pass(&mut self, next: u64, end: usize) {
        (self.at, self.cookie) = (end, next);
    }

    /// All nodes of the piece that the server has counted look-ups of.
    pub(super) fn nodeids(&self) -> impl Iterator<Item = u64> + '_ {
        let mut at = 0;
        core::iter::from_fn(move || {
            let entry = self.parse(at).ok().flatten()?;
            at = entry.end;
            Some(entry.nodeid)
        })
        .flatten()
    }

    fn parse(&self, at: usize) -> Result<Option<Entry<'_>>, Errno> {
        let bytes = self.bytes.get(at..).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(None);
        }
        let (entry, bytes) = if self.plus {
            let (entry, rest) = fuse_entry_out::read_from_prefix(bytes).map_err(|_| Errno::IO)?;
            (Some(entry), rest)
        } else {
            (None, bytes)
        };
        let (dirent, rest) = fuse_dirent::read_from_prefix(bytes).map_err(|_| Errno::IO)?;
        let len = usize::try_from(dirent.namelen).map_err(|_| Errno::IO)?;
        let name = rest.get(..len).ok_or(Errno::IO)?;
        if name.is_empty() || len > NAME_MAX || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
            return Err(Errno::IO);
        }
        let head = if self.plus {
            ENTRY.saturating_add(DIRENT)
        } else {
            DIRENT
        };
        // The last one's padding may be missing.
        let end = head
            .saturating_add(len)
            .next_multiple_of(ALIGN)
            .min(head.saturating_add(rest.len()));
        let dots = matches!(name, b"." | b"..");
        // Without a node there are no attributes.
        let known = entry.filter(|entry| entry.nodeid != 0 && !dots);
        Ok(Some(Entry {
            next: dirent.off,
            ino: dirent.ino,
            filetype: match &known {
                Some(entry) => filetype_of_mode(entry.attr.mode),
                None => filetype(dirent.type_),
            },
            nodeid: known.map(|entry| entry.nodeid),
            name,
            end: at.saturating_add(end),
        }))
    }
}

impl Entry<'_> {
    /// Where what follows begins.
    pub(super) fn end(&self) -> usize {
        self.end
    }

    /// Whether it is `.` or `..`, of which the guest is told by others.
    pub(super) fn is_dots(&self) -> bool {
        matches!(self.name, b"." | b"..")
    }
}
