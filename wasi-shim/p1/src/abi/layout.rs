//! Records of WASI preview1 as bytes: sizes, alignments, offsets, and the conversions to and from values.
//!
//! Layer: abi. Implements the records of typenames.witx for wasm32, little-endian. Padding is written as zero.
//! Sizes and offsets are named constants, tied together by `const` asserts here and compared with crate
//! `wasip1` in `tests/abi.rs`.

use wasi_core::{Clock, file::Attributes};

use super::{
    Errno,
    types::{
        Dircookie, Eventrwflags, Eventtype, Fd, Fdflags, Filesize, Filetype, Param, Rights, Roflags, Size,
        Subclockflags, Timestamp, Userdata, raw_filetype,
    },
};

/// A value with a fixed place in guest memory: `SIZE` bytes, aligned.
pub trait Wire<const SIZE: usize>: Sized {
    /// Alignment in bytes; a pointer that is not a multiple of it is a trap.
    const ALIGN: u32;
}

/// A value that a call writes into guest memory.
pub trait Encode<const SIZE: usize>: Wire<SIZE> {
    /// The bytes, padding zero.
    fn to_bytes(&self) -> [u8; SIZE];
}

/// A value that a call reads from guest memory.
pub trait Decode<const SIZE: usize>: Wire<SIZE> {
    /// The value, or [`Errno::INVAL`] where the bytes mean nothing.
    fn from_bytes(bytes: &[u8; SIZE]) -> Result<Self, Errno>;
}

macro_rules! integers {
    ($($ty:ty: $size:literal),+) => {
        $(
            impl Wire<$size> for $ty {
                const ALIGN: u32 = $size;
            }
            impl Encode<$size> for $ty {
                fn to_bytes(&self) -> [u8; $size] {
                    self.to_le_bytes()
                }
            }
            impl Decode<$size> for $ty {
                fn from_bytes(bytes: &[u8; $size]) -> Result<Self, Errno> {
                    Ok(Self::from_le_bytes(*bytes))
                }
            }
        )+
    };
}

// A guest's `u8` region is a slice and needs no conversion; see `GuestMemory::bytes`.
integers!(u16: 2, u32: 4, u64: 8);

impl Wire<2> for Roflags {
    const ALIGN: u32 = 2;
}

impl Encode<2> for Roflags {
    fn to_bytes(&self) -> [u8; 2] {
        self.raw().to_le_bytes()
    }
}

/// Copies `N` bytes out of a record; `at` is a constant, so the range is checked when this crate is compiled.
macro_rules! field {
    ($bytes:expr, $at:expr, $ty:ty) => {{
        const AT: usize = $at;
        const LEN: usize = size_of::<$ty>();
        let mut raw = [0; LEN];
        raw.copy_from_slice(&$bytes[AT..AT + LEN]);
        <$ty>::from_le_bytes(raw)
    }};
}

/// Copies an integer into a record at a constant offset.
macro_rules! put {
    ($bytes:expr, $at:expr, $value:expr, $ty:ty) => {{
        const AT: usize = $at;
        const LEN: usize = size_of::<$ty>();
        let value: $ty = $value;
        $bytes[AT..AT + LEN].copy_from_slice(&value.to_le_bytes());
    }};
}

pub(super) use {field, put};

/// `iovec` and `ciovec`: a region of guest memory for scatter/gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iovec {
    /// First byte of the region.
    pub buf: u32,
    /// Number of bytes.
    pub buf_len: Size,
}

impl Iovec {
    /// Bytes in guest memory.
    pub const SIZE: usize = 8;
    /// Offset of `buf`.
    pub const BUF: usize = 0;
    /// Offset of `buf_len`.
    pub const BUF_LEN: usize = 4;
}

impl Wire<{ Iovec::SIZE }> for Iovec {
    const ALIGN: u32 = 4;
}

impl Decode<{ Iovec::SIZE }> for Iovec {
    fn from_bytes(bytes: &[u8; Self::SIZE]) -> Result<Self, Errno> {
        Ok(Self {
            buf: field!(bytes, Iovec::BUF, u32),
            buf_len: field!(bytes, Iovec::BUF_LEN, u32),
        })
    }
}

/// `fdstat`: attributes of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fdstat {
    /// File type.
    pub fs_filetype: Filetype,
    /// Descriptor flags.
    pub fs_flags: Fdflags,
    /// What this descriptor may be used for.
    pub fs_rights_base: Rights,
    /// The most that descriptors opened through this one may be used for.
    pub fs_rights_inheriting: Rights,
}

impl Fdstat {
    /// Bytes in guest memory.
    pub const SIZE: usize = 24;
    /// Offset of `fs_filetype`.
    pub const FS_FILETYPE: usize = 0;
    /// Offset of `fs_flags`.
    pub const FS_FLAGS: usize = 2;
    /// Offset of `fs_rights_base`.
    pub const FS_RIGHTS_BASE: usize = 8;
    /// Offset of `fs_rights_inheriting`.
    pub const FS_RIGHTS_INHERITING: usize = 16;
}

