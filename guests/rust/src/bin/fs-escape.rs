//! Attempts to get out of a directory: every call with every kind of path that leads above it. What is there and what
//! is not must look the same.

use guests::attempts;
use guests::files::*;

fn main() {
    mkdir(FIRST, "jail").unwrap();
    put(FIRST, "secret", "not for you").unwrap();
    mkdir(FIRST, "outside").unwrap();
    put(FIRST, "outside/file", "nor this").unwrap();
    let jail = opendir(FIRST, "jail").unwrap();
    put(jail, "inside", "").unwrap();
    put(jail, "other", "").unwrap();
    mkdir(jail, "sub").unwrap();
    for (target, name) in [
        ("..", "up"),
        ("../secret", "to-secret"),
        ("../nothing", "to-nothing"),
        ("../outside", "to-outside"),
        ("../jail/inside", "and-back"),
        ("sub/../../secret", "roundabout"),
        ("to-secret", "twice"),
    ] {
        symlink(target, jail, name).unwrap();
    }
    println!("paths");
    for path in [
        "..",
        "../",
        "../.",
        "../secret",
        "../nothing",
        "../outside/file",
        "../outside/nothing",
        "../jail",
        "../jail/inside",
        "./../secret",
        "sub/../..",
        "sub/../../secret",
        "sub/../../jail/inside",
        "sub/../sub/../../nothing",
        "../../../../../../etc/passwd",
        "/",
        "//",
        "/secret",
        "/nothing",
        "/jail/inside",
        "/etc/passwd",
        "up/secret",
        "up/nothing",
        "up/jail/inside",
        "to-outside/file",
        "to-outside/nothing",
        "sub/../to-outside/file",
    ] {
        attempts!(jail, path);
    }
    println!("through links at the end");
    for path in [
        "up",
        "to-secret",
        "to-nothing",
        "to-outside",
        "and-back",
        "roundabout",
        "twice",
    ] {
        for (call, answer) in [
            ("open", open(jail, path, 0, READ).map(drop)),
            ("open for writing", open(jail, path, 0, WRITE).map(drop)),
            ("create", open(jail, path, CREAT, WRITE).map(drop)),
            ("truncate", open(jail, path, TRUNC, WRITE).map(drop)),
            ("open as a directory", opendir(jail, path).map(drop)),
            ("stat", stat(jail, path).map(drop)),
            (
                "times",
                set_times(jail, FOLLOW, path, 0, 0, wasip1::FSTFLAGS_MTIM),
            ),
        ] {
            println!("{call} {path}: {}", name(&answer));
        }
    }
    println!("links that lead nowhere good");
    for target in ["/", "/etc/passwd", "/jail"] {
        println!(
            "symlink to {target}: {}",
            name(&symlink(target, jail, "absolute"))
        );
    }
    println!("afterwards");
    let mut buffer = [0; 32];
    for path in ["secret", "outside/file"] {
        println!(
            "{path}: {}",
            get(FIRST, path, &mut buffer).unwrap().escape_ascii()
        );
    }
    for path in ["", "outside"] {
        list(path);
    }
}

/// Prints what is in a directory, sorted.
fn list(path: &str) {
    let fd = opendir(FIRST, if path.is_empty() { "." } else { path }).unwrap();
    let mut buffer = [0; 1024];
    let length = readdir(fd, &mut buffer, 0).unwrap();
    let mut names: Vec<_> = entries(&buffer[..length])
        .map(|entry| entry.name.escape_ascii().to_string())
        .collect();
    names.sort();
    println!("'{path}' holds {}", names.join(" "));
}
