//! The memory that calls read and write by address: the only unsafe code besides the calls.

use std::ptr;

/// Where results of calls go, such as sizes and `filestat`; 8 KiB.
pub const OUT: usize = 0;
/// A path.
pub const PATH: usize = 8 << 10;
/// Another path, for calls with two.
pub const OTHER: usize = 24 << 10;
/// A list of buffers, or of subscriptions.
pub const LIST: usize = 40 << 10;
/// Data.
pub const DATA: usize = 48 << 10;
/// How long all is.
pub const SIZE: usize = DATA + (320 << 10);

/// Memory with fixed places for everything that calls are given.
#[derive(Clone, Copy)]
pub struct Area(*mut u8);

impl Area {
    /// It is never freed: calls hold addresses only.
    pub fn new() -> Self {
        let memory: &'static mut [u64] = Box::leak(vec![0_u64; SIZE / 8].into_boxed_slice());
        Self(memory.as_mut_ptr().cast())
    }

    /// The address of a place, as a call wants it.
    pub fn at(&self, place: usize) -> i32 {
        assert!(place <= SIZE);
        self.0.expose_provenance().wrapping_add(place) as i32
    }

    pub fn write(&self, place: usize, bytes: &[u8]) {
        assert!(place + bytes.len() <= SIZE);
        // SAFETY: the range lies in the memory, as the line above says, and nothing else refers to it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.add(place), bytes.len()) }
    }

    pub fn read(&self, place: usize, length: usize) -> Vec<u8> {
        assert!(place + length <= SIZE);
        let mut bytes = vec![0; length];
        // SAFETY: as in `write`; every byte is initialised from the start.
        unsafe { ptr::copy_nonoverlapping(self.0.add(place), bytes.as_mut_ptr(), length) }
        bytes
    }

    pub fn u32(&self, place: usize) -> u32 {
        u32::from_le_bytes(self.read(place, 4).try_into().unwrap_or_default())
    }

    pub fn u64(&self, place: usize) -> u64 {
        u64::from_le_bytes(self.read(place, 8).try_into().unwrap_or_default())
    }

    pub fn u16(&self, place: usize) -> u16 {
        u16::from_le_bytes(self.read(place, 2).try_into().unwrap_or_default())
    }

    pub fn u8(&self, place: usize) -> u8 {
        self.read(place, 1).first().copied().unwrap_or_default()
    }
}
