//! A device that keeps the rules, played on the host: memory-mapped registers or PCI, queues. What a network device does
//! with frames is here too; another kind of device has its own idea of what it is told of.
//!
//! Physical memory is not in the order of the driver's: its pages are exchanged.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use virtio_devices::pci::{self, Address, ConfigSpace, Interrupt, Pci};
use virtio_devices::{Error, Memory, PAGE, Registers};

/// Where its memory begins.
const BASE: u64 = 0x8_0000_0000;

/// A queue's addresses: descriptors, available and used ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ring {
    pub(crate) size: u16,
    pub(crate) addresses: [u64; 3],
    pub(crate) enabled: bool,
    pub(crate) vector: u16,
    seen: u16,
    used: u16,
}

/// The device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) memory: Vec<u8>,
    /// What it offers, and what was accepted.
    pub(crate) offered: u64,
    pub(crate) accepted: u64,
    feature_select: [u32; 2],
    pub(crate) status: u8,
    queue_select: u16,
    pub(crate) queue_most: u16,
    pub(crate) queues: [Ring; 2],
    pub(crate) interrupt_status: u32,
    /// How often it has interrupted.
    pub(crate) interrupts: u32,
    pub(crate) notified: Vec<u16>,
    pub(crate) config: Vec<u8>,
    /// Its kind, and what it does when it is told of a queue, if it is no network device.
    pub(crate) kind: u32,
    pub(crate) told: Option<fn(&mut Device, u16)>,
    pub(crate) transmitted: Vec<Vec<u8>>,
    pending: VecDeque<Vec<u8>>,
    pub(crate) version: u32,
    /// Configuration space and the table of messages, of PCI.
    pub(crate) space: Vec<u32>,
    pub(crate) table: [u32; 4],
    /// It looks at what is to be transmitted only when asked to.
    pub(crate) lazy: bool,
}

/// Shared by driver and test.
pub(crate) type Shared = Rc<RefCell<Device>>;

/// A device with 64 KiB and more of memory, of which the driver's pages are exchanged.
pub(crate) fn device(memory: usize) -> Shared {
    let [a, b] = 1400_u16.to_le_bytes();
    Rc::new(RefCell::new(Device {
        memory: vec![0; memory],
        offered: 1 << 32 | 1 << 5 | 1 << 3 | 1 << 15 | 1,
        accepted: 0,
        feature_select: [0; 2],
        status: 0,
        queue_select: 0,
        queue_most: 256,
        queues: Default::default(),
        interrupt_status: 0,
        interrupts: 0,
        notified: Vec::new(),
        config: vec![2, 0, 0, 1, 2, 3, 0, 0, 0, 0, a, b],
        kind: 1,
        told: None,
        transmitted: Vec::new(),
        pending: VecDeque::new(),
        version: 2,
        space: vec![0; 64],
        table: [0; 4],
        lazy: false,
    }))
}

impl Device {
    fn range(&self, address: u64, len: usize) -> Range<usize> {
        let start = usize::try_from(address - BASE).expect("an address of this memory");
        assert!(start + len <= self.memory.len(), "outside: {address:#x}");
        start..start + len
    }

    fn number<const N: usize>(&self, address: u64) -> [u8; N] {
        self.memory[self.range(address, N)]
            .try_into()
            .expect("so many bytes")
    }

    pub(crate) fn read16(&self, address: u64) -> u16 {
        u16::from_le_bytes(self.number(address))
    }

    pub(crate) fn put(&mut self, address: u64, bytes: &[u8]) {
        let range = self.range(address, bytes.len());
        self.memory[range].copy_from_slice(bytes);
    }

    /// The descriptor with which the next thing in a queue begins.
    pub(crate) fn next(&mut self, queue: usize) -> Option<u16> {
        let ring = self.queues[queue].clone();
        if self.read16(ring.addresses[1] + 2) == ring.seen {
            return None;
        }
        let id = self.read16(ring.addresses[1] + 4 + 2 * u64::from(ring.seen % ring.size));
        self.queues[queue].seen = ring.seen.wrapping_add(1);
        Some(id)
    }

