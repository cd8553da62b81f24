//! The guest's linear memory, and the only bounds and alignment checks of this crate.
//!
//! Layer: below the calls. A guest pointer is an allegation until [`GuestMemory`] has checked its whole range. Out of
//! bounds and misaligned are traps, as in wasmtime and as the specification of pointers says; see docs/wasi.md.

use core::{fmt, marker::PhantomData, ops::Range};

use crate::{
    abi::{
        Errno,
        layout::{Decode, Encode, Wire},
        types::Param,
    },
    error::{Error, Trap},
};

/// A guest address at which a `T` is alleged to lie.
pub struct Ptr<T> {
    address: u32,
    target: PhantomData<fn() -> T>,
}

impl<T> Ptr<T> {
    /// The allegation that a `T` lies at `address`.
    pub const fn new(address: u32) -> Self {
        Self {
            address,
            target: PhantomData,
        }
    }

    /// The address.
    pub const fn address(self) -> u32 {
        self.address
    }

    /// The pointer to element `index` of an array that starts here.
    ///
    /// # Errors
    /// [`Trap::OutOfBounds`] if the address leaves the 32-bit space; never for an element of a checked array.
    pub fn element<const SIZE: usize>(self, index: u32) -> Result<Self, Error>
    where
        T: Wire<SIZE>,
    {
        let size = u32::try_from(SIZE).ok();
        let offset = size.and_then(|size| index.checked_mul(size));
        match offset.and_then(|offset| self.address.checked_add(offset)) {
            Some(address) => Ok(Self::new(address)),
            None => Err(Trap::OutOfBounds {
                start: self.address,
                len: u64::MAX,
                memory: 1 << 32,
            }
            .into()),
        }
    }
}

impl<T> Clone for Ptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ptr<T> {}

impl<T> fmt::Debug for Ptr<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ptr({:#x})", self.address)
    }
}

impl<T> Param for Ptr<T> {
    type Raw = u32;
    fn from_raw(raw: u32) -> Result<Self, Errno> {
        Ok(Self::new(raw))
    }
}

impl<T> Wire<4> for Ptr<T> {
    const ALIGN: u32 = 4;
}

impl<T> Encode<4> for Ptr<T> {
    fn to_bytes(&self) -> [u8; 4] {
        self.address.to_le_bytes()
    }
}

impl<T> Decode<4> for Ptr<T> {
    fn from_bytes(bytes: &[u8; 4]) -> Result<Self, Errno> {
        Ok(Self::new(u32::from_le_bytes(*bytes)))
    }
}

/// The guest's linear memory for the time of one call.
pub struct GuestMemory<'a> {
    bytes: &'a mut [u8],
}

impl<'a> GuestMemory<'a> {
    /// The memory that `bytes` are.
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    /// The one place where a guest's range becomes a range of the memory.
    fn range(&self, start: u32, len: u64) -> Result<Range<usize>, Error> {
        let size = self.bytes.len();
        let out_of_bounds = || Trap::OutOfBounds {
            start,
            len,
            memory: u64::try_from(size).unwrap_or(u64::MAX),
        };
        let (Ok(first), Ok(count)) = (usize::try_from(start), usize::try_from(len)) else {
            return Err(out_of_bounds().into());
        };
        match first.checked_add(count) {
            Some(end) if end <= size => Ok(first..end),
            _ => Err(out_of_bounds().into()),
        }
    }

    /// `len` bytes at `start`. An empty range is valid at any address: nothing is dereferenced.
    ///
    /// # Errors
    /// [`Trap::OutOfBounds`].
    pub fn bytes(&self, start: Ptr<u8>, len: u32) -> Result<&[u8], Error> {
        if len == 0 {
            return Ok(&[]);
        }
        let range = self.range(start.address, u64::from(len))?;
        // The range is within the memory, so `get` finds it.
        Ok(self.bytes.get(range).unwrap_or_default())
    }

    /// As [`Self::bytes`], to write to.
    ///
    /// # Errors
    /// [`Trap::OutOfBounds`].
    pub fn bytes_mut(&mut self, start: Ptr<u8>, len: u32) -> Result<&mut [u8], Error> {
        if len == 0 {
            return Ok(&mut []);
        }
        let range = self.range(start.address, u64::from(len))?;
        Ok(self.bytes.get_mut(range).unwrap_or_default())
    }

    /// Checks that an array of `count` values lies at `ptr`. An empty array is valid at any address.
    ///
    /// # Errors
    /// [`Trap::Misaligned`], [`Trap::OutOfBounds`].
    pub fn check_array<const SIZE: usize, T: Wire<SIZE>>(
        &self,
        ptr: Ptr<T>,
        count: u32,
    ) -> Result<(), Error> {
        if count == 0 {
            return Ok(());
        }
        if !ptr.address.is_multiple_of(T::ALIGN) {
            return Err(Trap::Misaligned {
                start: ptr.address,
                align: T::ALIGN,
            }
            .into());
        }
        let size = u64::try_from(SIZE).unwrap_or(u64::MAX);
        self.range(ptr.address, size.saturating_mul(u64::from(count)))?;
        Ok(())
    }

