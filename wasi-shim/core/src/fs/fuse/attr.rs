//! Attributes and types as the server tells them.
//!
//! Layer: file systems. Implements `fuse_attr` of `linux/fuse.h`, and the types of `stat.h` and `dirent.h`.

use fuse_abi::linux::{FATTR_ATIME, FATTR_MTIME, fuse_attr, fuse_setattr_in};

use crate::{
    Errno,
    fs::Stat,
    types::{Filetype, Timestamp},
};

const NANOSECONDS: u64 = 1_000_000_000;

/// The type in the upper bits of a mode, which is also that of a directory's entry. Pipes and sockets have none in
/// WASI that fits.
pub(super) const fn filetype(bits: u32) -> Filetype {
    match bits {
        0o02 => Filetype::CharacterDevice,
        0o04 => Filetype::Directory,
        0o06 => Filetype::BlockDevice,
        0o10 => Filetype::RegularFile,
        0o12 => Filetype::SymbolicLink,
        _ => Filetype::Unknown,
    }
}

/// The type in a mode.
pub(super) const fn filetype_of_mode(mode: u32) -> Filetype {
    filetype((mode & 0o170_000) >> 12)
}

/// Attributes as WASI has them; IO if they cannot be a file's.
pub(super) fn stat(attr: &fuse_attr) -> Result<Stat, Errno> {
    // Linux's limit, without which offsets have no sign.
    if i64::try_from(attr.size).is_err() {
        return Err(Errno::IO);
    }
    Ok(Stat {
        ino: attr.ino,
        filetype: filetype_of_mode(attr.mode),
        nlink: u64::from(attr.nlink),
        size: attr.size,
        atim: timestamp(attr.atime, attr.atimensec),
        mtim: timestamp(attr.mtime, attr.mtimensec),
        ctim: timestamp(attr.ctime, attr.ctimensec),
    })
}

/// A time, which WASI counts from 1970 on: what is before is 1970, what is after 2554 the last there is.
fn timestamp(seconds: u64, nanoseconds: u32) -> Timestamp {
    // Seconds have a sign on the wire.
    if seconds > u64::MAX / 2 {
        return 0;
    }
    seconds
        .saturating_mul(NANOSECONDS)
        .saturating_add(u64::from(nanoseconds))
}

/// The request that sets these times.
pub(super) fn set_times(atim: Option<Timestamp>, mtim: Option<Timestamp>) -> fuse_setattr_in {
    let split = |time: Timestamp| {
        let nanoseconds = u32::try_from(time % NANOSECONDS).unwrap_or_default();
        (time / NANOSECONDS, nanoseconds)
    };
    let mut request = fuse_setattr_in::default();
    if let Some(time) = atim {
        request.valid |= FATTR_ATIME;
        (request.atime, request.atimensec) = split(time);
    }
    if let Some(time) = mtim {
        request.valid |= FATTR_MTIME;
        (request.mtime, request.mtimensec) = split(time);
    }
    request
}
