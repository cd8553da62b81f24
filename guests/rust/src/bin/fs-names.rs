//! Paths of strange shape, for every call: empty, with a zero byte, no UTF-8, over-long, with dots and slashes.
//!
//! The arguments choose: `shapes`, `long`, `slashes` or `too-long`.

use guests::attempts;
use guests::files::*;

fn main() {
    put(FIRST, "other", "").unwrap();
    put(FIRST, "f", "").unwrap();
    mkdir(FIRST, "d").unwrap();
    put(FIRST, "d/f", "").unwrap();
    symlink("f", FIRST, "lf").unwrap();
    symlink("d", FIRST, "ld").unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("shapes") => shapes(),
        Some("long") => long(),
        Some("slashes") => slashes(),
        Some("too-long") => {
            attempts!(FIRST, format!("{}f", "./".repeat(2048)));
            attempts!(FIRST, format!("d{}f", "/".repeat(4096)));
        }
        other => panic!("no case {other:?}"),
    }
}

fn shapes() {
    let paths: [&[u8]; 23] = [
        b"",
        b"\0",
        b"f\0",
        b"\0f",
        b"d/\0",
        b"\xff",
        b"d/\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b".",
        b"./",
        b"./.",
        b"d",
        b"d/.",
        b"d/..",
        b"d/../.",
        b"f/",
        b"f/.",
        b"f/..",
        b"f/x",
        b"lf/",
        b"ld/.",
        b"nothing/x",
    ];
    for path in paths {
        attempts!(FIRST, path);
    }
    // Names that are unusual, and nothing else.
    for path in [
        "...",
        " ",
        "a b",
        "\u{e9}",
        "\u{1f980}",
        "-",
        "\\",
        "a\nb",
        "*",
        "C:",
    ] {
        println!("'{}': {}", path.escape_debug(), name(&put(FIRST, path, path)));
        let mut buffer = [0; 16];
        assert_eq!(get(FIRST, path, &mut buffer).unwrap(), path.as_bytes());
        unlink(FIRST, path).unwrap();
    }
}

fn long() {
    let name = "n".repeat(255);
    attempts!(FIRST, name);
    attempts!(FIRST, "n".repeat(256));
    attempts!(FIRST, format!("d/{}", "n".repeat(256)));
    attempts!(FIRST, format!("{}/x", "n".repeat(256)));
    attempts!(FIRST, format!("nothing/{}", "n".repeat(256)));
    // Bytes count, not characters.
    attempts!(FIRST, "\u{e9}".repeat(128));
    // 4,095 bytes lead somewhere.
    let path = format!("{}f", "./".repeat(2047));
    println!(
        "{} bytes: {}",
        path.len(),
        guests::files::name(&lstat(FIRST, &path))
    );
    // 250 directories in each other, each with a name of the greatest length: only one by one.
    let mut dir = FIRST;
    for _ in 0..250 {
        mkdir(dir, &name).unwrap();
        let next = opendir(dir, &name).unwrap();
        if dir != FIRST {
            close(dir).unwrap();
        }
        dir = next;
    }
    put(dir, &name, "deep").unwrap();
    let mut buffer = [0; 8];
    println!(
        "at the bottom: {}",
        get(dir, &name, &mut buffer).unwrap().escape_ascii()
    );
}

/// Directories' names with slashes after them.
fn slashes() {
    for path in ["new/", "new//", "new/."] {
        println!("mkdir {path}: {}", name(&mkdir(FIRST, path)));
        println!("rmdir {path}: {}", name(&rmdir(FIRST, path)));
        println!("    new: {}", name(&lstat(FIRST, "new")));
    }
    for path in ["f/", "d/", "ld/", "nothing/x/"] {
        println!("mkdir {path}: {}", name(&mkdir(FIRST, path)));
        println!("rmdir {path}: {}", name(&rmdir(FIRST, path)));
    }
}