    /// Checks that one value lies at `ptr`.
    ///
    /// # Errors
    /// [`Trap::Misaligned`], [`Trap::OutOfBounds`].
    pub fn check<const SIZE: usize, T: Wire<SIZE>>(&self, ptr: Ptr<T>) -> Result<(), Error> {
        self.check_array(ptr, 1)
    }

    /// The value at `ptr`.
    ///
    /// # Errors
    /// [`Trap::Misaligned`], [`Trap::OutOfBounds`]; [`Errno::INVAL`] where the bytes mean nothing.
    pub fn read<const SIZE: usize, T: Decode<SIZE>>(&self, ptr: Ptr<T>) -> Result<T, Error> {
        self.check(ptr)?;
        let size = u32::try_from(SIZE).unwrap_or(u32::MAX);
        let bytes = self.bytes(Ptr::new(ptr.address), size)?;
        // `bytes` has SIZE bytes; the other arm is not reached.
        let record = bytes.first_chunk().ok_or(Errno::FAULT)?;
        Ok(T::from_bytes(record)?)
    }

    /// Writes `value` to `ptr`.
    ///
    /// # Errors
    /// [`Trap::Misaligned`], [`Trap::OutOfBounds`].
    pub fn write<const SIZE: usize, T: Encode<SIZE>>(&mut self, ptr: Ptr<T>, value: T) -> Result<(), Error> {
        self.check(ptr)?;
        let size = u32::try_from(SIZE).unwrap_or(u32::MAX);
        let bytes = self.bytes_mut(Ptr::new(ptr.address), size)?;
        *bytes.first_chunk_mut().ok_or(Errno::FAULT)? = value.to_bytes();
        Ok(())
    }
}

impl fmt::Debug for GuestMemory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GuestMemory({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::layout::Iovec;

    fn out_of_bounds<T>(result: Result<T, Error>) -> bool {
        matches!(result, Err(Error::Trap(Trap::OutOfBounds { .. })))
    }

    #[test]
    fn regions_end_at_the_last_byte() {
        let mut bytes = [1, 2, 3, 4];
        let mut mem = GuestMemory::new(&mut bytes);
        assert_eq!(mem.bytes(Ptr::new(1), 3), Ok(&[2, 3, 4][..]));
        assert_eq!(mem.bytes_mut(Ptr::new(3), 1), Ok(&mut [4][..]));
        for (start, len) in [
            (1, 4),
            (4, 1),
            (0, 5),
            (u32::MAX, 1),
            (u32::MAX, u32::MAX),
            (1, u32::MAX),
        ] {
            assert!(out_of_bounds(mem.bytes(Ptr::new(start), len)), "{start} {len}");
            assert!(
                out_of_bounds(mem.bytes_mut(Ptr::new(start), len)),
                "{start} {len}"
            );
        }
    }

    #[test]
    fn no_bytes_may_lie_anywhere() {
        let mem = GuestMemory::new(&mut []);
        assert_eq!(mem.bytes(Ptr::new(u32::MAX), 0), Ok(&[][..]));
        assert_eq!(mem.check_array(Ptr::<u64>::new(u32::MAX), 0), Ok(()));
        assert!(out_of_bounds(mem.bytes(Ptr::new(0), 1)));
    }

    #[test]
    fn values_are_aligned_and_little_endian() {
        let mut bytes = [0; 12];
        let mut mem = GuestMemory::new(&mut bytes);
        assert_eq!(mem.write(Ptr::new(8), 0x0403_0201_u32), Ok(()));
        assert_eq!(
            mem.write(Ptr::new(4), 1_u64),
            Err(Trap::Misaligned { start: 4, align: 8 }.into())
        );
        assert!(out_of_bounds(mem.write(Ptr::new(8), 1_u64)));
        assert!(out_of_bounds(mem.write(Ptr::new(12), 1_u32)));
        assert_eq!(
            mem.read(Ptr::new(4)),
            Ok(Iovec {
                buf: 0,
                buf_len: 0x0403_0201
            })
        );
        assert!(out_of_bounds(mem.read(Ptr::<Iovec>::new(8))));
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn arrays_are_checked_as_a_whole() {
        let mem_bytes = &mut [0; 64];
        let mem = GuestMemory::new(mem_bytes);
        assert_eq!(mem.check_array(Ptr::<Iovec>::new(8), 7), Ok(()));
        assert!(out_of_bounds(mem.check_array(Ptr::<Iovec>::new(8), 8)));
        // 2^29 elements of 8 bytes would wrap around to 0 bytes in 32 bits.
        assert!(out_of_bounds(mem.check_array(Ptr::<Iovec>::new(0), 1 << 29)));
        assert!(out_of_bounds(mem.check_array(Ptr::<Iovec>::new(0), u32::MAX)));
    }

    #[test]
    fn elements_do_not_wrap_around() {
        let ptr = Ptr::<Iovec>::new(16);
        assert_eq!(ptr.element(2).map(Ptr::address), Ok(32));
        for index in [u32::MAX, (u32::MAX - 16) / 8 + 1] {
            assert!(out_of_bounds(ptr.element(index)), "{index}");
        }
    }
}
