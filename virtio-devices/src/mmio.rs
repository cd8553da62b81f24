//! Devices with memory-mapped registers. See 4.2.

use crate::transport::halves;
use crate::{Error, Registers};

/// Bytes of a device's registers that are used here.
pub const SIZE: usize = 0x200;

const MAGIC: u32 = 0x7472_6976;

/// Registers. See 4.2.2.
const MAGIC_VALUE: usize = 0x000;
const VERSION: usize = 0x004;
const DEVICE_ID: usize = 0x008;
const DEVICE_FEATURES: usize = 0x010;
const DEVICE_FEATURES_SELECT: usize = 0x014;
const DRIVER_FEATURES: usize = 0x020;
const DRIVER_FEATURES_SELECT: usize = 0x024;
const QUEUE_SELECT: usize = 0x030;
const QUEUE_SIZE_MAX: usize = 0x034;
const QUEUE_SIZE: usize = 0x038;
const QUEUE_READY: usize = 0x044;
const QUEUE_NOTIFY: usize = 0x050;
const INTERRUPT_STATUS: usize = 0x060;
const INTERRUPT_ACKNOWLEDGE: usize = 0x064;
const STATUS: usize = 0x070;
/// Of the descriptors, the available ring and the used ring; lower halves first.
const QUEUE_ADDRESSES: [usize; 3] = [0x080, 0x090, 0x0a0];
const CONFIG: usize = 0x100;

/// A device.
#[derive(Debug)]
pub struct Mmio<R> {
    registers: R,
}

impl<R: Registers> Mmio<R> {
    /// The device with these registers; `None` if there is none, or one of another kind than `device` (see 5).
    ///
    /// # Errors
    /// [`Error::Legacy`], [`Error::Malformed`].
    pub fn open(registers: R, device: u32) -> Option<Result<Self, Error>> {
        if registers.size() < SIZE {
            return Some(Err(Error::Malformed));
        }
        if registers.read32(MAGIC_VALUE) != MAGIC || registers.read32(DEVICE_ID) != device {
            return None;
        }
        if registers.read32(VERSION) != 2 {
            return Some(Err(Error::Legacy));
        }
        Some(Ok(Self { registers }))
    }

    pub(crate) fn features(&self) -> u64 {
        let half = |select| {
            self.registers.write32(DEVICE_FEATURES_SELECT, select);
            u64::from(self.registers.read32(DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    pub(crate) fn accept(&self, features: u64) {
        for (select, half) in (0..).zip(halves(features)) {
            self.registers.write32(DRIVER_FEATURES_SELECT, select);
            self.registers.write32(DRIVER_FEATURES, half);
        }
    }

    pub(crate) fn queue_most(&self, queue: u16) -> u16 {
        self.registers.write32(QUEUE_SELECT, queue.into());
        u16::try_from(self.registers.read32(QUEUE_SIZE_MAX)).unwrap_or(u16::MAX)
    }

    pub(crate) fn start_queue(&self, queue: u16, size: u16, addresses: [u64; 3]) -> Result<(), Error> {
        self.registers.write32(QUEUE_SELECT, queue.into());
        self.registers.write32(QUEUE_SIZE, size.into());
        for (register, address) in QUEUE_ADDRESSES.into_iter().zip(addresses) {
            let [low, high] = halves(address);
            self.registers.write32(register, low);
            self.registers.write32(register + 4, high);
        }
        self.registers.write32(QUEUE_READY, 1);
        Ok(())
    }

    pub(crate) fn notify(&self, queue: u16) {
        self.registers.write32(QUEUE_NOTIFY, queue.into());
    }

    pub(crate) fn acknowledge(&self) {
        let status = self.registers.read32(INTERRUPT_STATUS);
        self.registers.write32(INTERRUPT_ACKNOWLEDGE, status);
    }

    pub(crate) fn config8(&self, offset: usize) -> u8 {
        self.registers.read8(CONFIG.saturating_add(offset))
    }

    pub(crate) fn status(&self) -> u8 {
        self.registers.read32(STATUS).to_le_bytes()[0]
    }

    pub(crate) fn set_status(&self, status: u8) {
        self.registers.write32(STATUS, status.into());
    }
}
