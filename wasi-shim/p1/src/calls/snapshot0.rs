//! The functions of `wasi_unstable` (snapshot 0) whose layouts differ from preview1; what they do is the same.
//!
//! Layer: calls. All other functions of `wasi_unstable` are those of preview1; it has no `sock_accept`.

use wasi_core::System;

use crate::{
    abi::{
        layout::Event,
        snapshot0::{Filestat, Subscription, Whence},
        types::{Fd, Filedelta, Filesize, Lookupflags, Size},
    },
    calls::{fd, path, poll},
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// As [`fd::fd_seek`], with `whence` 0 for the position, 1 for the file's end, 2 for its start.
pub fn fd_seek<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    offset: Filedelta,
    whence: Whence,
    newoffset: Ptr<Filesize>,
) -> Result<(), Error> {
    fd::fd_seek(ctx, mem, fd, offset, whence.0, newoffset)
}

/// As [`fd::fd_filestat_get`].
///
/// **Layout:** 56 bytes: dev u64le at 0, ino u64le at 8, type u8 at 16, nlink u32le at 20, size u64le at 24,
/// atim, mtim, ctim u64le (nanoseconds since 1970) at 32, 40, 48.
pub fn fd_filestat_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    buf: Ptr<Filestat>,
) -> Result<(), Error> {
    fd::filestat_get(ctx, mem, fd, buf)
}

/// As [`path::path_filestat_get`].
///
/// **Layout:** as for [`fd_filestat_get`].
pub fn path_filestat_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    flags: Lookupflags,
    path: Ptr<u8>,
    path_len: Size,
    buf: Ptr<Filestat>,
) -> Result<(), Error> {
    path::filestat_get(ctx, mem, fd, flags, path, path_len, buf)
}

/// As [`poll::poll_oneoff`].
///
/// **Layout:** a subscription has 56 bytes: userdata u64le at 0, type u8 at 8; for a clock, identifier u64le at 16
/// (not used), id u32le at 24, timeout u64le at 32, precision u64le at 40, flags u16le at 48; else descriptor
/// u32le at 16.
pub fn poll_oneoff<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    r#in: Ptr<Subscription>,
    out: Ptr<Event>,
    nsubscriptions: Size,
    nevents: Ptr<Size>,
) -> Result<(), Error> {
    poll::poll(ctx, mem, r#in, out, nsubscriptions, nevents)
}

#[cfg(test)]
mod tests;
