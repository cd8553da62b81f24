//! The wire format against crate `wasip1`, which is generated from the specification's witx files.
//!
//! Layer: tests. That crate is made for wasm32 guests; on a host whose pointers have 8 bytes its `Iovec` and
//! `Prestat` are larger, so those are compared in units of a pointer.

use core::mem::{align_of, offset_of, size_of};

use wasi_core::system::Clock;
use wasi_p1::abi::{
    Errno,
    layout::{Dirent, Event, Fdstat, Filestat, Iovec, Prestat, Subscription, Wire},
    types::{
        Advice, Eventrwflags, Eventtype, Fdflags, Filetype, Fstflags, Lookupflags, Oflags, Param, Riflags,
        Rights, Roflags, Sdflags, Signal, Subclockflags, Whence, raw_filetype,
    },
};

/// Compares numbers by name. For enumerations also: each number decodes to its name, and the next one to nothing.
macro_rules! same {
    (errnos $($ours:ident = $theirs:ident,)+) => {
        $(assert_eq!(Errno::$ours.raw(), wasip1::$theirs.raw(), stringify!($ours));)+
        let count = [$(stringify!($ours)),+].len();
        assert_eq!(Errno::ALL.len(), count, "an errno of ours that the specification does not have");
    };
    (enum $ty:ident: $($ours:ident = $theirs:ident,)+) => {
        $(
            assert_eq!(u32::from($ty::$ours.raw()), u32::from(wasip1::$theirs.raw()), stringify!($theirs));
            assert_eq!($ty::from_raw(u32::from(wasip1::$theirs.raw())), Ok($ty::$ours));
        )+
        let count = u32::try_from([$(stringify!($ours)),+].len()).expect("few");
        for raw in [count, count + 1, 255, 256, 1 << 31, u32::MAX] {
            assert_eq!($ty::from_raw(raw), Err(Errno::INVAL), "{raw}");
        }
    };
    // They are told to a guest, and never come from one.
    (filetypes $($ours:ident = $theirs:ident,)+) => {
        $(assert_eq!(raw_filetype(Filetype::$ours), wasip1::$theirs.raw(), stringify!($theirs));)+
    };
    (flags $ty:ident: $($ours:ident = $theirs:ident,)+) => {
        let mut all = 0;
        $(
            assert_eq!($ty::$ours.raw(), wasip1::$theirs, stringify!($theirs));
            assert_eq!($ty::from_raw(wasip1::$theirs.into()), Ok($ty::$ours));
            all |= wasip1::$theirs;
        )+
        assert_eq!($ty::ALL.raw(), all);
        assert_eq!($ty::from_raw(all.into()), Ok($ty::ALL));
        assert_eq!($ty::from_raw(0), Ok($ty::NONE));
        for bit in all.count_ones()..<$ty as Param>::Raw::BITS {
            assert_eq!($ty::from_raw(1 << bit), Err(Errno::INVAL), "bit {bit}");
        }
    };
}

