//! What each function of preview1 is declared to write, and its parameters: from the witx files, not from our code.

use core::ops::Range;

/// What a parameter is, which is how an input's bytes become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    /// A descriptor.
    Fd,
    /// A pointer.
    Ptr,
    /// A length or a number of elements.
    Len,
    /// A pointer and a length of a path: two parameters.
    Path,
    /// A pointer to and the length of a list of buffers: two parameters.
    List,
    /// 64 bits: an offset, a time, a cookie.
    Long,
    /// A set of rights.
    Rights,
    /// A small number: an enumeration or flags.
    Flags,
}

impl Param {
    /// Whether it is an i64.
    pub(crate) fn is_long(self) -> bool {
        matches!(self, Self::Long | Self::Rights)
    }

    /// How many parameters of the function it stands for.
    pub(crate) fn count(self) -> usize {
        if matches!(self, Self::Path | Self::List) {
            2
        } else {
            1
        }
    }
}

use Param::{Fd, Flags, Len, List, Long, Path, Ptr, Rights};

/// The functions and their parameters.
pub(crate) const FUNCTIONS: [(&str, &[Param]); 46] = [
    ("args_get", &[Ptr, Ptr]),
    ("args_sizes_get", &[Ptr, Ptr]),
    ("clock_res_get", &[Flags, Ptr]),
    ("clock_time_get", &[Flags, Long, Ptr]),
    ("environ_get", &[Ptr, Ptr]),
    ("environ_sizes_get", &[Ptr, Ptr]),
    ("fd_advise", &[Fd, Long, Long, Flags]),
    ("fd_allocate", &[Fd, Long, Long]),
    ("fd_close", &[Fd]),
    ("fd_datasync", &[Fd]),
    ("fd_fdstat_get", &[Fd, Ptr]),
    ("fd_fdstat_set_flags", &[Fd, Flags]),
    ("fd_fdstat_set_rights", &[Fd, Rights, Rights]),
    ("fd_filestat_get", &[Fd, Ptr]),
    ("fd_filestat_set_size", &[Fd, Long]),
    ("fd_filestat_set_times", &[Fd, Long, Long, Flags]),
    ("fd_pread", &[Fd, List, Long, Ptr]),
    ("fd_prestat_dir_name", &[Fd, Ptr, Len]),
    ("fd_prestat_get", &[Fd, Ptr]),
    ("fd_pwrite", &[Fd, List, Long, Ptr]),
    ("fd_read", &[Fd, List, Ptr]),
    ("fd_readdir", &[Fd, Ptr, Len, Long, Ptr]),
    ("fd_renumber", &[Fd, Fd]),
    ("fd_seek", &[Fd, Long, Flags, Ptr]),
    ("fd_sync", &[Fd]),
    ("fd_tell", &[Fd, Ptr]),
    ("fd_write", &[Fd, List, Ptr]),
    ("path_create_directory", &[Fd, Path]),
    ("path_filestat_get", &[Fd, Flags, Path, Ptr]),
    ("path_filestat_set_times", &[Fd, Flags, Path, Long, Long, Flags]),
    ("path_link", &[Fd, Flags, Path, Fd, Path]),
    ("path_open", &[Fd, Flags, Path, Flags, Rights, Rights, Flags, Ptr]),
    ("path_readlink", &[Fd, Path, Ptr, Len, Ptr]),
    ("path_remove_directory", &[Fd, Path]),
    ("path_rename", &[Fd, Path, Fd, Path]),
    ("path_symlink", &[Path, Fd, Path]),
    ("path_unlink_file", &[Fd, Path]),
    ("poll_oneoff", &[Ptr, Ptr, Len, Ptr]),
    ("proc_exit", &[Flags]),
    ("proc_raise", &[Flags]),
    ("random_get", &[Ptr, Len]),
    ("sched_yield", &[]),
    ("sock_accept", &[Fd, Flags, Ptr]),
    ("sock_recv", &[Fd, List, Flags, Ptr, Ptr]),
    ("sock_send", &[Fd, List, Flags, Ptr]),
    ("sock_shutdown", &[Fd, Flags]),
];

/// Number and total length, ends included, of the guest's arguments and variables: what `args_get` and `environ_get`
/// write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strings {
    pub(crate) count: u64,
    pub(crate) len: u64,
}

/// The addresses that a call may write to. `memory` is what was there before the call.
pub(crate) fn writes(
    name: &str,
    old: bool,
    args: &[u64],
    memory: &[u8],
    [arguments, variables]: [Strings; 2],
) -> Vec<Range<u64>> {
    let at = |index: usize, len: u64| args[index]..args[index] + len;
    let filestat = if old { 56 } else { 64 };
    match name {
        "args_get" => vec![at(0, 4 * arguments.count), at(1, arguments.len)],
        "environ_get" => vec![at(0, 4 * variables.count), at(1, variables.len)],
        "args_sizes_get" | "environ_sizes_get" => vec![at(0, 4), at(1, 4)],
        "clock_res_get" => vec![at(1, 8)],
        "clock_time_get" => vec![at(2, 8)],
        "fd_fdstat_get" => vec![at(1, 24)],
        "fd_filestat_get" => vec![at(1, filestat)],
        "fd_pread" => with_buffers(memory, args[1], args[2], at(4, 4)),
        "fd_prestat_dir_name" => vec![at(1, args[2])],
        "fd_prestat_get" => vec![at(1, 8)],
        "fd_pwrite" => vec![at(4, 4)],
        "fd_read" => with_buffers(memory, args[1], args[2], at(3, 4)),
        "fd_readdir" => vec![at(1, args[2]), at(4, 4)],
        "fd_seek" => vec![at(3, 8)],
        "fd_tell" => vec![at(1, 8)],
        "fd_write" => vec![at(3, 4)],
        "path_filestat_get" => vec![at(4, filestat)],
        "path_open" => vec![at(8, 4)],
        "path_readlink" => vec![at(3, args[4]), at(5, 4)],
        "poll_oneoff" => vec![at(1, 32 * args[2]), at(3, 4)],
        "random_get" => vec![at(0, args[1])],
        "sock_accept" => vec![at(2, 4)],
        "sock_recv" => {
            let mut ranges = with_buffers(memory, args[1], args[2], at(4, 4));
            ranges.push(at(5, 2));
            ranges
        }
        "sock_send" => vec![at(4, 4)],
        _ => vec![],
    }
}

/// The buffers that a list names, and one more range.
fn with_buffers(memory: &[u8], list: u64, count: u64, more: Range<u64>) -> Vec<Range<u64>> {
    let mut ranges = vec![more];
    let start = usize::try_from(list).unwrap_or(usize::MAX);
    let rest = memory.get(start..).unwrap_or_default();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    for element in rest.chunks_exact(8).take(count) {
        let (buf, len) = element.split_at(4);
        let [buf, len] =
            [buf, len].map(|field| u64::from(u32::from_le_bytes(field.try_into().expect("4 bytes"))));
        ranges.push(buf..buf + len);
    }
    ranges
}
