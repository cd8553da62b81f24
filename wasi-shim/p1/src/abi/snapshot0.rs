//! Where `wasi_unstable` (snapshot 0) differs from preview1 on the wire: `filestat`, `subscription`, `whence`.
//!
//! Layer: abi. Implements those parts of the old typenames.witx; all the rest is the same, number for number.

use wasi_core::Clock;

use super::{
    Errno, layout,
    layout::{Decode, Encode, SubscriptionU, Wire, field, put},
    types::{self, Eventtype, Param, Subclockflags, raw_filetype},
};

/// `whence`, whose numbers are in another order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whence(pub types::Whence);

impl Param for Whence {
    type Raw = u32;
    fn from_raw(raw: u32) -> Result<Self, Errno> {
        match raw {
            0 => Ok(Self(types::Whence::Cur)),
            1 => Ok(Self(types::Whence::End)),
            2 => Ok(Self(types::Whence::Set)),
            _ => Err(Errno::INVAL),
        }
    }
}

/// `filestat`, whose `nlink` has 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filestat(pub layout::Filestat);

impl Filestat {
    /// Bytes in guest memory.
    pub const SIZE: usize = 56;
    /// Offset of `dev`.
    pub const DEV: usize = 0;
    /// Offset of `ino`.
    pub const INO: usize = 8;
    /// Offset of `filetype`.
    pub const FILETYPE: usize = 16;
    /// Offset of `nlink`.
    pub const NLINK: usize = 20;
    /// Offset of `size`.
    pub const FILE_SIZE: usize = 24;
    /// Offset of `atim`.
    pub const ATIM: usize = 32;
    /// Offset of `mtim`.
    pub const MTIM: usize = 40;
    /// Offset of `ctim`.
    pub const CTIM: usize = 48;
}

impl From<layout::Filestat> for Filestat {
    fn from(stat: layout::Filestat) -> Self {
        Self(stat)
    }
}

impl Wire<{ Filestat::SIZE }> for Filestat {
    const ALIGN: u32 = 8;
}

impl Encode<{ Filestat::SIZE }> for Filestat {
    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let stat = &self.0;
        let mut bytes = [0; Self::SIZE];
        put!(bytes, Filestat::DEV, stat.dev, u64);
        put!(bytes, Filestat::INO, stat.ino, u64);
        put!(bytes, Filestat::FILETYPE, raw_filetype(stat.filetype), u8);
        // More names than the old layout can tell are as many as it can.
        let nlink = u32::try_from(stat.nlink).unwrap_or(u32::MAX);
        put!(bytes, Filestat::NLINK, nlink, u32);
        put!(bytes, Filestat::FILE_SIZE, stat.size, u64);
        put!(bytes, Filestat::ATIM, stat.atim, u64);
        put!(bytes, Filestat::MTIM, stat.mtim, u64);
        put!(bytes, Filestat::CTIM, stat.ctim, u64);
        bytes
    }
}

/// `subscription`, whose clock has an `identifier` (not used) before all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription(pub layout::Subscription);

impl Subscription {
    /// Bytes in guest memory.
    pub const SIZE: usize = 56;
    /// Offset of `userdata`.
    pub const USERDATA: usize = 0;
    /// Offset of the union's tag (`eventtype`).
    pub const TAG: usize = 8;
    /// Offset of `subscription_fd_readwrite::file_descriptor`.
    pub const FILE_DESCRIPTOR: usize = 16;
    /// Offset of `subscription_clock::identifier`.
    pub const CLOCK_IDENTIFIER: usize = 16;
    /// Offset of `subscription_clock::id`.
    pub const CLOCK_ID: usize = 24;
    /// Offset of `subscription_clock::timeout`.
    pub const CLOCK_TIMEOUT: usize = 32;
    /// Offset of `subscription_clock::precision`.
    pub const CLOCK_PRECISION: usize = 40;
    /// Offset of `subscription_clock::flags`.
    pub const CLOCK_FLAGS: usize = 48;
}

impl From<Subscription> for layout::Subscription {
    fn from(subscription: Subscription) -> Self {
        subscription.0
    }
}

impl Wire<{ Subscription::SIZE }> for Subscription {
    const ALIGN: u32 = 8;
}

impl Decode<{ Subscription::SIZE }> for Subscription {
    fn from_bytes(bytes: &[u8; Self::SIZE]) -> Result<Self, Errno> {
        let tag = field!(bytes, Subscription::TAG, u8);
        let u = match Eventtype::from_raw(u32::from(tag))? {
            Eventtype::Clock => SubscriptionU::Clock {
                id: Clock::from_raw(field!(bytes, Subscription::CLOCK_ID, u32))?,
                timeout: field!(bytes, Subscription::CLOCK_TIMEOUT, u64),
                flags: Subclockflags::from_raw(u32::from(field!(bytes, Subscription::CLOCK_FLAGS, u16)))?,
            },
            Eventtype::FdRead => SubscriptionU::FdRead(field!(bytes, Subscription::FILE_DESCRIPTOR, u32)),
            Eventtype::FdWrite => SubscriptionU::FdWrite(field!(bytes, Subscription::FILE_DESCRIPTOR, u32)),
        };
        Ok(Self(layout::Subscription {
            userdata: field!(bytes, Subscription::USERDATA, u64),
            u,
        }))
    }
}

/// The last field of each record ends within it, and every size is a multiple of its alignment.
const _: () = {
    assert!(Filestat::CTIM + 8 == Filestat::SIZE && Filestat::SIZE.is_multiple_of(8));
    assert!(Subscription::CLOCK_FLAGS + 8 == Subscription::SIZE && Subscription::SIZE.is_multiple_of(8));
};
