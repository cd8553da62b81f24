//! A file for readers that want a path.

use std::{fs::File, io::Write as _, os::fd::AsRawFd as _, path::PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

/// What `read` makes of a file with these bytes.
pub(crate) fn with_file<T>(bytes: &[u8], read: impl FnOnce(PathBuf) -> T) -> T {
    let file = memfd_create("input", MemfdFlags::CLOEXEC).expect("there is memory for a file");
    let mut file = File::from(file);
    file.write_all(bytes).expect("there is memory for a file");
    read(PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))
}
