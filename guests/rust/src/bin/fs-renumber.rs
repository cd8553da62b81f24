//! `fd_renumber` with files, directories and streams: onto each other, and what is left where it came from.
//!
//! Reports on standard error: standard output is moved about.

use guests::files::*;

macro_rules! tell {
    ($call:expr) => {
        match $call {
            Ok(value) => eprintln!("{}: {value:?}", stringify!($call)),
            Err(failure) => eprintln!("{}: {failure}", stringify!($call)),
        }
    };
}

fn main() {
    put(FIRST, "a", "content of a").unwrap();
    put(FIRST, "b", "content of b").unwrap();
    let a = open(FIRST, "a", 0, BOTH).unwrap();
    let b = open(FIRST, "b", 0, READ).unwrap();
    let text = |fd| {
        let mut buffer = [0; 32];
        read(fd, &mut buffer).map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    // The position moves along.
    tell!(seek(a, 8));
    tell!(renumber(a, b));
    tell!(text(b));
    tell!(text(a));
    tell!(close(a));
    // To itself, and to or from what is not open.
    tell!(renumber(b, b));
    tell!(renumber(b, 99));
    tell!(renumber(99, b));
    // A directory onto a file: the number that was closed is free for what is opened next.
    mkdir(FIRST, "sub").unwrap();
    put(FIRST, "sub/inside", "x").unwrap();
    let sub = opendir(FIRST, "sub").unwrap();
    tell!(renumber(sub, b));
    tell!(lstat(b, "inside").map(|stat| stat.size));
    tell!(text(b));
    // A file onto standard input, and reading from it there.
    let input = open(FIRST, "a", 0, READ).unwrap();
    tell!(renumber(input, 0));
    let line = std::io::read_to_string(std::io::stdin());
    tell!(
        line.map_err(|error| error.kind())
            .map_err(|kind| format!("{kind:?}"))
    );
    // A file onto standard output: what the program prints goes there.
    println!("to standard output");
    let output = open(FIRST, "output", CREAT, BOTH).unwrap();
    tell!(renumber(output, 1));
    println!("to the file");
    let mut buffer = [0; 32];
    let content = get(FIRST, "output", &mut buffer).map(String::from_utf8_lossy);
    tell!(content);
    // A directory onto the one that was given: paths start there now.
    let sub = opendir(FIRST, "sub").unwrap();
    tell!(renumber(sub, FIRST));
    tell!(lstat(FIRST, "inside").map(|stat| stat.size));
    tell!(lstat(FIRST, "a").map(|stat| stat.size));
    // And the one that was given elsewhere.
    tell!(renumber(SECOND, FIRST));
    tell!(mkdir(FIRST, "in-the-second"));
    tell!(mkdir(SECOND, "nowhere"));
}
