//! Every call that takes a path, to be tried with one path after another.

use crate::files::{
    CREAT, Fd, READ, close, link, lstat, mkdir, name, open, open_with, readlink, rename, rmdir, set_times,
    stat, symlink, unlink,
};

/// The name of the file that calls with a second path use; it must be there, in the directory tried.
pub const OTHER: &str = "other";
/// The name that calls with a second path make, if the first one is good.
const MADE: &str = "made";

/// The calls' names, for the head of a table.
pub const CALLS: [&str; 15] = [
    "open",
    "lopen",
    "creat",
    "stat",
    "lstat",
    "times",
    "mkdir",
    "rmdir",
    "unlink",
    "readlink",
    "symlink",
    "link from",
    "link to",
    "rename from",
    "rename to",
];

/// The errno of the call with this number on a path. What it has made is removed again; what it removes is gone.
#[must_use]
pub fn attempt(call: usize, dir: Fd, path: &[u8]) -> &'static str {
    let opened = |answer: crate::files::Answer<Fd>| {
        if let Ok(fd) = answer {
            let _ = close(fd);
        }
        name(&answer)
    };
    let undone = |answer: crate::files::Answer, undo: fn(Fd, &[u8]) -> crate::files::Answer, path: &[u8]| {
        if answer.is_ok() && undo(dir, path).is_err() {
            return "SUCCESS, and cannot be undone";
        }
        name(&answer)
    };
    match call {
        0 => opened(open(dir, path, 0, READ)),
        1 => opened(open_with(dir, 0, path, 0, READ, 0)),
        2 => opened(open(dir, path, CREAT, READ)),
        3 => name(&stat(dir, path)),
        4 => name(&lstat(dir, path)),
        5 => name(&set_times(dir, 1, path, 0, 0, wasip1::FSTFLAGS_MTIM_NOW)),
        6 => undone(mkdir(dir, path), |dir, path| rmdir(dir, path), path),
        7 => name(&rmdir(dir, path)),
        8 => name(&unlink(dir, path)),
        9 => name(&readlink(dir, path, &mut [0; 64])),
        10 => undone(symlink("target", dir, path), |dir, path| unlink(dir, path), path),
        11 => undone(
            link(dir, path, dir, MADE),
            |dir, path| unlink(dir, path),
            MADE.as_bytes(),
        ),
        12 => undone(link(dir, OTHER, dir, path), |dir, path| unlink(dir, path), path),
        13 => match rename(dir, path, dir, MADE) {
            Ok(()) if rename(dir, MADE, dir, path).is_err() => "SUCCESS, and cannot be undone",
            answer => name(&answer),
        },
        14 => match rename(dir, OTHER, dir, path) {
            Ok(()) if rename(dir, path, dir, OTHER).is_err() => "SUCCESS, and cannot be undone",
            answer => name(&answer),
        },
        _ => "(no such call)",
    }
}

/// Prints what all calls say to a path: the errnos in the order of the calls, equal ones in a row together.
#[macro_export]
macro_rules! attempts {
    ($dir:expr, $path:expr) => {{
        let path = &$path;
        let path: &[u8] = path.as_ref();
        let mut line = String::new();
        let mut last = "";
        for (number, call) in $crate::attempts::CALLS.iter().enumerate() {
            let answer = $crate::attempts::attempt(number, $dir, path);
            if last == answer {
                line += &format!(", {call}");
            } else {
                line += &format!("\n    {answer}: {call}");
            }
            last = answer;
        }
        let mut shown = path.escape_ascii().to_string();
        if shown.len() > 60 {
            shown = format!("{}... ({} bytes)", &shown[..20], path.len());
        }
        println!("'{shown}'{line}");
    }};
}
