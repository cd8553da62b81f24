//! Where this machine has devices that the application drives: PCI, and memory-mapped registers.
//!
//! Layer: device. Nothing is probed before somebody asks. What is asked for is found by the device tree and by the kernel
//! command line, of which the words before `--` are the machine's.

#[cfg(not(target_arch = "x86_64"))]
use core::cell::RefCell;

#[cfg(not(target_arch = "x86_64"))]
use firmware_tables::Span;
use firmware_tables::fdt::Blob;
use virtio_devices::pci::{self, Address, ConfigSpace, Interrupt, Pci};
use virtio_devices::places::{self, Place};
use virtio_devices::{Error, Fs, Net, PAGE, Registers as _, Transport, fs, mmio, net};

use super::devices::{Mapped, Shared};

/// A network device of this machine.
pub(crate) type NetDevice = Net<Mapped, Shared>;

/// A file system device of this machine.
pub(crate) type FsDevice = Fs<Mapped, Shared>;

/// What is found, or why it cannot be used.
type Found<T> = Result<T, Error>;

/// Why there is no network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoDevice {
    /// The machine has none.
    Missing,
    /// It has one that cannot be used.
    Unusable(Error),
}

/// The machine's first network device, started, and the number of its interrupt. On PCI it is looked for first.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(crate) fn find_net(tree: Option<Blob<'static>>, arguments: &str) -> Result<(NetDevice, u32), NoDevice> {
    let start = |(transport, interrupt)| {
        let memory = Shared::new(NetDevice::MEMORY).ok_or(Error::Memory)?;
        Ok((Net::start(transport, memory)?, interrupt))
    };
    let mut windows = Windows::default();
    let mut words = words(arguments).peekable();
    let found = if words.peek().is_some() {
        words.find_map(|place| windows.open_to_wait(place))
    } else {
        on_pci(tree).or_else(|| default_places(tree, &mut windows))
    };
    let found = found.ok_or(NoDevice::Missing)?;
    found.and_then(start).map_err(NoDevice::Unusable)
}

/// The first network device on PCI.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn on_pci(tree: Option<Blob<'static>>) -> Option<Found<(Transport<Mapped>, u32)>> {
    let bus = Bus::find(tree)?;
    let at = pci::devices(&bus.config, kind(net::DEVICE)).next()?;
    Some(bus.open_to_wait(at))
}

/// All file system devices of the machine, each started, or why it cannot be used: those on PCI first. They do not
/// interrupt.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(crate) fn find_fs(
    tree: Option<Blob<'static>>,
    arguments: &str,
    each: &mut dyn FnMut(Result<FsDevice, Error>),
) {
    let mut start = |transport: Found<Transport<Mapped>>| {
        each(transport.and_then(|transport| {
            let memory = Shared::new(FsDevice::MEMORY).ok_or(Error::Memory)?;
            Fs::start(transport, memory)
        }));
    };
    if let Some(bus) = Bus::find(tree) {
        for at in pci::devices(&bus.config, kind(fs::DEVICE)) {
            start(bus.open(at, Interrupt::Never).map(Transport::Pci));
        }
    }
    let mut windows = Windows::default();
    let mut at = |place| {
        if let Some(found) = windows.open(place, fs::DEVICE) {
            start(found);
        }
    };
    let mut words = words(arguments).peekable();
    if words.peek().is_some() {
        words.for_each(&mut at);
    } else {
        all_places(tree).for_each(&mut at);
    }
}

/// A kind of device, as PCI names it.
fn kind(device: u32) -> u16 {
    u16::try_from(device).unwrap_or_default()
}

/// The places that the kernel command line names.
fn words(arguments: &str) -> impl Iterator<Item = Place> {
    arguments
        .split_ascii_whitespace()
        .take_while(|word| *word != "--")
        .filter_map(places::from_word)
}

/// Windows of memory-mapped registers. Several share a page, which is mapped once: the last one is remembered.
#[derive(Default)]
struct Windows(Option<(u64, Mapped)>);

