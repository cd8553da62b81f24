//! Devices on PCI: found, mapped, and told where to interrupt. See 4.1, and the PCI Local Bus Specification 3.0.

use crate::transport::halves;
use crate::{Error, Registers};

/// Who makes virtio devices.
const VENDOR: u16 = 0x1af4;
/// A device's number less its kind.
const DEVICES: u16 = 0x1040;
/// Numbers of devices that also speak the protocol before version 1: their kind stands elsewhere. See 4.1.2.1.
const TRANSITIONAL: core::ops::Range<u16> = 0x1000..DEVICES;

/// Configuration space. See the PCI specification, 6.1.
const COMMAND_STATUS: u16 = 0x04;
const HEADER_TYPE: u16 = 0x0c;
const BARS: u16 = 0x10;
const BUS_NUMBERS: u16 = 0x18;
const SUBSYSTEM: u16 = 0x2c;
const CAPABILITIES: u16 = 0x34;
const INTERRUPT: u16 = 0x3c;

const MEMORY_ENABLE: u32 = 1 << 1;
const BUS_MASTER: u32 = 1 << 2;
const INTERRUPT_DISABLE: u32 = 1 << 10;
const HAS_CAPABILITIES: u32 = 1 << 20;

const MSI_X: u8 = 0x11;
const VENDOR_SPECIFIC: u8 = 0x09;
/// There is no room for more capabilities.
const MOST_CAPABILITIES: usize = 48;

/// The configuration spaces of all functions.
pub trait ConfigSpace {
    /// Reads 32 bits at an offset that is a multiple of 4; all ones where there is nothing.
    fn read(&self, at: Address, offset: u16) -> u32;
    /// Writes 32 bits at an offset that is a multiple of 4.
    fn write(&self, at: Address, offset: u16, value: u32);
}

/// Where a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its bus.
    pub bus: u8,
    /// Its device on the bus, below 32.
    pub device: u8,
    /// Its number in the device, below 8.
    pub function: u8,
}

/// The virtio devices of a kind (see 5), on all buses that bridges lead to.
pub fn devices<C: ConfigSpace>(config: &C, kind: u16) -> impl Iterator<Item = Address> + use<'_, C> {
    let mut reached = [false; 256];
    reached[0] = true;
    (0..=u8::MAX)
        .flat_map(|bus| (0..32).map(move |device| (bus, device)))
        .flat_map(move |(bus, device)| {
            let functions = if reached[usize::from(bus)] {
                functions(config, bus, device)
            } else {
                0
            };
            for function in 0..functions {
                let at = Address {
                    bus,
                    device,
                    function,
                };
                if let Some(secondary) = bridge(config, at) {
                    // Numbers grow with the distance from the host.
                    reached[usize::from(secondary)] |= secondary > bus;
                }
            }
            (0..functions).map(move |function| Address {
                bus,
                device,
                function,
            })
        })
        .filter(move |at| {
            let [vendor, device] = words(config.read(*at, 0));
            let is_transitional = || words(config.read(*at, SUBSYSTEM))[1] == kind;
            vendor == VENDOR
                && (device == DEVICES.wrapping_add(kind)
                    || TRANSITIONAL.contains(&device) && is_transitional())
        })
}

/// How many functions a device may have; 0: there is none.
fn functions(config: &impl ConfigSpace, bus: u8, device: u8) -> u8 {
    let at = Address {
        bus,
        device,
        function: 0,
    };
    if words(config.read(at, 0))[0] == u16::MAX {
        return 0;
    }
    if header_type(config, at) & 0x80 == 0 { 1 } else { 8 }
}

/// The bus behind a bridge.
fn bridge(config: &impl ConfigSpace, at: Address) -> Option<u8> {
    let is_bridge = words(config.read(at, 0))[0] != u16::MAX && header_type(config, at) & 0x7f == 1;
    is_bridge.then(|| config.read(at, BUS_NUMBERS).to_le_bytes()[1])
}

fn header_type(config: &impl ConfigSpace, at: Address) -> u8 {
    config.read(at, HEADER_TYPE).to_le_bytes()[2]
}