    /// What a descriptor says: address, length, flags, and the next one.
    pub(crate) fn descriptor(&self, queue: usize, id: u16) -> (u64, u32, u16, u16) {
        let ring = &self.queues[queue];
        assert!(id < ring.size, "descriptor {id}");
        let at = ring.addresses[0] + 16 * u64::from(id);
        (
            u64::from_le_bytes(self.number(at)),
            u32::from_le_bytes(self.number(at + 8)),
            self.read16(at + 12),
            self.read16(at + 14),
        )
    }

    /// The next buffer of a queue: its descriptor's number, address, length, and whether it may be written to.
    fn buffer(&mut self, queue: usize) -> Option<(u16, u64, u32, bool)> {
        let id = self.next(queue)?;
        let (address, len, flags, _) = self.descriptor(queue, id);
        assert_eq!(flags & !2, 0, "a chain");
        Some((id, address, len, flags & 2 != 0))
    }

    /// Gives a buffer back.
    pub(crate) fn give_back(&mut self, queue: usize, id: u32, len: u32) {
        let ring = self.queues[queue].clone();
        let element = ring.addresses[2] + 4 + 8 * u64::from(ring.used % ring.size);
        self.put(element, &id.to_le_bytes());
        self.put(element + 4, &len.to_le_bytes());
        self.queues[queue].used = ring.used.wrapping_add(1);
        let used = self.queues[queue].used;
        self.put(ring.addresses[2] + 2, &used.to_le_bytes());
        if self.read16(ring.addresses[1]) & 1 == 0 {
            self.interrupt_status |= 1;
            self.interrupts += 1;
        }
    }

    /// A frame arrives, and waits if there is no buffer for it.
    pub(crate) fn arrive(&mut self, frame: &[u8]) {
        self.pending.push_back(frame.to_vec());
        self.deliver();
    }

    fn deliver(&mut self) {
        while let Some(frame) = self.pending.front().cloned() {
            let Some((id, address, len, writable)) = self.buffer(0) else {
                return;
            };
            assert!(writable && len as usize >= 12 + frame.len());
            self.put(address, &[0xaa; 12]);
            self.put(address + 12, &frame);
            self.give_back(0, id.into(), 12 + u32::try_from(frame.len()).expect("a length"));
            self.pending.pop_front();
        }
    }

    /// Transmits what there is to transmit.
    pub(crate) fn transmit(&mut self) {
        while let Some((id, address, len, writable)) = self.buffer(1) {
            assert!(!writable && len >= 12);
            let bytes = self.memory[self.range(address, len as usize)].to_vec();
            assert_eq!(bytes[..12], [0; 12], "the header");
            self.transmitted.push(bytes[12..].to_vec());
            self.give_back(1, id.into(), 0);
        }
    }

    fn notify(&mut self, queue: u16) {
        assert!(self.status & 4 != 0, "notified before it works");
        self.notified.push(queue);
        if let Some(told) = self.told {
            return told(self, queue);
        }
        match queue {
            0 => self.deliver(),
            _ if self.lazy => {}
            _ => self.transmit(),
        }
    }

    fn set_status(&mut self, status: u8) {
        self.status = status;
        if status == 0 {
            self.queues = Default::default();
        }
    }

    fn features(&self) -> u32 {
        (self.offered >> (32 * self.feature_select[0])) as u32
    }

    fn accept(&mut self, half: u32) {
        let shift = 32 * self.feature_select[1];
        self.accepted = self.accepted & !(0xffff_ffff << shift) | u64::from(half) << shift;
    }

    fn set_address(&mut self, ring: usize, high: bool, half: u32) {
        let address = &mut self.queues[usize::from(self.queue_select)].addresses[ring];
        *address = if high {
            *address & 0xffff_ffff | u64::from(half) << 32
        } else {
            *address & !0xffff_ffff | u64::from(half)
        };
    }
}

/// Memory as the driver has it.
pub(crate) struct Pages {
    device: Shared,
    /// Bytes that were lent, and where they belong.
    lent: Vec<u8>,
    at: usize,
}

impl Pages {
    pub(crate) fn new(device: &Shared) -> Self {
        Self {
            device: Rc::clone(device),
            lent: Vec::new(),
            at: 0,
        }
    }

    /// Pages are exchanged in pairs.
    fn place(offset: usize) -> usize {
        ((offset / PAGE) ^ 1) * PAGE + offset % PAGE
    }

    fn settle(&mut self) {
        let start = Self::place(self.at);
        let end = start + self.lent.len();
        self.device.borrow_mut().memory[start..end].copy_from_slice(&self.lent);
        self.lent.clear();
    }

