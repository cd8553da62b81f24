//! What is large or many in a file system: fills it, 100,000 entries, 512 MiB in a file, 10,000 descriptors.
//!
//! `fs-limits CASE [NUMBER]` in the directory `/tmp`; each case ends with proof that the machine still works.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};

const MIB: usize = 1 << 20;

fn main() {
    let mut args = std::env::args().skip(1);
    let case = args.next().expect("a case");
    let number: usize = args.next().map_or(0, |text| text.parse().expect("a number"));
    match case.as_str() {
        "full" => full(),
        "full-of-names" => full_of_names(),
        "full-with-heap" => full_with_heap(),
        "entries" => entries(number),
        "large" => large(number),
        "descriptors" => descriptors(number),
        other => panic!("no case {other}"),
    }
    // Whatever has happened, what is small still works.
    fs::write("/tmp/after", b"the machine lives").unwrap();
    println!("{}", fs::read_to_string("/tmp/after").unwrap());
}

/// Writes to `file` until it fails; what it wrote, in bytes.
fn fill(file: &mut File) -> usize {
    let piece = vec![0xa5; MIB];
    let mut written = 0;
    loop {
        match file.write(&piece) {
            Ok(count) => {
                assert!(count > 0, "a write of nothing");
                written += count;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                return written;
            }
        }
    }
}

/// Fills the file system with data, twice.
fn full() {
    let mut sizes = Vec::new();
    for _ in 0..2 {
        let mut file = File::create("/tmp/large").unwrap();
        let written = fill(&mut file);
        assert!(written > 16 * MIB, "only {written} bytes fit");
        assert_eq!(file.metadata().unwrap().len(), written as u64);
        // Nothing of it is lost, and what is full can be made empty again.
        let mut last = [0; 4096];
        let mut file = File::open("/tmp/large").unwrap();
        file.seek(SeekFrom::Start(written as u64 - 4096)).unwrap();
        file.read_exact(&mut last).unwrap();
        assert!(last.iter().all(|byte| *byte == 0xa5));
        fs::remove_file("/tmp/large").unwrap();
        sizes.push(written);
    }
    drop_in_size(sizes[0], sizes[1]);
    println!("full twice");
}

/// The second time must not fit noticeably less than the first.
fn drop_in_size(first: usize, second: usize) {
    assert!(second >= first / 10 * 9, "{second} bytes after {first}");
}

/// Makes empty files until it fails, removes them, makes them again.
fn full_of_names() {
    let mut counts = Vec::new();
    for _ in 0..2 {
        let made = (0..)
            .take_while(|index| match File::create(format!("/tmp/{index}")) {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                    false
                }
            })
            .count();
        assert!(made > 10_000, "only {made} files");
        for index in 0..made {
            fs::remove_file(format!("/tmp/{index}")).unwrap();
        }
        counts.push(made);
    }
    assert_eq!(counts[0], counts[1]);
    println!("full of names twice");
}

/// Takes all linear memory that there is, fills the file system, and goes on with both full.
fn full_with_heap() {
    let mut hoard: Vec<Vec<u8>> = Vec::new();
    let mut size = 16 * MIB;
    while size >= 64 << 10 {
        let mut block: Vec<u8> = Vec::new();
        if block.try_reserve_exact(size).is_ok() {
            hoard.push(block);
        } else {
            size /= 2;
        }
    }
    let mut file = File::create("/tmp/large").unwrap();
    // Not with `fill`: there is no memory for its buffer.
    let mut written = 0;
    let error = loop {
        match file.write(&[0xa5; 4096]) {
            Ok(count) => written += count,
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(error, ErrorKind::StorageFull);
    let held: usize = hoard.iter().map(Vec::capacity).sum();
    assert!(held > MIB, "only {held} bytes of heap");
    let files: Vec<File> = (0..100).map(|_| File::open("/tmp/large").unwrap()).collect();
    assert_eq!(files[99].metadata().unwrap().len(), written as u64);
    drop(files);
    drop(file);
    fs::remove_file("/tmp/large").unwrap();
    println!("both full");
}

/// Makes `number` files in one directory, lists and removes them.
fn entries(number: usize) {
    fs::create_dir("/tmp/many").unwrap();
    for index in 0..number {
        File::create(format!("/tmp/many/{index}")).unwrap();
    }
    let mut seen = vec![false; number];
    for entry in fs::read_dir("/tmp/many").unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let index: usize = name.parse().unwrap();
        assert!(!std::mem::replace(&mut seen[index], true), "{name} comes twice");
    }
    assert!(seen.iter().all(|seen| *seen));
    for index in 0..number {
        fs::remove_file(format!("/tmp/many/{index}")).unwrap();
    }
    fs::remove_dir("/tmp/many").unwrap();
    println!("{number} entries made, listed and removed");
}

/// Writes a file of `number` MiB, each with its own number in it, and reads it back.
fn large(number: usize) {
    let mut piece = vec![0; MIB];
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open("/tmp/large")
        .unwrap();
    let stamp = |piece: &mut [u8], index: usize| {
        for at in [0, MIB / 2 - 4, MIB - 8] {
            piece[at..at + 8].copy_from_slice(&(index as u64).to_le_bytes());
        }
    };
    for index in 0..number {
        stamp(&mut piece, index);
        file.write_all(&piece).unwrap();
    }
    assert_eq!(file.metadata().unwrap().len(), (number * MIB) as u64);
    file.rewind().unwrap();
    let mut read = vec![0; MIB];
    for index in 0..number {
        stamp(&mut piece, index);
        file.read_exact(&mut read).unwrap();
        // Not every byte: that would be an hour's work for an interpreter in an emulator.
        let differs = |at: &usize| read[*at..*at + 8] != piece[*at..*at + 8];
        let wrong = (0..MIB).step_by(4096).chain([MIB / 2 - 4, MIB - 8]).find(differs);
        assert_eq!(wrong, None, "in MiB {index}");
    }
    println!("{number} MiB written and read");
}

/// Opens `number` descriptors at once and uses all of them.
fn descriptors(number: usize) {
    fs::write("/tmp/file", b"0123456789").unwrap();
    let mut files: Vec<File> = (0..number).map(|_| File::open("/tmp/file").unwrap()).collect();
    for (index, file) in files.iter_mut().enumerate() {
        file.seek(SeekFrom::Start(index as u64 % 10)).unwrap();
    }
    for (index, file) in files.iter_mut().enumerate() {
        let mut byte = [0];
        file.read_exact(&mut byte).unwrap();
        assert_eq!(usize::from(byte[0] - b'0'), index % 10);
    }
    println!("{number} descriptors open at once");
}