/// Pin by which a function interrupts: 1 to 4 for A to D, 0 if by none.
pub fn interrupt_pin(config: &impl ConfigSpace, at: Address) -> u8 {
    config.read(at, INTERRUPT).to_le_bytes()[1]
}

/// How a device interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// By a message: a number written to an address.
    Message {
        /// The address.
        address: u64,
        /// The number.
        data: u32,
    },
    /// By its pin.
    Pin,
    /// Not at all: whoever waits for the device looks.
    Never,
}

/// Addresses of memory that functions may have which firmware has given none.
#[derive(Clone, Debug)]
pub struct Window {
    next: u64,
    end: u64,
}

impl Window {
    /// Those from `start` on, up to `end`.
    pub fn new(start: u64, end: u64) -> Self {
        Self { next: start, end }
    }

    fn take(&mut self, size: u64) -> Option<u64> {
        let start = self.next.checked_next_multiple_of(size)?;
        let end = start.checked_add(size).filter(|end| *end <= self.end)?;
        // Address 0 says that there is none.
        self.next = end;
        (start != 0).then_some(start)
    }
}

/// Gives addresses to a function's registers that have none: 32 bits of address suffice for those in `window`.
///
/// # Errors
/// [`Error::NoAddress`]: the window is too small.
pub fn assign(config: &impl ConfigSpace, at: Address, window: &mut Window) -> Result<(), Error> {
    let mut index = 0;
    while index < 6 {
        let offset = BARS + 4 * index;
        let low = config.read(at, offset);
        let wide = low & 0b111 == 0b100;
        let high = if wide { config.read(at, offset + 4) } else { 0 };
        index += if wide { 2 } else { 1 };
        if low & 1 != 0 || low & !0xf != 0 || high != 0 {
            continue;
        }
        config.write(at, offset, u32::MAX);
        let mask = config.read(at, offset) & !0xf;
        config.write(at, offset, 0);
        if mask == 0 {
            continue;
        }
        // A power of two, unless the device jests.
        let size = 1_u64 << mask.trailing_zeros();
        let [low, high] = halves(window.take(size.max(0x1000)).ok_or(Error::NoAddress)?);
        config.write(at, offset, low);
        if wide {
            config.write(at, offset + 4, high);
        } else if high != 0 {
            return Err(Error::NoAddress);
        }
    }
    Ok(())
}

/// Where some registers of a function are.
#[derive(Clone, Copy, Debug)]
struct Place {
    bar: u8,
    offset: u32,
    len: u32,
}

/// What a device's capabilities say. See 4.1.4.
#[derive(Debug, Default)]
struct Capabilities {
    common: Option<Place>,
    notify: Option<(Place, u32)>,
    status: Option<Place>,
    config: Option<Place>,
    /// The capability's own offset, and the table.
    messages: Option<(u16, Place)>,
}

impl Capabilities {
    fn read(config: &impl ConfigSpace, at: Address) -> Self {
        let mut found = Self::default();
        if config.read(at, COMMAND_STATUS) & HAS_CAPABILITIES == 0 {
            return found;
        }
        let mut next = config.read(at, CAPABILITIES).to_le_bytes()[0] & !3;
        for _ in 0..MOST_CAPABILITIES {
            if next < 0x40 {
                break;
            }
            let offset = u16::from(next);
            let head = config.read(at, offset).to_le_bytes();
            let [id, following, _, kind] = head;
            match id {
                VENDOR_SPECIFIC => found.add(config, at, offset, kind),
                // Its table stands behind its head, if that is not the last word.
                MSI_X if found.messages.is_none() && offset < 0xfc => {
                    let table = config.read(at, offset.saturating_add(4));
                    let [bar, ..] = table.to_le_bytes();
                    let place = Place {
                        bar: bar & 7,
                        offset: table & !7,
                        len: 16,
                    };
                    found.messages = Some((offset, place));
                }
                _ => {}
            }
            next = following & !3;
        }
        found
    }