#[test]
fn errnos() {
    same! { errnos
        TOOBIG = ERRNO_2BIG,
        ACCES = ERRNO_ACCES,
        ADDRINUSE = ERRNO_ADDRINUSE,
        ADDRNOTAVAIL = ERRNO_ADDRNOTAVAIL,
        AFNOSUPPORT = ERRNO_AFNOSUPPORT,
        AGAIN = ERRNO_AGAIN,
        ALREADY = ERRNO_ALREADY,
        BADF = ERRNO_BADF,
        BADMSG = ERRNO_BADMSG,
        BUSY = ERRNO_BUSY,
        CANCELED = ERRNO_CANCELED,
        CHILD = ERRNO_CHILD,
        CONNABORTED = ERRNO_CONNABORTED,
        CONNREFUSED = ERRNO_CONNREFUSED,
        CONNRESET = ERRNO_CONNRESET,
        DEADLK = ERRNO_DEADLK,
        DESTADDRREQ = ERRNO_DESTADDRREQ,
        DOM = ERRNO_DOM,
        DQUOT = ERRNO_DQUOT,
        EXIST = ERRNO_EXIST,
        FAULT = ERRNO_FAULT,
        FBIG = ERRNO_FBIG,
        HOSTUNREACH = ERRNO_HOSTUNREACH,
        IDRM = ERRNO_IDRM,
        ILSEQ = ERRNO_ILSEQ,
        INPROGRESS = ERRNO_INPROGRESS,
        INTR = ERRNO_INTR,
        INVAL = ERRNO_INVAL,
        IO = ERRNO_IO,
        ISCONN = ERRNO_ISCONN,
        ISDIR = ERRNO_ISDIR,
        LOOP = ERRNO_LOOP,
        MFILE = ERRNO_MFILE,
        MLINK = ERRNO_MLINK,
        MSGSIZE = ERRNO_MSGSIZE,
        MULTIHOP = ERRNO_MULTIHOP,
        NAMETOOLONG = ERRNO_NAMETOOLONG,
        NETDOWN = ERRNO_NETDOWN,
        NETRESET = ERRNO_NETRESET,
        NETUNREACH = ERRNO_NETUNREACH,
        NFILE = ERRNO_NFILE,
        NOBUFS = ERRNO_NOBUFS,
        NODEV = ERRNO_NODEV,
        NOENT = ERRNO_NOENT,
        NOEXEC = ERRNO_NOEXEC,
        NOLCK = ERRNO_NOLCK,
        NOLINK = ERRNO_NOLINK,
        NOMEM = ERRNO_NOMEM,
        NOMSG = ERRNO_NOMSG,
        NOPROTOOPT = ERRNO_NOPROTOOPT,
        NOSPC = ERRNO_NOSPC,
        NOSYS = ERRNO_NOSYS,
        NOTCONN = ERRNO_NOTCONN,
        NOTDIR = ERRNO_NOTDIR,
        NOTEMPTY = ERRNO_NOTEMPTY,
        NOTRECOVERABLE = ERRNO_NOTRECOVERABLE,
        NOTSOCK = ERRNO_NOTSOCK,
        NOTSUP = ERRNO_NOTSUP,
        NOTTY = ERRNO_NOTTY,
        NXIO = ERRNO_NXIO,
        OVERFLOW = ERRNO_OVERFLOW,
        OWNERDEAD = ERRNO_OWNERDEAD,
        PERM = ERRNO_PERM,
        PIPE = ERRNO_PIPE,
        PROTO = ERRNO_PROTO,
        PROTONOSUPPORT = ERRNO_PROTONOSUPPORT,
        PROTOTYPE = ERRNO_PROTOTYPE,
        RANGE = ERRNO_RANGE,
        ROFS = ERRNO_ROFS,
        SPIPE = ERRNO_SPIPE,
        SRCH = ERRNO_SRCH,
        STALE = ERRNO_STALE,
        TIMEDOUT = ERRNO_TIMEDOUT,
        TXTBSY = ERRNO_TXTBSY,
        XDEV = ERRNO_XDEV,
        NOTCAPABLE = ERRNO_NOTCAPABLE,
    }
}

