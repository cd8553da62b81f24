//! The wire: frames in a stream socket, each behind its length in four bytes, as QEMU's `-netdev socket` has them.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::ops::Range;
use std::os::unix::net::UnixStream;

/// The length before a frame.
const HEAD: usize = 4;

/// QEMU's longest frame, which is far longer than any of a guest with our MTU.
const LONGEST: usize = 4096 + (64 << 10);

/// What is read at once, and kept at most.
const INPUT: usize = 2 * (HEAD + LONGEST);

/// What may wait to be written; a frame that is begun below it is written.
const OUTPUT: usize = 256 << 10;

/// Frames, one behind the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    ends: VecDeque<Range<usize>>,
}

impl Batch {
    /// Adds the frame that `write` appends. Nothing appended is no frame.
    pub(crate) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.ends.is_empty() {
            self.bytes.clear();
        }
        let start = self.bytes.len();
        write(&mut self.bytes);
        if self.bytes.len() > start {
            self.ends.push_back(start..self.bytes.len());
        }
    }

    /// Adds a frame of `length` bytes, and lends it to be written.
    pub(crate) fn append(&mut self, length: usize) -> &mut [u8] {
        self.push(|bytes| bytes.resize(bytes.len().saturating_add(length), 0));
        let range = self.ends.back().cloned().unwrap_or_default();
        self.bytes.get_mut(range).unwrap_or_default()
    }

    /// Takes the oldest frame.
    pub(crate) fn pop(&mut self) -> Option<&[u8]> {
        let range = self.ends.pop_front()?;
        self.bytes.get(range)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// Our end of the wire.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: UnixStream,
    input: Vec<u8>,
    /// What of it was read from the stream and not handed out.
    filled: Range<usize>,
    output: Vec<u8>,
    written: usize,
    /// Nobody reads what is written.
    is_dead: bool,
}

impl Wire {
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            input: vec![0; INPUT],
            filled: 0..0,
            output: Vec::new(),
            written: 0,
            is_dead: false,
        })
    }

    pub(crate) const fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// The other end is gone: what is sent is lost from now on.
    pub(crate) fn end(&mut self) {
        self.is_dead = true;
        self.output.clear();
        self.written = 0;
    }

    /// Reads once. `false`: the other end is gone.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        self.input.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        let room = self.input.get_mut(self.filled.end..).unwrap_or_default();
        if room.is_empty() {
            return Ok(true);
        }
        match self.stream.read(room) {
            Ok(length) => {
                self.filled.end += length;
                Ok(length > 0)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(true),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The oldest frame that was read.
    ///
    /// # Errors
    /// What is there is no frame: nothing after it means anything.
    pub(crate) fn receive(&mut self) -> io::Result<Option<&[u8]>> {
        let bytes = self.input.get(self.filled.clone()).unwrap_or_default();
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("a frame of {length} bytes, where {LONGEST} is the most"),
            ));
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        self.filled.start += HEAD + length;
        Ok(Some(frame))
    }

    /// Whether a frame would be written, at once or later.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting() < OUTPUT
    }

    /// How many frames of `length` bytes would be.
    pub(crate) fn room(&self, length: usize) -> usize {
        OUTPUT.saturating_sub(self.waiting()) / (HEAD + length)
    }

    /// Bytes that wait to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.output.len().saturating_sub(self.written)
    }

    /// Writes the frame that `write` appends, if it appends any; without room it is lost.
    pub(crate) fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.is_dead || !self.has_room() {
            return;
        }
        let start = self.output.len();
        self.output.extend_from_slice(&[0; HEAD]);
        write(&mut self.output);
        let length = self.output.len().saturating_sub(start + HEAD);
        match self.output.get_mut(start..start + HEAD) {
            Some(head) if length > 0 => {
                head.copy_from_slice(&u32::try_from(length).unwrap_or_default().to_be_bytes());
            }
            _ => self.output.truncate(start),
        }
    }

    /// Writes what the stream takes. `false`: the other end is gone.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while self.waiting() > 0 {
            match self
                .stream
                .write(self.output.get(self.written..).unwrap_or_default())
            {
                Ok(length) => self.written += length,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => break,
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => return Ok(false),
                    _ => return Err(error),
                },
            }
        }
        if self.waiting() == 0 {
            self.output.clear();
            self.written = 0;
        } else if self.written > OUTPUT {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_as_they_were_sent_and_nothing_else_does() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(ours).unwrap();
        theirs.write_all(&[0, 0, 0, 3, 1, 2]).unwrap();
        assert!(wire.fill().unwrap());
        assert_eq!(wire.receive().unwrap(), None);
        theirs.write_all(&[3, 0, 0, 0, 0, 0, 0, 0, 1, 4]).unwrap();
        assert!(wire.fill().unwrap());
        assert_eq!(wire.receive().unwrap(), Some(&[1, 2, 3][..]));
        assert_eq!(wire.receive().unwrap(), Some(&[][..]));
        assert_eq!(wire.receive().unwrap(), Some(&[4][..]));
        assert_eq!(wire.receive().unwrap(), None);
        wire.send(|out| out.extend_from_slice(&[7, 8]));
        wire.send(|_| {});
        assert!(wire.flush().unwrap());
        let mut bytes = [0; 6];
        theirs.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [0, 0, 0, 2, 7, 8]);
        theirs.write_all(&[0xff; 4]).unwrap();
        assert!(wire.fill().unwrap());
        assert!(wire.receive().is_err());
        drop(theirs);
        assert!(!wire.fill().unwrap());
    }

    #[test]
    fn what_nobody_reads_is_bounded() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(ours).unwrap();
        for _ in 0..10_000 {
            wire.send(|out| out.extend_from_slice(&[1; 1500]));
            assert!(wire.flush().unwrap());
        }
        assert!(!wire.has_room());
        assert!(wire.output.len() < 3 * OUTPUT, "{}", wire.output.len());
    }
}