impl Windows {
    /// The device of a kind whose registers are there.
    fn open(&mut self, place: Place, device: u32) -> Option<Found<Transport<Mapped>>> {
        let device = mmio::Mmio::open(self.registers(place.address)?, device)?;
        Some(device.map(Transport::Mmio))
    }

    /// The network device whose registers are there, and the number of its interrupt.
    fn open_to_wait(&mut self, place: Place) -> Option<Found<(Transport<Mapped>, u32)>> {
        let found = self.open(place, net::DEVICE)?;
        Some(found.map(|transport| (transport, place.interrupt)))
    }

    fn registers(&mut self, address: u64) -> Option<Mapped> {
        let offset = address % PAGE as u64;
        let page = address - offset;
        if self.0.as_ref().is_none_or(|(mapped, _)| *mapped != page) {
            self.0 = Some((page, Mapped::new(page, PAGE)?));
        }
        let (_, registers) = self.0.as_ref()?;
        registers.part(usize::try_from(offset).ok()?, mmio::SIZE)
    }
}

/// Where QEMU's microvm has devices, if nobody says.
#[cfg(target_arch = "x86_64")]
const MICROVM: u64 = 0xfeb0_0000;

/// Where QEMU's microvm has network devices, if nobody says: eight places, which interrupt by pins that follow one
/// another; or with ACPI, unless told otherwise, 24 at a controller of their own, which the kernel does not know.
#[cfg(target_arch = "x86_64")]
#[cfg_attr(target_os = "hermit", optimize(size))]
fn default_places(
    tree: Option<Blob<'static>>,
    windows: &mut Windows,
) -> Option<Found<(Transport<Mapped>, u32)>> {
    if Bus::find(tree).is_some() {
        return None;
    }
    let place = |index: u32, interrupt| Place {
        address: MICROVM + u64::from(index) * mmio::SIZE as u64,
        interrupt,
    };
    if let Some(controller) = SecondController::find() {
        let (index, found) = (0..SecondController::PINS)
            .find_map(|index| Some((index, windows.open_to_wait(place(index, INTERRUPT))?)))?;
        controller.route(index, VECTOR);
        return Some(found);
    }
    let is_acpi = tree.is_some_and(|tree| tree.child("hermit,rsdp").is_some());
    let first = if is_acpi { 16 } else { 5 };
    (0..8).find_map(|index| windows.open_to_wait(place(index, first + index)))
}

/// Where the device tree has them.
#[cfg(not(target_arch = "x86_64"))]
#[cfg_attr(target_os = "hermit", optimize(size))]
fn default_places(
    tree: Option<Blob<'static>>,
    windows: &mut Windows,
) -> Option<Found<(Transport<Mapped>, u32)>> {
    places::in_tree(tree?).find_map(|place| windows.open_to_wait(place))
}

/// All places that QEMU's microvm may have, for devices that nobody waits for. Where there is PCI, other devices have
/// these addresses.
#[cfg(target_arch = "x86_64")]
fn all_places(tree: Option<Blob<'static>>) -> impl Iterator<Item = Place> {
    let count = if Bus::find(tree).is_some() { 0 } else { 24 };
    (0..count).map(|index| Place {
        address: MICROVM + index * mmio::SIZE as u64,
        interrupt: 0,
    })
}

/// All places that the device tree has.
#[cfg(not(target_arch = "x86_64"))]
fn all_places(tree: Option<Blob<'static>>) -> impl Iterator<Item = Place> {
    tree.into_iter().flat_map(places::in_tree)
}

/// An interrupt that is ours alone, and its vector: the highest.
#[cfg(target_arch = "x86_64")]
const VECTOR: u8 = u8::MAX;
#[cfg(target_arch = "x86_64")]
const INTERRUPT: u32 = VECTOR as u32 - 32;

