//! Devices that the application drives itself: their registers, memory and interrupts, and where they are.
//!
//! Layer: device. What is done with them is crate `virtio-devices`, which is tested on the host.

use core::sync::atomic::{Ordering, fence};

use firmware_tables::fdt::Blob;
use virtio_devices::pci::{self, Address, ConfigSpace, Interrupt, Pci};
use virtio_devices::places::{self, Place};
use virtio_devices::{Error, Memory, Net, PAGE, Registers, Transport, mmio, net};

use super::syscalls::{sys_alloc_zeroed, sys_map_device, sys_physical_address, sys_wait_interrupt};

/// A network device of this machine.
pub(crate) type NetDevice = Net<Mapped, Shared>;

/// Registers of a device, mapped for ever.
#[derive(Debug)]
pub(crate) struct Mapped {
    start: *mut u8,
    len: usize,
}

impl Mapped {
    /// Maps registers.
    fn new(physical: u64, len: usize) -> Option<Self> {
        // SAFETY: takes no pointers. The callers name registers of devices: what firmware or a device's configuration
        // says that they are.
        let start = unsafe { sys_map_device(physical, len) };
        (!start.is_null()).then_some(Self { start, len })
    }

    /// A register of `T`'s size, if it lies here and is aligned.
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let end = offset.checked_add(size_of::<T>())?;
        let register = self.start.wrapping_add(offset).cast::<T>();
        (end <= self.len && register.is_aligned()).then_some(register)
    }

    fn read<T: Default>(&self, offset: usize) -> T {
        match self.at::<T>(offset) {
            // SAFETY: it is aligned and lies in what was mapped for ever, which holds no Rust object. `T` is an
            // integer.
            Some(register) => unsafe { register.read_volatile() },
            None => T::default(),
        }
    }

    fn write<T>(&self, offset: usize, value: T) {
        if let Some(register) = self.at::<T>(offset) {
            // SAFETY: as above.
            unsafe { register.write_volatile(value) };
        }
    }
}

impl Registers for Mapped {
    fn size(&self) -> usize {
        self.len
    }

    fn read8(&self, offset: usize) -> u8 {
        self.read(offset)
    }

    fn read16(&self, offset: usize) -> u16 {
        self.read(offset)
    }

    fn read32(&self, offset: usize) -> u32 {
        self.read(offset)
    }

    fn write8(&self, offset: usize, value: u8) {
        self.write(offset, value);
    }

    fn write16(&self, offset: usize, value: u16) {
        self.write(offset, value);
    }

    fn write32(&self, offset: usize, value: u32) {
        self.write(offset, value);
    }
}

/// Memory that a device reads and writes too. It is never freed: no device can be made to forget it for sure.
#[derive(Debug)]
pub(crate) struct Shared {
    start: *mut u8,
    len: usize,
}

impl Shared {
    /// So many bytes of zeros, whole pages.
    fn new(len: usize) -> Option<Self> {
        let len = len.checked_next_multiple_of(PAGE)?;
        // SAFETY: the alignment is a power of two, and the size is not 0.
        let start = unsafe { sys_alloc_zeroed(len.max(PAGE), PAGE) };
        let memory = (!start.is_null()).then_some(Self { start, len })?;
        // Every page lies somewhere.
        let mut pages = (0..len).step_by(PAGE);
        pages
            .all(|offset| memory.physical(offset).is_some())
            .then_some(memory)
    }

    fn physical(&self, offset: usize) -> Option<u64> {
        let mut physical = 0;
        // SAFETY: `physical` is valid for a write, and the byte is not accessed.
        let result = unsafe { sys_physical_address(self.start.wrapping_add(offset), 1, &raw mut physical) };
        (result == 0).then_some(physical)
    }

    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let end = offset.checked_add(size_of::<T>())?;
        let place = self.start.wrapping_add(offset).cast::<T>();
        (end <= self.len && place.is_aligned()).then_some(place)
    }

    fn read<T: Default>(&self, offset: usize) -> T {
        match self.at::<T>(offset) {
            // SAFETY: it is aligned and lies in memory that is this value's alone for ever, apart from the device,
            // which may write at any time: hence volatile. `T` is an integer.
            Some(place) => unsafe { place.read_volatile() },
            None => T::default(),
        }
    }

    fn write<T>(&self, offset: usize, value: T) {
        if let Some(place) = self.at::<T>(offset) {
            // SAFETY: as above.
            unsafe { place.write_volatile(value) };
        }
    }
}

