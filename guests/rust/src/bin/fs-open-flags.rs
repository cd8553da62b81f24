//! Every set of `oflags`, on nothing, a file, a directory and links, for reading and for writing; what it leaves.

use guests::files::*;

fn main() {
    for oflags in 0..16 {
        let names: Vec<&str> = [
            (CREAT, "creat"),
            (DIRECTORY, "directory"),
            (EXCL, "excl"),
            (TRUNC, "trunc"),
        ]
        .into_iter()
        .filter_map(|(flag, name)| (oflags & flag != 0).then_some(name))
        .collect();
        // `excl` alone means nothing, by POSIX.
        if oflags & EXCL != 0 && oflags & CREAT == 0 {
            continue;
        }
        println!(
            "{}",
            if names.is_empty() {
                "none".into()
            } else {
                names.join(" ")
            }
        );
        for path in [
            "nothing",
            "file",
            "directory",
            "to-file",
            "to-directory",
            "dangling",
        ] {
            let answers = [(FOLLOW, READ), (FOLLOW, BOTH), (0, READ), (0, BOTH)]
                .map(|(lookup, rights)| attempt(lookup, path, oflags, rights));
            println!("    {path}: {}", answers.join(", "));
        }
    }
}

fn attempt(lookup: u32, path: &str, oflags: u16, rights: u64) -> String {
    put(FIRST, "file", "content").unwrap();
    let _ = mkdir(FIRST, "directory");
    let _ = symlink("file", FIRST, "to-file");
    let _ = symlink("directory", FIRST, "to-directory");
    let _ = symlink("nothing", FIRST, "dangling");
    let answer = open_with(FIRST, lookup, path, oflags, rights, 0);
    if let Ok(fd) = answer {
        close(fd).unwrap();
    }
    let mut effects = String::new();
    if unlink(FIRST, "nothing").is_ok() {
        effects += " and made";
    }
    if lstat(FIRST, "file").unwrap().size == 0 {
        effects += " and emptied";
    }
    format!("{}{effects}", name(&answer))
}
