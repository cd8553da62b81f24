//! Network devices: Ethernet frames. See 5.1.
//!
//! The methods are those that a network stack wants of a device for frames. No offload is negotiated: a frame is what
//! is on the wire.

use crate::queue::{BUFFER, Queue};
use crate::rings::{Broken, MOST};
use crate::{Error, Memory, PAGE, Registers, Transport};

/// The kind of device, as memory-mapped registers name it; on PCI it is 0x1040 more.
pub const DEVICE: u32 = 1;

/// Features that are used if they are there. See 5.1.3.
const MTU: u64 = 1 << 3;
const ADDRESS: u64 = 1 << 5;

/// Where a device says its address and its MTU. See 5.1.4.
const CONFIG_ADDRESS: usize = 0;
const CONFIG_MTU: usize = 10;

/// The queues. See 5.1.2.
const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;

/// Bytes in front of each frame; zeros when nothing is offloaded. See 5.1.6.
const HEADER: usize = 12;
/// Bytes in front of a frame's packet.
const ETHERNET: usize = 14;
/// The longest packet; Ethernet's.
const LONGEST: u16 = 1500;
/// IPv4 has no smaller packets that everybody has to take.
const SHORTEST: u16 = 576;
/// A buffer's bytes that are used.
const USED: usize = HEADER + ETHERNET + LONGEST as usize;
const _: () = assert!(USED <= BUFFER);
#[expect(clippy::cast_possible_truncation, reason = "it is below 2048")]
const USED_LENGTH: u32 = USED as u32;

/// A network device that works.
#[derive(Debug)]
pub struct Net<R: Registers, M> {
    transport: Transport<R>,
    memory: M,
    receive: Queue,
    transmit: Queue,
    /// A bit for each buffer in which a frame may be made.
    free: u128,
    address: [u8; 6],
    mtu: u16,
    /// It has broken the rules: it has been reset, nothing more arrives, and frames are lost.
    broken: bool,
}

impl<R: Registers, M: Memory> Net<R, M> {
    /// Bytes of memory that a device takes.
    pub const MEMORY: usize = Self::LOST + PAGE;

    /// Where a frame is made that no device takes.
    const LOST: usize = 2 * Queue::MEMORY;

    /// Starts the device: frames arrive from now on.
    ///
    /// # Errors
    /// Why it cannot be used. It has been reset then, or has not let that be done.
    pub fn start(transport: Transport<R>, memory: M) -> Result<Self, Error> {
        let mut transport = transport;
        match Self::queues(&mut transport, memory) {
            Ok(parts) => Ok(Self::working(transport, parts)),
            Err(error) => {
                transport.reset()?;
                Err(error)
            }
        }
    }

    fn queues(transport: &mut Transport<R>, mut memory: M) -> Result<(M, Queue, Queue, [u8; 6], u16), Error> {
        if memory.size() < Self::MEMORY {
            return Err(Error::Memory);
        }
        let features = transport.begin(MTU | ADDRESS)?;
        if features & ADDRESS == 0 {
            return Err(Error::Features);
        }
        let address = core::array::from_fn(|index| transport.config8(CONFIG_ADDRESS + index));
        // One that is not a station's is no address.
        if address == [0; 6] || address[0] & 1 != 0 {
            return Err(Error::Malformed);
        }
        let mtu = match features & MTU {
            0 => LONGEST,
            _ => u16::from_le_bytes(core::array::from_fn(|index| {
                transport.config8(CONFIG_MTU + index)
            })),
        };
        if mtu < SHORTEST {
            return Err(Error::Malformed);
        }
        let mut start = |number: u16, at: usize, write| {
            let most = transport.queue_most(number);
            let queue = Queue::new(&mut memory, at, most, USED_LENGTH, write).ok_or(Error::NoQueue)?;
            transport.start_queue(number, queue.size(), queue.addresses(&memory))?;
            Ok(queue)
        };
        let receive = start(RECEIVE, 0, true)?;
        let transmit = start(TRANSMIT, Queue::MEMORY, false)?;
        Ok((memory, receive, transmit, address, mtu.min(LONGEST)))
    }

    fn working(transport: Transport<R>, parts: (M, Queue, Queue, [u8; 6], u16)) -> Self {
        let (memory, receive, transmit, address, mtu) = parts;
        transport.finish();
        let mut net = Self {
            free: u128::MAX >> (MOST - transmit.size()),
            transport,
            memory,
            receive,
            transmit,
            address,
            mtu,
            broken: false,
        };
        for id in 0..net.receive.size() {
            net.receive.lend(&mut net.memory, id);
        }
        net.transport.notify(RECEIVE);
        net
    }

