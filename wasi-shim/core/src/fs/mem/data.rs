//! The data of a file: sparse, in chunks, over bytes that are shared until they are written.
//!
//! Layer: file systems. A file's bytes are, in this order: those of the chunk they lie in, if there is one;
//! those of the bytes that the file was made with, if it was ([`Shared`]: a part of an archive, not copied);
//! zeros. A chunk is made by the first write to it, from what was there before, so holes and untouched parts of
//! an archive cost nothing. All memory is asked for fallibly.

use alloc::{sync::Arc, vec::Vec};
use core::ops::Range;

use super::quota::Quota;
use crate::Errno;

/// Bytes of a chunk. Large enough that a big file needs few (8,192 for 512 MiB), small enough that a write to the
/// middle of nowhere wastes little.
pub(super) const CHUNK: usize = 64 * 1024;
const CHUNK_U64: u64 = 64 * 1024;

/// The largest size of a file; beyond it is FBIG. That of ext4, so that programs meet no limit they do not know.
pub(super) const MAX_SIZE: u64 = (1 << 44) - 4096;

/// Bytes that files can be made of without a copy: those of an archive.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// In memory for good, such as what a boot loader put there.
    Static(&'static [u8]),
    /// Freed with the last file made of it.
    Shared(Arc<Vec<u8>>),
}

impl Bytes {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// A part of some [`Bytes`].
#[derive(Debug)]
struct Shared {
    bytes: Bytes,
    range: Range<usize>,
}

impl Shared {
    fn as_slice(&self) -> &[u8] {
        self.bytes.as_slice().get(self.range.clone()).unwrap_or_default()
    }
}

/// A part of the file that was written: bytes from `index * CHUNK` on. Beyond its `bytes` it is zeros.
#[derive(Debug)]
struct Chunk {
    index: u64,
    bytes: Vec<u8>,
}

/// The data of a file.
#[derive(Debug, Default)]
pub(super) struct Data {
    size: u64,
    /// In the order of their index.
    chunks: Vec<Chunk>,
    base: Option<Shared>,
}

/// What an offset and a rest of a length come to within one chunk.
struct Piece {
    index: u64,
    start: usize,
    len: usize,
}

impl Piece {
    fn new(offset: u64, len: usize) -> Self {
        // Both fit: less than CHUNK.
        let start = usize::try_from(offset % CHUNK_U64).unwrap_or(0);
        Self {
            index: offset / CHUNK_U64,
            start,
            len: len.min(CHUNK.saturating_sub(start)),
        }
    }
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

impl Data {
    /// A file made of a part of `bytes`; `None` if there is no such part.
    pub(super) fn shared(bytes: Bytes, range: Range<usize>) -> Option<Self> {
        let size = to_u64(bytes.as_slice().get(range.clone())?.len());
        Some(Self {
            size,
            chunks: Vec::new(),
            base: Some(Shared { bytes, range }),
        })
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of memory that count against the quota.
    pub(super) fn allocated(&self) -> u64 {
        self.chunks
            .iter()
            .map(|chunk| to_u64(chunk.bytes.capacity()))
            .fold(0, u64::saturating_add)
    }

    /// Where the chunk `index` is, or would be.
    fn find(&self, index: u64) -> Result<usize, usize> {
        // Of a file without holes, the first guess is right.
        if let Ok(guess) = usize::try_from(index)
            && self.chunks.get(guess).is_some_and(|chunk| chunk.index == index)
        {
            return Ok(guess);
        }
        self.chunks.binary_search_by_key(&index, |chunk| chunk.index)
    }

    fn chunk(&self, index: u64) -> Option<&Chunk> {
        self.find(index).ok().and_then(|at| self.chunks.get(at))
    }

    /// The base's bytes of the chunk `index`.
    fn base_of(&self, index: u64) -> &[u8] {
        let base = self.base.as_ref().map(Shared::as_slice).unwrap_or_default();
        let start = usize::try_from(index)
            .ok()
            .and_then(|index| index.checked_mul(CHUNK));
        let rest = start.and_then(|start| base.get(start..)).unwrap_or_default();
        rest.get(..CHUNK).unwrap_or(rest)
    }

    /// Reads at `offset` up to the end of the file.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let total = left.min(buf.len());
        let mut rest = buf.get_mut(..total).unwrap_or_default();
        let mut offset = offset;
        while !rest.is_empty() {
            let piece = Piece::new(offset, rest.len());
            let (room, tail) = rest.split_at_mut(piece.len);
            let bytes = match self.chunk(piece.index) {
                Some(chunk) => &chunk.bytes,
                None => self.base_of(piece.index),
            };
            let bytes = bytes.get(piece.start..).unwrap_or_default();
            let bytes = bytes.get(..piece.len).unwrap_or(bytes);
            let (data, zeros) = room.split_at_mut(bytes.len());
            data.copy_from_slice(bytes);
            zeros.fill(0);
            rest = tail;
            offset = offset.saturating_add(to_u64(piece.len));
        }
        total
    }