    /// Of several of one kind, the first counts.
    fn add(&mut self, config: &impl ConfigSpace, at: Address, offset: u16, kind: u8) {
        // The last word is that of the notifications alone; what lies behind the space is not there.
        let word = |index: u16| match offset.saturating_add(4 * index) {
            offset @ ..=0xfc => config.read(at, offset),
            _ => 0,
        };
        let place = Place {
            bar: word(1).to_le_bytes()[0],
            offset: word(2),
            len: word(3),
        };
        match kind {
            1 => _ = self.common.get_or_insert(place),
            2 => _ = self.notify.get_or_insert((place, word(4))),
            3 => _ = self.status.get_or_insert(place),
            4 => _ = self.config.get_or_insert(place),
            _ => {}
        }
    }
}

/// The common configuration. See 4.1.4.3.
const DEVICE_FEATURES_SELECT: usize = 0;
const DEVICE_FEATURES: usize = 4;
const DRIVER_FEATURES_SELECT: usize = 8;
const DRIVER_FEATURES: usize = 12;
const CONFIG_VECTOR: usize = 16;
const DEVICE_STATUS: usize = 20;
const QUEUE_SELECT: usize = 22;
const QUEUE_SIZE: usize = 24;
const QUEUE_VECTOR: usize = 26;
const QUEUE_ENABLE: usize = 28;
const QUEUE_NOTIFY_OFFSET: usize = 30;
/// Of the descriptors, the available ring and the used ring; lower halves first.
const QUEUE_ADDRESSES: [usize; 3] = [32, 40, 48];
const COMMON_SIZE: u32 = 56;
/// No message.
const NO_VECTOR: u16 = 0xffff;

/// The most bytes of notifications, and of a device's own configuration, that are mapped.
const LARGEST: u32 = 1 << 20;
/// Queues that a device may have here.
const QUEUES: usize = 4;

/// A device.
#[derive(Debug)]
pub struct Pci<R> {
    common: R,
    notify: R,
    multiplier: u32,
    /// Where each queue's notification goes.
    offsets: [usize; QUEUES],
    status: R,
    config: R,
    interrupt: Interrupt,
}