/// The processor's number among those that take interrupts.
#[cfg(target_arch = "x86_64")]
fn local_apic() -> u32 {
    core::arch::x86_64::__cpuid(1).ebx >> 24
}

/// The second I/O APIC of QEMU's microvm. See Intel's 82093AA.
#[cfg(target_arch = "x86_64")]
struct SecondController(Mapped);

#[cfg(target_arch = "x86_64")]
impl SecondController {
    const ADDRESS: u64 = 0xfec1_0000;
    const PINS: u32 = 24;

    /// Registers: that of an index, and what is behind it.
    const SELECT: usize = 0x00;
    const WINDOW: usize = 0x10;

    /// Indices.
    const VERSION: u32 = 0x01;
    const PIN: u32 = 0x10;

    /// The controller, if it is there.
    fn find() -> Option<Self> {
        let controller = Self(Mapped::new(Self::ADDRESS, 0x20)?);
        controller.0.write32(Self::SELECT, Self::VERSION);
        let [version, _, last_pin, _] = controller.0.read32(Self::WINDOW).to_le_bytes();
        // 0x11 and 0x20 are those that there are; what is not there has neither.
        let is_there = (0x10..0x30).contains(&version) && u32::from(last_pin) == Self::PINS - 1;
        is_there.then_some(controller)
    }

    /// Has a pin's edges interrupt this processor.
    fn route(&self, pin: u32, vector: u8) {
        for (half, value) in [(1, local_apic() << 24), (0, u32::from(vector))] {
            self.0.write32(Self::SELECT, Self::PIN + 2 * pin + half);
            self.0.write32(Self::WINDOW, value);
        }
    }
}

/// PCI by ports, which is there if it has a host bridge. Network devices interrupt by messages.
#[cfg(target_arch = "x86_64")]
struct Bus {
    config: Ports,
}

#[cfg(target_arch = "x86_64")]
impl Bus {
    fn find(_: Option<Blob<'static>>) -> Option<Self> {
        let config = Ports;
        (config.read(Ports::HOST, 0) != u32::MAX).then_some(Self { config })
    }

    fn open(&self, at: Address, interrupt: Interrupt) -> Found<Pci<Mapped>> {
        Pci::open(&self.config, at, interrupt, Mapped::new)
    }

    fn open_to_wait(&self, at: Address) -> Found<(Transport<Mapped>, u32)> {
        // The processor's local APIC takes messages there.
        let message = Interrupt::Message {
            address: 0xfee0_0000 | u64::from(local_apic()) << 12,
            data: VECTOR.into(),
        };
        Ok((Transport::Pci(self.open(at, message)?), INTERRUPT))
    }
}

/// PCI by memory-mapped configuration space. Network devices interrupt by a pin.
#[cfg(not(target_arch = "x86_64"))]
struct Bus {
    config: Ecam,
    bridge: places::Bridge<'static>,
}

#[cfg(not(target_arch = "x86_64"))]
impl Bus {
    fn find(tree: Option<Blob<'static>>) -> Option<Self> {
        let tree = tree?;
        let bridge = places::Bridge::in_tree(tree);
        #[cfg(target_arch = "riscv64")]
        let bridge = bridge.or_else(|| places::Bridge::of_riscv64_virt(tree));
        let bridge = bridge?;
        let config = Ecam {
            space: bridge.config,
            bus: RefCell::new(None),
        };
        Some(Self { config, bridge })
    }

    fn open(&self, at: Address, interrupt: Interrupt) -> Found<Pci<Mapped>> {
        pci::assign(&self.config, at, &mut self.addresses(at))?;
        Pci::open(&self.config, at, interrupt, Mapped::new)
    }

    fn open_to_wait(&self, at: Address) -> Found<(Transport<Mapped>, u32)> {
        let interrupt = self
            .bridge
            .interrupt(at, pci::interrupt_pin(&self.config, at))
            .ok_or(Error::NoInterrupt)?;
        Ok((Transport::Pci(self.open(at, Interrupt::Pin)?), interrupt))
    }