    fn get<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.device.borrow().number(self.address(offset))
    }

    fn set(&mut self, offset: usize, bytes: &[u8]) {
        self.settle();
        let address = self.address(offset);
        self.device.borrow_mut().put(address, bytes);
    }
}

impl Memory for Pages {
    fn size(&self) -> usize {
        self.device.borrow().memory.len()
    }
    fn address(&self, offset: usize) -> u64 {
        BASE + Self::place(offset) as u64
    }
    fn read16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.get(offset))
    }
    fn read32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.get(offset))
    }
    fn write16(&mut self, offset: usize, value: u16) {
        self.set(offset, &value.to_le_bytes());
    }
    fn write32(&mut self, offset: usize, value: u32) {
        self.set(offset, &value.to_le_bytes());
    }
    fn bytes(&mut self, offset: usize, len: usize) -> &mut [u8] {
        self.settle();
        let start = Self::place(offset);
        self.lent = self.device.borrow().memory[start..start + len].to_vec();
        self.at = offset;
        &mut self.lent
    }
}

/// Which registers of the device a window has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mmio,
    Common,
    Notify,
    Status,
    Config,
    Table,
}

/// A window of its registers.
pub(crate) struct Window {
    device: Shared,
    kind: Kind,
    size: usize,
}

impl Window {
    fn read(&self, offset: usize) -> u32 {
        let mut device = self.device.borrow_mut();
        let queue = device.queues.get(usize::from(device.queue_select)).cloned();
        match (self.kind, offset) {
            (Kind::Mmio, 0x000) => 0x7472_6976,
            (Kind::Mmio, 0x004) => device.version,
            (Kind::Mmio, 0x008) => device.kind,
            (Kind::Mmio, 0x010) | (Kind::Common, 4) => device.features(),
            (Kind::Mmio, 0x034) | (Kind::Common, 24) if queue.is_some() => device.queue_most.into(),
            (Kind::Mmio, 0x060) => device.interrupt_status,
            (Kind::Mmio, 0x070) | (Kind::Common, 20) => device.status.into(),
            (Kind::Mmio, 0x100..) => device.config.get(offset - 0x100).copied().unwrap_or(0).into(),
            (Kind::Config, _) => device.config[offset].into(),
            (Kind::Common, 26) => queue.map_or(0xffff, |queue| queue.vector).into(),
            // Each queue has a place of its own.
            (Kind::Common, 30) => device.queue_select.into(),
            (Kind::Status, 0) => std::mem::take(&mut device.interrupt_status),
            _ => 0,
        }
    }

    fn write(&self, offset: usize, value: u32) {
        let mut device = self.device.borrow_mut();
        let select = usize::from(device.queue_select);
        match (self.kind, offset) {
            (Kind::Mmio, 0x014) | (Kind::Common, 0) => device.feature_select[0] = value,
            (Kind::Mmio, 0x024) | (Kind::Common, 8) => device.feature_select[1] = value,
            (Kind::Mmio, 0x020) | (Kind::Common, 12) => device.accept(value),
            (Kind::Mmio, 0x030) | (Kind::Common, 22) => device.queue_select = value as u16,
            (Kind::Mmio, 0x038) | (Kind::Common, 24) => device.queues[select].size = value as u16,
            (Kind::Mmio, 0x044) | (Kind::Common, 28) => device.queues[select].enabled = value == 1,
            (Kind::Mmio, 0x050) => device.notify(value as u16),
            // Where a queue is told of says which one it is.
            (Kind::Notify, _) => {
                assert_eq!(offset, 4 * value as usize);
                device.notify(value as u16);
            }
            (Kind::Mmio, 0x064) => device.interrupt_status &= !value,
            (Kind::Mmio, 0x070) | (Kind::Common, 20) => device.set_status(value as u8),
            (Kind::Mmio, 0x080..0x0a8) => {
                device.set_address((offset - 0x080) / 16, !offset.is_multiple_of(16), value);
            }
            (Kind::Common, 32..56) => device.set_address((offset - 32) / 8, !offset.is_multiple_of(8), value),
            (Kind::Common, 26) => device.queues[select].vector = value as u16,
            (Kind::Table, _) => device.table[offset / 4] = value,
            (Kind::Common, 16) => assert_eq!(value, 0xffff),
            _ => panic!("{:?}: write to {offset:#x}", self.kind),
        }
    }
}

