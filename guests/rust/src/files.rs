//! The calls on files and directories without the standard library between: any bytes as paths, every errno as it is.
//!
//! `wasip1`'s own functions take paths as `str`; these guests also pass what is none. Nothing here allocates.

use core::fmt;

use wasip1::wasi_snapshot_preview1 as raw;
pub use wasip1::{
    FDFLAGS_APPEND as APPEND, Fd, Filesize, Filestat, LOOKUPFLAGS_SYMLINK_FOLLOW as FOLLOW,
    OFLAGS_CREAT as CREAT, OFLAGS_DIRECTORY as DIRECTORY, OFLAGS_EXCL as EXCL, OFLAGS_TRUNC as TRUNC,
};

/// The first directory that the program was given.
pub const FIRST: Fd = 3;
/// The second one.
pub const SECOND: Fd = 4;

/// Opening for reading.
pub const READ: u64 = wasip1::RIGHTS_FD_READ;
/// Opening for writing.
pub const WRITE: u64 = wasip1::RIGHTS_FD_WRITE;
/// Opening for both.
pub const BOTH: u64 = READ | WRITE;

/// The errno of a call that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Failure(i32);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::errno_name(self.0))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<wasip1::Errno> for Failure {
    fn from(errno: wasip1::Errno) -> Self {
        Self(i32::from(errno.raw()))
    }
}

/// What a call gave.
pub type Answer<T = ()> = Result<T, Failure>;

/// The name of the errno, `SUCCESS` if there is none.
pub fn name<T>(answer: &Answer<T>) -> &'static str {
    crate::errno_name(answer.as_ref().err().map_or(0, |failure| failure.0))
}

/// Prints what a call is and which errno it gave: `show!(mkdir(FIRST, "a"))` prints `mkdir(FIRST, "a"): SUCCESS`.
/// Gives the call's result.
#[macro_export]
macro_rules! show {
    ($call:expr) => {{
        let answer = $call;
        println!("{}: {}", stringify!($call), $crate::files::name(&answer));
        answer
    }};
}

/// Prints what a call is and its value, or its errno.
#[macro_export]
macro_rules! value {
    ($call:expr) => {
        match $call {
            Ok(value) => println!("{}: {value:?}", stringify!($call)),
            Err(failure) => println!("{}: {failure}", stringify!($call)),
        }
    };
}

const fn answer(code: i32) -> Answer {
    if code == 0 { Ok(()) } else { Err(Failure(code)) }
}

/// A path's address and length.
fn at(path: &[u8]) -> (i32, i32) {
    (path.as_ptr().addr() as i32, path.len() as i32)
}

/// `path_open` with all that it takes.
///
/// # Errors
/// The call's.
pub fn open_with(
    dir: Fd,
    lookup: u32,
    path: impl AsRef<[u8]>,
    oflags: u16,
    rights: u64,
    fdflags: u16,
) -> Answer<Fd> {
    let (start, length) = at(path.as_ref());
    let mut fd: Fd = 0;
    // SAFETY: path and result are where the call is told, and live until it returns.
    let code = unsafe {
        raw::path_open(
            dir as i32,
            lookup as i32,
            start,
            length,
            i32::from(oflags),
            rights as i64,
            0,
            i32::from(fdflags),
            (&raw mut fd).addr() as i32,
        )
    };
    answer(code).map(|()| fd)
}

/// `path_open` that follows a link at the end.
///
/// # Errors
/// The call's.
pub fn open(dir: Fd, path: impl AsRef<[u8]>, oflags: u16, rights: u64) -> Answer<Fd> {
    open_with(dir, FOLLOW, path, oflags, rights, 0)
}

/// Opens a directory.
///
/// # Errors
/// The call's.
pub fn opendir(dir: Fd, path: impl AsRef<[u8]>) -> Answer<Fd> {
    open(dir, path, DIRECTORY, 0)
}

