//! Works in a shared directory while its host changes it: `share CASE PATH [NUMBER]`.
//!
//! A case that says `ready` waits for a line on standard input, in which time the host does something. Errors are
//! printed as the errno of preview 1, by number.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

/// Bytes at the start of what the host cuts short.
const KEPT: u64 = 4096;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (case, path) = (args[0].as_str(), args[1].as_str());
    let number = || args[2].parse().expect("a number");
    match case {
        "cut" => cut(path),
        "removed" => removed(path),
        "daemon" => daemon(path),
        "open" => open(path, number()),
        "count" => println!(
            "{} entries",
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap()).count()
        ),
        "tail" => tail(path),
        "fill" => fill(path),
        "names" => names(path),
        other => panic!("no case {other}"),
    }
}

/// What a call gave: a value, or its errno.
fn outcome<T: std::fmt::Debug>(result: io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => match error.raw_os_error() {
            Some(errno) => format!("errno {errno}"),
            None => format!("{error}"),
        },
    }
}

/// Lets the host act.
fn wait_for_the_host() {
    println!("ready");
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
}

/// Reads a file that the host cuts short in between.
fn cut(path: &str) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; KEPT as usize / 2];
    file.read_exact(&mut buffer).unwrap();
    wait_for_the_host();
    let mut rest = Vec::new();
    println!("rest: {}", outcome(file.read_to_end(&mut rest)));
    println!(
        "size: {}",
        outcome(file.metadata().map(|metadata| metadata.len()))
    );
}

/// Works in a directory that the host removes in between.
fn removed(path: &str) {
    let inside = format!("{path}/file");
    let mut file = File::create(&inside).unwrap();
    wait_for_the_host();
    println!("open file: {}", outcome(file.write(b"still there")));
    println!("by its name: {}", outcome(File::open(&inside).map(drop)));
    println!(
        "new file: {}",
        outcome(File::create(format!("{path}/new")).map(drop))
    );
    println!("list: {}", outcome(fs::read_dir(path).map(Iterator::count)));
}

/// Writes and syncs, and goes on when the host has ended the daemon.
fn daemon(path: &str) {
    let mut file = File::create(format!("{path}/synced")).unwrap();
    file.write_all(b"synced").unwrap();
    file.sync_all().unwrap();
    wait_for_the_host();
    println!("write: {}", outcome(file.write(b"lost")));
    println!(
        "open: {}",
        outcome(File::open(format!("{path}/synced")).map(drop))
    );
    println!("list: {}", outcome(fs::read_dir(path).map(Iterator::count)));
}

/// Opens, looks at and closes `number` files, by `number` names.
fn open(path: &str, number: usize) {
    for index in 0..number {
        let name = format!("{path}/{index}");
        let mut byte = [0];
        File::open(&name).unwrap().read_exact(&mut byte).unwrap();
    }
    println!("{number} files opened");
    wait_for_the_host();
}

/// Reads the last ten bytes.
fn tail(path: &str) {
    let mut file = File::open(path).unwrap();
    let at = file.seek(SeekFrom::End(-10)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    println!("{text} at {at}");
}

/// Writes until it fails, in two ways.
fn fill(path: &str) {
    let mut file = OpenOptions::new().create(true).write(true).open(path).unwrap();
    let piece = vec![0x5a; 100_000];
    let mut written = 0;
    let error = loop {
        match file.write(&piece) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
    };
    println!("full: errno {}", error.raw_os_error().unwrap_or(-1));
    // It may hold more: of the write that failed, some bytes may have found room.
    println!("kept: {}", file.metadata().unwrap().len() >= written as u64);
    drop(file);
    fs::remove_file(path).unwrap();
    println!("room again: {}", outcome(fs::write(path, b"small")));
}

/// Lists a directory, in order; if that fails, tells how, and opens what is called `file`.
fn names(path: &str) {
    let all = fs::read_dir(path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    if all.is_err() {
        println!("list: {}", outcome(all.map(drop)));
        println!("file: {}", outcome(fs::read_to_string(format!("{path}/file"))));
        return;
    }
    let mut names: Vec<String> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    println!("{names:?}");
}