#[test]
fn enumerations() {
    same! { enum Whence:
        Set = WHENCE_SET,
        Cur = WHENCE_CUR,
        End = WHENCE_END,
    }
    same! { filetypes
        Unknown = FILETYPE_UNKNOWN,
        BlockDevice = FILETYPE_BLOCK_DEVICE,
        CharacterDevice = FILETYPE_CHARACTER_DEVICE,
        Directory = FILETYPE_DIRECTORY,
        RegularFile = FILETYPE_REGULAR_FILE,
        SocketDgram = FILETYPE_SOCKET_DGRAM,
        SocketStream = FILETYPE_SOCKET_STREAM,
        SymbolicLink = FILETYPE_SYMBOLIC_LINK,
    }
    same! { enum Advice:
        Normal = ADVICE_NORMAL,
        Sequential = ADVICE_SEQUENTIAL,
        Random = ADVICE_RANDOM,
        Willneed = ADVICE_WILLNEED,
        Dontneed = ADVICE_DONTNEED,
        Noreuse = ADVICE_NOREUSE,
    }
    same! { enum Eventtype:
        Clock = EVENTTYPE_CLOCK,
        FdRead = EVENTTYPE_FD_READ,
        FdWrite = EVENTTYPE_FD_WRITE,
    }
    same! { enum Signal:
        None = SIGNAL_NONE,
        Hup = SIGNAL_HUP,
        Int = SIGNAL_INT,
        Quit = SIGNAL_QUIT,
        Ill = SIGNAL_ILL,
        Trap = SIGNAL_TRAP,
        Abrt = SIGNAL_ABRT,
        Bus = SIGNAL_BUS,
        Fpe = SIGNAL_FPE,
        Kill = SIGNAL_KILL,
        Usr1 = SIGNAL_USR1,
        Segv = SIGNAL_SEGV,
        Usr2 = SIGNAL_USR2,
        Pipe = SIGNAL_PIPE,
        Alrm = SIGNAL_ALRM,
        Term = SIGNAL_TERM,
        Chld = SIGNAL_CHLD,
        Cont = SIGNAL_CONT,
        Stop = SIGNAL_STOP,
        Tstp = SIGNAL_TSTP,
        Ttin = SIGNAL_TTIN,
        Ttou = SIGNAL_TTOU,
        Urg = SIGNAL_URG,
        Xcpu = SIGNAL_XCPU,
        Xfsz = SIGNAL_XFSZ,
        Vtalrm = SIGNAL_VTALRM,
        Prof = SIGNAL_PROF,
        Winch = SIGNAL_WINCH,
        Poll = SIGNAL_POLL,
        Pwr = SIGNAL_PWR,
        Sys = SIGNAL_SYS,
    }
}

#[test]
fn clocks() {
    let clocks = [
        (Clock::Realtime, wasip1::CLOCKID_REALTIME),
        (Clock::Monotonic, wasip1::CLOCKID_MONOTONIC),
        (Clock::ProcessCpuTime, wasip1::CLOCKID_PROCESS_CPUTIME_ID),
        (Clock::ThreadCpuTime, wasip1::CLOCKID_THREAD_CPUTIME_ID),
    ];
    for (ours, theirs) in clocks {
        assert_eq!(Clock::from_raw(theirs.raw()), Ok(ours));
    }
    for raw in [4, 5, u32::MAX] {
        assert_eq!(Clock::from_raw(raw), Err(Errno::INVAL));
    }
}