impl Wire<{ Fdstat::SIZE }> for Fdstat {
    const ALIGN: u32 = 8;
}

impl Encode<{ Fdstat::SIZE }> for Fdstat {
    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        put!(bytes, Fdstat::FS_FILETYPE, raw_filetype(self.fs_filetype), u8);
        put!(bytes, Fdstat::FS_FLAGS, self.fs_flags.raw(), u16);
        put!(bytes, Fdstat::FS_RIGHTS_BASE, self.fs_rights_base.raw(), u64);
        put!(
            bytes,
            Fdstat::FS_RIGHTS_INHERITING,
            self.fs_rights_inheriting.raw(),
            u64
        );
        bytes
    }
}

/// `filestat`: attributes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filestat {
    /// Device that contains the file.
    pub dev: u64,
    /// Serial number on the device.
    pub ino: u64,
    /// File type.
    pub filetype: Filetype,
    /// Number of hard links.
    pub nlink: u64,
    /// Size in bytes.
    pub size: Filesize,
    /// Last access.
    pub atim: Timestamp,
    /// Last change of the data.
    pub mtim: Timestamp,
    /// Last change of the attributes.
    pub ctim: Timestamp,
}

impl From<Attributes> for Filestat {
    fn from(Attributes { dev, stat }: Attributes) -> Self {
        Self {
            dev,
            ino: stat.ino,
            filetype: stat.filetype,
            nlink: stat.nlink,
            size: stat.size,
            atim: stat.atim,
            mtim: stat.mtim,
            ctim: stat.ctim,
        }
    }
}

impl Filestat {
    /// The attributes of a stream, of which nothing but its type is known.
    pub(crate) const fn of_stream(filetype: Filetype) -> Self {
        Self {
            dev: 0,
            ino: 0,
            filetype,
            nlink: 0,
            size: 0,
            atim: 0,
            mtim: 0,
            ctim: 0,
        }
    }

    /// Bytes in guest memory.
    pub const SIZE: usize = 64;
    /// Offset of `dev`.
    pub const DEV: usize = 0;
    /// Offset of `ino`.
    pub const INO: usize = 8;
    /// Offset of `filetype`.
    pub const FILETYPE: usize = 16;
    /// Offset of `nlink`.
    pub const NLINK: usize = 24;
    /// Offset of `size`.
    pub const FILE_SIZE: usize = 32;
    /// Offset of `atim`.
    pub const ATIM: usize = 40;
    /// Offset of `mtim`.
    pub const MTIM: usize = 48;
    /// Offset of `ctim`.
    pub const CTIM: usize = 56;
}

impl Wire<{ Filestat::SIZE }> for Filestat {
    const ALIGN: u32 = 8;
}

impl Encode<{ Filestat::SIZE }> for Filestat {
    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        put!(bytes, Filestat::DEV, self.dev, u64);
        put!(bytes, Filestat::INO, self.ino, u64);
        put!(bytes, Filestat::FILETYPE, raw_filetype(self.filetype), u8);
        put!(bytes, Filestat::NLINK, self.nlink, u64);
        put!(bytes, Filestat::FILE_SIZE, self.size, u64);
        put!(bytes, Filestat::ATIM, self.atim, u64);
        put!(bytes, Filestat::MTIM, self.mtim, u64);
        put!(bytes, Filestat::CTIM, self.ctim, u64);
        bytes
    }
}

/// `prestat`: a preopened directory; its only content is the length of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prestat {
    /// Length of the name in bytes.
    pub pr_name_len: Size,
}

impl Prestat {
    /// Bytes in guest memory.
    pub const SIZE: usize = 8;
    /// Offset of the tag (`preopentype`).
    pub const TAG: usize = 0;
    /// Offset of `pr_name_len`.
    pub const PR_NAME_LEN: usize = 4;
}

impl Wire<{ Prestat::SIZE }> for Prestat {
    const ALIGN: u32 = 4;
}

impl Encode<{ Prestat::SIZE }> for Prestat {
    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        // `preopentype` has one value, `dir`.
        put!(bytes, Prestat::TAG, 0, u8);
        put!(bytes, Prestat::PR_NAME_LEN, self.pr_name_len, u32);
        bytes
    }
}

/// `dirent`: an entry of a directory, followed by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent {
    /// Where the next entry is found.
    pub d_next: Dircookie,
    /// Serial number of the file.
    pub d_ino: u64,
    /// Length of the name in bytes.
    pub d_namlen: Size,
    /// Type of the file.
    pub d_type: Filetype,
}

impl Dirent {
    /// Bytes in guest memory.
    pub const SIZE: usize = 24;
    /// Offset of `d_next`.
    pub const D_NEXT: usize = 0;
    /// Offset of `d_ino`.
    pub const D_INO: usize = 8;
    /// Offset of `d_namlen`.
    pub const D_NAMLEN: usize = 16;
    /// Offset of `d_type`.
    pub const D_TYPE: usize = 20;
}

impl Wire<{ Dirent::SIZE }> for Dirent {
    const ALIGN: u32 = 8;
}

