//! The place in a loader or an application that says where the payload lies which was put into its file.
//!
//! Layer: a format. Loader and application hold an empty [`Slot`] each; the crate `packed` fills one in, in the file,
//! and nobody need compile for that. A slot counts from itself, so it says the same wherever the file is loaded.
#![no_std]
#![forbid(unsafe_code)]

/// Where a payload lies in memory, from this slot's own address on. It is found in the file by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct Slot {
    name: [u8; 16],
    distance: [u8; 8],
    len: [u8; 8],
}

impl Slot {
    /// How a loader's slot begins.
    pub const LOADER: [u8; 16] = *b"\xf1hermit payload\xd1";
    /// How an application's slot begins.
    pub const APPLICATION: [u8; 16] = *b"\xf1hermit payload\xd2";
    /// How many bytes a slot has.
    pub const SIZE: usize = 32;

    /// A slot that begins with `name`, for no payload.
    #[must_use]
    pub const fn empty(name: [u8; 16]) -> Self {
        Self::filled(name, 0, 0)
    }

    /// A slot for a payload of `len` bytes that begins `distance` bytes behind the slot's own first.
    #[must_use]
    pub const fn filled(name: [u8; 16], distance: u64, len: u64) -> Self {
        Self {
            name,
            distance: distance.to_le_bytes(),
            len: len.to_le_bytes(),
        }
    }

    /// Distance and length of the payload, if there is one.
    #[must_use]
    pub const fn payload(&self) -> Option<(u64, u64)> {
        match u64::from_le_bytes(self.len) {
            0 => None,
            len => Some((u64::from_le_bytes(self.distance), len)),
        }
    }

    /// Its bytes in a file.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let all = self.name.iter().chain(&self.distance).chain(&self.len);
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
        bytes
    }

    /// The slot that a file has here, if it begins with `name`.
    ///
    /// ```
    /// use payload_slot::Slot;
    /// let slot = Slot::filled(Slot::LOADER, 4096, 7);
    /// assert_eq!(Slot::read(Slot::LOADER, &slot.to_bytes()), Some(slot));
    /// assert_eq!(slot.payload(), Some((4096, 7)));
    /// assert_eq!(Slot::read(Slot::APPLICATION, &slot.to_bytes()), None);
    /// assert_eq!(Slot::empty(Slot::LOADER).payload(), None);
    /// ```
    #[must_use]
    pub fn read(name: [u8; 16], bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&name)?;
        let (distance, rest) = rest.split_first_chunk()?;
        let len = rest.first_chunk()?;
        Some(Self {
            name,
            distance: *distance,
            len: *len,
        })
    }
}

const _: () = assert!(size_of::<Slot>() == Slot::SIZE);
