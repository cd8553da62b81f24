//! The host's files under uhyve: a file system over what uhyve's hypercalls can do.
//!
//! Layer: pure. The hypercalls themselves are a trait, [`Host`]; `hermit::uhyve` makes them in the machine. They are
//! those of version 2 of uhyve's interface (crate `uhyve-interface`), which uhyve 0.10 serves to every image.

mod dirents;
mod fs;
#[cfg(test)]
mod tests;

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use uhyve_interface::v2::parameters::{
    EBADF, EEXIST, EFAULT, EINVAL, EIO, EISDIR, ENOENT, EOVERFLOW, EPERM, EROFS, FileAttr, O_RDONLY,
};
use wasi_core::Errno;
use wasi_core::types::Filetype;

pub use fs::UhyveFs;

/// What uhyve does for the machine. Paths are absolute, without a zero byte.
pub trait Host {
    /// Opens a path with `O_*` flags of `uhyve_interface`; gives a descriptor. Symbolic links are followed.
    ///
    /// # Errors
    /// What uhyve reports.
    fn open(&mut self, path: &[u8], flags: i32) -> Result<i32, Errno>;

    /// Closes a descriptor.
    fn close(&mut self, fd: i32);

    /// Reads from where the descriptor stands; 0 is the end.
    ///
    /// # Errors
    /// What uhyve reports.
    fn read(&mut self, fd: i32, buf: &mut [u8]) -> Result<usize, Errno>;

    /// Writes where the descriptor stands. **A host that cannot write ends uhyve** instead of reporting an error.
    ///
    /// # Errors
    /// What uhyve reports.
    fn write(&mut self, fd: i32, buf: &[u8]) -> Result<usize, Errno>;

    /// Moves the descriptor; says where it stands then.
    ///
    /// # Errors
    /// What uhyve reports.
    fn seek(&mut self, fd: i32, to: Seek) -> Result<u64, Errno>;

    /// Copies entries of a directory, as Linux's `getdents64` lays them out; none are the end.
    ///
    /// # Errors
    /// What uhyve reports.
    fn entries(&mut self, fd: i32, buf: &mut [u8]) -> Result<usize, Errno>;

    /// Attributes of what has a path; a symbolic link at its end is not followed.
    ///
    /// # Errors
    /// What uhyve reports.
    fn stat(&mut self, path: &[u8]) -> Result<FileAttr, Errno>;

    /// Attributes of what is open.
    ///
    /// # Errors
    /// What uhyve reports.
    fn fstat(&mut self, fd: i32) -> Result<FileAttr, Errno>;

    /// Makes a directory.
    ///
    /// # Errors
    /// What uhyve reports.
    fn make_dir(&mut self, path: &[u8]) -> Result<(), Errno>;

    /// Removes a name that is no directory's.
    ///
    /// # Errors
    /// What uhyve reports.
    fn unlink(&mut self, path: &[u8]) -> Result<(), Errno>;
}

/// Where a descriptor moves to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// So many bytes from the start; of a directory, a cookie.
    Start(i64),
    /// The end.
    End,
}

/// The errno that WASI has for one of uhyve's. uhyve knows these only and reports every other of the host's, such as
/// EACCES, ENOSPC and ENOTDIR, as EPERM.
#[must_use]
pub fn errno(number: i64) -> Errno {
    match i32::try_from(number.unsigned_abs()) {
        Ok(EPERM) => Errno::PERM,
        Ok(ENOENT) => Errno::NOENT,
        Ok(EBADF) => Errno::BADF,
        Ok(EEXIST) => Errno::EXIST,
        Ok(EFAULT) => Errno::FAULT,
        Ok(EINVAL) => Errno::INVAL,
        Ok(EISDIR) => Errno::ISDIR,
        Ok(EOVERFLOW) => Errno::OVERFLOW,
        Ok(EROFS) => Errno::ROFS,
        Ok(EIO | _) | Err(_) => Errno::IO,
    }
}

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// All bytes of the file at `path`, or why they cannot be had.
///
/// # Errors
/// The reason, in words.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub fn read_file(host: &mut impl Host, path: &str) -> Result<Vec<u8>, String> {
    if !path.starts_with('/') {
        return Err("the path must begin with a slash".to_string());
    }
    if path.contains('\0') {
        return Err("its path contains a NUL character".to_string());
    }
    let attributes = host.stat(path.as_bytes());
    if let Ok(attributes) = &attributes
        && fs::filetype(attributes) == Filetype::Directory
    {
        return Err("it is a directory".to_string());
    }
    let fd = host
        .open(path.as_bytes(), O_RDONLY)
        .map_err(|error| match error {
            Errno::NOENT => {
                format!("no such file; give it to the machine with uhyve's --file-mapping HOST:{path}")
            }
            error => format!("cannot open it ({error})"),
        })?;
    // One piece of memory from the start, if the size is known: a module of tens of MiB is not copied as it grows.
    let size = attributes.map_or(0, |attributes| usize::try_from(attributes.st_size).unwrap_or(0));
    let result = read_all(host, fd, size);
    host.close(fd);
    result
}

#[cfg_attr(target_os = "hermit", optimize(size))]
fn read_all(host: &mut impl Host, fd: i32, size: usize) -> Result<Vec<u8>, String> {
    let mut bytes: Vec<u8> = Vec::new();
    // One byte more, so that the end is seen without growing.
    let mut room = size.saturating_add(1).max(PIECE);
    loop {
        let length = bytes.len();
        bytes.try_reserve_exact(room).map_err(|_| {
            format!(
                "more than {length} bytes do not fit into the machine's memory: raise it with uhyve's --memory-size \
                 SIZE"
            )
        })?;
        bytes.resize(length.saturating_add(room), 0);
        let space = bytes.get_mut(length..).unwrap_or_default();
        let (read, ended) =
            fs::read_fully(host, fd, space).map_err(|error| format!("cannot read it ({error})"))?;
        bytes.truncate(length.saturating_add(read));
        if ended {
            return Ok(bytes);
        }
        room = PIECE;
    }
}
