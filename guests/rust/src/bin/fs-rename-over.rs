//! Renaming over what is there: each kind onto each kind, and what is there afterwards.

use guests::files::*;

const KINDS: [&str; 7] = [
    "file",
    "second name",
    "empty",
    "full",
    "link to file",
    "link to directory",
    "dangling link",
];

fn make(kind: &str, path: &str) {
    match kind {
        "file" => put(FIRST, path, path),
        // Both sides then are names of one file.
        "second name" => link(FIRST, "shared", FIRST, path),
        "empty" => mkdir(FIRST, path),
        "full" => mkdir(FIRST, path).and_then(|()| put(FIRST, format!("{path}/x"), path)),
        "link to file" => symlink("shared", FIRST, path),
        "link to directory" => symlink("directory", FIRST, path),
        _ => symlink("nothing", FIRST, path),
    }
    .unwrap();
}

/// Removes whatever has this name.
fn remove(path: &str) {
    let _ = unlink(FIRST, format!("{path}/x"));
    if unlink(FIRST, path).is_err() {
        let _ = rmdir(FIRST, path);
    }
}

/// What has this name.
fn what(path: &str) -> String {
    let mut buffer = [0; 32];
    match lstat(FIRST, path) {
        Err(failure) => failure.to_string(),
        Ok(stat) => match kind(&stat) {
            "file" => format!("'{}'", get(FIRST, path, &mut buffer).unwrap().escape_ascii()),
            "link" => format!(
                "-> {}",
                readlink(FIRST, path, &mut buffer).unwrap().escape_ascii()
            ),
            _ if lstat(FIRST, format!("{path}/x")).is_ok() => "full".into(),
            _ => "empty".into(),
        },
    }
}

fn main() {
    put(FIRST, "shared", "shared").unwrap();
    mkdir(FIRST, "directory").unwrap();
    for old in KINDS {
        for new in KINDS {
            make(old, "old");
            make(new, "new");
            let answer = rename(FIRST, "old", FIRST, "new");
            println!(
                "{old} onto {new}: {}; old: {}, new: {}",
                name(&answer),
                what("old"),
                what("new")
            );
            remove("old");
            remove("new");
        }
    }
    println!(
        "shared: {}, {} names",
        what("shared"),
        lstat(FIRST, "shared").unwrap().nlink
    );
    println!("directory: {}", what("directory"));

    // Between two directories.
    mkdir(FIRST, "a").unwrap();
    mkdir(FIRST, "b").unwrap();
    put(FIRST, "a/x", "from a").unwrap();
    put(FIRST, "b/x", "from b").unwrap();
    let (a, b) = (opendir(FIRST, "a").unwrap(), opendir(FIRST, "b").unwrap());
    println!("a/x onto b/x: {}", name(&rename(a, "x", b, "x")));
    println!("a: {}, b: {}, b/x: {}", what("a"), what("b"), what("b/x"));
    println!(
        "nothing onto b/x: {}, b/x: {}",
        name(&rename(a, "x", b, "x")),
        what("b/x")
    );

    // What is replaced while it is open lives on.
    let open_one = open(FIRST, "b/x", 0, READ).unwrap();
    put(FIRST, "new", "new").unwrap();
    println!("onto what is open: {}", name(&rename(FIRST, "new", b, "x")));
    let mut buffer = [0; 32];
    let length = read(open_one, &mut buffer).unwrap();
    println!(
        "open: '{}', named: {}",
        buffer[..length].escape_ascii(),
        what("b/x")
    );
    println!("names of what is open: {}", fstat(open_one).unwrap().nlink);
}
