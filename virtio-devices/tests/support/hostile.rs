//! A device that an input plays: registers, configuration space and rings say whatever it has for them.
//!
//! What has to hold: nothing panics, everything ends, and no access leaves what the device was given: memory and
//! registers here panic if one does. Used by a test here and by a fuzz target.

use std::cell::Cell;
use std::rc::Rc;

use virtio_devices::fs::{self, Failure, Lender};
use virtio_devices::pci::{self, Address, ConfigSpace, Interrupt, Pci, Window};
use virtio_devices::{Fs, Memory, Net, PAGE, Registers, Transport, mmio, net};

/// The input, which runs out.
#[derive(Clone)]
struct Feed {
    bytes: Rc<[u8]>,
    at: Rc<Cell<usize>>,
    reads: Rc<Cell<usize>>,
}

impl Feed {
    fn byte(&self) -> u8 {
        self.reads.set(self.reads.get() + 1);
        let at = self.at.get();
        self.at.set(at + 1);
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn number<const N: usize>(&self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn is_empty(&self) -> bool {
        self.at.get() >= self.bytes.len()
    }
}

/// Registers. If they cooperate, those of a device that works are among them.
struct Wild {
    feed: Feed,
    size: usize,
    /// By its offset, what a register of a device that works says.
    known: fn(usize) -> Option<u32>,
    status: Cell<u32>,
    status_at: usize,
}

impl Wild {
    fn check(&self, offset: usize, width: usize) {
        assert!(offset.is_multiple_of(width), "not aligned: {offset:#x}");
        assert!(offset + width <= self.size, "outside: {offset:#x}");
    }

    fn value(&self, offset: usize) -> u32 {
        if let Some(value) = (self.known)(offset) {
            return value;
        }
        if offset == self.status_at {
            return self.status.get();
        }
        u32::from_le_bytes(self.feed.number())
    }

    fn set(&self, offset: usize, value: u32) {
        if offset == self.status_at {
            self.status.set(value);
        }
    }
}

impl Registers for Wild {
    fn size(&self) -> usize {
        self.size
    }
    fn read8(&self, offset: usize) -> u8 {
        self.check(offset, 1);
        self.value(offset).to_le_bytes()[0]
    }
    fn read16(&self, offset: usize) -> u16 {
        self.check(offset, 2);
        let [a, b, ..] = self.value(offset).to_le_bytes();
        u16::from_le_bytes([a, b])
    }
    fn read32(&self, offset: usize) -> u32 {
        self.check(offset, 4);
        self.value(offset)
    }
    fn write8(&self, offset: usize, value: u8) {
        self.check(offset, 1);
        self.set(offset, value.into());
    }
    fn write16(&self, offset: usize, value: u16) {
        self.check(offset, 2);
        self.set(offset, value.into());
    }
    fn write32(&self, offset: usize, value: u32) {
        self.check(offset, 4);
        self.set(offset, value);
    }
}

/// Memory of which each number may be another than what was written there.
struct Ring {
    feed: Feed,
    bytes: Vec<u8>,
}

impl Ring {
    fn get<const N: usize>(&self, offset: usize) -> [u8; N] {
        assert!(offset.is_multiple_of(N), "not aligned: {offset:#x}");
        let there = self.bytes[offset..][..N].try_into().expect("so many bytes");
        // Small numbers are what gets far.
        match self.feed.byte() {
            0..128 => there,
            128..224 => std::array::from_fn(|index| if index == 0 { self.feed.byte() } else { 0 }),
            224.. => self.feed.number(),
        }
    }

    fn set<const N: usize>(&mut self, offset: usize, value: [u8; N]) {
        assert!(offset.is_multiple_of(N), "not aligned: {offset:#x}");
        self.bytes[offset..][..N].copy_from_slice(&value);
    }
}

impl Memory for Ring {
    fn size(&self) -> usize {
        self.bytes.len()
    }
    fn address(&self, offset: usize) -> u64 {
        assert!(offset < self.bytes.len(), "outside: {offset:#x}");
        0x1_0000_0000 + offset as u64
    }
    fn read16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.get(offset))
    }
    fn read32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.get(offset))
    }
    fn write16(&mut self, offset: usize, value: u16) {
        self.set(offset, value.to_le_bytes());
    }
    fn write32(&mut self, offset: usize, value: u32) {
        self.set(offset, value.to_le_bytes());
    }
    fn bytes(&mut self, offset: usize, len: usize) -> &mut [u8] {
        assert!(offset % PAGE + len <= PAGE, "not in one page: {offset:#x}, {len}");
        &mut self.bytes[offset..][..len]
    }
}