impl Memory for Shared {
    fn size(&self) -> usize {
        self.len
    }

    fn address(&self, offset: usize) -> u64 {
        // What is not here has no address, and no device writes to the highest one.
        self.physical(offset).unwrap_or(u64::MAX)
    }

    fn read16(&self, offset: usize) -> u16 {
        self.read(offset)
    }

    fn read32(&self, offset: usize) -> u32 {
        self.read(offset)
    }

    fn write16(&mut self, offset: usize, value: u16) {
        self.write(offset, value);
    }

    fn write32(&mut self, offset: usize, value: u32) {
        self.write(offset, value);
    }

    fn write64(&mut self, offset: usize, value: u64) {
        self.write(offset, value);
    }

    fn bytes(&mut self, offset: usize, len: usize) -> &mut [u8] {
        let end = offset.checked_add(len).filter(|end| *end <= self.len);
        let (offset, len) = end.map_or((0, 0), |_| (offset, len));
        // What the device has written before it gave them back is seen.
        fence(Ordering::SeqCst);
        // SAFETY: they lie in memory that is this value's alone, initialised and never freed, and `self` is borrowed as
        // long as they are. The device has none of them by what it was told; one that writes there all the same may do
        // so anywhere in the machine's memory, and nothing here can keep it from that.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(offset), len) }
    }
}

/// Waits for an interrupt, or for input if that is wanted, or until so many microseconds have passed (`u64::MAX`: for
/// ever). Tells whether it was the interrupt.
pub(crate) fn wait(interrupt: u32, input: bool, microseconds: u64) -> bool {
    // SAFETY: takes no pointers.
    unsafe { sys_wait_interrupt(interrupt, input.into(), microseconds) == 1 }
}

/// Why there is no network device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoDevice {
    /// The machine has none.
    Missing,
    /// It has one that cannot be used.
    Unusable(Error),
}

/// The machine's first network device, started, and the number of its interrupt. On PCI it is looked for first.
///
/// Nothing is probed before somebody asks. `tree` is the device tree, `arguments` the kernel command line, of which the
/// words before `--` are the machine's.
pub(crate) fn find_net(tree: Option<Blob<'static>>, arguments: &str) -> Result<(NetDevice, u32), NoDevice> {
    let start = |(transport, interrupt)| {
        let memory = Shared::new(NetDevice::MEMORY).ok_or(Error::Memory)?;
        Ok((Net::start(transport, memory)?, interrupt))
    };
    let mut words = arguments
        .split_ascii_whitespace()
        .take_while(|word| *word != "--")
        .filter_map(places::from_word)
        .peekable();
    let found = if words.peek().is_some() {
        words.find_map(at_place)
    } else {
        on_pci(tree).or_else(|| default_places(tree))
    };
    let found = found.ok_or(NoDevice::Missing)?;
    found.and_then(start).map_err(NoDevice::Unusable)
}

/// What is found, or why it cannot be used.
type Found = Result<(Transport<Mapped>, u32), Error>;

/// The network device whose registers are there.
fn at_place(place: Place) -> Option<Found> {
    let registers = Mapped::new(place.address, mmio::SIZE)?;
    let device = mmio::Mmio::open(registers, net::DEVICE)?;
    Some(device.map(|device| (Transport::Mmio(device), place.interrupt)))
}