    /// Writes at `offset`, as much as there is room for; fails if that is nothing.
    pub(super) fn write(&mut self, offset: u64, buf: &[u8], quota: &mut Quota) -> Result<usize, Errno> {
        if buf.is_empty() {
            return Ok(0);
        }
        let room = MAX_SIZE.saturating_sub(offset);
        if room == 0 {
            return Err(Errno::FBIG);
        }
        let len = usize::try_from(room).unwrap_or(usize::MAX).min(buf.len());
        let mut rest = buf.get(..len).unwrap_or(buf);
        let mut written = 0_usize;
        while !rest.is_empty() {
            let at = offset.saturating_add(to_u64(written));
            let piece = Piece::new(at, rest.len());
            let (now, tail) = rest.split_at(piece.len);
            let count = match self.write_piece(&piece, now, quota) {
                Ok(count) => count,
                Err(_) if written > 0 => break,
                Err(errno) => return Err(errno),
            };
            written = written.saturating_add(count);
            if count < piece.len {
                break;
            }
            rest = tail;
        }
        self.size = self.size.max(offset.saturating_add(to_u64(written)));
        Ok(written)
    }

    fn write_piece(&mut self, piece: &Piece, buf: &[u8], quota: &mut Quota) -> Result<usize, Errno> {
        let end = piece.start.saturating_add(buf.len());
        let (chunk, room) = self.make(piece.index, piece.start, end, Growth::Comfortable, quota)?;
        let count = room.saturating_sub(piece.start).min(buf.len());
        let end = piece.start.saturating_add(count);
        if chunk.bytes.len() < end {
            // Within the capacity that `make` has seen to.
            chunk.bytes.resize(end, 0);
        }
        let target = chunk.bytes.get_mut(piece.start..end).unwrap_or_default();
        target.copy_from_slice(buf.get(..count).unwrap_or_default());
        Ok(count)
    }

    /// The chunk `index` with capacity for `end` bytes, or for at least one after `start` if the quota allows no
    /// more; and the capacity.
    fn make(
        &mut self,
        index: u64,
        start: usize,
        end: usize,
        growth: Growth,
        quota: &mut Quota,
    ) -> Result<(&mut Chunk, usize), Errno> {
        let at = match self.find(index) {
            Ok(at) => at,
            Err(at) => {
                let base = self.base_of(index).len();
                let mut bytes = Vec::new();
                grow(&mut bytes, start.max(base), end.max(base), growth, quota)?;
                bytes.extend_from_slice(self.base_of(index));
                if self.chunks.try_reserve(1).is_err() {
                    quota.refund(to_u64(bytes.capacity()));
                    return Err(Errno::NOSPC);
                }
                self.chunks.insert(at, Chunk { index, bytes });
                at
            }
        };
        // It was found or has just been inserted.
        let chunk = self.chunks.get_mut(at).ok_or(Errno::IO)?;
        grow(&mut chunk.bytes, start, end, growth, quota)?;
        let room = chunk.bytes.capacity().min(CHUNK);
        Ok((chunk, room))
    }

    /// Sets the size. What lies beyond a smaller one is gone, even if the file grows again.
    pub(super) fn set_size(&mut self, size: u64, quota: &mut Quota) -> Result<(), Errno> {
        if size > MAX_SIZE {
            return Err(Errno::FBIG);
        }
        if size < self.size {
            self.cut(size, quota);
        }
        self.size = size;
        Ok(())
    }

    /// Gives up all bytes from `size` on.
    fn cut(&mut self, size: u64, quota: &mut Quota) {
        let before = self.allocated();
        let piece = Piece::new(size, 0);
        let keep = match self.find(piece.index) {
            Ok(at) if piece.start > 0 => {
                if let Some(chunk) = self.chunks.get_mut(at) {
                    chunk.bytes.truncate(piece.start);
                    compact(&mut chunk.bytes);
                }
                at.saturating_add(1)
            }
            Ok(at) | Err(at) => at,
        };
        self.chunks.truncate(keep);
        if self.chunks.is_empty() {
            self.chunks = Vec::new();
        }
        if let Some(base) = &mut self.base {
            let len = usize::try_from(size).unwrap_or(usize::MAX);
            base.range.end = base.range.end.min(base.range.start.saturating_add(len));
        }
        quota.refund(before.saturating_sub(self.allocated()));
    }

