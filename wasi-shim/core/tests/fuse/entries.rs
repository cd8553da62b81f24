//! Names: made, moved and removed.
//!
//! Layer: tests.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn created_with_permissions() {
    let mut bed = TestBed::new();
    bed.fs.create(bed.root, b"f", &mut now).expect("a new file");
    bed.fs
        .create_dir(bed.root, b"d", &mut now)
        .expect("a new directory");
    let mode = |name: &str| {
        let metadata = std::fs::metadata(bed.dir.join(name)).expect("it is there");
        metadata.permissions().mode() & 0o7777
    };
    // The server of the tests applies its own process's mask too.
    assert_eq!((mode("f"), mode("d")), (0o644, 0o755));
    assert_eq!(bed.fs.create_dir(bed.root, b"d", &mut now), Err(Errno::EXIST));
    assert_eq!(bed.fs.create_dir(bed.root, b"f", &mut now), Err(Errno::EXIST));
    bed.settled();
}

#[test]
fn symbolic_links_are_not_followed() {
    let mut bed = TestBed::new();
    let outside = Directory::new();
    write(&outside.join("secret"), "secret");
    let target = outside.join("secret").into_os_string().into_encoded_bytes();
    bed.fs
        .create_link(bed.root, b"l", &target, &mut now)
        .expect("a link with any target");
    std::os::unix::fs::symlink(&*outside, bed.dir.join("d")).expect("a link");

    let found = bed.find("l").expect("it is there");
    assert_eq!(found.filetype, Filetype::SymbolicLink);
    let mut buf = vec![0; 4096];
    assert_eq!(bed.fs.read_link(found.node, &mut buf), Ok(target.len()));
    assert_eq!(buf[..target.len()], target);
    // As far as it fits.
    let mut short = [0; 3];
    assert_eq!(bed.fs.read_link(found.node, &mut short), Ok(target.len()));
    assert_eq!(short, target[..3]);

    let found = bed.find("d").expect("it is there");
    assert_eq!(found.filetype, Filetype::SymbolicLink);
    assert_eq!(bed.fs.lookup(found.node, b"secret"), Err(Errno::NOTDIR));
    assert_eq!(bed.fs.create(found.node, b"x", &mut now), Err(Errno::NOTDIR));
    assert_eq!(
        bed.fs.create_link(bed.root, b"n", b"a\0b", &mut now),
        Err(Errno::INVAL)
    );
    assert_eq!(
        bed.fs.create_link(bed.root, b"l", b"x", &mut now),
        Err(Errno::EXIST)
    );
    bed.settled();
}

#[test]
fn hard_links() {
    let mut bed = TestBed::new();
    write(&bed.dir.join("f"), "hello");
    std::fs::create_dir(bed.dir.join("d")).expect("a directory");
    let file = bed.find("f").expect("it is there").node;
    let dir = bed.find("d").expect("it is there").node;
    bed.fs
        .hard_link(file, dir, b"g", &mut now)
        .expect("a second name");
    assert_eq!(read(&bed.dir.join("d/g")), b"hello");
    assert_eq!(bed.fs.stat(file).expect("it is there").nlink, 2);
    assert_eq!(bed.fs.hard_link(file, dir, b"g", &mut now), Err(Errno::EXIST));
    assert_eq!(bed.fs.hard_link(dir, bed.root, b"e", &mut now), Err(Errno::PERM));
    bed.settled();
}

#[test]
fn removal() {
    let mut bed = TestBed::new();
    write(&bed.dir.join("f"), "");
    std::fs::create_dir_all(bed.dir.join("d/e")).expect("directories");
    assert_eq!(bed.fs.unlink(bed.root, b"d", &mut now), Err(Errno::ISDIR));
    assert_eq!(bed.fs.remove_dir(bed.root, b"f", &mut now), Err(Errno::NOTDIR));
    assert_eq!(bed.fs.remove_dir(bed.root, b"d", &mut now), Err(Errno::NOTEMPTY));
    assert_eq!(bed.fs.remove_dir(bed.root, b"x", &mut now), Err(Errno::NOENT));
    assert_eq!(bed.fs.unlink(bed.root, b"x", &mut now), Err(Errno::NOENT));
    assert_eq!(bed.fs.unlink(bed.root, b"f", &mut now), Ok(()));
    let dir = bed.find("d").expect("it is there").node;
    assert_eq!(bed.fs.remove_dir(dir, b"e", &mut now), Ok(()));
    assert_eq!(bed.fs.remove_dir(bed.root, b"d", &mut now), Ok(()));
    // A directory that is gone has room for nothing.
    assert_eq!(bed.fs.create(dir, b"x", &mut now), Err(Errno::NOENT));
    assert_eq!(std::fs::read_dir(&*bed.dir).expect("it is there").count(), 0);
    bed.settled();
}

#[test]
fn renaming() {
    let mut bed = TestBed::new();
    write(&bed.dir.join("f"), "f");
    write(&bed.dir.join("g"), "g");
    std::fs::create_dir_all(bed.dir.join("d/e")).expect("directories");
    let dir = bed.find("d").expect("it is there").node;
    let root = bed.root;
    let mut rename =
        |from: Node, name: &[u8], to: Node, new: &[u8]| bed.fs.rename(from, name, to, new, &mut now);
    assert_eq!(rename(root, b"x", root, b"y"), Err(Errno::NOENT));
    assert_eq!(rename(root, b"d", dir, b"e"), Err(Errno::INVAL));
    assert_eq!(rename(root, b"f", root, b"d"), Err(Errno::ISDIR));
    assert_eq!(rename(root, b"d", root, b"f"), Err(Errno::NOTDIR));
    assert_eq!(rename(root, b"f", dir, b"f"), Ok(()));
    assert_eq!(rename(root, b"g", dir, b"f"), Ok(()));
    assert_eq!(read(&bed.dir.join("d/f")), b"g");
    std::fs::create_dir(bed.dir.join("n")).expect("a directory");
    let mut rename =
        |from: Node, name: &[u8], to: Node, new: &[u8]| bed.fs.rename(from, name, to, new, &mut now);
    assert_eq!(rename(root, b"n", root, b"d"), Err(Errno::NOTEMPTY));
    assert_eq!(rename(dir, b"e", root, b"n"), Ok(()));
    bed.settled();
}

/// A server keeps a deleted file, and its room on the disk, as long as it is known: it is forgotten with the next call.
#[test]
fn what_is_deleted_is_forgotten_at_once() {
    let mut bed = TestBed::new();
    write(&bed.dir.join("f"), "x");
    write(&bed.dir.join("g"), "x");
    bed.find("f").expect("it is there");
    bed.fs.unlink(bed.root, b"f", &mut now).expect("it goes");
    bed.fs.begin_call();
    assert_eq!(bed.client.server.borrow().held(), (0, 0));
    // One that a rename replaces, too.
    write(&bed.dir.join("h"), "x");
    bed.find("h").expect("it is there");
    bed.fs
        .rename(bed.root, b"g", bed.root, b"h", &mut now)
        .expect("it is replaced");
    bed.fs.begin_call();
    assert_eq!(bed.client.server.borrow().held(), (0, 0));
    bed.settled();
}
