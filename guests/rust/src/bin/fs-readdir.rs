//! `fd_readdir` in pieces of any size, with cookies that stay good while entries come and go.
//!
//! The argument chooses: `still`, `changes`, or `anywhere`, for cookies that no entry had: to a host's file system they
//! may mean something.

use std::collections::BTreeMap;

use guests::files::*;
use guests::value;

fn main() {
    mkdir(FIRST, "d").unwrap();
    let dir = opendir(FIRST, "d").unwrap();
    match std::env::args().nth(1).as_deref() {
        Some("still") => still(dir),
        Some("changes") => changes(dir),
        Some("anywhere") => anywhere(dir),
        other => panic!("no case {other:?}"),
    }
}

/// A directory that nobody changes.
fn still(dir: Fd) {
    println!("empty: {:?}", all(dir, 4096, 0, &mut || ()));
    put(FIRST, "d/file", "").unwrap();
    mkdir(FIRST, "d/sub").unwrap();
    symlink("file", FIRST, "d/link").unwrap();
    put(FIRST, format!("d/{}", "n".repeat(255)), "").unwrap();
    let mut buffer = [0; 4096];
    let length = readdir(dir, &mut buffer, 0).unwrap();
    let mut kinds: Vec<_> = entries(&buffer[..length])
        .map(|entry| {
            format!(
                "{:.8} of kind {}",
                entry.name.escape_ascii().to_string(),
                entry.kind
            )
        })
        .collect();
    kinds.sort();
    println!("{}", kinds.join(", "));

    println!("sizes of the buffer");
    for size in [0, 1, 23, 24, 25] {
        let mut small = vec![0xee; size];
        value!(readdir(dir, &mut small, 0));
    }
    for size in [280, 281, 300, 4096] {
        let names = all(dir, size, 0, &mut || ());
        println!("{size} bytes: {} entries", names.values().sum::<usize>());
    }
    println!("from an entry's cookie on");
    let length = readdir(dir, &mut buffer, 0).unwrap();
    let listed: Vec<(u64, Vec<u8>)> = entries(&buffer[..length])
        .map(|entry| (entry.next, entry.name.to_vec()))
        .collect();
    for index in 0..listed.len() {
        let length = readdir(dir, &mut buffer, listed[index].0).unwrap();
        let rest: Vec<Vec<u8>> = entries(&buffer[..length])
            .map(|entry| entry.name.to_vec())
            .collect();
        let same = rest.iter().eq(listed[index + 1..].iter().map(|(_, name)| name));
        println!("after {}: {} more, the same: {same}", index + 1, rest.len());
    }
    println!("what is not a directory");
    let file = open(FIRST, "d/file", 0, READ).unwrap();
    value!(readdir(file, &mut buffer, 0));
    value!(readdir(1, &mut buffer, 0));
}

/// From cookies that were never given.
fn anywhere(dir: Fd) {
    let mut buffer = [0; 4096];
    put(FIRST, "d/file", "").unwrap();
    value!(readdir(dir, &mut buffer, u64::MAX));
    value!(readdir(dir, &mut buffer, 1 << 40));
}

/// While entries go and come.
fn changes(dir: Fd) {
    let mut buffer = [0; 300];
    println!("while entries go");
    let names = 200;
    for number in 0..names {
        put(dir, format!("{number}"), "").unwrap();
    }
    let mut number = 0;
    // What has not been seen yet may go: an odd one with each piece.
    let seen = all(dir, 300, 0, &mut || {
        if number < names {
            unlink(dir, format!("{}", number + 1)).unwrap();
        }
        number += 2;
    });
    let stayed = (0..names)
        .step_by(2)
        .all(|number| seen.get(&number.to_string()) == Some(&1));
    let twice = seen.values().any(|count| *count > 1);
    println!("those that stayed are seen: {stayed}, some twice: {twice}");

    println!("while entries come");
    let mut number = 1000;
    let seen = all(dir, 300, 0, &mut || {
        if number < 1050 {
            put(dir, format!("{number}"), "").unwrap();
        }
        number += 1;
    });
    let stayed = (0..names)
        .step_by(2)
        .all(|number| seen.get(&number.to_string()) == Some(&1));
    let twice = seen.values().any(|count| *count > 1);
    println!("those that were there are seen: {stayed}, some twice: {twice}");

    println!("while all is removed as it is seen");
    let there = all(dir, 4096, 0, &mut || ()).len() - 2;
    let mut cookie = 0;
    let mut removed = 0;
    loop {
        let length = readdir(dir, &mut buffer, cookie).unwrap();
        let mut any = false;
        for entry in entries(&buffer[..length]) {
            (cookie, any) = (entry.next, true);
            if unlink(dir, entry.name).is_ok() {
                removed += 1;
            }
        }
        if !any {
            break;
        }
    }
    // How many there were depends on how often the directory was read above.
    println!(
        "removed all: {}, left: {:?}",
        removed == there && there >= 100,
        all(dir, 4096, 0, &mut || ())
    );
}

/// All names from a cookie on, and how often each comes; `between` is done between two calls.
fn all(dir: Fd, size: usize, mut cookie: u64, between: &mut dyn FnMut()) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    let mut buffer = vec![0; size];
    loop {
        let length = readdir(dir, &mut buffer, cookie).unwrap();
        let mut any = false;
        for entry in entries(&buffer[..length]) {
            let name = entry.name.escape_ascii().to_string();
            *names.entry(name).or_insert(0) += 1;
            (cookie, any) = (entry.next, true);
        }
        if !any {
            return names;
        }
        between();
    }
}
