//! Reads a whole file through the kernel's file system (virtio-fs, or uhyve's file mapping).

use alloc::ffi::CString;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use super::syscalls::{sys_close, sys_open, sys_read};

/// `O_RDONLY` of the kernel.
const READ_ONLY: i32 = 0;
/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// The file's bytes, or why they cannot be had.
pub(crate) fn read(path: &str) -> Result<Vec<u8>, String> {
    let name = CString::new(path).map_err(|_| "its path contains a NUL character".to_string())?;
    // SAFETY: `name` is a C string.
    let fd = unsafe { sys_open(name.as_ptr(), READ_ONLY, 0) };
    if fd < 0 {
        return Err(format!(
            "cannot open it ({}): is the directory shared with the machine, and the path right?",
            describe(isize::try_from(fd).unwrap_or(isize::MIN))
        ));
    }
    let result = read_all(fd);
    // SAFETY: takes no pointers; `fd` was opened above and is not used again.
    unsafe { sys_close(fd) };
    result
}

fn read_all(fd: i32) -> Result<Vec<u8>, String> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let length = bytes.len();
        bytes.try_reserve(PIECE).map_err(|_| {
            format!(
                "more than {length} bytes do not fit into the machine's memory: raise it with --memory SIZE"
            )
        })?;
        bytes.resize(length + PIECE, 0);
        let Some(space) = bytes.get_mut(length..) else {
            return Err("internal error".to_string());
        };
        // SAFETY: `space` is valid for writes of its length.
        let count = unsafe { sys_read(fd, space.as_mut_ptr(), space.len()) };
        let Ok(read) = usize::try_from(count) else {
            return Err(format!("cannot read it ({})", describe(count)));
        };
        bytes.truncate(length + read.min(PIECE));
        if read == 0 {
            return Ok(bytes);
        }
    }
}

/// A negative result of the kernel in words.
fn describe(result: isize) -> String {
    let text = match result {
        -2 => "no such file or directory",
        -5 => "input/output error",
        -12 => "out of memory",
        -13 => "permission denied",
        -21 => "is a directory",
        // uhyve reports a missing file this way too.
        -22 => "no such file, or an invalid path",
        -38 => "the machine has no file system",
        _ => return format!("kernel error {result}"),
    };
    text.to_string()
}
