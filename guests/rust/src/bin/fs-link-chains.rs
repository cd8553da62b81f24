//! Symbolic links behind each other: chains of 40 and 41, of directories too, loops, links to nothing.

use guests::files::*;

fn main() {
    put(FIRST, "end", "reached").unwrap();
    mkdir(FIRST, "directory").unwrap();
    put(FIRST, "directory/inside", "reached").unwrap();
    for (end, name) in [("end", "f"), ("directory", "d")] {
        symlink(end, FIRST, format!("{name}1")).unwrap();
        for number in 2..=41 {
            symlink(format!("{name}{}", number - 1), FIRST, format!("{name}{number}")).unwrap();
        }
    }
    println!("chains");
    for path in [
        "f1",
        "f39",
        "f40",
        "f41",
        "d40",
        "d41",
        "d40/inside",
        "d41/inside",
        "d40/",
        "d41/",
        "d20/../d20/inside",
        "d20/../d21/inside",
        "d39/../f1",
        "d40/../f1",
    ] {
        all(path);
    }
    println!("loops");
    symlink("self", FIRST, "self").unwrap();
    symlink("b", FIRST, "a").unwrap();
    symlink("c", FIRST, "b").unwrap();
    symlink("a", FIRST, "c").unwrap();
    symlink("into/x", FIRST, "into").unwrap();
    symlink("directory/../via", FIRST, "via").unwrap();
    for path in ["self", "a", "b", "self/", "self/x", "a/../end", "into", "via"] {
        all(path);
    }
    println!("to nothing");
    symlink("nothing", FIRST, "dangling").unwrap();
    symlink("nothing/deeper", FIRST, "dangling-deep").unwrap();
    symlink("end/x", FIRST, "through-file").unwrap();
    symlink("dangling", FIRST, "dangling-twice").unwrap();
    for path in [
        "dangling",
        "dangling/",
        "dangling/x",
        "dangling-deep",
        "through-file",
        "dangling-twice",
    ] {
        all(path);
    }
    println!("created behind a link");
    for (path, target) in [("dangling-twice", "nothing"), ("dangling-deep", "nothing/deeper")] {
        println!("create {path}: {}", name(&put(FIRST, path, "new")));
        println!("    {target}: {}", name(&lstat(FIRST, target)));
    }
}

/// What calls that follow, and those that do not, say to a path.
fn all(path: &str) {
    let mut buffer = [0; 64];
    println!(
        "{path}: open {}, open itself {}, directory {}, stat {}, lstat {}, readlink {}",
        name(&open(FIRST, path, 0, READ)),
        name(&open_with(FIRST, 0, path, 0, READ, 0)),
        name(&opendir(FIRST, path)),
        stat(FIRST, path).map_or_else(|failure| failure.to_string(), |stat| kind(&stat).into()),
        lstat(FIRST, path).map_or_else(|failure| failure.to_string(), |stat| kind(&stat).into()),
        readlink(FIRST, path, &mut buffer).map_or_else(
            |failure| failure.to_string(),
            |target| target.escape_ascii().to_string()
        ),
    );
}