/// Configuration space of a device that works, of which each word may be another.
struct Space(Feed);

impl Space {
    /// A device of the first bus: registers in the fourth BAR, the capabilities of virtio from 0x40 on, messages last.
    fn word(offset: u16) -> u32 {
        let capability = |place: u16, [head, bar, offset, len, multiplier]: [u32; 5]| {
            [head, bar, offset, len, multiplier][usize::from(place / 4)]
        };
        match offset {
            0x00 => 0x1041_1af4,
            0x04 => 0x0010_0000,
            0x20 => 0x4000_000c,
            0x34 => 0x40,
            0x40..0x54 => capability(offset - 0x40, [0x0114_5409, 4, 0, 56, 0]),
            0x54..0x68 => capability(offset - 0x54, [0x0314_6809, 4, 0x1000, 1, 0]),
            0x68..0x7c => capability(offset - 0x68, [0x0414_7c09, 4, 0x2000, 12, 0]),
            0x7c..0x90 => capability(offset - 0x7c, [0x0214_9009, 4, 0x3000, 0x1000, 4]),
            0x90 => 0x0002_0011,
            0x94 => 0x3800 | 4,
            _ => 0,
        }
    }
}

impl ConfigSpace for Space {
    fn read(&self, at: Address, offset: u16) -> u32 {
        assert!(offset <= 0xfc && offset.is_multiple_of(4), "outside: {offset:#x}");
        assert!(at.device < 32 && at.function < 8, "{at:?}");
        match self.0.byte() {
            // There is an end to it.
            _ if self.0.is_empty() => u32::MAX,
            0..232 => Self::word(offset),
            232.. => u32::from_le_bytes(self.0.number()),
        }
    }
    fn write(&self, at: Address, offset: u16, _: u32) {
        assert!(offset <= 0xfc && offset.is_multiple_of(4), "outside: {offset:#x}");
        assert!(at.device < 32 && at.function < 8, "{at:?}");
    }
}

/// What a device with memory-mapped registers says that works.
fn working(offset: usize) -> Option<u32> {
    Some(match offset {
        0x000 => 0x7472_6976,
        0x004 => 2,
        0x008 => net::DEVICE,
        0x010 => 1 | 1 << 3 | 1 << 5,
        0x034 => 64,
        0x100 => 2,
        0x10b => 5,
        _ => return None,
    })
}

/// The same, of a file system device.
fn working_fs(offset: usize) -> Option<u32> {
    match offset {
        0x008 => Some(fs::DEVICE),
        0x100.. => None,
        _ => working(offset),
    }
}

/// What a device on PCI says that works, in its common configuration and, at the same offsets, nowhere else.
fn working_on_pci(offset: usize) -> Option<u32> {
    Some(match offset {
        4 => 1 | 1 << 3 | 1 << 5,
        24 => 64,
        26 => 0,
        _ => return None,
    })
}

/// What such a device has in its own configuration: an address and an MTU.
fn address_and_mtu(offset: usize) -> Option<u32> {
    Some(match offset {
        0 => 2,
        11 => 5,
        _ => return None,
    })
}

/// Whether what was said holds with this input.
pub(crate) fn check(input: &[u8]) {
    let feed = Feed {
        bytes: input.into(),
        at: Rc::default(),
        reads: Rc::default(),
    };
    let way = feed.byte();
    if way < 128 {
        let memory = ring(&feed, Net::<Wild, Ring>::MEMORY);
        if let Some(transport) = open(&feed, way, net::DEVICE, working)
            && let Ok(mut net) = Net::start(transport, memory)
        {
            drive(&mut net, &feed);
        }
    } else {
        let memory = ring(&feed, Fs::<Wild, Ring>::MEMORY);
        if let Some(transport) = open(&feed, way, fs::DEVICE, working_fs)
            && let Ok(mut fs) = Fs::start(transport, memory)
        {
            ask(&mut fs, &feed);
        }
    }
}

fn ring(feed: &Feed, len: usize) -> Ring {
    Ring {
        feed: feed.clone(),
        bytes: vec![0; len],
    }
}

