//! A file that is open lives on without a name: it is read, written, grows; another of its name is another file.

use guests::files::*;
use guests::{show, value};

fn main() {
    let file = open(FIRST, "file", CREAT, BOTH).unwrap();
    write(file, "before").unwrap();
    let reader = open(FIRST, "file", 0, READ).unwrap();
    show!(unlink(FIRST, "file")).unwrap();
    let _ = show!(open(FIRST, "file", 0, READ));
    let _ = show!(unlink(FIRST, "file"));
    let _ = show!(write(file, " and after"));
    let mut buffer = [0; 32];
    let length = read(reader, &mut buffer).unwrap();
    println!("read: {}", buffer[..length].escape_ascii());
    value!(fstat(reader).map(|stat| (stat.nlink, stat.size)));
    let _ = show!(set_size(file, 3));
    value!(fstat(reader).map(|stat| stat.size));

    println!("another of its name");
    put(FIRST, "file", "new").unwrap();
    println!(
        "the same: {}",
        lstat(FIRST, "file").unwrap().ino == fstat(file).unwrap().ino
    );
    let length = pread(reader, &mut buffer, 0).unwrap();
    println!("the old one: {}", buffer[..length].escape_ascii());
    let content = get(FIRST, "file", &mut buffer).unwrap();
    println!("the new one: {}", content.escape_ascii());

    println!("one end closed");
    let _ = show!(close(file));
    value!(fstat(reader).map(|stat| stat.size));
    let _ = show!(close(reader));
    let _ = show!(fstat(reader));

    // A directory with a file in it that is open: it can be removed once the name is gone.
    mkdir(FIRST, "d").unwrap();
    put(FIRST, "d/f", "inside").unwrap();
    let inside = open(FIRST, "d/f", 0, BOTH).unwrap();
    let _ = show!(rmdir(FIRST, "d"));
    let _ = show!(unlink(FIRST, "d/f"));
    let _ = show!(rmdir(FIRST, "d"));
    let length = read(inside, &mut buffer).unwrap();
    println!("inside: {}", buffer[..length].escape_ascii());
    let _ = show!(unlink(FIRST, "d"));
    mkdir(FIRST, "e").unwrap();
    let _ = show!(unlink(FIRST, "e"));
    let _ = show!(rmdir(FIRST, "file"));
}
