//! What the standard streams say of themselves: kind, flags and rights.

fn main() {
    for fd in 0..3 {
        // SAFETY: the call has no preconditions.
        match unsafe { wasip1::fd_fdstat_get(fd) } {
            Ok(stat) => println!(
                "{fd}: type {}, flags {:#x}, rights {:#x}, inheriting {:#x}",
                stat.fs_filetype.raw(),
                stat.fs_flags,
                stat.fs_rights_base,
                stat.fs_rights_inheriting
            ),
            Err(errno) => println!("{fd}: {}", errno.name()),
        }
    }
}
