//! A directory that is removed while it is open: nothing is in it, nothing can be made in it, and it does not come back.

use guests::files::*;
use guests::show;

fn main() {
    mkdir(FIRST, "gone").unwrap();
    put(FIRST, "file", "content").unwrap();
    let gone = opendir(FIRST, "gone").unwrap();
    show!(rmdir(FIRST, "gone")).unwrap();
    let _ = show!(open(gone, ".", DIRECTORY, 0));
    let _ = show!(open(gone, "x", 0, READ));
    let _ = show!(open(gone, "x", CREAT, WRITE));
    let _ = show!(mkdir(gone, "x"));
    let _ = show!(symlink("target", gone, "x"));
    let _ = show!(link(FIRST, "file", gone, "x"));
    let _ = show!(rename(FIRST, "file", gone, "x"));
    let _ = show!(unlink(gone, "x"));
    let _ = show!(rmdir(gone, "x"));
    let _ = show!(lstat(gone, "x"));
    let _ = show!(lstat(gone, "."));
    let _ = show!(lstat(gone, ".."));
    let _ = show!(open(gone, "../file", 0, READ));
    println!("it is a {}", kind(&show!(fstat(gone)).unwrap()));
    let mut buffer = [0; 256];
    // Linux has nothing to read there, not even `.`.
    let length = readdir(gone, &mut buffer, 0);
    let length = match name(&length) {
        "NOENT" => 0,
        _ => length.unwrap(),
    };
    let strangers = entries(&buffer[..length])
        .filter(|entry| !entry.name.starts_with(b"."))
        .count();
    println!("entries but . and ..: {strangers}");

    println!("another of the same name");
    mkdir(FIRST, "gone").unwrap();
    put(FIRST, "gone/x", "new").unwrap();
    let _ = show!(lstat(gone, "x"));
    let _ = show!(mkdir(gone, "y"));
    let new = opendir(FIRST, "gone").unwrap();
    println!(
        "the same: {}",
        fstat(new).unwrap().ino == fstat(gone).unwrap().ino
    );
    let _ = show!(close(gone));

    println!("the parent removed as well");
    mkdir(FIRST, "outer").unwrap();
    mkdir(FIRST, "outer/inner").unwrap();
    let outer = opendir(FIRST, "outer").unwrap();
    let inner = opendir(FIRST, "outer/inner").unwrap();
    show!(rmdir(outer, "inner")).unwrap();
    show!(rmdir(FIRST, "outer")).unwrap();
    let _ = show!(mkdir(outer, "inner"));
    let _ = show!(mkdir(inner, "x"));
    let _ = show!(lstat(inner, ".."));

    println!("replaced by a rename");
    mkdir(FIRST, "old").unwrap();
    let old = opendir(FIRST, "old").unwrap();
    show!(rename(FIRST, "gone", FIRST, "old")).unwrap();
    let _ = show!(lstat(old, "x"));
    let _ = show!(mkdir(old, "y"));
    let _ = show!(mkdir(new, "y"));
    let _ = show!(lstat(FIRST, "old/y"));
}
