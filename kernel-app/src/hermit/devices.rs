//! Devices that the application drives itself: their registers, memory and interrupts. Where they are: `buses`.
//!
//! Layer: device. What is done with them is crate `virtio-devices`, which is tested on the host.

use core::sync::atomic::{Ordering, fence};

use virtio_devices::{Memory, PAGE, Registers};

use super::syscalls::{sys_alloc_zeroed, sys_map_device, sys_physical_address, sys_wait_interrupt};

/// Where in physical memory the byte at an address lies, and how many of `len` bytes from there on lie in one piece.
pub(super) fn piece(start: *const u8, len: usize) -> Option<(u64, usize)> {
    let mut physical = 0;
    // SAFETY: `physical` is valid for a write, and the bytes at `start` are not accessed.
    let result = unsafe { sys_physical_address(start, len, &raw mut physical) };
    Some((physical, usize::try_from(result).ok()?))
}

/// Where in physical memory some bytes lie, if they lie in one piece.
pub(super) fn in_one_piece(start: *const u8, len: usize) -> Option<u64> {
    let (physical, together) = piece(start, len)?;
    (together == len).then_some(physical)
}

/// Registers of a device, mapped for ever.
#[derive(Debug)]
pub(crate) struct Mapped {
    start: *mut u8,
    len: usize,
}

impl Mapped {
    /// Maps registers.
    pub(super) fn new(physical: u64, len: usize) -> Option<Self> {
        // SAFETY: takes no pointers. The callers name registers of devices: what firmware or a device's configuration
        // says that they are.
        let start = unsafe { sys_map_device(physical, len) };
        (!start.is_null()).then_some(Self { start, len })
    }

    /// Some of these registers.
    pub(super) fn part(&self, offset: usize, len: usize) -> Option<Self> {
        let end = offset.checked_add(len)?;
        let start = self.start.wrapping_add(offset);
        (end <= self.len).then_some(Self { start, len })
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
    pub(super) fn new(len: usize) -> Option<Self> {
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
        in_one_piece(self.start.wrapping_add(offset), 1)
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
