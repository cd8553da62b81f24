//! A directory that may only be read: every call that would change something is refused, and nothing has changed.
//!
//! The argument `errno` shows how each is refused; without it only whether it is.

use guests::files::*;

fn main() {
    let exact = std::env::args().nth(1).as_deref() == Some("errno");
    let tell = |what: &str, answer: Answer| match answer {
        Ok(()) => println!("{what}: SUCCESS"),
        Err(failure) if exact => println!("{what}: {failure}"),
        Err(_) => println!("{what}: refused"),
    };
    let now = wasip1::FSTFLAGS_MTIM_NOW;
    let before = stat_of("file.txt");
    tell("create", open(FIRST, "new", CREAT, WRITE).map(drop));
    tell("create for reading", open(FIRST, "new", CREAT, READ).map(drop));
    tell(
        "create exclusively",
        open(FIRST, "new", CREAT | EXCL, WRITE).map(drop),
    );
    tell("open for writing", open(FIRST, "file.txt", 0, WRITE).map(drop));
    tell("open for both", open(FIRST, "file.txt", 0, BOTH).map(drop));
    tell("truncate", open(FIRST, "file.txt", TRUNC, WRITE).map(drop));
    tell(
        "append",
        open_with(FIRST, 0, "file.txt", 0, WRITE, APPEND).map(drop),
    );
    tell("mkdir", mkdir(FIRST, "new"));
    tell("rmdir", rmdir(FIRST, "sub"));
    tell("unlink", unlink(FIRST, "file.txt"));
    tell("unlink a link", unlink(FIRST, "link"));
    tell("symlink", symlink("file.txt", FIRST, "new"));
    tell("link", link(FIRST, "file.txt", FIRST, "new"));
    tell("rename", rename(FIRST, "file.txt", FIRST, "new"));
    tell("rename a directory", rename(FIRST, "sub", FIRST, "new"));
    tell("times", set_times(FIRST, 0, "file.txt", 0, 0, now));
    tell(
        "times of a link's target",
        set_times(FIRST, FOLLOW, "link", 0, 0, now),
    );
    let sub = opendir(FIRST, "sub").unwrap();
    tell("create in a directory", open(sub, "new", CREAT, WRITE).map(drop));
    tell("mkdir in a directory", mkdir(sub, "new"));
    tell("unlink in a directory", unlink(sub, "inner.txt"));
    tell(
        "from here to the second",
        rename(FIRST, "file.txt", SECOND, "new"),
    );
    put(SECOND, "theirs", "x").unwrap();
    tell("from the second to here", rename(SECOND, "theirs", FIRST, "new"));
    tell("link from the second", link(SECOND, "theirs", FIRST, "new"));
    let file = open(FIRST, "file.txt", 0, READ).unwrap();
    tell("write", write(file, "x").map(drop));
    tell("set the size", set_size(file, 0));
    for fd in [file, sub] {
        // SAFETY: the call takes no address.
        tell(
            "times of what is open",
            unsafe { wasip1::fd_filestat_set_times(fd, 0, 0, now) }.map_err(Failure::from),
        );
    }
    println!("nothing has changed: {}", stat_of("file.txt") == before);
    println!("nothing is new: {}", name(&lstat(FIRST, "new")));
    let mut buffer = [0; 64];
    println!("{}", get(FIRST, "file.txt", &mut buffer).unwrap().escape_ascii());
    println!("{}", readlink(FIRST, "link", &mut buffer).unwrap().escape_ascii());
    println!("sync: {}", name(&sync(file)));
}

fn stat_of(path: &str) -> (u64, u64, u64) {
    let stat = lstat(FIRST, path).unwrap();
    (stat.size, stat.mtim, stat.nlink)
}
