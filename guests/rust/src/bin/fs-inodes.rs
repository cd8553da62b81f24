//! Inode numbers: one a file, the same by every way to it, kept when it moves, told by listings too.

use std::collections::BTreeSet;

use guests::files::*;

fn main() {
    mkdir(FIRST, "d").unwrap();
    put(FIRST, "f", "").unwrap();
    let ino = |path: &str| lstat(FIRST, path).unwrap().ino;
    let (directory, file) = (ino("d"), ino("f"));
    println!("differ: {}", directory != file);
    println!("again: {}", ino("f") == file && ino("./d/../f") == file);
    let fd = open(FIRST, "f", 0, BOTH).unwrap();
    println!("by descriptor: {}", fstat(fd).unwrap().ino == file);
    write(fd, vec![1; 200_000]).unwrap();
    println!("grown: {}", ino("f") == file);
    rename(FIRST, "f", FIRST, "d/g").unwrap();
    println!("moved: {}", ino("d/g") == file && fstat(fd).unwrap().ino == file);
    rename(FIRST, "d", FIRST, "e").unwrap();
    println!(
        "with its directory: {}",
        ino("e/g") == file && ino("e") == directory
    );
    link(FIRST, "e/g", FIRST, "second").unwrap();
    unlink(FIRST, "e/g").unwrap();
    println!("by its second name: {}", ino("second") == file);
    symlink("second", FIRST, "link").unwrap();
    println!("a link has its own: {}", ino("link") != file);
    println!("behind the link: {}", stat(FIRST, "link").unwrap().ino == file);
    println!("'.': {}", ino("e/.") == directory);
    println!(
        "one device: {}",
        lstat(FIRST, "e").unwrap().dev == fstat(fd).unwrap().dev
    );

    // A hundred files: a hundred numbers, and a listing tells the same.
    for number in 0..100 {
        put(FIRST, format!("e/{number}"), "").unwrap();
    }
    let numbers: BTreeSet<u64> = (0..100).map(|number| ino(&format!("e/{number}"))).collect();
    println!("different numbers: {}", numbers.len());
    let fd = opendir(FIRST, "e").unwrap();
    let mut buffer = vec![0; 65_536];
    let length = readdir(fd, &mut buffer, 0).unwrap();
    let listed: BTreeSet<u64> = entries(&buffer[..length])
        .filter(|entry| !entry.name.starts_with(b"."))
        .map(|entry| entry.ino)
        .collect();
    println!("listed the same: {}", listed == numbers);
    let own = entries(&buffer[..length])
        .find(|entry| entry.name == b".")
        .map(|entry| entry.ino);
    println!("listed '.': {}", own == Some(directory));
}
