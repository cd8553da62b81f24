//! Everything about a tree that was given: kinds, sizes, contents, times in nanoseconds, links of both kinds.

use guests::files::*;

fn main() {
    walk(FIRST, "");
    let ino = |path: &str| lstat(FIRST, path).unwrap().ino;
    println!("one file: {}", ino("second-name.txt") == ino("file.txt"));
    // What is changed by one name is changed by the other, and a copy's times go on.
    let file = open(FIRST, "second-name.txt", 0, BOTH).unwrap();
    write(file, "CHANGED").unwrap();
    let mut buffer = [0; 64];
    println!("{}", get(FIRST, "file.txt", &mut buffer).unwrap().escape_ascii());
    println!(
        "changed now: {}",
        lstat(FIRST, "file.txt").unwrap().mtim > 1_700_000_000_000_000_000
    );
    // And all of it can be removed.
    remove(FIRST);
    walk(FIRST, "");
    println!("empty");
}

/// The names in a directory, sorted.
fn names(dir: Fd) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    let length = readdir(dir, &mut buffer, 0).unwrap();
    let mut names: Vec<_> = entries(&buffer[..length])
        .map(|entry| entry.name.to_vec())
        .filter(|name| name != b"." && name != b"..")
        .collect();
    names.sort();
    names
}

fn walk(dir: Fd, indent: &str) {
    for name in names(dir) {
        let stat = lstat(dir, &name).unwrap();
        let mut buffer = vec![0; 65_536];
        let shown = String::from_utf8(name.clone()).unwrap();
        match kind(&stat) {
            "directory" => {
                println!("{indent}{shown}/ {}", time(stat.mtim));
                let sub = opendir(dir, &name).unwrap();
                walk(sub, &format!("{indent}    "));
                close(sub).unwrap();
            }
            "link" => println!(
                "{indent}{shown} -> {}, {}",
                readlink(dir, &name, &mut buffer).map_or_else(
                    |failure| failure.to_string(),
                    |target| target.escape_ascii().to_string()
                ),
                stat.size
            ),
            _ => {
                let content = get(dir, &name, &mut buffer).unwrap();
                let sum = content
                    .iter()
                    .fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
                println!(
                    "{indent}{shown}: {} bytes, sum {sum}, {} names, {}",
                    stat.size,
                    stat.nlink,
                    time(stat.mtim)
                );
            }
        }
    }
}

/// A time that was set; the checkout's own is not told.
fn time(time: u64) -> String {
    if time < 1_600_000_000_000_000_000 {
        format!("mtim {time}")
    } else {
        "of the checkout".into()
    }
}

fn remove(dir: Fd) {
    for name in names(dir) {
        if unlink(dir, &name).is_err() {
            let sub = opendir(dir, &name).unwrap();
            remove(sub);
            close(sub).unwrap();
            rmdir(dir, &name).unwrap();
        }
    }
}
