//! Reads files whose bytes somebody else has: as long as there is time, whatever stands behind them.
//!
//! Layer: host. A file of another machine is read on a thread of its own, and a pipe is waited for.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::event::PollFlags;

use super::deadline::Deadline;
use super::module_error::unreadable;
use crate::compile::ForeignError;
use crate::error::Error;
use crate::host::nonblocking::is_remote;

/// Which side of a copy failed.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// What is read: the file's name, and why.
    Module(PathBuf, io::Error),
    /// Where it goes.
    Out(io::Error),
    /// What is read is native code: it cannot be read, or is not what this user's launcher has sealed.
    Code(ForeignError),
    /// The run is over.
    Over(Error),
}

impl WriteError {
    /// As an error of the run; `attempt` is what was being written.
    pub(crate) fn into_error(self, attempt: &'static str) -> Error {
        match self {
            Self::Module(path, error) => unreadable(&path, &error).into(),
            Self::Out(error) => crate::error::StartError::file(attempt)(error),
            Self::Code(error) => error.into(),
            Self::Over(error) => error,
        }
    }
}

/// How much of a file is read at once: what fits into a processor's own memory, for whoever looks at it on the way.
const PART: usize = 1 << 18;

/// Copies a range of `file`, wherever its position is: others share it. The file has no name here.
pub(crate) fn copy(
    file: &Arc<File>,
    range: Range<u64>,
    out: &mut impl Write,
    deadline: &Deadline,
) -> Result<(), WriteError> {
    let module = |error: io::Error| WriteError::Module(PathBuf::new(), error);
    let remote = is_remote(&**file);
    // Of a small one no more than it needs: each page costs time.
    let length = range.end.saturating_sub(range.start);
    let mut buffer = vec![0; usize::try_from(length).map_or(PART, |length| length.min(PART))];
    let mut done = range.start;
    while done < range.end {
        deadline.check().map_err(WriteError::Over)?;
        let rest = usize::try_from(range.end.saturating_sub(done)).unwrap_or(usize::MAX);
        let most = rest.min(buffer.len());
        let result = match remote {
            false => file.read_at(buffer.get_mut(..most).unwrap_or_default(), done),
            true => {
                let (file, mut bytes) = (Arc::clone(file), std::mem::take(&mut buffer));
                let read = move || {
                    (
                        file.read_at(bytes.get_mut(..most).unwrap_or_default(), done),
                        bytes,
                    )
                };
                let (result, bytes) = deadline.aside(read).map_err(WriteError::Over)?;
                buffer = bytes;
                result
            }
        };
        let count = match result {
            Ok(0) => return Err(module(io::Error::other("it became shorter while it was read"))),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(module(error)),
        };
        out.write_all(buffer.get(..count).unwrap_or_default())
            .map_err(WriteError::Out)?;
        done = done.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    Ok(())
}

/// A file that is read from its position on, as long as there is time. It was opened so that no read waits for a
/// writer.
pub(super) struct Source<'a> {
    pub(super) file: &'a Arc<File>,
    /// Whether it must be waited for: a pipe, a terminal.
    pub(super) waits: bool,
    /// Whether a read may wait all the same.
    pub(super) remote: bool,
    pub(super) deadline: &'a Deadline,
}

/// Why a read fails.
pub(super) enum ReadError {
    /// The system's reason.
    File(io::Error),
    /// The run is over.
    Over(Error),
}

impl Source<'_> {
    /// Reads until `bytes` are as long as that, or to the end.
    pub(super) fn read_to(&mut self, bytes: &mut Vec<u8>, length: usize) -> Result<(), ReadError> {
        const PART: usize = 1 << 16;
        let mut buffer = Vec::new();
        while bytes.len() < length {
            let event = Some((self.file.as_fd(), PollFlags::IN)).filter(|_| self.waits);
            match event {
                Some(_) => self.deadline.wait(event, None).map(drop),
                None => self.deadline.check(),
            }
            .map_err(ReadError::Over)?;
            buffer.resize(length.saturating_sub(bytes.len()).min(PART), 0);
            let result = match self.remote {
                false => (&**self.file).read(&mut buffer),
                true => {
                    let (file, mut part) = (Arc::clone(self.file), std::mem::take(&mut buffer));
                    let read = move || ((&*file).read(&mut part), part);
                    let (result, part) = self.deadline.aside(read).map_err(ReadError::Over)?;
                    buffer = part;
                    result
                }
            };
            match result {
                Ok(0) => return Ok(()),
                Ok(count) => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => {}
                    _ => return Err(ReadError::File(error)),
                },
            }
        }
        Ok(())
    }
}
