//! Every descriptor call on the three standard streams and on descriptors that are not open, by errno.

use guests::errno_name;
use wasip1::wasi_snapshot_preview1 as raw;

/// Room for whatever a call writes: none writes more than a directory entry's or a file's attributes.
static mut SCRATCH: [u64; 32] = [0; 32];

fn main() {
    for (name, fd) in [
        ("stdin", 0),
        ("stdout", 1),
        ("stderr", 2),
        ("3", 3),
        ("99", 99),
        ("-1", -1),
    ] {
        println!("descriptor {name}");
        table(fd);
    }
}

fn table(fd: i32) {
    let at = (&raw mut SCRATCH).addr() as i32;
    let out = at + 128;
    // A vector that describes no bytes, so that nothing is read or written where that succeeds.
    // SAFETY: nothing else uses the scratch memory, and there is one thread. The calls get addresses within it,
    // with room for all they write.
    unsafe {
        SCRATCH = [0; 32];
        show("fd_advise", raw::fd_advise(fd, 0, 1, 0));
        show("fd_allocate", raw::fd_allocate(fd, 0, 1));
        show("fd_datasync", raw::fd_datasync(fd));
        show("fd_fdstat_get", raw::fd_fdstat_get(fd, out));
        show("fd_fdstat_set_flags 0", raw::fd_fdstat_set_flags(fd, 0));
        show("fd_filestat_get", raw::fd_filestat_get(fd, out));
        show("fd_filestat_set_size", raw::fd_filestat_set_size(fd, 0));
        show("fd_filestat_set_times", raw::fd_filestat_set_times(fd, 0, 0, 0));
        show("fd_pread", raw::fd_pread(fd, at, 1, 0, out));
        show("fd_prestat_dir_name", raw::fd_prestat_dir_name(fd, out, 8));
        show("fd_prestat_get", raw::fd_prestat_get(fd, out));
        show("fd_pwrite", raw::fd_pwrite(fd, at, 1, 0, out));
        show("fd_readdir", raw::fd_readdir(fd, at, 64, 0, out));
        show("fd_seek", raw::fd_seek(fd, 0, 0, out));
        show("fd_sync", raw::fd_sync(fd));
        show("fd_tell", raw::fd_tell(fd, out));
        if fd != 0 {
            show("fd_read", raw::fd_read(fd, at, 1, out));
        }
        if fd != 1 && fd != 2 {
            show("fd_write", raw::fd_write(fd, at, 1, out));
            show("fd_close", if fd == 0 { 0 } else { raw::fd_close(fd) });
        }
        show("sock_accept", raw::sock_accept(fd, 0, out));
        show("sock_recv", raw::sock_recv(fd, at, 1, 0, out, out + 8));
        show("sock_send", raw::sock_send(fd, at, 1, 0, out));
        show("sock_shutdown", raw::sock_shutdown(fd, 1));
    }
}

fn show(call: &str, result: i32) {
    println!("  {call}: {}", errno_name(result));
}