#[test]
fn flags() {
    same! { flags Fdflags:
        APPEND = FDFLAGS_APPEND,
        DSYNC = FDFLAGS_DSYNC,
        NONBLOCK = FDFLAGS_NONBLOCK,
        RSYNC = FDFLAGS_RSYNC,
        SYNC = FDFLAGS_SYNC,
    }
    same! { flags Fstflags:
        ATIM = FSTFLAGS_ATIM,
        ATIM_NOW = FSTFLAGS_ATIM_NOW,
        MTIM = FSTFLAGS_MTIM,
        MTIM_NOW = FSTFLAGS_MTIM_NOW,
    }
    same! { flags Lookupflags:
        SYMLINK_FOLLOW = LOOKUPFLAGS_SYMLINK_FOLLOW,
    }
    same! { flags Oflags:
        CREAT = OFLAGS_CREAT,
        DIRECTORY = OFLAGS_DIRECTORY,
        EXCL = OFLAGS_EXCL,
        TRUNC = OFLAGS_TRUNC,
    }
    same! { flags Eventrwflags:
        FD_READWRITE_HANGUP = EVENTRWFLAGS_FD_READWRITE_HANGUP,
    }
    same! { flags Subclockflags:
        SUBSCRIPTION_CLOCK_ABSTIME = SUBCLOCKFLAGS_SUBSCRIPTION_CLOCK_ABSTIME,
    }
    same! { flags Riflags:
        RECV_PEEK = RIFLAGS_RECV_PEEK,
        RECV_WAITALL = RIFLAGS_RECV_WAITALL,
    }
    same! { flags Roflags:
        RECV_DATA_TRUNCATED = ROFLAGS_RECV_DATA_TRUNCATED,
    }
    same! { flags Sdflags:
        RD = SDFLAGS_RD,
        WR = SDFLAGS_WR,
    }
    same! { flags Rights:
        FD_DATASYNC = RIGHTS_FD_DATASYNC,
        FD_READ = RIGHTS_FD_READ,
        FD_SEEK = RIGHTS_FD_SEEK,
        FD_FDSTAT_SET_FLAGS = RIGHTS_FD_FDSTAT_SET_FLAGS,
        FD_SYNC = RIGHTS_FD_SYNC,
        FD_TELL = RIGHTS_FD_TELL,
        FD_WRITE = RIGHTS_FD_WRITE,
        FD_ADVISE = RIGHTS_FD_ADVISE,
        FD_ALLOCATE = RIGHTS_FD_ALLOCATE,
        PATH_CREATE_DIRECTORY = RIGHTS_PATH_CREATE_DIRECTORY,
        PATH_CREATE_FILE = RIGHTS_PATH_CREATE_FILE,
        PATH_LINK_SOURCE = RIGHTS_PATH_LINK_SOURCE,
        PATH_LINK_TARGET = RIGHTS_PATH_LINK_TARGET,
        PATH_OPEN = RIGHTS_PATH_OPEN,
        FD_READDIR = RIGHTS_FD_READDIR,
        PATH_READLINK = RIGHTS_PATH_READLINK,
        PATH_RENAME_SOURCE = RIGHTS_PATH_RENAME_SOURCE,
        PATH_RENAME_TARGET = RIGHTS_PATH_RENAME_TARGET,
        PATH_FILESTAT_GET = RIGHTS_PATH_FILESTAT_GET,
        PATH_FILESTAT_SET_SIZE = RIGHTS_PATH_FILESTAT_SET_SIZE,
        PATH_FILESTAT_SET_TIMES = RIGHTS_PATH_FILESTAT_SET_TIMES,
        FD_FILESTAT_GET = RIGHTS_FD_FILESTAT_GET,
        FD_FILESTAT_SET_SIZE = RIGHTS_FD_FILESTAT_SET_SIZE,
        FD_FILESTAT_SET_TIMES = RIGHTS_FD_FILESTAT_SET_TIMES,
        PATH_SYMLINK = RIGHTS_PATH_SYMLINK,
        PATH_REMOVE_DIRECTORY = RIGHTS_PATH_REMOVE_DIRECTORY,
        PATH_UNLINK_FILE = RIGHTS_PATH_UNLINK_FILE,
        POLL_FD_READWRITE = RIGHTS_POLL_FD_READWRITE,
        SOCK_SHUTDOWN = RIGHTS_SOCK_SHUTDOWN,
        SOCK_ACCEPT = RIGHTS_SOCK_ACCEPT,
    }
}

/// Size and alignment of ours against theirs.
fn same_layout<const SIZE: usize, Ours: Wire<SIZE>, Theirs>() {
    assert_eq!(SIZE, size_of::<Theirs>());
    assert_eq!(usize::try_from(Ours::ALIGN).expect("small"), align_of::<Theirs>());
}

