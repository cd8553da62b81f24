//! What the guest programs in Rust share: output without a buffer, and errno by name.
//!
//! `no_std`, so that `greet`, which does without the standard library, can use it too.
#![no_std]

pub mod attempts;
pub mod files;

use wasip1::{Ciovec, Errno, Fd};

/// Standard input's descriptor.
pub const STDIN: Fd = 0;
/// Standard output's descriptor.
pub const STDOUT: Fd = 1;
/// Standard error's descriptor.
pub const STDERR: Fd = 2;

/// Writes all of `bytes` to `fd`, one `fd_write` after another until everything is taken.
///
/// # Errors
/// The errno of the call that failed; `Errno` IO if a call took nothing.
pub fn write_all(fd: Fd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let iovec = Ciovec {
            buf: bytes.as_ptr(),
            buf_len: bytes.len(),
        };
        // SAFETY: the one vector describes the slice `bytes`, which outlives the call.
        let written = unsafe { wasip1::fd_write(fd, &[iovec]) }?;
        if written == 0 {
            return Err(wasip1::ERRNO_IO);
        }
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// The name of a call's result as the specification spells it in capitals, such as `BADF`.
#[must_use]
pub fn errno_name(code: i32) -> &'static str {
    NAMES
        .get(usize::try_from(code).unwrap_or(usize::MAX))
        .copied()
        .unwrap_or("(not an errno)")
}

/// The errno names in the order of their values, from preview 1's `typenames.witx`.
const NAMES: [&str; 77] = [
    "SUCCESS",
    "2BIG",
    "ACCES",
    "ADDRINUSE",
    "ADDRNOTAVAIL",
    "AFNOSUPPORT",
    "AGAIN",
    "ALREADY",
    "BADF",
    "BADMSG",
    "BUSY",
    "CANCELED",
    "CHILD",
    "CONNABORTED",
    "CONNREFUSED",
    "CONNRESET",
    "DEADLK",
    "DESTADDRREQ",
    "DOM",
    "DQUOT",
    "EXIST",
    "FAULT",
    "FBIG",
    "HOSTUNREACH",
    "IDRM",
    "ILSEQ",
    "INPROGRESS",
    "INTR",
    "INVAL",
    "IO",
    "ISCONN",
    "ISDIR",
    "LOOP",
    "MFILE",
    "MLINK",
    "MSGSIZE",
    "MULTIHOP",
    "NAMETOOLONG",
    "NETDOWN",
    "NETRESET",
    "NETUNREACH",
    "NFILE",
    "NOBUFS",
    "NODEV",
    "NOENT",
    "NOEXEC",
    "NOLCK",
    "NOLINK",
    "NOMEM",
    "NOMSG",
    "NOPROTOOPT",
    "NOSPC",
    "NOSYS",
    "NOTCONN",
    "NOTDIR",
    "NOTEMPTY",
    "NOTRECOVERABLE",
    "NOTSOCK",
    "NOTSUP",
    "NOTTY",
    "NXIO",
    "OVERFLOW",
    "OWNERDEAD",
    "PERM",
    "PIPE",
    "PROTO",
    "PROTONOSUPPORT",
    "PROTOTYPE",
    "RANGE",
    "ROFS",
    "SPIPE",
    "SRCH",
    "STALE",
    "TIMEDOUT",
    "TXTBSY",
    "XDEV",
    "NOTCAPABLE",
];
