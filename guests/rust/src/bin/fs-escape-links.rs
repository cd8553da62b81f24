//! Links that lead out of a directory and were there before the program: absolute ones and relative ones.

use guests::attempts;
use guests::files::*;

fn main() {
    for path in [
        "absolute",
        "absolute-nothing",
        "absolute-root",
        "absolute-root/etc/passwd",
        "absolute-to-itself",
        "up",
        "up/etc/passwd",
        "sub/up-and-out",
        "sub/up-and-out/nothing",
    ] {
        println!("{path}");
        let mut buffer = [0; 64];
        for (call, answer) in [
            ("open", open(FIRST, path, 0, READ).map(drop)),
            ("open itself", open_with(FIRST, 0, path, 0, READ, 0).map(drop)),
            ("create", open(FIRST, path, CREAT, WRITE).map(drop)),
            ("truncate", open(FIRST, path, TRUNC, WRITE).map(drop)),
            ("open as a directory", opendir(FIRST, path).map(drop)),
            ("stat", stat(FIRST, path).map(drop)),
            ("lstat", lstat(FIRST, path).map(drop)),
            (
                "times",
                set_times(FIRST, FOLLOW, path, 0, 0, wasip1::FSTFLAGS_MTIM),
            ),
            ("mkdir", mkdir(FIRST, path)),
            ("rmdir", rmdir(FIRST, path)),
            ("readlink", readlink(FIRST, path, &mut buffer).map(drop)),
        ] {
            println!("    {call}: {}", name(&answer));
        }
    }
    put(FIRST, "other", "").unwrap();
    // With something behind them.
    for path in ["absolute-root/x", "up/x", "sub/up-and-out/x"] {
        attempts!(FIRST, path);
    }
    // The links themselves can be renamed, linked and removed.
    for path in ["absolute", "up"] {
        println!("rename {path}: {}", name(&rename(FIRST, path, FIRST, "renamed")));
        println!("    and back: {}", name(&rename(FIRST, "renamed", FIRST, path)));
        println!("    link: {}", name(&link(FIRST, path, FIRST, "second")));
        println!(
            "    remove: {}, {}",
            name(&unlink(FIRST, "second")),
            name(&unlink(FIRST, path))
        );
    }
}