    /// Its address on the link.
    pub fn address(&self) -> [u8; 6] {
        self.address
    }

    /// The longest packet that a frame carries.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Whether it has broken the rules and is given up: nothing arrives, and frames are lost.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Hands the oldest frame that was received to `read`, and forgets it. `None`: there is none.
    pub fn receive<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if self.broken {
            return None;
        }
        let (id, len) = match self.receive.take(&self.memory) {
            Ok(taken) => taken?,
            Err(Broken) => return self.give_up(),
        };
        // More than was lent, or not even a header, is against the rules.
        let len = usize::try_from(len)
            .ok()
            .filter(|len| (HEADER..=USED).contains(len));
        let Some(len) = len else {
            return self.give_up();
        };
        let at = self.receive.buffer(id);
        let result = read(self.memory.bytes(at + HEADER, len - HEADER));
        if self.receive.lend(&mut self.memory, id) {
            self.transport.notify(RECEIVE);
        }
        Some(result)
    }

    /// Whether [`Self::transmit`] would find a buffer.
    pub fn can_transmit(&mut self) -> bool {
        if self.free == 0 {
            self.reclaim();
        }
        self.free != 0 || self.broken
    }

    /// Lends a buffer of `length` bytes to `write`, which fills all of it, and transmits it. `write` is called whatever
    /// happens: a frame that cannot be transmitted is lost. None is longer than a [`PAGE`].
    pub fn transmit<T>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> T) -> T {
        if !self.can_transmit() || self.broken || length > USED - HEADER {
            return write(self.memory.bytes(Self::LOST, length));
        }
        let id = u16::try_from(self.free.trailing_zeros()).unwrap_or(0);
        let at = self.transmit.buffer(id);
        self.memory.bytes(at, HEADER).fill(0);
        let result = write(self.memory.bytes(at + HEADER, length));
        let whole = u32::try_from(HEADER + length).unwrap_or(USED_LENGTH);
        self.transmit.set_length(&mut self.memory, id, whole);
        self.free &= self.free.wrapping_sub(1);
        if self.transmit.lend(&mut self.memory, id) {
            self.transport.notify(TRANSMIT);
        }
        result
    }

    /// Whether all frames have been transmitted: the device holds none.
    pub fn is_idle(&mut self) -> bool {
        self.reclaim();
        self.broken || self.free == u128::MAX >> (MOST - self.transmit.size())
    }

    /// Prepares to wait for the interrupt: for a frame, and with `room` for a buffer to transmit too. `false`: there is
    /// something to do already.
    ///
    /// # Errors
    /// The device [is broken](Self::is_broken): nobody would ever be woken.
    pub fn prepare_to_wait(&mut self, room: bool) -> Result<bool, Broken> {
        if self.broken {
            return Err(Broken);
        }
        // Somebody has made room already.
        if room && self.free != 0 {
            return Ok(false);
        }
        self.receive.interrupt(&mut self.memory, true);
        if room {
            self.transmit.interrupt(&mut self.memory, true);
        }
        let something =
            self.receive.has_returned(&self.memory) || room && self.transmit.has_returned(&self.memory);
        if something {
            self.waited();
        }
        Ok(!something)
    }

    /// Tells the device that its interrupt has been seen, and that no further one is wanted.
    pub fn waited(&mut self) {
        self.transport.acknowledge();
        self.receive.interrupt(&mut self.memory, false);
        self.transmit.interrupt(&mut self.memory, false);
    }

    /// Takes back the buffers of frames that have been transmitted.
    fn reclaim(&mut self) {
        while !self.broken {
            match self.transmit.take(&self.memory) {
                Ok(Some((id, _))) => self.free |= 1 << id,
                Ok(None) => return,
                Err(Broken) => {
                    self.give_up::<()>();
                }
            }
        }
    }

    /// Gives the device up.
    #[cold]
    fn give_up<T>(&mut self) -> Option<T> {
        self.broken = true;
        // If it does not even do that, its memory is still nobody else's.
        _ = self.transport.reset();
        None
    }
}

impl<R: Registers, M> Drop for Net<R, M> {
    fn drop(&mut self) {
        _ = self.transport.reset();
    }
}