    /// Gives every byte of the range memory of its own, so that writing there cannot fail; the file grows to hold
    /// the range.
    pub(super) fn allocate(&mut self, offset: u64, len: u64, quota: &mut Quota) -> Result<(), Errno> {
        let end = offset.checked_add(len).filter(|end| *end <= MAX_SIZE);
        let end = end.ok_or(Errno::FBIG)?;
        if self.least_cost(offset, end) > quota.left() || !self.is_affordable(offset, end, quota) {
            return Err(Errno::NOSPC);
        }
        for piece in pieces(offset, end) {
            if let Err(errno) = self.allocate_piece(&piece, quota) {
                // What was made beyond the end of the file is of no use to anyone.
                self.cut(self.size, quota);
                return Err(errno);
            }
        }
        self.size = self.size.max(end);
        Ok(())
    }

    /// Whether the quota allows just what [`Self::allocate`] takes, so that a call that fails for it leaves no trace.
    fn is_affordable(&self, offset: u64, end: u64, quota: &Quota) -> bool {
        let mut left = quota.left();
        for piece in pieces(offset, end) {
            let needed = piece.start.saturating_add(piece.len);
            let missing = match self.find(piece.index).ok().and_then(|at| self.chunks.get(at)) {
                Some(chunk) => needed.saturating_sub(chunk.bytes.capacity()),
                None => needed.max(self.base_of(piece.index).len()),
            };
            match left.checked_sub(to_u64(missing)) {
                Some(rest) => left = rest,
                None => return false,
            }
        }
        true
    }

    fn allocate_piece(&mut self, piece: &Piece, quota: &mut Quota) -> Result<(), Errno> {
        let end = piece.start.saturating_add(piece.len);
        let (chunk, room) = self.make(piece.index, piece.start, end, Growth::Exact, quota)?;
        if room < end {
            return Err(Errno::NOSPC);
        }
        if chunk.bytes.len() < end {
            chunk.bytes.resize(end, 0);
        }
        Ok(())
    }

    /// Bytes of memory that a range needs at the very least, so that what cannot succeed is not begun.
    fn least_cost(&self, offset: u64, end: u64) -> u64 {
        // Chunks that lie in the range as a whole.
        let (first, last) = (offset.div_ceil(CHUNK_U64), end / CHUNK_U64);
        let inside = self
            .chunks
            .iter()
            .filter(|chunk| (first..last).contains(&chunk.index));
        let whole = last.saturating_sub(first).saturating_mul(CHUNK_U64);
        inside
            .map(|chunk| to_u64(chunk.bytes.capacity()))
            .fold(whole, u64::saturating_sub)
    }
}

/// The pieces, each within a chunk, of the bytes from `offset` to `end`.
fn pieces(offset: u64, end: u64) -> impl Iterator<Item = Piece> {
    let mut at = offset;
    core::iter::from_fn(move || {
        let rest = end.checked_sub(at).filter(|rest| *rest > 0)?;
        let piece = Piece::new(at, usize::try_from(rest).unwrap_or(usize::MAX));
        at = at.saturating_add(to_u64(piece.len));
        Some(piece)
    })
}

/// How much memory a chunk takes when it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// More than it needs, so that small writes do not copy it over and over.
    Comfortable,
    /// What it needs, which can be told in advance.
    Exact,
}

/// Grows `bytes` to a capacity of `end`; with a quota that is too small for that, as far as it reaches, which must
/// be beyond `start`.
fn grow(
    bytes: &mut Vec<u8>,
    start: usize,
    end: usize,
    growth: Growth,
    quota: &mut Quota,
) -> Result<(), Errno> {
    let capacity = bytes.capacity();
    if end <= capacity {
        return Ok(());
    }
    // Doubling keeps small writes from copying over and over; what the quota does not allow is not taken.
    let comfortable = match growth {
        Growth::Comfortable => capacity.saturating_mul(2).clamp(64, CHUNK).max(end),
        Growth::Exact => end,
    };
    let left = usize::try_from(quota.left()).unwrap_or(usize::MAX);
    let affordable = left.saturating_add(capacity);
    let wanted = if comfortable <= affordable {
        comfortable
    } else {
        end.min(affordable)
    };
    if wanted < end && wanted <= start {
        return Err(Errno::NOSPC);
    }
    let missing = wanted.saturating_sub(bytes.len());
    bytes.try_reserve_exact(missing).map_err(|_| Errno::NOSPC)?;
    // What was given is what counts, and what will be refunded. It is what was asked for.
    quota.charge(to_u64(bytes.capacity().saturating_sub(capacity)))
}

/// Gives back memory that is not used, if that is worth it. Fallibly: some allocators shrink by copying.
fn compact(bytes: &mut Vec<u8>) {
    if bytes.capacity() / 2 > bytes.len().max(64) {
        let mut small = Vec::new();
        if small.try_reserve_exact(bytes.len()).is_ok() {
            small.extend_from_slice(bytes);
            *bytes = small;
        }
    }
}