impl Registers for Window {
    fn size(&self) -> usize {
        self.size
    }
    fn read8(&self, offset: usize) -> u8 {
        self.read(offset) as u8
    }
    fn read16(&self, offset: usize) -> u16 {
        self.read(offset) as u16
    }
    fn read32(&self, offset: usize) -> u32 {
        self.read(offset)
    }
    fn write8(&self, offset: usize, value: u8) {
        self.write(offset, value.into());
    }
    fn write16(&self, offset: usize, value: u16) {
        self.write(offset, value.into());
    }
    fn write32(&self, offset: usize, value: u32) {
        self.write(offset, value);
    }
}

impl Window {
    pub(crate) fn new(device: &Shared, kind: Kind, size: usize) -> Self {
        Self {
            device: Rc::clone(device),
            kind,
            size,
        }
    }
}

/// Configuration space of a device as QEMU has it: registers without an address, and five capabilities.
pub(crate) fn space(device: &Shared) {
    let mut device = device.borrow_mut();
    let (kind, config) = (device.kind, u32::try_from(device.config.len()).expect("a length"));
    let space = &mut device.space;
    space[0] = (0x1040 + kind) << 16 | 0x1af4;
    space[1] = 0x0010_0000;
    space[8] = 0b1100;
    space[0x34 / 4] = 0x40;
    let mut at = 0x40;
    for (kind, offset, len) in [
        (1, 0, 0x38),
        (3, 0x1000, 4),
        (4, 0x2000, config),
        (2, 0x3000, 0x1000),
    ] {
        let next = at + 0x14;
        space[at / 4] = (kind << 24) | 0x14 << 16 | (next as u32) << 8 | 9;
        space[at / 4 + 1] = 4;
        space[at / 4 + 2] = offset;
        space[at / 4 + 3] = len;
        // Notifications are 4 bytes apart.
        space[at / 4 + 4] = 4;
        at = next;
    }
    // Messages: three of them, the table behind the third page.
    space[at / 4] = 2 << 16 | 0x11;
    space[at / 4 + 1] = 0x3800 | 4;
}

/// The device by PCI, found and given addresses.
pub(crate) fn open_pci(device: &Shared, interrupt: Interrupt) -> Result<Pci<Window>, Error> {
    let bus = Bus(Rc::clone(device));
    let kind = u16::try_from(device.borrow().kind).expect("a kind");
    assert_eq!(pci::devices(&bus, kind).collect::<Vec<_>>(), [PLACE]);
    pci::assign(&bus, PLACE, &mut pci::Window::new(0xe000_1000, 0xf000_0000))?;
    Pci::open(&bus, PLACE, interrupt, |address, len| {
        let kind = match address - 0xe000_4000 {
            0 => Kind::Common,
            0x1000 => Kind::Status,
            0x2000 => Kind::Config,
            0x3000 => Kind::Notify,
            0x3800 => Kind::Table,
            other => panic!("{other:#x}"),
        };
        Some(Window::new(device, kind, len))
    })
}

/// PCI with a host bridge, a bridge to bus 1, and there, as device 3, the device.
pub(crate) struct Bus(pub(crate) Shared);

/// Where the device is.
pub(crate) const PLACE: Address = Address {
    bus: 1,
    device: 3,
    function: 0,
};

impl ConfigSpace for Bus {
    fn read(&self, at: Address, offset: u16) -> u32 {
        match (at.bus, at.device, at.function, offset) {
            (0, 0, 0, 0) => 0x1237_8086,
            (0, 0, 0, _) => 0,
            (0, 2, 0, 0) => 0x000c_1b36,
            (0, 2, 0, 0x0c) => 0x0001_0000,
            (0, 2, 0, 0x18) => 0x0001_0100,
            (1, 3, 0, _) => self.0.borrow().space[usize::from(offset / 4)],
            _ => u32::MAX,
        }
    }
    fn write(&self, at: Address, offset: u16, value: u32) {
        assert_eq!(at, PLACE);
        let mut device = self.0.borrow_mut();
        // Register 4, of 64 bits, has 16 KiB.
        device.space[usize::from(offset / 4)] = match offset {
            0x10..0x20 => 0,
            0x20 => value & !0x3fff | 0b1100,
            _ => value,
        };
    }
}