impl Encode<{ Dirent::SIZE }> for Dirent {
    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        put!(bytes, Dirent::D_NEXT, self.d_next, u64);
        put!(bytes, Dirent::D_INO, self.d_ino, u64);
        put!(bytes, Dirent::D_NAMLEN, self.d_namlen, u32);
        put!(bytes, Dirent::D_TYPE, raw_filetype(self.d_type), u8);
        bytes
    }
}

/// What a subscription waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionU {
    /// A time on a clock. `precision` of the wire format, a permission to be late, is not used.
    Clock {
        /// The clock.
        id: Clock,
        /// The time, absolute or relative as `flags` say.
        timeout: Timestamp,
        /// How `timeout` is meant.
        flags: Subclockflags,
    },
    /// A descriptor that has data to read.
    FdRead(Fd),
    /// A descriptor that takes data.
    FdWrite(Fd),
}

/// `subscription`: what a guest waits for in `poll_oneoff`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Handed back with the event.
    pub userdata: Userdata,
    /// What it waits for.
    pub u: SubscriptionU,
}

impl Subscription {
    /// Bytes in guest memory.
    pub const SIZE: usize = 48;
    /// Offset of `userdata`.
    pub const USERDATA: usize = 0;
    /// Offset of the union's tag (`eventtype`).
    pub const TAG: usize = 8;
    /// Offset of `subscription_fd_readwrite::file_descriptor`.
    pub const FILE_DESCRIPTOR: usize = 16;
    /// Offset of `subscription_clock::id`.
    pub const CLOCK_ID: usize = 16;
    /// Offset of `subscription_clock::timeout`.
    pub const CLOCK_TIMEOUT: usize = 24;
    /// Offset of `subscription_clock::precision`.
    pub const CLOCK_PRECISION: usize = 32;
    /// Offset of `subscription_clock::flags`.
    pub const CLOCK_FLAGS: usize = 40;
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
        Ok(Self {
            userdata: field!(bytes, Subscription::USERDATA, u64),
            u,
        })
    }
}

/// `event`: what `poll_oneoff` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// As given with the subscription.
    pub userdata: Userdata,
    /// Why the subscription could not be served, if so.
    pub error: Option<Errno>,
    /// What was waited for.
    pub r#type: Eventtype,
    /// Bytes that can be read or written; 0 for a clock.
    pub nbytes: Filesize,
    /// State of the descriptor.
    pub flags: Eventrwflags,
}

impl Event {
    /// Bytes in guest memory.
    pub const SIZE: usize = 32;
    /// Offset of `userdata`.
    pub const USERDATA: usize = 0;
    /// Offset of `error`.
    pub const ERROR: usize = 8;
    /// Offset of `type`.
    pub const TYPE: usize = 10;
    /// Offset of `event_fd_readwrite::nbytes`.
    pub const NBYTES: usize = 16;
    /// Offset of `event_fd_readwrite::flags`.
    pub const FLAGS: usize = 24;
}

impl Wire<{ Event::SIZE }> for Event {
    const ALIGN: u32 = 8;
}

impl Encode<{ Event::SIZE }> for Event {
    fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        put!(bytes, Event::USERDATA, self.userdata, u64);
        put!(bytes, Event::ERROR, self.error.map_or(0, Errno::raw), u16);
        put!(bytes, Event::TYPE, self.r#type.raw(), u8);
        put!(bytes, Event::NBYTES, self.nbytes, u64);
        put!(bytes, Event::FLAGS, self.flags.raw(), u16);
        bytes
    }
}

/// The last field of each record ends within it, and every size is a multiple of its alignment.
const _: () = {
    const fn is_multiple(size: usize, align: u32) -> bool {
        size.is_multiple_of(align as usize)
    }
    assert!(Iovec::BUF_LEN + 4 == Iovec::SIZE && is_multiple(Iovec::SIZE, <Iovec as Wire<_>>::ALIGN));
    assert!(
        Fdstat::FS_RIGHTS_INHERITING + 8 == Fdstat::SIZE
            && is_multiple(Fdstat::SIZE, <Fdstat as Wire<_>>::ALIGN)
    );
    assert!(
        Filestat::CTIM + 8 == Filestat::SIZE && is_multiple(Filestat::SIZE, <Filestat as Wire<_>>::ALIGN)
    );
    assert!(
        Prestat::PR_NAME_LEN + 4 == Prestat::SIZE && is_multiple(Prestat::SIZE, <Prestat as Wire<_>>::ALIGN)
    );
    assert!(Dirent::D_TYPE + 4 == Dirent::SIZE && is_multiple(Dirent::SIZE, <Dirent as Wire<_>>::ALIGN));
    assert!(Subscription::CLOCK_FLAGS + 8 == Subscription::SIZE);
    assert!(is_multiple(Subscription::SIZE, <Subscription as Wire<_>>::ALIGN));
    assert!(Event::FLAGS + 8 == Event::SIZE && is_multiple(Event::SIZE, <Event as Wire<_>>::ALIGN));
};