    /// Addresses for a function that firmware has given none: each of the first bus has some of its own, in the upper
    /// half. Whoever else gives addresses there begins below. Behind bridges there are none, which firmware has not
    /// opened.
    fn addresses(&self, at: Address) -> pci::Window {
        let half = self.bridge.window.len() / 2;
        let each = if at.bus == 0 { half / 256 } else { 0 };
        let index = u64::from(at.device & 31) << 3 | u64::from(at.function & 7);
        let start = self.bridge.window.end - half + index * each;
        pci::Window::new(start, start + each)
    }
}

/// Configuration space by ports.
#[cfg(target_arch = "x86_64")]
struct Ports;

#[cfg(target_arch = "x86_64")]
impl Ports {
    /// PCI's host bridge.
    const HOST: Address = Address {
        bus: 0,
        device: 0,
        function: 0,
    };

    /// Chooses a register.
    fn select(at: Address, offset: u16) {
        let register = 0x8000_0000
            | u32::from(at.bus) << 16
            | u32::from(at.device & 31) << 11
            | u32::from(at.function & 7) << 8
            | u32::from(offset & 0xfc);
        // SAFETY: the port of PCI's configuration address; where there is no PCI, nobody hears it.
        unsafe {
            core::arch::asm!("out dx, eax", in("dx") 0xcf8_u16, in("eax") register, options(nomem, nostack));
        };
    }
}

#[cfg(target_arch = "x86_64")]
impl ConfigSpace for Ports {
    fn read(&self, at: Address, offset: u16) -> u32 {
        Self::select(at, offset);
        let value;
        // SAFETY: the port of PCI's configuration data, of the register that was chosen. Nobody else chooses: there is
        // one processor, and the kernel's own scan runs within a system call.
        unsafe {
            core::arch::asm!("in eax, dx", in("dx") 0xcfc_u16, out("eax") value, options(nomem, nostack));
        };
        value
    }

    fn write(&self, at: Address, offset: u16, value: u32) {
        Self::select(at, offset);
        // SAFETY: as above; what is written there is a function's configuration.
        unsafe {
            core::arch::asm!("out dx, eax", in("dx") 0xcfc_u16, in("eax") value, options(nomem, nostack));
        };
    }
}

/// Memory-mapped configuration space, 1 MiB a bus. The last bus that was asked for is mapped: one is asked after the
/// other.
#[cfg(not(target_arch = "x86_64"))]
struct Ecam {
    space: Span,
    bus: RefCell<Option<(u8, Mapped)>>,
}

#[cfg(not(target_arch = "x86_64"))]
impl Ecam {
    /// Does something with a bus, if it is there.
    fn with<T>(&self, bus: u8, what: impl FnOnce(&Mapped) -> T) -> Option<T> {
        const BUS: usize = 1 << 20;
        let offset = usize::from(bus) * BUS;
        let mut mapped = self.bus.borrow_mut();
        if mapped.as_ref().is_none_or(|(number, _)| *number != bus) {
            let address = self.space.start.checked_add(offset as u64)?;
            if address.checked_add(BUS as u64)? > self.space.end {
                return None;
            }
            *mapped = Some((bus, Mapped::new(address, BUS)?));
        }
        mapped.as_ref().map(|(_, registers)| what(registers))
    }

    fn place(at: Address, offset: u16) -> usize {
        usize::from(at.device & 31) << 15 | usize::from(at.function & 7) << 12 | usize::from(offset & 0xffc)
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl ConfigSpace for Ecam {
    fn read(&self, at: Address, offset: u16) -> u32 {
        let read = |bus: &Mapped| bus.read32(Self::place(at, offset));
        self.with(at.bus, read).unwrap_or(u32::MAX)
    }

    fn write(&self, at: Address, offset: u16, value: u32) {
        self.with(at.bus, |bus| bus.write32(Self::place(at, offset), value));
    }
}
