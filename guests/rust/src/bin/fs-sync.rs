//! `fd_sync` and `fd_datasync` on a file open for reading or writing, on a directory, on streams, on what is closed.

use guests::files::*;
use guests::show;

fn main() {
    let new = open(FIRST, "file", CREAT, BOTH).unwrap();
    write(new, "content").unwrap();
    let _ = show!(sync(new));
    let _ = show!(datasync(new));
    let reader = open(FIRST, "file", 0, READ).unwrap();
    let _ = show!(sync(reader));
    let _ = show!(datasync(reader));
    unlink(FIRST, "file").unwrap();
    let _ = show!(sync(new));
    let directory = FIRST;
    let _ = show!(sync(directory));
    let _ = show!(datasync(directory));
    for stream in 0..3 {
        println!("stream {stream}");
        let _ = show!(sync(stream));
        let _ = show!(datasync(stream));
    }
    close(new).unwrap();
    let _ = show!(sync(new));
    let _ = show!(datasync(new));
}
