//! Errors of a Linux host as errors of WASI.
//!
//! Layer: file systems. Implements `errno.h` of Linux, whose numbers a FUSE server answers with: those of x86,
//! ARM and RISC-V, which are the same.

use crate::Errno;

/// The host's error number as the guest's. What WASI has no number for is [`Errno::IO`], except where a number
/// says nearly the same.
pub(super) const fn from_linux(errno: i32) -> Errno {
    match errno {
        1 => Errno::PERM,
        2 => Errno::NOENT,
        3 => Errno::SRCH,
        4 => Errno::INTR,
        5 => Errno::IO,
        6 => Errno::NXIO,
        7 => Errno::TOOBIG,
        8 => Errno::NOEXEC,
        9 => Errno::BADF,
        10 => Errno::CHILD,
        11 => Errno::AGAIN,
        12 => Errno::NOMEM,
        13 => Errno::ACCES,
        14 => Errno::FAULT,
        16 => Errno::BUSY,
        17 => Errno::EXIST,
        18 => Errno::XDEV,
        19 => Errno::NODEV,
        20 => Errno::NOTDIR,
        21 => Errno::ISDIR,
        22 => Errno::INVAL,
        23 => Errno::NFILE,
        24 => Errno::MFILE,
        25 => Errno::NOTTY,
        26 => Errno::TXTBSY,
        27 => Errno::FBIG,
        28 => Errno::NOSPC,
        29 => Errno::SPIPE,
        30 => Errno::ROFS,
        31 => Errno::MLINK,
        32 => Errno::PIPE,
        33 => Errno::DOM,
        34 => Errno::RANGE,
        35 => Errno::DEADLK,
        36 => Errno::NAMETOOLONG,
        37 => Errno::NOLCK,
        38 => Errno::NOSYS,
        39 => Errno::NOTEMPTY,
        40 => Errno::LOOP,
        42 => Errno::NOMSG,
        43 => Errno::IDRM,
        67 => Errno::NOLINK,
        71 => Errno::PROTO,
        72 => Errno::MULTIHOP,
        74 => Errno::BADMSG,
        75 => Errno::OVERFLOW,
        84 => Errno::ILSEQ,
        88 => Errno::NOTSOCK,
        89 => Errno::DESTADDRREQ,
        90 => Errno::MSGSIZE,
        91 => Errno::PROTOTYPE,
        92 => Errno::NOPROTOOPT,
        93 => Errno::PROTONOSUPPORT,
        95 => Errno::NOTSUP,
        97 => Errno::AFNOSUPPORT,
        98 => Errno::ADDRINUSE,
        99 => Errno::ADDRNOTAVAIL,
        100 => Errno::NETDOWN,
        101 => Errno::NETUNREACH,
        102 => Errno::NETRESET,
        103 => Errno::CONNABORTED,
        104 => Errno::CONNRESET,
        105 => Errno::NOBUFS,
        106 => Errno::ISCONN,
        107 => Errno::NOTCONN,
        110 => Errno::TIMEDOUT,
        111 => Errno::CONNREFUSED,
        113 => Errno::HOSTUNREACH,
        114 => Errno::ALREADY,
        115 => Errno::INPROGRESS,
        116 => Errno::STALE,
        122 => Errno::DQUOT,
        125 => Errno::CANCELED,
        130 => Errno::OWNERDEAD,
        131 => Errno::NOTRECOVERABLE,
        _ => Errno::IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each name of WASI that Linux has too, by Linux's own constants.
    #[test]
    fn names_are_the_same() {
        macro_rules! same {
            ($($linux:ident $name:ident)+) => {{
                let table = [$((libc::$linux, Errno::$name)),+];
                for (number, errno) in table {
                    assert_eq!(from_linux(number), errno, "{number}");
                }
                for number in (0..512).filter(|number| table.iter().all(|(known, _)| known != number)) {
                    assert_eq!(from_linux(number), Errno::IO, "{number}");
                }
                for (errno, name) in Errno::ALL {
                    assert!(
                        *errno == Errno::NOTCAPABLE || table.iter().any(|(_, known)| known == errno),
                        "{name} is WASI's alone"
                    );
                }
            }};
        }
        same! {
            E2BIG TOOBIG EACCES ACCES EADDRINUSE ADDRINUSE EADDRNOTAVAIL ADDRNOTAVAIL EAFNOSUPPORT AFNOSUPPORT
            EAGAIN AGAIN EALREADY ALREADY EBADF BADF EBADMSG BADMSG EBUSY BUSY ECANCELED CANCELED ECHILD CHILD
            ECONNABORTED CONNABORTED ECONNREFUSED CONNREFUSED ECONNRESET CONNRESET EDEADLK DEADLK
            EDESTADDRREQ DESTADDRREQ EDOM DOM EDQUOT DQUOT EEXIST EXIST EFAULT FAULT EFBIG FBIG
            EHOSTUNREACH HOSTUNREACH EIDRM IDRM EILSEQ ILSEQ EINPROGRESS INPROGRESS EINTR INTR EINVAL INVAL
            EIO IO EISCONN ISCONN EISDIR ISDIR ELOOP LOOP EMFILE MFILE EMLINK MLINK EMSGSIZE MSGSIZE
            EMULTIHOP MULTIHOP ENAMETOOLONG NAMETOOLONG ENETDOWN NETDOWN ENETRESET NETRESET
            ENETUNREACH NETUNREACH ENFILE NFILE ENOBUFS NOBUFS ENODEV NODEV ENOENT NOENT ENOEXEC NOEXEC
            ENOLCK NOLCK ENOLINK NOLINK ENOMEM NOMEM ENOMSG NOMSG ENOPROTOOPT NOPROTOOPT ENOSPC NOSPC
            ENOSYS NOSYS ENOTCONN NOTCONN ENOTDIR NOTDIR ENOTEMPTY NOTEMPTY ENOTRECOVERABLE NOTRECOVERABLE
            ENOTSOCK NOTSOCK EOPNOTSUPP NOTSUP ENOTTY NOTTY ENXIO NXIO EOVERFLOW OVERFLOW EOWNERDEAD OWNERDEAD
            EPERM PERM EPIPE PIPE EPROTO PROTO EPROTONOSUPPORT PROTONOSUPPORT EPROTOTYPE PROTOTYPE
            ERANGE RANGE EROFS ROFS ESPIPE SPIPE ESRCH SRCH ESTALE STALE ETIMEDOUT TIMEDOUT ETXTBSY TXTBSY
            EXDEV XDEV
        }
    }
}
