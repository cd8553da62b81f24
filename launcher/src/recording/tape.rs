//! A recording that is being made: what the machine sends, block by block into the file.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use super::file::{self, Chain, Kind};
use super::{Header, RecordedEnd};
use crate::host::units::{MIB, show_size};

/// The most bytes of a recording. A guest can ask for random numbers for ever, and whoever replays it needs as much
/// memory.
const MOST: u64 = 1024 * MIB;

/// A recording that is being made. Clones write to the same.
#[derive(Clone, Debug)]
pub(crate) struct Tape(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    file: File,
    chain: Chain,
    /// Bytes of the file.
    length: u64,
    block: Vec<u8>,
}

impl Tape {
    /// Begins anew, in `file`.
    pub(crate) fn begin(file: &File, header: &Header) -> io::Result<Self> {
        let mut file = file.try_clone()?;
        file.set_len(0)?;
        file.rewind()?;
        let mut state = State {
            file,
            chain: Chain::default(),
            length: 0,
            block: file::begin(),
        };
        state.put(Kind::Header, &header.encode())?;
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    /// Takes bytes of events.
    pub(crate) fn events(&self, bytes: &[u8]) -> io::Result<()> {
        self.put(Kind::Events, bytes)
    }

    /// Notes how the run ended.
    pub(crate) fn end(&self, end: &RecordedEnd) -> io::Result<()> {
        self.put(Kind::End, &end.encode())
    }

    fn put(&self, kind: Kind, content: &[u8]) -> io::Result<()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .put(kind, content)
    }
}

impl State {
    fn put(&mut self, kind: Kind, content: &[u8]) -> io::Result<()> {
        self.chain.append(&mut self.block, kind, content);
        let length = u64::try_from(self.block.len()).unwrap_or(u64::MAX);
        let length = self.length.saturating_add(length);
        if length > MOST && kind == Kind::Events {
            self.block.clear();
            return Err(io::Error::other(format!(
                "it has {} already, the most that one may have",
                show_size(MOST)
            )));
        }
        let written = self.file.write_all(&self.block);
        self.block.clear();
        self.length = length;
        written
    }
}
