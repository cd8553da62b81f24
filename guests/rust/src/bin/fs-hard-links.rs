//! Several names for one file: what they share, what removing one does, and what cannot have a second name.

use guests::files::*;
use guests::{show, value};

fn main() {
    put(FIRST, "a", "content").unwrap();
    mkdir(FIRST, "d").unwrap();
    symlink("a", FIRST, "to-file").unwrap();
    symlink("d", FIRST, "to-directory").unwrap();
    symlink("nothing", FIRST, "dangling").unwrap();
    show!(link(FIRST, "a", FIRST, "d/b")).unwrap();
    value!(lstat(FIRST, "a").map(|stat| stat.nlink));
    println!(
        "one file: {}",
        lstat(FIRST, "a").unwrap().ino == lstat(FIRST, "d/b").unwrap().ino
    );
    put(FIRST, "d/b", "changed").unwrap();
    let mut buffer = [0; 32];
    value!(get(FIRST, "a", &mut buffer).map(String::from_utf8_lossy));
    println!("onto what is there");
    let _ = show!(link(FIRST, "a", FIRST, "d/b"));
    let _ = show!(link(FIRST, "a", FIRST, "a"));
    let _ = show!(link(FIRST, "a", FIRST, "d"));
    let _ = show!(link(FIRST, "a", FIRST, "dangling"));
    let _ = show!(link(FIRST, "a", FIRST, "nothing/x"));
    let _ = show!(link(FIRST, "a", FIRST, "a/x"));
    let _ = show!(link(FIRST, "a", FIRST, "x/"));
    println!("directories");
    let _ = show!(link(FIRST, "d", FIRST, "e"));
    let _ = show!(link(FIRST, "d/", FIRST, "e"));
    let _ = show!(link(FIRST, "d", FIRST, "d/e"));
    let _ = show!(link(FIRST, ".", FIRST, "e"));
    println!("links");
    for path in ["to-file", "to-directory", "dangling"] {
        println!("{path}: {}", name(&link(FIRST, path, FIRST, "e")));
        value!(lstat(FIRST, "e").map(|stat| kind(&stat)));
        value!(lstat(FIRST, "e").map(|stat| stat.nlink));
        unlink(FIRST, "e").unwrap();
    }
    println!("nothing");
    let _ = show!(link(FIRST, "nothing", FIRST, "e"));
    println!("until the last name is gone");
    let file = open(FIRST, "a", 0, READ).unwrap();
    for path in ["a", "d/b"] {
        unlink(FIRST, path).unwrap();
        value!(fstat(file).map(|stat| stat.nlink));
    }
    let _ = show!(lstat(FIRST, "d/b"));
    for number in 0..1000 {
        if number == 0 {
            put(FIRST, "0", "").unwrap();
        } else {
            link(FIRST, "0", FIRST, number.to_string()).unwrap();
        }
    }
    value!(lstat(FIRST, "999").map(|stat| stat.nlink));
}
