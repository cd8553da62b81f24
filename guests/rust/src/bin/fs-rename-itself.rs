//! Renames that would make a directory its own descendant, renames of a thing to itself, and of `.` and `..`.

use guests::files::*;
use guests::show;

fn main() {
    mkdir(FIRST, "a").unwrap();
    mkdir(FIRST, "a/b").unwrap();
    mkdir(FIRST, "a/b/c").unwrap();
    put(FIRST, "f", "content").unwrap();
    link(FIRST, "f", FIRST, "g").unwrap();
    symlink("a/b", FIRST, "l").unwrap();
    let b = opendir(FIRST, "a/b").unwrap();
    println!("into itself");
    let _ = show!(rename(FIRST, "a", FIRST, "a/x"));
    let _ = show!(rename(FIRST, "a", FIRST, "a/b"));
    let _ = show!(rename(FIRST, "a", FIRST, "a/b/c"));
    let _ = show!(rename(FIRST, "a", FIRST, "a/b/c/x"));
    let _ = show!(rename(FIRST, "a", FIRST, "l/x"));
    let _ = show!(rename(FIRST, "a", b, "x"));
    let _ = show!(rename(FIRST, "a", b, "c"));
    let _ = show!(rename(FIRST, "a/b", FIRST, "a/b/x"));
    println!("onto what it is in");
    let _ = show!(rename(FIRST, "a/b/c", FIRST, "a/b"));
    let _ = show!(rename(FIRST, "a/b/c", FIRST, "a"));
    println!("to itself");
    let _ = show!(rename(FIRST, "a", FIRST, "a"));
    let _ = show!(rename(FIRST, "f", FIRST, "f"));
    let _ = show!(rename(FIRST, "f", FIRST, "g"));
    let _ = show!(rename(FIRST, "l", FIRST, "l"));
    println!("dots");
    let _ = show!(rename(FIRST, ".", FIRST, "x"));
    let _ = show!(rename(FIRST, "a/.", FIRST, "x"));
    let _ = show!(rename(FIRST, "a/b/..", FIRST, "x"));
    let _ = show!(rename(FIRST, "..", FIRST, "x"));
    let _ = show!(rename(FIRST, "a/b/c", FIRST, "."));
    let _ = show!(rename(FIRST, "a/b/c", FIRST, "a/."));
    println!("what is left");
    for path in ["a", "a/b", "a/b/c", "f", "g", "l"] {
        println!("{path}: {}", name(&lstat(FIRST, path)));
    }
    // Up and down again, while it is open.
    let _ = show!(rename(b, "c", FIRST, "c"));
    let _ = show!(rename(FIRST, "a", FIRST, "c/a"));
    let _ = show!(rename(FIRST, "c", b, "c"));
    let _ = show!(lstat(FIRST, "c/a/b"));
}
