//! File system devices: requests to a server of files, one at a time, and their replies. See 5.11.
//!
//! What is in them is nobody's business here. Nothing is copied: descriptors name the memory of whoever asks.

use core::mem;

use crate::chain::{Chain, NotLent, Part};
use crate::rings::Broken;
use crate::{Error, Memory, Registers, Transport};

/// The kind of device, as memory-mapped registers name it; on PCI it is 0x1040 more.
pub const DEVICE: u32 = 26;

/// Bytes of a device's name, which is what its configuration begins with. See 5.11.4.
pub const NAME: usize = 36;

/// The queues: for requests that have no reply, and for all others. See 5.11.2.
const HIGH_PRIORITY: u16 = 0;
const REQUESTS: u16 = 1;

/// Why there is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device was stopped, or has broken the rules and is stopped now.
    Stopped,
    /// The memory lies in more pieces than the device's queue has descriptors.
    Scattered,
    /// There is no memory at an address, or no request in it.
    NoMemory,
}

/// What a request needs of the machine.
pub trait Lender {
    /// Where the device finds the byte at `start`, and how many of the `len` bytes from there on lie in one piece of
    /// its memory. The bytes are somebody's, and are not accessed. `None`: it does not find it.
    fn place(&mut self, start: *const u8, len: usize) -> Option<(u64, usize)>;

    /// Waits a little for the reply, and tells whether it is worth waiting for any longer. If not, the device is
    /// stopped.
    fn wait(&mut self) -> bool;
}

/// A file system device that works.
#[derive(Debug)]
pub struct Fs<R: Registers, M> {
    transport: Transport<R>,
    memory: M,
    queues: [Chain; 2],
    name: [u8; NAME],
    stopped: bool,
}

impl<R: Registers, M: Memory> Fs<R, M> {
    /// Bytes of memory that a device takes.
    pub const MEMORY: usize = 2 * Chain::MEMORY;

    /// Starts the device.
    ///
    /// # Errors
    /// Why it cannot be used. It has been reset then, or has not let that be done.
    pub fn start(transport: Transport<R>, memory: M) -> Result<Self, Error> {
        let mut transport = transport;
        match Self::queues(&mut transport, memory) {
            Ok((memory, queues)) => {
                let name = core::array::from_fn(|index| transport.config8(index));
                transport.finish();
                Ok(Self {
                    transport,
                    memory,
                    queues,
                    name,
                    stopped: false,
                })
            }
            Err(error) => {
                transport.reset()?;
                Err(error)
            }
        }
    }

    fn queues(transport: &mut Transport<R>, mut memory: M) -> Result<(M, [Chain; 2]), Error> {
        if memory.size() < Self::MEMORY {
            return Err(Error::Memory);
        }
        transport.begin(0)?;
        let mut start = |number: u16, at: usize| {
            let most = transport.queue_most(number);
            let queue = Chain::new(&mut memory, at, most).ok_or(Error::NoQueue)?;
            transport.start_queue(number, queue.size(), queue.addresses(&memory))?;
            Ok(queue)
        };
        let queues = [start(HIGH_PRIORITY, 0)?, start(REQUESTS, Chain::MEMORY)?];
        Ok((memory, queues))
    }

    /// Its name, up to the first zero.
    pub fn name(&self) -> &[u8] {
        self.name.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Sends a request, whose parts follow one another, and waits for the reply, which fills `reply` in order. Returns
    /// how many bytes the device says that it wrote, at most those that there are.
    ///
    /// # Errors
    /// Why there is no reply.
    pub fn request(
        &mut self,
        request: &[&[u8]],
        reply: &mut [&mut [u8]],
        lender: &mut impl Lender,
    ) -> Result<usize, Failure> {
        self.exchange(REQUESTS, request, reply, lender)
    }

    /// Sends a request that has no reply, and waits until the device has read it.
    ///
    /// # Errors
    /// Why it was not sent, or has not been read.
    pub fn notify(&mut self, request: &[&[u8]], lender: &mut impl Lender) -> Result<(), Failure> {
        self.exchange(HIGH_PRIORITY, request, &mut [], lender).map(drop)
    }

    fn exchange(
        &mut self,
        queue: u16,
        request: &[&[u8]],
        reply: &mut [&mut [u8]],
        lender: &mut impl Lender,
    ) -> Result<usize, Failure> {
        if self.stopped {
            return Err(Failure::Stopped);
        }
        let room = reply
            .iter()
            .fold(0_usize, |room, part| room.saturating_add(part.len()));
        let sent = request
            .iter()
            .map(|part| -> Part { (part.as_ptr(), part.len(), false) });
        // Pointers by which they may be written to.
        let received = reply
            .iter_mut()
            .map(|part| -> Part { (part.as_mut_ptr().cast_const(), part.len(), true) });
        let [high_priority, requests] = &mut self.queues;
        let chain = if queue == REQUESTS {
            requests
        } else {
            high_priority
        };
        let told = chain
            .lend(&mut self.memory, sent.chain(received), |start, len| {
                lender.place(start, len)
            })
            .map_err(|reason| match reason {
                NotLent::TooLong => Failure::Scattered,
                NotLent::NoMemory => Failure::NoMemory,
            })?;
        // From here on the parts are the device's, until it has given them back or is stopped: `lent` sees to that,
        // however this function is left.
        let lent = Lent {
            transport: &mut self.transport,
            stopped: &mut self.stopped,
        };
        if told {
            lent.transport.notify(queue);
        }
        loop {
            match chain.take(&self.memory) {
                Ok(Some(len)) => {
                    mem::forget(lent);
                    return Ok(usize::try_from(len).unwrap_or(usize::MAX).min(room));
                }
                Ok(None) if lender.wait() => {}
                Ok(None) | Err(Broken) => return Err(Failure::Stopped),
            }
        }
    }
}

/// A device that has the memory of a request: stopped when this is dropped.
struct Lent<'d, R: Registers> {
    transport: &'d mut Transport<R>,
    stopped: &'d mut bool,
}

impl<R: Registers> Drop for Lent<'_, R> {
    fn drop(&mut self) {
        *self.stopped = true;
        // One that does not even come out of a reset may write anywhere at any time, as any device can: there is nothing
        // left to do.
        _ = self.transport.reset();
    }
}

impl<R: Registers, M> Drop for Fs<R, M> {
    fn drop(&mut self) {
        _ = self.transport.reset();
    }
}