/// Where QEMU's microvm has devices, if nobody says: eight places, which interrupt by pins that follow one another; or
/// with ACPI, unless told otherwise, 24 at a controller of their own, which the kernel does not know.
#[cfg(target_arch = "x86_64")]
fn default_places(tree: Option<Blob<'static>>) -> Option<Found> {
    let place = |index: u32, interrupt| Place {
        address: 0xfeb0_0000 + u64::from(index) * 0x200,
        interrupt,
    };
    if let Some(controller) = SecondController::find() {
        let (index, found) = (0..SecondController::PINS)
            .find_map(|index| Some((index, at_place(place(index, INTERRUPT))?)))?;
        controller.route(index, VECTOR);
        return Some(found);
    }
    let is_acpi = tree.is_some_and(|tree| tree.child("hermit,rsdp").is_some());
    let first = if is_acpi { 16 } else { 5 };
    (0..8).find_map(|index| at_place(place(index, first + index)))
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

/// Where the device tree has them.
#[cfg(not(target_arch = "x86_64"))]
fn default_places(tree: Option<Blob<'static>>) -> Option<Found> {
    places::in_tree(tree?).find_map(at_place)
}

/// The first network device on PCI, by ports, which interrupts by messages.
#[cfg(target_arch = "x86_64")]
fn on_pci(_: Option<Blob<'static>>) -> Option<Found> {
    let config = Ports;
    let at = pci::devices(&config, KIND).next()?;
    // The processor's local APIC takes messages there.
    let message = Interrupt::Message {
        address: 0xfee0_0000 | u64::from(local_apic()) << 12,
        data: VECTOR.into(),
    };
    let device = Pci::open(&config, at, message, Mapped::new);
    Some(device.map(|device| (Transport::Pci(device), INTERRUPT)))
}

/// The first network device on PCI, by memory-mapped configuration space, which interrupts by a pin.
#[cfg(not(target_arch = "x86_64"))]
fn on_pci(tree: Option<Blob<'static>>) -> Option<Found> {
    /// Of the configuration space, the first bus: what firmware has not numbered is not there.
    const BUS: usize = 1 << 20;
    let tree = tree?;
    let bridge = places::Bridge::in_tree(tree);
    #[cfg(target_arch = "riscv64")]
    let bridge = bridge.or_else(|| places::Bridge::of_riscv64_virt(tree));
    let bridge = bridge?;
    // The kernel gives addresses to all functions when it looks for its own devices there: it has to be first.
    #[cfg(target_arch = "aarch64")]
    // SAFETY: takes no pointers.
    unsafe {
        super::syscalls::sys_fuse_devices()
    };
    let config = Ecam(Mapped::new(bridge.config.start, BUS)?);
    let at = pci::devices(&config, KIND).next()?;
    let open = || {
        let interrupt = bridge
            .interrupt(at, pci::interrupt_pin(&config, at))
            .ok_or(Error::NoInterrupt)?;
        // The upper half: whoever else gives addresses there begins below.
        let middle = bridge.window.start + bridge.window.len() / 2;
        pci::assign(&config, at, &mut pci::Window::new(middle, bridge.window.end))?;
        let device = Pci::open(&config, at, Interrupt::Pin, Mapped::new)?;
        Ok((Transport::Pci(device), interrupt))
    };
    Some(open())
}

/// The kind of device on PCI.
const KIND: u16 = 1;

/// Configuration space by ports.
#[cfg(target_arch = "x86_64")]
struct Ports;

#[cfg(target_arch = "x86_64")]
impl Ports {
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

/// Memory-mapped configuration space.
#[cfg(not(target_arch = "x86_64"))]
struct Ecam(Mapped);

#[cfg(not(target_arch = "x86_64"))]
impl Ecam {
    fn place(at: Address, offset: u16) -> usize {
        usize::from(at.bus) << 20
            | usize::from(at.device & 31) << 15
            | usize::from(at.function & 7) << 12
            | usize::from(offset & 0xffc)
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl ConfigSpace for Ecam {
    fn read(&self, at: Address, offset: u16) -> u32 {
        let place = Self::place(at, offset);
        if place >= self.0.size() {
            u32::MAX
        } else {
            self.0.read32(place)
        }
    }

    fn write(&self, at: Address, offset: u16, value: u32) {
        self.0.write32(Self::place(at, offset), value);
    }
}