#[test]
fn records() {
    same_layout::<{ Fdstat::SIZE }, Fdstat, wasip1::Fdstat>();
    assert_eq!(Fdstat::FS_FILETYPE, offset_of!(wasip1::Fdstat, fs_filetype));
    assert_eq!(Fdstat::FS_FLAGS, offset_of!(wasip1::Fdstat, fs_flags));
    assert_eq!(Fdstat::FS_RIGHTS_BASE, offset_of!(wasip1::Fdstat, fs_rights_base));
    assert_eq!(
        Fdstat::FS_RIGHTS_INHERITING,
        offset_of!(wasip1::Fdstat, fs_rights_inheriting)
    );

    same_layout::<{ Filestat::SIZE }, Filestat, wasip1::Filestat>();
    assert_eq!(Filestat::DEV, offset_of!(wasip1::Filestat, dev));
    assert_eq!(Filestat::INO, offset_of!(wasip1::Filestat, ino));
    assert_eq!(Filestat::FILETYPE, offset_of!(wasip1::Filestat, filetype));
    assert_eq!(Filestat::NLINK, offset_of!(wasip1::Filestat, nlink));
    assert_eq!(Filestat::FILE_SIZE, offset_of!(wasip1::Filestat, size));
    assert_eq!(Filestat::ATIM, offset_of!(wasip1::Filestat, atim));
    assert_eq!(Filestat::MTIM, offset_of!(wasip1::Filestat, mtim));
    assert_eq!(Filestat::CTIM, offset_of!(wasip1::Filestat, ctim));

    same_layout::<{ Dirent::SIZE }, Dirent, wasip1::Dirent>();
    assert_eq!(Dirent::D_NEXT, offset_of!(wasip1::Dirent, d_next));
    assert_eq!(Dirent::D_INO, offset_of!(wasip1::Dirent, d_ino));
    assert_eq!(Dirent::D_NAMLEN, offset_of!(wasip1::Dirent, d_namlen));
    assert_eq!(Dirent::D_TYPE, offset_of!(wasip1::Dirent, d_type));

    same_layout::<{ Event::SIZE }, Event, wasip1::Event>();
    assert_eq!(Event::USERDATA, offset_of!(wasip1::Event, userdata));
    assert_eq!(Event::ERROR, offset_of!(wasip1::Event, error));
    assert_eq!(Event::TYPE, offset_of!(wasip1::Event, type_));
    assert_eq!(Event::NBYTES, offset_of!(wasip1::Event, fd_readwrite.nbytes));
    assert_eq!(Event::FLAGS, offset_of!(wasip1::Event, fd_readwrite.flags));

    same_layout::<{ Subscription::SIZE }, Subscription, wasip1::Subscription>();
    assert_eq!(Subscription::USERDATA, offset_of!(wasip1::Subscription, userdata));
    assert_eq!(Subscription::TAG, offset_of!(wasip1::Subscription, u.tag));
    assert_eq!(
        Subscription::FILE_DESCRIPTOR,
        offset_of!(wasip1::Subscription, u.u.fd_read.file_descriptor)
    );
    assert_eq!(
        Subscription::FILE_DESCRIPTOR,
        offset_of!(wasip1::Subscription, u.u.fd_write.file_descriptor)
    );
    assert_eq!(
        Subscription::CLOCK_ID,
        offset_of!(wasip1::Subscription, u.u.clock.id)
    );
    assert_eq!(
        Subscription::CLOCK_TIMEOUT,
        offset_of!(wasip1::Subscription, u.u.clock.timeout)
    );
    assert_eq!(
        Subscription::CLOCK_PRECISION,
        offset_of!(wasip1::Subscription, u.u.clock.precision)
    );
    assert_eq!(
        Subscription::CLOCK_FLAGS,
        offset_of!(wasip1::Subscription, u.u.clock.flags)
    );
}

/// A host offset or size, all of whose fields are as wide as a pointer, as it is in wasm32.
fn in_wasm32(host: usize) -> usize {
    host / size_of::<usize>() * 4
}