/// Makes a file with this content, or empties one first.
///
/// # Errors
/// The calls'.
pub fn put(dir: Fd, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Answer {
    let fd = open(dir, path, CREAT | TRUNC, WRITE)?;
    let written = crate::write_all(fd, content.as_ref());
    close(fd)?;
    Ok(written?)
}

/// A file's content, as far as it fits.
///
/// # Errors
/// The calls'.
pub fn get(dir: Fd, path: impl AsRef<[u8]>, buffer: &mut [u8]) -> Answer<&[u8]> {
    let fd = open(dir, path, 0, READ)?;
    let length = pread(fd, buffer, 0);
    close(fd)?;
    Ok(buffer.get(..length?).unwrap_or_default())
}

/// `fd_close`.
///
/// # Errors
/// The call's.
pub fn close(fd: Fd) -> Answer {
    // SAFETY: the call takes no address.
    answer(unsafe { raw::fd_close(fd as i32) })
}

/// `fd_renumber`.
///
/// # Errors
/// The call's.
pub fn renumber(from: Fd, to: Fd) -> Answer {
    // SAFETY: the call takes no address.
    answer(unsafe { raw::fd_renumber(from as i32, to as i32) })
}

/// `fd_read` into one buffer.
///
/// # Errors
/// The call's.
pub fn read(fd: Fd, buffer: &mut [u8]) -> Answer<usize> {
    let vector = wasip1::Iovec {
        buf: buffer.as_mut_ptr(),
        buf_len: buffer.len(),
    };
    // SAFETY: the vector describes `buffer`.
    Ok(unsafe { wasip1::fd_read(fd, &[vector]) }?)
}

/// `fd_pread` into one buffer.
///
/// # Errors
/// The call's.
pub fn pread(fd: Fd, buffer: &mut [u8], offset: Filesize) -> Answer<usize> {
    let vector = wasip1::Iovec {
        buf: buffer.as_mut_ptr(),
        buf_len: buffer.len(),
    };
    // SAFETY: the vector describes `buffer`.
    Ok(unsafe { wasip1::fd_pread(fd, &[vector], offset) }?)
}

/// `fd_write` of one buffer.
///
/// # Errors
/// The call's.
pub fn write(fd: Fd, bytes: impl AsRef<[u8]>) -> Answer<usize> {
    let bytes = bytes.as_ref();
    let vector = wasip1::Ciovec {
        buf: bytes.as_ptr(),
        buf_len: bytes.len(),
    };
    // SAFETY: the vector describes `bytes`.
    Ok(unsafe { wasip1::fd_write(fd, &[vector]) }?)
}

/// `fd_pwrite` of one buffer.
///
/// # Errors
/// The call's.
pub fn pwrite(fd: Fd, bytes: impl AsRef<[u8]>, offset: Filesize) -> Answer<usize> {
    let bytes = bytes.as_ref();
    let vector = wasip1::Ciovec {
        buf: bytes.as_ptr(),
        buf_len: bytes.len(),
    };
    // SAFETY: the vector describes `bytes`.
    Ok(unsafe { wasip1::fd_pwrite(fd, &[vector], offset) }?)
}

/// `fd_seek` from the beginning.
///
/// # Errors
/// The call's.
pub fn seek(fd: Fd, offset: i64) -> Answer<Filesize> {
    // SAFETY: the call has no preconditions.
    Ok(unsafe { wasip1::fd_seek(fd, offset, wasip1::WHENCE_SET) }?)
}

/// `fd_tell`.
///
/// # Errors
/// The call's.
pub fn tell(fd: Fd) -> Answer<Filesize> {
    // SAFETY: the call has no preconditions.
    Ok(unsafe { wasip1::fd_tell(fd) }?)
}

/// `fd_filestat_set_size`.
///
/// # Errors
/// The call's.
pub fn set_size(fd: Fd, size: Filesize) -> Answer {
    // SAFETY: the call takes no address.
    answer(unsafe { raw::fd_filestat_set_size(fd as i32, size as i64) })
}

/// `fd_filestat_get`.
///
/// # Errors
/// The call's.
pub fn fstat(fd: Fd) -> Answer<Filestat> {
    // SAFETY: the call has no preconditions.
    Ok(unsafe { wasip1::fd_filestat_get(fd) }?)
}

/// `path_filestat_get`.
///
/// # Errors
/// The call's.
pub fn stat_with(dir: Fd, lookup: u32, path: impl AsRef<[u8]>) -> Answer<Filestat> {
    let (start, length) = at(path.as_ref());
    let mut stat = core::mem::MaybeUninit::<Filestat>::uninit();
    // SAFETY: path and result are where the call is told, and live until it returns.
    let code = unsafe {
        raw::path_filestat_get(
            dir as i32,
            lookup as i32,
            start,
            length,
            stat.as_mut_ptr().addr() as i32,
        )
    };
    // SAFETY: the call has succeeded, so it has filled in the result.
    answer(code).map(|()| unsafe { stat.assume_init() })
}

/// `path_filestat_get` of a name itself.
///
/// # Errors
/// The call's.
pub fn lstat(dir: Fd, path: impl AsRef<[u8]>) -> Answer<Filestat> {
    stat_with(dir, 0, path)
}

/// `path_filestat_get` that follows a link at the end.
///
/// # Errors
/// The call's.
pub fn stat(dir: Fd, path: impl AsRef<[u8]>) -> Answer<Filestat> {
    stat_with(dir, FOLLOW, path)
}

/// `path_filestat_set_times`.
///
/// # Errors
/// The call's.
pub fn set_times(dir: Fd, lookup: u32, path: impl AsRef<[u8]>, atim: u64, mtim: u64, which: u16) -> Answer {
    let (start, length) = at(path.as_ref());
    // SAFETY: the path is where the call is told.
    answer(unsafe {
        raw::path_filestat_set_times(
            dir as i32,
            lookup as i32,
            start,
            length,
            atim as i64,
            mtim as i64,
            i32::from(which),
        )
    })
}

/// `path_create_directory`.
///
/// # Errors
/// The call's.
pub fn mkdir(dir: Fd, path: impl AsRef<[u8]>) -> Answer {
    let (start, length) = at(path.as_ref());
    // SAFETY: the path is where the call is told.
    answer(unsafe { raw::path_create_directory(dir as i32, start, length) })
}

/// `path_remove_directory`.
///
/// # Errors
/// The call's.
pub fn rmdir(dir: Fd, path: impl AsRef<[u8]>) -> Answer {
    let (start, length) = at(path.as_ref());
    // SAFETY: the path is where the call is told.
    answer(unsafe { raw::path_remove_directory(dir as i32, start, length) })
}

/// `path_unlink_file`.
///
/// # Errors
/// The call's.
pub fn unlink(dir: Fd, path: impl AsRef<[u8]>) -> Answer {
    let (start, length) = at(path.as_ref());
    // SAFETY: the path is where the call is told.
    answer(unsafe { raw::path_unlink_file(dir as i32, start, length) })
}

/// `path_rename`.
///
/// # Errors
/// The call's.
pub fn rename(dir: Fd, old: impl AsRef<[u8]>, new_dir: Fd, new: impl AsRef<[u8]>) -> Answer {
    let ((old, old_length), (new, new_length)) = (at(old.as_ref()), at(new.as_ref()));
    // SAFETY: the paths are where the call is told.
    answer(unsafe { raw::path_rename(dir as i32, old, old_length, new_dir as i32, new, new_length) })
}

/// `path_link`, which does not follow.
///
/// # Errors
/// The call's.
pub fn link(dir: Fd, old: impl AsRef<[u8]>, new_dir: Fd, new: impl AsRef<[u8]>) -> Answer {
    let ((old, old_length), (new, new_length)) = (at(old.as_ref()), at(new.as_ref()));
    // SAFETY: the paths are where the call is told.
    answer(unsafe { raw::path_link(dir as i32, 0, old, old_length, new_dir as i32, new, new_length) })
}

/// `path_symlink`: `path` becomes a link to `target`.
///
/// # Errors
/// The call's.
pub fn symlink(target: impl AsRef<[u8]>, dir: Fd, path: impl AsRef<[u8]>) -> Answer {
    let ((target, target_length), (path, length)) = (at(target.as_ref()), at(path.as_ref()));
    // SAFETY: the paths are where the call is told.
    answer(unsafe { raw::path_symlink(target, target_length, dir as i32, path, length) })
}

/// `path_readlink`: the target, as far as it fits.
///
/// # Errors
/// The call's.
pub fn readlink(dir: Fd, path: impl AsRef<[u8]>, buffer: &mut [u8]) -> Answer<&[u8]> {
    let (start, length) = at(path.as_ref());
    let mut used: u32 = 0;
    // SAFETY: path, buffer and result are where the call is told, and live until it returns.
    let code = unsafe {
        raw::path_readlink(
            dir as i32,
            start,
            length,
            buffer.as_mut_ptr().addr() as i32,
            buffer.len() as i32,
            (&raw mut used).addr() as i32,
        )
    };
    answer(code)?;
    Ok(buffer.get(..used as usize).unwrap_or_default())
}

/// `fd_readdir`: how many bytes of the buffer were filled.
///
/// # Errors
/// The call's.
pub fn readdir(fd: Fd, buffer: &mut [u8], cookie: u64) -> Answer<usize> {
    // SAFETY: address and length are those of `buffer`.
    Ok(unsafe { wasip1::fd_readdir(fd, buffer.as_mut_ptr(), buffer.len(), cookie) }?)
}

/// An entry as `fd_readdir` writes it.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Where the next one is.
    pub next: u64,
    /// The number of what it names.
    pub ino: u64,
    /// The kind of what it names.
    pub kind: u8,
    /// The name.
    pub name: &'a [u8],
}

