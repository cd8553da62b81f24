//! Two directories: named and in order; nothing can be renamed or linked across, and neither leads to the other.
//!
//! The argument `errno` shows how that is refused; without it only whether it is.

use guests::files::*;
use guests::{show, value};

fn main() {
    for fd in [FIRST, SECOND, 5] {
        value!(prestat(fd));
    }
    let mut short = [0; 1];
    // SAFETY: address and length are those of the buffer.
    let answer = unsafe { wasip1::fd_prestat_dir_name(FIRST, short.as_mut_ptr(), short.len()) };
    println!("into one byte: {}", name(&answer.map_err(Failure::from)));
    put(FIRST, "file", "content").unwrap();
    mkdir(FIRST, "d").unwrap();
    let _ = show!(lstat(SECOND, "file"));
    let exact = std::env::args().nth(1).as_deref() == Some("errno");
    let tell = |what: &str, answer: Answer| match answer {
        Ok(()) => println!("{what}: SUCCESS"),
        Err(failure) if exact => println!("{what}: {failure}"),
        Err(_) => println!("{what}: refused"),
    };
    let d = opendir(FIRST, "d").unwrap();
    tell("rename a file", rename(FIRST, "file", SECOND, "file"));
    tell("rename a directory", rename(FIRST, "d", SECOND, "d"));
    tell("link a file", link(FIRST, "file", SECOND, "file"));
    tell("rename beneath the first", rename(FIRST, "file", d, "file"));
    tell("rename from beneath", rename(d, "file", SECOND, "file"));
    mkdir(SECOND, "e").unwrap();
    let e = opendir(SECOND, "e").unwrap();
    tell("link from beneath to beneath", link(d, "file", e, "file"));
    println!("{:?}", std::fs::rename("/a/d/file", "/b/file").is_err());
    println!("what is left");
    let _ = show!(lstat(FIRST, "d/file"));
    let _ = show!(lstat(SECOND, "file"));
    if exact {
        println!(
            "one device: {}",
            fstat(FIRST).unwrap().dev == fstat(SECOND).unwrap().dev
        );
    }
    println!("each goes on without the other");
    show!(close(FIRST)).unwrap();
    value!(prestat(FIRST));
    let _ = show!(lstat(FIRST, "d"));
    let _ = show!(lstat(d, "file"));
    show!(mkdir(SECOND, "d")).unwrap();
    println!("through the standard library: {:?}", std::fs::exists("/b/d").ok());
}

/// The name of a directory that was given.
fn prestat(fd: Fd) -> Answer<String> {
    // SAFETY: the buffer is as long as the call is told; a directory's name is the only kind there is.
    unsafe {
        let length = wasip1::fd_prestat_get(fd)?.u.dir.pr_name_len;
        let mut buffer = vec![0; length];
        wasip1::fd_prestat_dir_name(fd, buffer.as_mut_ptr(), length)?;
        Ok(String::from_utf8(buffer).unwrap())
    }
}
