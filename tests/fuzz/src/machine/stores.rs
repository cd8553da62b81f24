//! The machine's memory as the fuzzer has written it: what any place of it holds, or has ever held.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::script::SIZE;

/// All stores, in order.
#[derive(Debug, Default)]
pub(super) struct Stores(Vec<(u64, u64, u8)>);

impl Stores {
    /// Writes to the memory.
    pub(super) fn store(&mut self, memory: &File, at: u64, length: u64, value: u8) {
        let at = at.min(SIZE);
        let length = length.min(SIZE - at);
        let bytes = vec![value; usize::try_from(length).expect("at most the memory")];
        memory.write_all_at(&bytes, at).expect("it is within the file");
        self.0.push((at, length, value));
    }

    /// Whether this place ever held this byte. All memory was 0 at first.
    pub(super) fn held(&self, at: u64, value: u8) -> bool {
        let stored = |(start, length, stored): &(u64, u64, u8)| {
            *stored == value && (*start..start + length).contains(&at)
        };
        value == 0 || self.0.iter().any(stored)
    }

    /// Whether something was stored in this part.
    pub(super) fn touch(&self, at: u64, length: u64) -> bool {
        let apart = |start: u64, stored: u64| start + stored <= at || at + length <= start;
        !self.0.iter().all(|(start, stored, _)| apart(*start, *stored))
    }

    /// The memory holds what was stored and nothing else, but for the part where the launcher may write.
    pub(super) fn check(&self, memory: &File, input: Option<(u64, u64)>) {
        let size = usize::try_from(SIZE).expect("it is small");
        let (mut is, mut should) = (vec![0; size], vec![0; size]);
        memory.read_exact_at(&mut is, 0).expect("the file has its size");
        for (at, length, value) in &self.0 {
            range(&mut should, *at, *length).fill(*value);
        }
        if let Some((at, length)) = input {
            range(&mut is, at, length).fill(0);
            range(&mut should, at, length).fill(0);
        }
        assert!(
            is == should,
            "the launcher wrote outside of the window's input part"
        );
    }
}

fn range(bytes: &mut [u8], at: u64, length: u64) -> &mut [u8] {
    let start = usize::try_from(at).expect("it is in the memory");
    let length = usize::try_from(length).expect("it is in the memory");
    &mut bytes[start..start + length]
}
