//! Rights that are taken away stay away: on the descriptor, on what is opened through it, whatever is tried.

use guests::files::*;
use guests::{show, value};

fn main() {
    put(FIRST, "file", "content").unwrap();
    mkdir(FIRST, "d").unwrap();
    put(FIRST, "d/file", "inside").unwrap();
    println!("a file");
    let file = open(FIRST, "file", 0, BOTH).unwrap();
    let rights = |fd| {
        // SAFETY: the call has no preconditions.
        let stat = unsafe { wasip1::fd_fdstat_get(fd) }.unwrap();
        (stat.fs_rights_base, stat.fs_rights_inheriting)
    };
    let (all, _) = rights(file);
    let mut buffer = [0; 16];
    show!(set_rights(file, all & !WRITE, 0)).unwrap();
    value!(write(file, "x"));
    value!(pwrite(file, "x", 0));
    value!(read(file, &mut buffer));
    let _ = show!(set_rights(file, all, 0));
    value!(write(file, "x"));
    println!("and no more come back by renumbering");
    let other = open(FIRST, "file", 0, READ).unwrap();
    show!(renumber(file, other)).unwrap();
    value!(write(other, "x"));
    println!("none at all");
    show!(set_rights(other, 0, 0)).unwrap();
    value!(read(other, &mut buffer));
    value!(seek(other, 0));
    value!(tell(other));
    value!(sync(other));
    value!(fstat(other).map(drop));
    value!(set_size(other, 0));
    value!(set_flags(other, APPEND));
    show!(close(other)).unwrap();

    println!("a directory that passes on reading only");
    let d = opendir(FIRST, "d").unwrap();
    let (base, inheriting) = rights(d);
    show!(set_rights(d, base, inheriting & !WRITE)).unwrap();
    value!(open(d, "file", 0, BOTH).map(drop));
    let inside = open(d, "file", 0, READ).unwrap();
    value!(write(inside, "x"));
    println!("no right to write: {}", rights(inside).0 & WRITE == 0);
    let again = opendir(d, ".").unwrap();
    value!(open(again, "file", 0, WRITE).map(drop));
    let _ = show!(set_rights(again, base, inheriting));

    println!("a directory whose own rights go");
    let (read_only, passed) = (wasip1::RIGHTS_PATH_OPEN | wasip1::RIGHTS_FD_READDIR, inheriting);
    let d = opendir(FIRST, "d").unwrap();
    show!(set_rights(d, read_only, passed)).unwrap();
    value!(mkdir(d, "new"));
    value!(unlink(d, "file"));
    value!(rename(d, "file", d, "new"));
    value!(rename(FIRST, "file", d, "new"));
    value!(link(FIRST, "file", d, "new"));
    value!(symlink("x", d, "new"));
    value!(lstat(d, "file").map(drop));
    value!(open(d, "new", CREAT, WRITE).map(drop));
    value!(open(d, "file", TRUNC, WRITE).map(drop));
    value!(open(d, "file", 0, READ).map(drop));
    println!("the directory that was given");
    let (base, inheriting) = rights(FIRST);
    show!(set_rights(
        FIRST,
        base & !wasip1::RIGHTS_PATH_UNLINK_FILE,
        inheriting
    ))
    .unwrap();
    value!(unlink(FIRST, "file"));
    let _ = show!(set_rights(FIRST, base, inheriting));
    value!(unlink(FIRST, "file"));
}