impl<R: Registers> Pci<R> {
    /// Opens a device that [`devices`] has found. `map` maps registers by their physical address and length.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(
        config: &impl ConfigSpace,
        at: Address,
        interrupt: Interrupt,
        mut map: impl FnMut(u64, usize) -> Option<R>,
    ) -> Result<Self, Error> {
        let found = Capabilities::read(config, at);
        let mut window = |place: Option<Place>, least: u32| {
            let place = place.filter(|place| place.len >= least).ok_or(Error::Malformed)?;
            let address = address_of(config, at, place)?;
            let len = usize::try_from(place.len.min(LARGEST)).map_err(|_| Error::Malformed)?;
            map(address, len).ok_or(Error::NotMapped)
        };
        let (notify, multiplier) = found.notify.ok_or(Error::Malformed)?;
        let device = Self {
            common: window(found.common, COMMON_SIZE)?,
            notify: window(Some(notify), 2)?,
            multiplier,
            offsets: [0; QUEUES],
            status: window(found.status, 1)?,
            config: window(found.config, 1)?,
            interrupt,
        };
        let command = config.read(at, COMMAND_STATUS) & 0xffff & !INTERRUPT_DISABLE;
        let command = command | MEMORY_ENABLE | BUS_MASTER;
        match interrupt {
            Interrupt::Pin => config.write(at, COMMAND_STATUS, command),
            Interrupt::Never => config.write(at, COMMAND_STATUS, command | INTERRUPT_DISABLE),
            Interrupt::Message { address, data } => {
                config.write(at, COMMAND_STATUS, command | INTERRUPT_DISABLE);
                let (offset, table) = found.messages.ok_or(Error::NoInterrupt)?;
                let table = window(Some(table), 16)?;
                let [low, high] = halves(address);
                for (at, value) in [low, high, data, 0].into_iter().enumerate() {
                    table.write32(4 * at, value);
                }
                // Enabled (bit 31), and not all masked (bit 30).
                let head = config.read(at, offset);
                config.write(at, offset, head & !(1 << 30) | 1 << 31);
            }
        }
        Ok(device)
    }

    pub(crate) fn features(&self) -> u64 {
        let half = |select| {
            self.common.write32(DEVICE_FEATURES_SELECT, select);
            u64::from(self.common.read32(DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    pub(crate) fn accept(&self, features: u64) {
        for (select, half) in (0..).zip(halves(features)) {
            self.common.write32(DRIVER_FEATURES_SELECT, select);
            self.common.write32(DRIVER_FEATURES, half);
        }
    }

    pub(crate) fn queue_most(&self, queue: u16) -> u16 {
        self.common.write16(QUEUE_SELECT, queue);
        self.common.read16(QUEUE_SIZE)
    }

    pub(crate) fn start_queue(&mut self, queue: u16, size: u16, addresses: [u64; 3]) -> Result<(), Error> {
        let offset = self.offsets.get_mut(usize::from(queue)).ok_or(Error::NoQueue)?;
        self.common.write16(QUEUE_SELECT, queue);
        self.common.write16(QUEUE_SIZE, size);
        for (register, address) in QUEUE_ADDRESSES.into_iter().zip(addresses) {
            let [low, high] = halves(address);
            self.common.write32(register, low);
            self.common.write32(register + 4, high);
        }
        if let Interrupt::Message { .. } = self.interrupt {
            self.common.write16(CONFIG_VECTOR, NO_VECTOR);
            self.common.write16(QUEUE_VECTOR, 0);
            // The device may have no room for it.
            if self.common.read16(QUEUE_VECTOR) != 0 {
                return Err(Error::NoInterrupt);
            }
        }
        let place = u64::from(self.common.read16(QUEUE_NOTIFY_OFFSET)) * u64::from(self.multiplier);
        let end = self.notify.size().saturating_sub(2);
        *offset = usize::try_from(place)
            .ok()
            .filter(|place| *place <= end && place.is_multiple_of(2))
            .ok_or(Error::Malformed)?;
        self.common.write16(QUEUE_ENABLE, 1);
        Ok(())
    }

    pub(crate) fn notify(&self, queue: u16) {
        if let Some(offset) = self.offsets.get(usize::from(queue)) {
            self.notify.write16(*offset, queue);
        }
    }

    pub(crate) fn acknowledge(&self) {
        // To read it is what lowers the pin. A message needs nothing.
        if self.interrupt == Interrupt::Pin {
            self.status.read8(0);
        }
    }

    pub(crate) fn config8(&self, offset: usize) -> u8 {
        // The device says itself how much there is.
        if offset >= self.config.size() {
            return 0;
        }
        self.config.read8(offset)
    }

    pub(crate) fn status(&self) -> u8 {
        self.common.read8(DEVICE_STATUS)
    }

    pub(crate) fn set_status(&self, status: u8) {
        self.common.write8(DEVICE_STATUS, status);
    }
}

/// The physical address of some registers.
fn address_of(config: &impl ConfigSpace, at: Address, place: Place) -> Result<u64, Error> {
    let offset = match place.bar {
        bar @ 0..6 => BARS + 4 * u16::from(bar),
        _ => return Err(Error::Malformed),
    };
    let low = config.read(at, offset);
    let high = match low & 0b111 {
        0b000 => 0,
        0b100 if place.bar < 5 => config.read(at, offset + 4),
        _ => return Err(Error::NoAddress),
    };
    let start = u64::from(high) << 32 | u64::from(low & !0xf);
    if start == 0 {
        return Err(Error::NoAddress);
    }
    // All of it lies below the end of all addresses.
    let end = start.checked_add(u64::from(place.offset) + u64::from(place.len));
    end.map(|_| start + u64::from(place.offset))
        .ok_or(Error::NoAddress)
}

/// The two halves of a word.
fn words(word: u32) -> [u16; 2] {
    let [a, b, c, d] = word.to_le_bytes();
    [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])]
}
