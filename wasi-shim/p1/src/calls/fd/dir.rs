//! `fd_prestat_get`, `fd_prestat_dir_name`, `fd_readdir`: directories and preopens.
//!
//! Layer: calls.

use wasi_core::{System, fs::DirEntry};

use crate::{
    abi::{
        Errno,
        layout::{Dirent, Encode, Prestat},
        types::{Dircookie, Fd, Filetype, Rights, Size},
    },
    context::WasiP1Ctx,
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// Describes a preopened descriptor. A libc calls this for 3, 4, … until BADF to find its preopens.
///
/// ```c
/// errno fd_prestat_get(fd fd, prestat *buf);
/// ```
///
/// - `fd`: the descriptor.
/// - `buf`: gets its description.
///
/// **Errors:** BADF: `fd` is not open, or not a preopen.
///
/// **Traps:** `buf` out of bounds or not a multiple of 4.
///
/// **Layout:** 8 bytes: 0 (a directory) u8 at 0, length of the name u32le at 4.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_prestat_get>
pub fn fd_prestat_get<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    buf: Ptr<Prestat>,
) -> Result<(), Error> {
    let name = ctx.fds.get(fd)?.descriptor.preopen().ok_or(Errno::BADF)?;
    let pr_name_len = Size::try_from(name.len()).map_err(|_| Errno::OVERFLOW)?;
    mem.write(buf, Prestat { pr_name_len })
}

/// Returns the name of a preopened directory.
///
/// ```c
/// errno fd_prestat_dir_name(fd fd, uint8_t *path, size path_len);
/// ```
///
/// - `fd`: the descriptor.
/// - `path`, `path_len`: the buffer for the name, and its length in bytes; bytes after the name are left as
///   they are.
///
/// **Errors:**
/// - BADF: `fd` is not open.
/// - NOTDIR: `fd` is not a preopen, as in wasmtime.
/// - NAMETOOLONG: the buffer is too short for the name.
///
/// **Traps:** the buffer out of bounds.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_prestat_dir_name>
pub fn fd_prestat_dir_name<S>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    path: Ptr<u8>,
    path_len: Size,
) -> Result<(), Error> {
    let name = ctx.fds.get(fd)?.descriptor.preopen().ok_or(Errno::NOTDIR)?;
    let room = mem.bytes_mut(path, path_len)?;
    let room = room.get_mut(..name.len()).ok_or(Errno::NAMETOOLONG)?;
    room.copy_from_slice(name);
    Ok(())
}

/// Cookies below this one are those of `.` and `..`, which no file system has to tell; its own follow.
const OWN_COOKIES: Dircookie = 2;

/// Reads the entries of a directory, `.` and `..` first, as many as the buffer holds.
///
/// ```c
/// errno fd_readdir(fd fd, uint8_t *buf, size buf_len, dircookie cookie, size *bufused);
/// ```
///
/// - `fd`: the directory.
/// - `buf`, `buf_len`: the buffer for the entries, and its length in bytes. The last entry is cut off where the
///   buffer ends, wherever in the entry that is.
/// - `cookie`: where to start; 0 for the beginning, else what came with an entry. Cookies stay good while the
///   directory changes: what was there all the time is told once.
/// - `bufused`: gets the number of bytes stored; if that is less than `buf_len`, nothing follows.
///
/// **Errors:**
/// - BADF: `fd` is not open, or is no directory (wasmtime's choice).
/// - NOTCAPABLE: `fd` lacks the right `fd_readdir`.
/// - IO and others: what the file system says.
///
/// **Traps:** the buffer or `bufused` out of bounds; `bufused` not a multiple of 4.
///
/// **Layout:** an entry has 24 bytes and its name: next cookie u64le at 0, ino u64le at 8, length of the name
/// u32le at 16, type u8 at 20, 0 at 21 to 23. Entries follow each other without padding.
///
/// **Deviations:** the ino of `..` is that of `.`: what is above the directory is not told.
///
/// **Spec:** <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#fd_readdir>
pub fn fd_readdir<S: System>(
    ctx: &mut WasiP1Ctx<S>,
    mem: &mut GuestMemory<'_>,
    fd: Fd,
    buf: Ptr<u8>,
    buf_len: Size,
    cookie: Dircookie,
    bufused: Ptr<Size>,
) -> Result<(), Error> {
    let entry = ctx.fds.get(fd)?;
    let directory = entry.descriptor.directory()?;
    entry.require(Rights::FD_READDIR)?;
    mem.check(bufused)?;
    let mut room = mem.bytes_mut(buf, buf_len)?;

    let attributes = ctx.core.attributes(&entry.descriptor)?.ok_or(Errno::BADF)?;
    let mut goes_on = true;
    for (dot, name) in [(0, &b"."[..]), (1, b"..")] {
        if goes_on && cookie <= dot {
            let entry = DirEntry {
                next: dot.saturating_add(1),
                ino: attributes.stat.ino,
                filetype: Filetype::Directory,
                name,
            };
            goes_on = put_entry(&mut room, &entry);
        }
    }
    if goes_on {
        let mut sink = |mut entry: DirEntry<'_>| {
            entry.next = entry.next.saturating_add(OWN_COOKIES);
            put_entry(&mut room, &entry)
        };
        let cookie = cookie.saturating_sub(OWN_COOKIES);
        ctx.core.read_directory(directory, cookie, &mut sink)?;
    }
    let left = Size::try_from(room.len()).unwrap_or(0);
    mem.write(bufused, buf_len.saturating_sub(left))
}

/// Puts an entry into the buffer, of which `room` is left, as far as it fits; whether there is room for more.
fn put_entry(room: &mut &mut [u8], entry: &DirEntry<'_>) -> bool {
    let head = Dirent {
        d_next: entry.next,
        d_ino: entry.ino,
        d_namlen: Size::try_from(entry.name.len()).unwrap_or(Size::MAX),
        d_type: entry.filetype,
    };
    for bytes in [&head.to_bytes()[..], entry.name] {
        let count = bytes.len().min(room.len());
        let (used, left) = core::mem::take(room).split_at_mut(count);
        used.copy_from_slice(bytes.get(..count).unwrap_or_default());
        *room = left;
    }
    !room.is_empty()
}
