//! What of a connection is moved from one side to the other: through the stack's buffers and the kernel's only.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;

use net_stack::{Error, Half};

use super::Tcp;

/// What of a connection is moved before others have their turn.
const SHARE: usize = 256 << 10;

/// A connection is over, by an error.
pub(super) struct Ended;

impl Tcp {
    /// Moves what there is to move. Says whether there is more.
    pub(super) fn exchange(&mut self, index: usize) -> Result<bool, Ended> {
        let Self {
            stack,
            table,
            scratch,
            quarter,
            ..
        } = self;
        let Some(flow) = table.get(index) else {
            return Ok(false);
        };
        let (Some(stream), Some(host)) = (flow.stream, &mut flow.host) else {
            return Ok(false);
        };
        let mut moved = 0;
        while flow.writable && !flow.guest_ended {
            if moved >= SHARE {
                return Ok(true);
            }
            match stack.peek(stream, scratch) {
                Err(Error::WouldBlock) => break,
                Err(_) => return Err(Ended),
                Ok(0) => {
                    flow.guest_ended = true;
                    // Whoever reset the connection is told by reading.
                    let _ = host.shutdown(Shutdown::Write);
                }
                Ok(length) => match host.write(scratch.get(..length).unwrap_or_default()) {
                    Ok(written) => {
                        let taken = scratch.get_mut(..written).unwrap_or_default();
                        stack.receive(stream, taken).map_err(|_| Ended)?;
                        moved += written;
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => flow.writable = false,
                    Err(_) => return Err(Ended),
                },
            }
        }
        let mut moved = 0;
        while flow.readable && !flow.host_ended {
            let readiness = stack.stream_readiness(stream).map_err(|_| Ended)?;
            if readiness.error.is_some() {
                return Err(Ended);
            }
            if !readiness.writable {
                break;
            }
            if moved >= SHARE {
                return Ok(true);
            }
            let room = scratch.get_mut(..*quarter).unwrap_or_default();
            match host.read(room) {
                Ok(0) => {
                    flow.host_ended = true;
                    stack.shutdown(stream, Half::Send).map_err(|_| Ended)?;
                }
                Ok(length) => {
                    let data = scratch.get(..length).unwrap_or_default();
                    // So much room there is, or the guest is gone.
                    if stack.send(stream, data) != Ok(length) {
                        return Err(Ended);
                    }
                    moved += length;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => flow.readable = false,
                Err(_) => return Err(Ended),
            }
        }
        if flow.guest_ended && flow.host_ended {
            let (host, stream) = table.close(index);
            drop(host);
            if let Some(stream) = stream {
                let _ = stack.close_stream(stream);
            }
            return Ok(false);
        }
        let gone = stack
            .stream_readiness(stream)
            .map_or(true, |readiness| readiness.error.is_some());
        // What is still to be read on one side counts more than that the other is broken.
        if gone || (flow.broken && flow.host_ended) {
            return Err(Ended);
        }
        Ok(false)
    }
}
