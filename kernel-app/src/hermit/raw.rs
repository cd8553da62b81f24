//! Standard input of a console without a protocol: off the serial line, or uhyve's own.
//!
//! Layer: device.

use alloc::vec;
use alloc::vec::Vec;

use boot_protocol::console::client::{Line as _, Received};
use wasi_core::Errno;
use wasi_core::system::Readiness;

use super::console::Serial;

/// On a serial line this byte ends standard input (EOT, Ctrl-D): it has no end of file.
const END_OF_TRANSMISSION: u8 = 4;

/// Bytes that polling uhyve's input reads at once.
const AHEAD: usize = 4096;

/// A console without a protocol.
pub(super) struct Raw {
    line: Serial,
    /// Whether standard input has ended.
    ended: bool,
    /// What polling has taken.
    taken: Vec<u8>,
    /// How much of that reading has taken since.
    used: usize,
}

impl Raw {
    pub(super) fn new(line: Serial) -> Self {
        Self {
            line,
            ended: false,
            taken: Vec::new(),
            used: 0,
        }
    }

    /// The line.
    pub(super) fn line(&self) -> &Serial {
        &self.line
    }

    /// Blocks until there is a byte, or the end (0).
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, Errno> {
        if self.unread().is_empty() && !self.ended {
            if let Some(uhyve) = self.line.uhyve() {
                // A terminal may go on after its end (Ctrl-D): it is asked again.
                return self.line.waiting(|| uhyve.read_stdin(buf));
            }
            self.poll(None)?;
        }
        let unread = self.unread();
        let count = unread.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), unread.get(..count)) {
            to.copy_from_slice(from);
        }
        self.used = self.used.saturating_add(count);
        Ok(count)
    }

    /// Waits until there is a byte or the end, or until `timeout` nanoseconds have passed. uhyve has no way to look at
    /// its input without waiting for it: there, a time-out is NOTSUP.
    pub(super) fn poll(&mut self, timeout: Option<u64>) -> Result<Readiness, Errno> {
        if self.unread().is_empty() && !self.ended {
            self.taken.clear();
            self.used = 0;
            match self.line.uhyve() {
                Some(_) if timeout.is_some() => return Err(Errno::NOTSUP),
                Some(uhyve) => {
                    self.taken = vec![0; AHEAD];
                    let taken = &mut self.taken;
                    let result = self.line.waiting(|| uhyve.read_stdin(taken));
                    self.taken.truncate(*result.as_ref().unwrap_or(&0));
                    self.ended = result? == 0;
                }
                None => {
                    let mut byte = [0];
                    match self.line.read(&mut byte, timeout) {
                        // A terminal's Enter key sends a carriage return.
                        Received::Bytes(_) if byte == [b'\r'] => self.taken.push(b'\n'),
                        Received::Bytes(_) if byte == [END_OF_TRANSMISSION] => self.ended = true,
                        Received::Bytes(_) => self.taken.extend(byte),
                        Received::Nothing => return Ok(Readiness::NotReady),
                        Received::NoInput => self.ended = true,
                    }
                }
            }
        }
        Ok(Readiness::Ready {
            bytes: u64::try_from(self.unread().len()).unwrap_or(u64::MAX),
            hangup: self.ended,
        })
    }

    /// What polling has taken and reading has not.
    fn unread(&self) -> &[u8] {
        self.taken.get(self.used..).unwrap_or_default()
    }
}
