//! What a device is reached by, whichever it is: PCI or memory-mapped registers. See 3.1 for the order of calls.

use crate::mmio::Mmio;
use crate::pci::Pci;
use crate::{Error, Registers};

/// Bits of the status. See 2.1.
const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;

/// The feature that every device of version 1 has. See 6.
const VERSION_1: u64 = 1 << 32;

/// How often a device is asked whether it has done with a reset. QEMU's have at once.
const PATIENCE: u32 = 1_000_000;

/// What a device is reached by.
#[derive(Debug)]
pub enum Transport<R> {
    /// PCI.
    Pci(Pci<R>),
    /// Memory-mapped registers.
    Mmio(Mmio<R>),
}

/// Calls the same method of whichever it is.
macro_rules! either {
    ($self:expr, $transport:ident => $call:expr) => {
        match $self {
            Transport::Pci($transport) => $call,
            Transport::Mmio($transport) => $call,
        }
    };
}

impl<R: Registers> Transport<R> {
    /// Resets the device.
    pub(crate) fn reset(&self) -> Result<(), Error> {
        self.set_status(0);
        for _ in 0..PATIENCE {
            if self.status() == 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(Error::Reset)
    }

    /// Resets the device and settles the features: those of `wanted` that it has. Returns them.
    pub(crate) fn begin(&self, wanted: u64) -> Result<u64, Error> {
        self.reset()?;
        self.set_status(ACKNOWLEDGE);
        self.set_status(ACKNOWLEDGE | DRIVER);
        let features = either!(self, it => it.features());
        if features & VERSION_1 == 0 {
            return Err(Error::Legacy);
        }
        let features = features & (wanted | VERSION_1);
        either!(self, it => it.accept(features));
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK);
        if self.status() & FEATURES_OK == 0 {
            return Err(Error::Features);
        }
        Ok(features)
    }

    /// Tells the device that it may work.
    pub(crate) fn finish(&self) {
        self.set_status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    }

    /// The most descriptors that a queue may have; 0: the device has no such queue.
    pub(crate) fn queue_most(&self, queue: u16) -> u16 {
        either!(self, it => it.queue_most(queue))
    }

    /// Starts a queue.
    pub(crate) fn start_queue(&mut self, queue: u16, size: u16, addresses: [u64; 3]) -> Result<(), Error> {
        either!(self, it => it.start_queue(queue, size, addresses))
    }

    /// Tells the device to look into a queue.
    pub(crate) fn notify(&self, queue: u16) {
        either!(self, it => it.notify(queue));
    }

    /// Tells the device that its interrupt has been seen.
    pub(crate) fn acknowledge(&self) {
        either!(self, it => it.acknowledge());
    }

    /// Reads a byte of what is particular to the kind of device.
    pub(crate) fn config8(&self, offset: usize) -> u8 {
        either!(self, it => it.config8(offset))
    }

    fn status(&self) -> u8 {
        either!(self, it => it.status())
    }

    fn set_status(&self, status: u8) {
        either!(self, it => it.set_status(status));
    }
}

/// The two halves of a number.
pub(crate) fn halves(number: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}
