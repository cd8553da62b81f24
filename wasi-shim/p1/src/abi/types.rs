//! Scalar types of WASI preview1: aliases, enumerations, flags, and how a parameter becomes one of them.
//!
//! Layer: abi. Implements typenames.witx. A value that the specification does not name is [`Errno::INVAL`]
//! here, once for all calls; see docs/wasi.md, "Values that mean nothing".

use wasi_core::Clock;
pub use wasi_core::types::{Filesize, Filetype, Timestamp};

use super::Errno;

/// File descriptor number.
pub type Fd = u32;
/// Size of, or number of elements in, a region of guest memory.
pub type Size = u32;
/// Relative offset within a file, in bytes.
pub type Filedelta = i64;
/// Value that a guest attaches to a subscription and gets back with the event.
pub type Userdata = u64;
/// Position in a directory; 0 is its start.
pub type Dircookie = u64;
/// Exit code of a process.
pub type Exitcode = u32;
/// Flags of `sock_send`; none is defined.
pub type Siflags = u16;

/// A parameter as it arrives from the guest: a Wasm number that is to become a typed value.
pub trait Param: Sized {
    /// The Wasm type that carries it.
    type Raw;
    /// Decodes `raw`; [`Errno::INVAL`] for a value that the specification does not name.
    fn from_raw(raw: Self::Raw) -> Result<Self, Errno>;
}

macro_rules! plain_params {
    ($($ty:ty),+) => {
        $(impl Param for $ty {
            type Raw = $ty;
            fn from_raw(raw: $ty) -> Result<Self, Errno> {
                Ok(raw)
            }
        })+
    };
}

plain_params!(u32, u64, i64);

/// [`Siflags`] must be zero.
impl Param for Siflags {
    type Raw = u32;
    fn from_raw(raw: u32) -> Result<Self, Errno> {
        if raw == 0 { Ok(0) } else { Err(Errno::INVAL) }
    }
}

impl Param for Clock {
    type Raw = u32;
    fn from_raw(raw: u32) -> Result<Self, Errno> {
        match raw {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            2 => Ok(Self::ProcessCpuTime),
            3 => Ok(Self::ThreadCpuTime),
            _ => Err(Errno::INVAL),
        }
    }
}

/// The number of a file type as it goes over the wire.
pub const fn raw_filetype(filetype: Filetype) -> u8 {
    match filetype {
        Filetype::Unknown => 0,
        Filetype::BlockDevice => 1,
        Filetype::CharacterDevice => 2,
        Filetype::Directory => 3,
        Filetype::RegularFile => 4,
        Filetype::SocketDgram => 5,
        Filetype::SocketStream => 6,
        Filetype::SymbolicLink => 7,
    }
}

