//! `fd_seek`, `fd_tell`: positions.
//!
//! Layer: calls.

use crate::{
    abi::{
        Errno,
        types::{Fd, Filedelta, Filesize, Rights, Whence},
    },
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Moves the position of a file.
///
/// ```c
/// errno fd_seek(fd fd, filedelta offset, whence whence, filesize *newoffset);
/// ```
///
/// - `fd`: the file.
/// - `offset`: how far, in bytes.
/// - `whence`: from where.
/// - `newoffset`: gets the new position, in bytes from the file's start. It may lie beyond the file's end.
///
/// **Errors:**
/// - INVAL: no whence has this number, or the new position would be negative or beyond 2^64 - 1.
/// - BADF: `fd` is not open, or is a directory.
/// - SPIPE: `fd` is a stream.
/// - NOTCAPABLE: `fd` lacks the right `fd_seek`; to ask for the position (0 from `cur`), `fd_tell` is enough.
///
/// **Traps:** `newoffset` out of bounds or not a multiple of 8.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_seek>
pub fn fd_seek<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    offset: Filedelta,
    whence: Whence,
    newoffset: Ptr<Filesize>,
) -> Result<(), Error> {
    let entry = ctx.fds.get_mut(fd)?;
    let file = entry.descriptor.seekable()?;
    let tells = offset == 0 && whence == Whence::Cur;
    if !(tells && entry.rights_base().contains(Rights::FD_TELL)) {
        entry.require(Rights::FD_SEEK)?;
    }
    mem.check(newoffset)?;
    let from = match whence {
        Whence::Set => 0,
        Whence::Cur => file.position,
        Whence::End => ctx.core.size(file)?,
    };
    let position = from.checked_add_signed(offset).ok_or(Errno::INVAL)?;
    entry.descriptor.seekable_mut()?.position = position;
    mem.write(newoffset, position)
}

/// Returns the position of a file.
///
/// ```c
/// errno fd_tell(fd fd, filesize *offset);
/// ```
///
/// - `fd`: the file.
/// - `offset`: gets the position, in bytes from the file's start.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is a directory.
/// - SPIPE: `fd` is a stream.
/// - NOTCAPABLE: `fd` lacks the right `fd_tell` (and `fd_seek`, which implies it).
///
/// **Traps:** `offset` out of bounds or not a multiple of 8.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_tell>
pub fn fd_tell<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    offset: Ptr<Filesize>,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    let position = entry.descriptor.seekable()?.position;
    if !entry.rights_base().contains(Rights::FD_SEEK) {
        entry.require(Rights::FD_TELL)?;
    }
    mem.write(offset, position)
}