/// A device of a kind, which on memory-mapped registers says what is `known` to work.
fn open(feed: &Feed, way: u8, device: u32, known: fn(usize) -> Option<u32>) -> Option<Transport<Wild>> {
    let wild = |size, known, status_at| Wild {
        feed: feed.clone(),
        size,
        known,
        status: Cell::new(0),
        status_at,
    };
    let by_mmio = |registers| {
        mmio::Mmio::open(registers, device)
            .and_then(Result::ok)
            .map(Transport::Mmio)
    };
    match way % 4 {
        0 => on_pci(feed, |size| match size {
            56 => wild(size, working_on_pci, 20),
            12 => wild(size, address_and_mtu, usize::MAX),
            _ => wild(size, |_| None, usize::MAX),
        }),
        1 => by_mmio(wild(mmio::SIZE, |_| None, usize::MAX)),
        _ => by_mmio(wild(mmio::SIZE, known, 0x070)),
    }
}

/// A device found by what configuration space says.
fn on_pci(feed: &Feed, registers: impl Fn(usize) -> Wild) -> Option<Transport<Wild>> {
    let space = &Space(feed.clone());
    if feed.byte() == 0 {
        _ = pci::devices(space, 1).count();
    }
    let at = Address {
        bus: 0,
        device: 1,
        function: 0,
    };
    if feed.byte() == 0 {
        _ = pci::assign(space, at, &mut Window::new(0x4000_0000, 0x8000_0000));
    }
    let interrupt = match feed.byte() {
        255 => Interrupt::Never,
        number if number % 2 == 0 => Interrupt::Pin,
        _ => Interrupt::Message {
            address: 0xfee0_0000,
            data: 64,
        },
    };
    let map = |_: u64, size: usize| Some(registers(size));
    Pci::open(space, at, interrupt, map).ok().map(Transport::Pci)
}

/// Does with a device what the input says, to its end.
fn drive(net: &mut Net<Wild, Ring>, feed: &Feed) {
    assert!((576..=1500).contains(&net.mtu()));
    assert_eq!(net.address()[0] & 1, 0);
    let before = feed.reads.get();
    while !feed.is_empty() {
        match feed.byte() % 5 {
            0 => _ = net.receive(|frame| assert!(frame.len() <= 1514)),
            1 => _ = net.can_transmit(),
            2 => {
                let length = usize::from(u16::from_le_bytes(feed.number()) % 1515);
                net.transmit(length, |frame| {
                    assert_eq!(frame.len(), length);
                    frame.fill(1);
                });
            }
            3 => _ = net.prepare_to_wait(feed.byte().is_multiple_of(2)),
            _ => net.waited(),
        }
        if net.is_broken() {
            assert_eq!(net.receive(<[u8]>::len), None);
            assert!(net.can_transmit());
        }
    }
    // Each step takes a byte or more, and asks for few numbers.
    let asked = feed.reads.get() - before;
    assert!(asked < 2000 * (feed.bytes.len() + 1), "it asks for ever");
}

/// Lends memory in pieces as the input has it, or not, and gives up when it wants.
struct Whim(Feed);

impl Lender for Whim {
    fn place(&mut self, start: *const u8, len: usize) -> Option<(u64, usize)> {
        assert!(len > 0);
        let address = start.addr() as u64;
        match self.0.byte() {
            0..160 => Some((address, len)),
            160..224 => Some((address, usize::from(self.0.byte()) % len + 1)),
            224..248 => Some((u64::from_le_bytes(self.0.number()), len)),
            248..252 => Some((address, 0)),
            252.. => None,
        }
    }

    fn wait(&mut self) -> bool {
        !self.0.is_empty() && !self.0.byte().is_multiple_of(16)
    }
}

/// Asks a device what the input says, to its end.
fn ask(fs: &mut Fs<Wild, Ring>, feed: &Feed) {
    assert!(fs.name().len() <= fs::NAME);
    let before = feed.reads.get();
    let mut lender = Whim(feed.clone());
    let mut stopped = false;
    while !feed.is_empty() {
        let [what, sent, received] = feed.number();
        let request = vec![1; usize::from(sent)];
        let (head, body) = request.split_at(request.len() / 2);
        let mut reply = vec![0; usize::from(received) * 16];
        let room = reply.len();
        let result = if what % 4 == 0 {
            fs.notify(&[head, body], &mut lender).map(|()| 0)
        } else {
            fs.request(&[head, body], &mut [&mut reply], &mut lender)
        };
        assert!(result.is_err() || !stopped, "it answers after its end");
        assert!(result.is_err() || result.is_ok_and(|len| len <= room));
        stopped |= result == Err(Failure::Stopped);
    }
    // Pieces may be of a byte each.
    let asked = feed.reads.get() - before;
    assert!(asked < 20_000 * (feed.bytes.len() + 1), "it asks for ever");
}
