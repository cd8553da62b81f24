//! What the machine has to provide: registers, and memory that devices reach.

/// Bytes of a page, within which [`Memory`] lies in one piece.
pub const PAGE: usize = 4096;

/// A window of a device's registers.
///
/// An access that is not aligned to its width, or does not lie in the window, does nothing and reads 0.
pub trait Registers {
    /// Bytes of the window.
    fn size(&self) -> usize;
    /// Reads a byte.
    fn read8(&self, offset: usize) -> u8;
    /// Reads 16 bits, little-endian.
    fn read16(&self, offset: usize) -> u16;
    /// Reads 32 bits, little-endian.
    fn read32(&self, offset: usize) -> u32;
    /// Writes a byte.
    fn write8(&self, offset: usize, value: u8);
    /// Writes 16 bits, little-endian.
    fn write16(&self, offset: usize, value: u16);
    /// Writes 32 bits, little-endian.
    fn write32(&self, offset: usize, value: u32);
}

/// Memory that the device reads and writes while we do: zeros at first, and never freed while a device may use it.
///
/// Numbers are little-endian, and each is read or written at once. An access that is not aligned or lies elsewhere does
/// nothing and reads 0, or no bytes.
pub trait Memory {
    /// Bytes of it, a multiple of [`PAGE`].
    fn size(&self) -> usize;
    /// Where the device finds the byte at `offset`. Each page is in one piece.
    fn address(&self, offset: usize) -> u64;
    /// Reads 16 bits.
    fn read16(&self, offset: usize) -> u16;
    /// Reads 32 bits.
    fn read32(&self, offset: usize) -> u32;
    /// Writes 16 bits.
    fn write16(&mut self, offset: usize, value: u16);
    /// Writes 32 bits.
    fn write32(&mut self, offset: usize, value: u32);
    /// Bytes that the device has been lent and has given back, or has not been lent yet. They lie in one page.
    fn bytes(&mut self, offset: usize, len: usize) -> &mut [u8];
}
