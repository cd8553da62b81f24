//! Times of files, directories and links: set and kept in nanoseconds, or now, or left as they are; who changes them.

use guests::files::*;
use guests::show;
use wasip1::{
    FSTFLAGS_ATIM as ATIM, FSTFLAGS_ATIM_NOW as ATIM_NOW, FSTFLAGS_MTIM as MTIM,
    FSTFLAGS_MTIM_NOW as MTIM_NOW,
};

const OLD: u64 = 1_000_000_000_123_456_789;
const LATER: u64 = 1_500_000_000_987_654_321;

fn main() {
    put(FIRST, "file", "content").unwrap();
    mkdir(FIRST, "directory").unwrap();
    symlink("file", FIRST, "link").unwrap();
    println!("by path");
    for path in ["file", "directory"] {
        show!(set_times(FIRST, 0, path, OLD, LATER, ATIM | MTIM)).unwrap();
        tell(path);
    }
    println!("a link, and what it leads to");
    show!(set_times(FIRST, 0, "link", 1, 2, ATIM | MTIM)).unwrap();
    tell("link");
    tell("file");
    show!(set_times(FIRST, FOLLOW, "link", 3, 4, ATIM | MTIM)).unwrap();
    // Its time of access may have changed: it was read.
    println!("    link: mtim {}", lstat(FIRST, "link").unwrap().mtim);
    tell("file");
    println!("one of them");
    show!(set_times(FIRST, 0, "file", OLD, LATER, ATIM)).unwrap();
    tell("file");
    show!(set_times(FIRST, 0, "file", OLD, LATER, MTIM)).unwrap();
    tell("file");
    show!(set_times(FIRST, 0, "file", 5, 6, 0)).unwrap();
    tell("file");
    show!(set_times(FIRST, 0, "file", 0, 0, MTIM_NOW)).unwrap();
    tell("file");
    show!(set_times(FIRST, 0, "file", 0, 7, ATIM_NOW | MTIM)).unwrap();
    tell("file");
    let _ = show!(set_times(FIRST, 0, "file", 0, 0, ATIM | ATIM_NOW));
    let _ = show!(set_times(FIRST, 0, "file", 0, 0, MTIM | MTIM_NOW));
    tell("file");
    println!("by descriptor");
    let reader = open(FIRST, "file", 0, READ).unwrap();
    let directory = opendir(FIRST, "directory").unwrap();
    for fd in [reader, directory] {
        // SAFETY: the call takes no address.
        let answer = unsafe { wasip1::fd_filestat_set_times(fd, OLD, 999_999_999, ATIM | MTIM) };
        println!("{}", name(&answer.map_err(Failure::from)));
    }
    tell("file");
    tell("directory");
    println!("who changes them");
    let reset = |path: &str| set_times(FIRST, 0, path, OLD, OLD, ATIM | MTIM).unwrap();
    let moved = |path: &str, what: &str| {
        let now = lstat(FIRST, path).unwrap().mtim > OLD;
        println!("{what}: {path} changed: {now}");
        reset(path);
    };
    reset("directory");
    put(FIRST, "directory/new", "").unwrap();
    moved("directory", "create");
    reset("directory/new");
    let file = open(FIRST, "directory/new", 0, BOTH).unwrap();
    moved("directory/new", "open for writing");
    write(file, "x").unwrap();
    moved("directory/new", "write");
    moved("directory", "write");
    write(file, "").unwrap();
    moved("directory/new", "write nothing");
    read(file, &mut [0; 8]).unwrap();
    moved("directory/new", "read");
    set_size(file, 0).unwrap();
    moved("directory/new", "set the size");
    rename(FIRST, "directory/new", FIRST, "directory/renamed").unwrap();
    moved("directory", "rename");
    moved("directory/renamed", "rename");
    link(FIRST, "directory/renamed", FIRST, "directory/second").unwrap();
    moved("directory", "link");
    moved("directory/renamed", "link");
    unlink(FIRST, "directory/second").unwrap();
    moved("directory", "unlink");
    moved("directory/renamed", "unlink");
    mkdir(FIRST, "directory/sub").unwrap();
    moved("directory", "mkdir");
    rmdir(FIRST, "directory/sub").unwrap();
    moved("directory", "rmdir");
    close(open(FIRST, "directory/renamed", TRUNC, WRITE).unwrap()).unwrap();
    moved("directory/renamed", "open with trunc");
    println!("the future");
    show!(set_times(FIRST, 0, "file", 1 << 61, 1 << 62, ATIM | MTIM)).unwrap();
    tell("file");
}

/// Prints a file's times; what is now by that word.
fn tell(path: &str) {
    let stat = lstat(FIRST, path).unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let word = |time: u64| {
        if now.abs_diff(time) < 3_600_000_000_000 {
            "now".into()
        } else {
            time.to_string()
        }
    };
    println!("    {path}: atim {}, mtim {}", word(stat.atim), word(stat.mtim));
}
