//! Every path call where no directory was opened for the program: the errno on descriptor 3, which is not open, and
//! on standard output, which is no directory. Then the standard library's own view of that.

use wasip1::wasi_snapshot_preview1 as raw;

static mut SCRATCH: [u64; 16] = [0; 16];

fn main() {
    for fd in [3, 1] {
        println!("descriptor {fd}");
        table(fd);
    }
    // Which error it is depends on the C library's version.
    println!("std::fs::read fails: {}", std::fs::read("/etc/passwd").is_err());
    println!(
        "std::fs::File::create fails: {}",
        std::fs::File::create("x").is_err()
    );
    println!("std::env::current_dir: {:?}", std::env::current_dir());
}

fn table(fd: i32) {
    let path = b"name";
    let (at, length) = (path.as_ptr().addr() as i32, path.len() as i32);
    let out = (&raw mut SCRATCH).addr() as i32;
    // SAFETY: the path's address and length are right, and the scratch memory has room for all that is written.
    unsafe {
        show(
            "path_create_directory",
            raw::path_create_directory(fd, at, length),
        );
        show(
            "path_filestat_get",
            raw::path_filestat_get(fd, 0, at, length, out),
        );
        show(
            "path_filestat_set_times",
            raw::path_filestat_set_times(fd, 0, at, length, 0, 0, 0),
        );
        show("path_link", raw::path_link(fd, 0, at, length, fd, at, length));
        show("path_open", raw::path_open(fd, 0, at, length, 0, 0, 0, 0, out));
        show(
            "path_readlink",
            raw::path_readlink(fd, at, length, out, 64, out + 64),
        );
        show(
            "path_remove_directory",
            raw::path_remove_directory(fd, at, length),
        );
        show("path_rename", raw::path_rename(fd, at, length, fd, at, length));
        show("path_symlink", raw::path_symlink(at, length, fd, at, length));
        show("path_unlink_file", raw::path_unlink_file(fd, at, length));
    }
}

fn show(call: &str, result: i32) {
    println!("  {call}: {}", guests::errno_name(result));
}