macro_rules! enums {
    ($($(#[doc = $doc:literal])+ $name:ident($repr:ty) {
        $($(#[doc = $variant_doc:literal])+ $variant:ident = $raw:literal,)+
    })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr($repr)]
            pub enum $name {
                $($(#[doc = $variant_doc])+ $variant = $raw,)+
            }

            impl $name {
                /// The number as it goes over the wire.
                pub const fn raw(self) -> $repr {
                    self as $repr
                }

                /// What has this number.
                pub const fn of(raw: $repr) -> Option<Self> {
                    match raw {
                        $($raw => Some(Self::$variant),)+
                        _ => None,
                    }
                }
            }

            impl Param for $name {
                type Raw = u32;
                fn from_raw(raw: u32) -> Result<Self, Errno> {
                    let number = <$repr>::try_from(raw).ok();
                    number.and_then(Self::of).ok_or(Errno::INVAL)
                }
            }
        )+
    };
}

pub(super) use enums;

enums! {
    /// The position relative to which an offset is set.
    Whence(u8) {
        /// Seek relative to start-of-file.
        Set = 0,
        /// Seek relative to current position.
        Cur = 1,
        /// Seek relative to end-of-file.
        End = 2,
    }

    /// How a guest says it will use a part of a file.
    Advice(u8) {
        /// No advice.
        Normal = 0,
        /// From lower offsets to higher offsets.
        Sequential = 1,
        /// In a random order.
        Random = 2,
        /// In the near future.
        Willneed = 3,
        /// Not in the near future.
        Dontneed = 4,
        /// Once, and then not again.
        Noreuse = 5,
    }

    /// Type of a subscription to an event, or of its occurrence.
    Eventtype(u8) {
        /// A clock has reached a time.
        Clock = 0,
        /// A file descriptor has data to read.
        FdRead = 1,
        /// A file descriptor can take data.
        FdWrite = 2,
    }

    /// Signal condition.
    Signal(u8) {
        /// No signal; reserved.
        None = 0,
        /// Hangup. Terminates the process.
        Hup = 1,
        /// Terminate interrupt signal. Terminates the process.
        Int = 2,
        /// Terminal quit signal. Terminates the process.
        Quit = 3,
        /// Illegal instruction. Terminates the process.
        Ill = 4,
        /// Trace/breakpoint trap. Terminates the process.
        Trap = 5,
        /// Process abort signal. Terminates the process.
        Abrt = 6,
        /// Access to an undefined portion of a memory object. Terminates the process.
        Bus = 7,
        /// Erroneous arithmetic operation. Terminates the process.
        Fpe = 8,
        /// Kill. Terminates the process.
        Kill = 9,
        /// User-defined signal 1. Terminates the process.
        Usr1 = 10,
        /// Invalid memory reference. Terminates the process.
        Segv = 11,
        /// User-defined signal 2. Terminates the process.
        Usr2 = 12,
        /// Write on a pipe with no one to read it. Ignored.
        Pipe = 13,
        /// Alarm clock. Terminates the process.
        Alrm = 14,
        /// Termination signal. Terminates the process.
        Term = 15,
        /// Child process terminated, stopped, or continued. Ignored.
        Chld = 16,
        /// Continue executing, if stopped.
        Cont = 17,
        /// Stop executing.
        Stop = 18,
        /// Terminal stop signal. Stops executing.
        Tstp = 19,
        /// Background process attempting read. Stops executing.
        Ttin = 20,
        /// Background process attempting write. Stops executing.
        Ttou = 21,
        /// High bandwidth data is available at a socket. Ignored.
        Urg = 22,
        /// CPU time limit exceeded. Terminates the process.
        Xcpu = 23,
        /// File size limit exceeded. Terminates the process.
        Xfsz = 24,
        /// Virtual timer expired. Terminates the process.
        Vtalrm = 25,
        /// Profiling timer expired. Terminates the process.
        Prof = 26,
        /// Window changed. Ignored.
        Winch = 27,
        /// I/O possible. Terminates the process.
        Poll = 28,
        /// Power failure. Terminates the process.
        Pwr = 29,
        /// Bad system call. Terminates the process.
        Sys = 30,
    }
}

macro_rules! flags {
    ($($(#[doc = $doc:literal])+ $name:ident($repr:ty, $wasm:ty) {
        $($(#[doc = $flag_doc:literal])+ $flag:ident = $bit:literal,)+
    })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
            pub struct $name($repr);

            impl $name {
                $($(#[doc = $flag_doc])+ pub const $flag: Self = Self(1 << $bit);)+
                /// All flags that the specification names.
                pub const ALL: Self = Self(0 $(| (1 << $bit))+);
                /// No flag.
                pub const NONE: Self = Self(0);

                /// The flags as they go over the wire.
                pub const fn raw(self) -> $repr {
                    self.0
                }

                /// Whether every flag of `other` is set.
                pub const fn contains(self, other: Self) -> bool {
                    self.0 & other.0 == other.0
                }

                /// The flags that are set in both.
                #[must_use]
                pub const fn intersection(self, other: Self) -> Self {
                    Self(self.0 & other.0)
                }

                /// The flags that are set here and not in `other`.
                #[must_use]
                pub const fn without(self, other: Self) -> Self {
                    Self(self.0 & !other.0)
                }

                /// The flags that are set in either.
                #[must_use]
                pub const fn union(self, other: Self) -> Self {
                    Self(self.0 | other.0)
                }
            }

            impl Param for $name {
                type Raw = $wasm;
                fn from_raw(raw: $wasm) -> Result<Self, Errno> {
                    match <$repr>::try_from(raw) {
                        Ok(bits) if bits & !Self::ALL.0 == 0 => Ok(Self(bits)),
                        _ => Err(Errno::INVAL),
                    }
                }
            }
        )+
    };
}

flags! {
    /// File descriptor flags.
    Fdflags(u16, u32) {
        /// Data written is always appended to the file's end.
        APPEND = 0,
        /// Only the data stored in the file is synchronized.
        DSYNC = 1,
        /// Non-blocking mode.
        NONBLOCK = 2,
        /// Synchronized read operations.
        RSYNC = 3,
        /// The data and the metadata are synchronized.
        SYNC = 4,
    }

    /// Which file times to set.
    Fstflags(u16, u32) {
        /// Set the access time to the value given.
        ATIM = 0,
        /// Set the access time to now.
        ATIM_NOW = 1,
        /// Set the modification time to the value given.
        MTIM = 2,
        /// Set the modification time to now.
        MTIM_NOW = 3,
    }

    /// How a path is resolved.
    Lookupflags(u32, u32) {
        /// If the path ends at a symbolic link, follow it.
        SYMLINK_FOLLOW = 0,
    }

    /// How `path_open` opens.
    Oflags(u16, u32) {
        /// Create the file if it does not exist.
        CREAT = 0,
        /// Fail if it is not a directory.
        DIRECTORY = 1,
        /// Fail if the file exists.
        EXCL = 2,
        /// Truncate the file to size 0.
        TRUNC = 3,
    }

    /// State of a descriptor in an event.
    Eventrwflags(u16, u32) {
        /// The peer has closed or disconnected: nothing more will come.
        FD_READWRITE_HANGUP = 0,
    }

    /// How a clock subscription's time is meant.
    Subclockflags(u16, u32) {
        /// The time is absolute on its clock, not relative to now.
        SUBSCRIPTION_CLOCK_ABSTIME = 0,
    }

    /// Flags given to `sock_recv`.
    Riflags(u16, u32) {
        /// Leave the message in the socket's receive queue.
        RECV_PEEK = 0,
        /// On byte-stream sockets, wait for the full amount.
        RECV_WAITALL = 1,
    }

    /// Flags returned by `sock_recv`.
    Roflags(u16, u32) {
        /// The message was longer than the room for it.
        RECV_DATA_TRUNCATED = 0,
    }

    /// Which channels of a socket to shut down.
    Sdflags(u8, u32) {
        /// Further receive operations.
        RD = 0,
        /// Further send operations.
        WR = 1,
    }

    /// What a descriptor may be used for.
    Rights(u64, u64) {
        /// `fd_datasync`.
        FD_DATASYNC = 0,
        /// `fd_read` and `sock_recv`.
        FD_READ = 1,
        /// `fd_seek`; implies [`Self::FD_TELL`].
        FD_SEEK = 2,
        /// `fd_fdstat_set_flags`.
        FD_FDSTAT_SET_FLAGS = 3,
        /// `fd_sync`.
        FD_SYNC = 4,
        /// `fd_tell`, and `fd_seek` that does not move.
        FD_TELL = 5,
        /// `fd_write` and `sock_send`.
        FD_WRITE = 6,
        /// `fd_advise`.
        FD_ADVISE = 7,
        /// `fd_allocate`.
        FD_ALLOCATE = 8,
        /// `path_create_directory`.
        PATH_CREATE_DIRECTORY = 9,
        /// `path_open` with [`Oflags::CREAT`].
        PATH_CREATE_FILE = 10,
        /// `path_link` with this descriptor as the source directory.
        PATH_LINK_SOURCE = 11,
        /// `path_link` with this descriptor as the target directory.
        PATH_LINK_TARGET = 12,
        /// `path_open`.
        PATH_OPEN = 13,
        /// `fd_readdir`.
        FD_READDIR = 14,
        /// `path_readlink`.
        PATH_READLINK = 15,
        /// `path_rename` with this descriptor as the source directory.
        PATH_RENAME_SOURCE = 16,
        /// `path_rename` with this descriptor as the target directory.
        PATH_RENAME_TARGET = 17,
        /// `path_filestat_get`.
        PATH_FILESTAT_GET = 18,
        /// `path_open` with [`Oflags::TRUNC`].
        PATH_FILESTAT_SET_SIZE = 19,
        /// `path_filestat_set_times`.
        PATH_FILESTAT_SET_TIMES = 20,
        /// `fd_filestat_get`.
        FD_FILESTAT_GET = 21,
        /// `fd_filestat_set_size`.
        FD_FILESTAT_SET_SIZE = 22,
        /// `fd_filestat_set_times`.
        FD_FILESTAT_SET_TIMES = 23,
        /// `path_symlink`.
        PATH_SYMLINK = 24,
        /// `path_remove_directory`.
        PATH_REMOVE_DIRECTORY = 25,
        /// `path_unlink_file`.
        PATH_UNLINK_FILE = 26,
        /// `poll_oneoff` on this descriptor.
        POLL_FD_READWRITE = 27,
        /// `sock_shutdown`.
        SOCK_SHUTDOWN = 28,
        /// `sock_accept`.
        SOCK_ACCEPT = 29,
    }
}
