//! `fd_allocate`: a file grows to what is allocated, never shrinks, and keeps its content.
//!
//! The argument `refused` shows what is not a file instead, `beyond` a place that no file has: host file systems take
//! such a number for a negative one.

use guests::files::*;
use guests::show;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("refused") {
        let _ = show!(allocate(FIRST, 0, 1));
        let _ = show!(allocate(1, 0, 1));
        let _ = show!(allocate(99, 0, 1));
        return;
    }
    let file = open(FIRST, "file", CREAT, BOTH).unwrap();
    if std::env::args().nth(1).as_deref() == Some("beyond") {
        let _ = show!(allocate(file, u64::MAX, 1));
        return;
    }
    write(file, "abc").unwrap();
    let size = || println!("    size {}", fstat(file).unwrap().size);
    let _ = show!(allocate(file, 0, 10));
    size();
    let _ = show!(allocate(file, 0, 5));
    size();
    let _ = show!(allocate(file, 100_000, 1));
    size();
    let mut content = [0xff; 10];
    let count = pread(file, &mut content, 0).unwrap();
    println!("    {count} bytes: {content:?}");
    let _ = show!(allocate(file, 0, 0));
    let _ = show!(allocate(file, 1 << 62, 1 << 62));
    let _ = show!(allocate(file, 1 << 50, 1));
    size();
    let reader = open(FIRST, "file", 0, READ).unwrap();
    let _ = show!(allocate(reader, 0, 1));
}