/// The whole entries in what `fd_readdir` has written.
pub fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    const HEAD: usize = 24;
    core::iter::from_fn(move || {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let (next, ino) = (number(0)?, number(8)?);
        let length = u32::from_le_bytes(bytes.get(16..20)?.try_into().ok()?) as usize;
        let kind = *bytes.get(20)?;
        let name = bytes.get(HEAD..HEAD + length)?;
        bytes = bytes.get(HEAD + length..)?;
        Some(Entry {
            next,
            ino,
            kind,
            name,
        })
    })
}

/// The name of a kind of file.
#[must_use]
pub fn kind(stat: &Filestat) -> &'static str {
    match stat.filetype {
        wasip1::FILETYPE_DIRECTORY => "directory",
        wasip1::FILETYPE_REGULAR_FILE => "file",
        wasip1::FILETYPE_SYMBOLIC_LINK => "link",
        _ => "something else",
    }
}

/// `fd_sync`.
///
/// # Errors
/// The call's.
pub fn sync(fd: Fd) -> Answer {
    // SAFETY: the call takes no address.
    answer(unsafe { raw::fd_sync(fd as i32) })
}

/// `fd_datasync`.
///
/// # Errors
/// The call's.
pub fn datasync(fd: Fd) -> Answer {
    // SAFETY: the call takes no address.
    answer(unsafe { raw::fd_datasync(fd as i32) })
}

/// `fd_allocate`.
///
/// # Errors
/// The call's.
pub fn allocate(fd: Fd, offset: Filesize, length: Filesize) -> Answer {
    // SAFETY: the call takes no address.
    answer(unsafe { raw::fd_allocate(fd as i32, offset as i64, length as i64) })
}

/// `fd_fdstat_set_flags`.
///
/// # Errors
/// The call's.
pub fn set_flags(fd: Fd, flags: u16) -> Answer {
    // SAFETY: the call takes no address.
    answer(unsafe { raw::fd_fdstat_set_flags(fd as i32, i32::from(flags)) })
}

/// `fd_fdstat_set_rights`.
///
/// # Errors
/// The call's.
pub fn set_rights(fd: Fd, base: u64, inheriting: u64) -> Answer {
    // SAFETY: the call takes no address.
    answer(unsafe { raw::fd_fdstat_set_rights(fd as i32, base as i64, inheriting as i64) })
}
