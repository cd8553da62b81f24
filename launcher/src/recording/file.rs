//! A recording's file: what it begins with, and its blocks, each with a check of it and of all before it.
//!
//! ```text
//! 0  8   MAGIC, "HWRECORD"
//! 8  2   VERSION, little-endian
//! 10     blocks, up to the end:
//!        0  1   kind: 1 header, 2 events, 3 end
//!        1  4   length of the content, little-endian
//!        5      content
//!           16  check: the first bytes of BLAKE3 of the last block's check (zeros for the first), and of this block up
//!               to here
//! ```

use std::io::{self, Read};

use super::Stopped;

/// Begins every recording.
pub(super) const MAGIC: [u8; 8] = *b"HWRECORD";

/// The version that this program writes and reads.
pub(super) const VERSION: u16 = 1;

/// The most bytes in a block. The machine's frames have less.
const LONGEST: usize = 1 << 20;

/// Length of a check.
const CHECK: usize = 16;

/// What a block has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// What ran; the first.
    Header = 1,
    /// Events, as the machine sent them. One may be in several blocks.
    Events = 2,
    /// How the run ended; the last.
    End = 3,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Header, Self::Events, Self::End]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// One block.
pub(super) struct Block<'a> {
    pub(super) kind: Kind,
    pub(super) content: &'a [u8],
}

/// The check of the last block, on which the next one's depends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chain([u8; CHECK]);

impl Chain {
    fn next(self, head: &[u8], content: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(head).update(content);
        let mut check = [0; CHECK];
        hasher.finalize_xof().fill(&mut check);
        Self(check)
    }

    /// Appends blocks with `content` to `out`, as many as it takes.
    pub(super) fn append(&mut self, out: &mut Vec<u8>, kind: Kind, content: &[u8]) {
        for content in content.chunks(LONGEST) {
            let start = out.len();
            out.push(kind as u8);
            // A chunk is not longer than a number of 32 bits says.
            out.extend(u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes());
            *self = self.next(out.get(start..).unwrap_or_default(), content);
            out.extend(content);
            out.extend(self.0);
        }
    }
}

/// A file of these blocks, whatever their kinds are: the checks of all of them are right.
#[cfg(feature = "fuzzing")]
pub(super) fn forged(blocks: &[(u8, &[u8])]) -> Vec<u8> {
    let mut chain = Chain::default();
    let mut file = begin();
    for (kind, content) in blocks {
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX).to_le_bytes();
        let head = [&[*kind], &length[..]].concat();
        chain = chain.next(&head, content);
        file.extend([&head[..], content, &chain.0].concat());
    }
    file
}

/// What stands before the blocks.
pub(super) fn begin() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes
}

/// Hands each block to `each`; whether the last one is whole. One that is not is not handed over.
pub(super) fn read(
    file: &mut impl Read,
    mut each: impl FnMut(Block<'_>) -> Result<(), Stopped>,
) -> Result<bool, Stopped> {
    let mut start = [0; MAGIC.len() + 2];
    let got = fill(file, &mut start)?;
    let (magic, version) = start.split_at(MAGIC.len());
    if magic != MAGIC || got < start.len() {
        return Err(Stopped::Refused("it is not a hermit-wasm recording".to_string()));
    }
    if version != VERSION.to_le_bytes() {
        return Err(Stopped::Refused(
            "another version of hermit-wasm recorded it: replay it with that version".to_string(),
        ));
    }
    let mut chain = Chain::default();
    let mut place = u64::try_from(start.len()).unwrap_or(u64::MAX);
    let mut content = Vec::new();
    loop {
        let mut head = [0; 5];
        match fill(file, &mut head)? {
            0 => return Ok(true),
            5 => {}
            _ => return Ok(false),
        }
        let damaged = || Stopped::Refused(format!("it is damaged, in the block at byte {place}"));
        let [kind, length @ ..] = head;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let kind = Kind::from_byte(kind).ok_or_else(damaged)?;
        if length > LONGEST {
            return Err(damaged());
        }
        content.resize(length, 0);
        let mut check = [0; CHECK];
        if fill(file, &mut content)? < length || fill(file, &mut check)? < CHECK {
            return Ok(false);
        }
        chain = chain.next(&head, &content);
        if chain.0 != check {
            return Err(damaged());
        }
        each(Block {
            kind,
            content: &content,
        })?;
        let whole = head.len().saturating_add(length).saturating_add(CHECK);
        place = place.saturating_add(u64::try_from(whole).unwrap_or(u64::MAX));
    }
}

/// Reads until `buf` is full or the file ends; how many bytes there were.
fn fill(file: &mut impl Read, buf: &mut [u8]) -> Result<usize, Stopped> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => done = done.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Stopped::Read(error)),
        }
    }
    Ok(done)
}