#[test]
fn records_of_pointers() {
    assert_eq!(Iovec::SIZE, in_wasm32(size_of::<wasip1::Iovec>()));
    assert_eq!(Iovec::BUF, in_wasm32(offset_of!(wasip1::Iovec, buf)));
    assert_eq!(Iovec::BUF_LEN, in_wasm32(offset_of!(wasip1::Iovec, buf_len)));
    assert_eq!(Iovec::SIZE, in_wasm32(size_of::<wasip1::Ciovec>()));
    assert_eq!(Iovec::BUF, in_wasm32(offset_of!(wasip1::Ciovec, buf)));
    assert_eq!(Iovec::BUF_LEN, in_wasm32(offset_of!(wasip1::Ciovec, buf_len)));

    assert_eq!(Prestat::SIZE, in_wasm32(size_of::<wasip1::Prestat>()));
    assert_eq!(Prestat::TAG, in_wasm32(offset_of!(wasip1::Prestat, tag)));
    assert_eq!(
        Prestat::PR_NAME_LEN,
        in_wasm32(offset_of!(wasip1::Prestat, u.dir.pr_name_len))
    );
}

/// Snapshot 0, of which there is no crate: its records as C lays them out for wasm32, from the old witx file.
mod old {
    #[repr(C)]
    pub(super) struct Filestat {
        pub(super) dev: u64,
        pub(super) ino: u64,
        pub(super) filetype: u8,
        pub(super) nlink: u32,
        pub(super) size: u64,
        pub(super) atim: u64,
        pub(super) mtim: u64,
        pub(super) ctim: u64,
    }

    #[repr(C)]
    pub(super) struct SubscriptionClock {
        pub(super) identifier: u64,
        pub(super) id: u32,
        pub(super) timeout: u64,
        pub(super) precision: u64,
        pub(super) flags: u16,
    }

    #[repr(C)]
    pub(super) struct Subscription {
        pub(super) userdata: u64,
        pub(super) tag: u8,
        pub(super) clock: SubscriptionClock,
    }
}

#[test]
fn records_of_snapshot_0() {
    use wasi_p1::abi::snapshot0::{Filestat, Subscription};

    assert_eq!(Filestat::SIZE, size_of::<old::Filestat>());
    assert_eq!(Filestat::DEV, offset_of!(old::Filestat, dev));
    assert_eq!(Filestat::INO, offset_of!(old::Filestat, ino));
    assert_eq!(Filestat::FILETYPE, offset_of!(old::Filestat, filetype));
    assert_eq!(Filestat::NLINK, offset_of!(old::Filestat, nlink));
    assert_eq!(Filestat::FILE_SIZE, offset_of!(old::Filestat, size));
    assert_eq!(Filestat::ATIM, offset_of!(old::Filestat, atim));
    assert_eq!(Filestat::MTIM, offset_of!(old::Filestat, mtim));
    assert_eq!(Filestat::CTIM, offset_of!(old::Filestat, ctim));

    assert_eq!(Subscription::SIZE, size_of::<old::Subscription>());
    assert_eq!(Subscription::USERDATA, offset_of!(old::Subscription, userdata));
    assert_eq!(Subscription::TAG, offset_of!(old::Subscription, tag));
    assert_eq!(
        Subscription::FILE_DESCRIPTOR,
        offset_of!(old::Subscription, clock)
    );
    assert_eq!(
        Subscription::CLOCK_IDENTIFIER,
        offset_of!(old::Subscription, clock.identifier)
    );
    assert_eq!(Subscription::CLOCK_ID, offset_of!(old::Subscription, clock.id));
    assert_eq!(
        Subscription::CLOCK_TIMEOUT,
        offset_of!(old::Subscription, clock.timeout)
    );
    assert_eq!(
        Subscription::CLOCK_PRECISION,
        offset_of!(old::Subscription, clock.precision)
    );
    assert_eq!(
        Subscription::CLOCK_FLAGS,
        offset_of!(old::Subscription, clock.flags)
    );
}
