//! Directories that are moved while they are open, and links that lead elsewhere after a move: no way out either.

use guests::files::*;
use guests::show;

fn main() {
    mkdir(FIRST, "jail").unwrap();
    mkdir(FIRST, "jail/deep").unwrap();
    mkdir(FIRST, "jail/deep/sub").unwrap();
    mkdir(FIRST, "outside").unwrap();
    put(FIRST, "jail/file", "in the jail").unwrap();
    put(FIRST, "outside/file", "outside").unwrap();
    put(FIRST, "file", "at the top").unwrap();
    let jail = opendir(FIRST, "jail").unwrap();
    let sub = opendir(jail, "deep/sub").unwrap();
    symlink("../../file", sub, "link").unwrap();

    println!("where it was made");
    content(FIRST, "jail/deep/sub/link");
    content(jail, "deep/sub/link");
    content(sub, "link");
    content(sub, "../../file");

    println!("moved outside of what was opened");
    show!(rename(jail, "deep/sub", FIRST, "outside/sub")).unwrap();
    content(sub, "link");
    content(sub, "..");
    content(sub, "../file");
    content(FIRST, "outside/sub/link");
    content(FIRST, "outside/sub/../file");
    let _ = show!(lstat(jail, "deep/sub"));
    let _ = show!(mkdir(sub, "made-after"));
    let _ = show!(lstat(FIRST, "outside/sub/made-after"));
    let _ = show!(rename(sub, "made-after", jail, "moved-in"));

    println!("its parent moved");
    show!(rename(FIRST, "outside", FIRST, "jail/renamed")).unwrap();
    content(FIRST, "jail/renamed/sub/link");
    content(jail, "renamed/sub/link");
    content(sub, "link");
    content(sub, "../../file");

    println!("the directory itself moved");
    show!(rename(FIRST, "jail", FIRST, "prison")).unwrap();
    content(jail, "file");
    content(jail, "../file");
    content(jail, "renamed/sub/link");
    content(FIRST, "jail/file");
    content(FIRST, "prison/file");

    println!("a link in the way swapped for a directory");
    symlink("prison", FIRST, "swap").unwrap();
    content(FIRST, "swap/file");
    unlink(FIRST, "swap").unwrap();
    mkdir(FIRST, "swap").unwrap();
    content(FIRST, "swap/file");
    content(FIRST, "swap/../file");
}

fn content(dir: Fd, path: &str) {
    let mut buffer = [0; 64];
    match get(dir, path, &mut buffer) {
        Ok(content) => println!("{path}: {}", content.escape_ascii()),
        Err(failure) => println!("{path}: {failure}"),
    }
}
