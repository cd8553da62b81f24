//! Listings of directories.
//!
//! Layer: tests.

use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt as _};

use super::*;
use fuse_abi::linux::fuse_opcode;

type Entries = BTreeMap<String, (u64, Filetype)>;

/// Lists a directory, `at_once` entries a call, and one more that does not fit, as a guest does.
fn list(fs: &mut Fs, handle: Handle, at_once: usize) -> Result<Entries, Errno> {
    let mut all = BTreeMap::new();
    let mut cookie = 0;
    loop {
        let before = cookie;
        let mut room = at_once;
        let mut again = Vec::new();
        fs.read_dir(
            handle,
            cookie,
            &mut |entry| {
                if room == 0 {
                    return false;
                }
                room -= 1;
                cookie = entry.next;
                again.push((
                    String::from_utf8(entry.name.to_vec()).expect("UTF-8"),
                    (entry.ino, entry.filetype),
                ));
                true
            },
            &mut now,
        )?;
        for (name, rest) in again {
            assert_eq!(all.insert(name.clone(), rest), None, "{name} twice");
        }
        if before == cookie {
            return Ok(all);
        }
    }
}

fn fill(bed: &TestBed, count: usize) -> Entries {
    let mut expected = BTreeMap::new();
    std::fs::create_dir(bed.dir.join("a directory")).expect("a directory");
    std::os::unix::fs::symlink("x", bed.dir.join("a link")).expect("a link");
    for number in 0..count {
        let name = format!("file-{number}-{}", "x".repeat(number % 200));
        write(&bed.dir.join(name), "");
    }
    for entry in std::fs::read_dir(&*bed.dir).expect("it is there") {
        let entry = entry.expect("it is there");
        let filetype = match entry.file_type().expect("it has one") {
            filetype if filetype.is_dir() => Filetype::Directory,
            filetype if filetype.is_symlink() => Filetype::SymbolicLink,
            _ => Filetype::RegularFile,
        };
        let name = entry.file_name().into_string().expect("UTF-8");
        let ino = std::os::unix::fs::DirEntryExt::ino(&entry);
        expected.insert(name, (ino, filetype));
    }
    expected
}

#[test]
fn complete_in_any_pieces() {
    let mut bed = TestBed::new();
    let expected = fill(&bed, 3000);
    let root = bed.root;
    let handle = bed.fs.open(root, READ).expect("it can be opened");
    for at_once in [1, 7, 100, 10_000] {
        assert_eq!(
            list(&mut bed.fs, handle, at_once),
            Ok(expected.clone()),
            "{at_once} at once"
        );
    }
    bed.fs.close(handle);
    let requests = bed.client.server.borrow().requests.clone();
    assert!(
        requests[&(fuse_opcode::FUSE_READDIR as u32)] < 4 * 12,
        "pieces are kept, not asked for again"
    );
    assert_eq!(requests.get(&(fuse_opcode::FUSE_READDIRPLUS as u32)), None);
    bed.settled();
}

/// Where listings tell no types, attributes are asked for; without those the type is unknown.
#[test]
fn types_that_are_not_told() {
    for readdirplus in [true, false] {
        let mut bed = TestBed::with(Config {
            readdirplus,
            hide_types: true,
            ..Config::default()
        });
        let mut expected = fill(&bed, 300);
        if !readdirplus {
            expected
                .values_mut()
                .for_each(|(_, filetype)| *filetype = Filetype::Unknown);
        }
        let root = bed.root;
        let handle = bed.fs.open(root, READ).expect("it can be opened");
        for at_once in [3, 1000] {
            assert_eq!(list(&mut bed.fs, handle, at_once), Ok(expected.clone()));
        }
        bed.fs.close(handle);
        bed.settled();
    }
}

/// The beginning is always read anew, and an empty directory has nothing.
#[test]
fn begun_again() {
    let mut bed = TestBed::new();
    let root = bed.root;
    let handle = bed.fs.open(root, READ).expect("it can be opened");
    assert_eq!(list(&mut bed.fs, handle, 10), Ok(Entries::new()));
    write(&bed.dir.join("f"), "");
    assert_eq!(list(&mut bed.fs, handle, 10).map(|all| all.len()), Ok(1));
    bed.fs.close(handle);
    bed.settled();
}

/// A name that WASI cannot tell is an error and not left out, as in wasmtime.
#[test]
fn names_that_are_not_utf_8() {
    let mut bed = TestBed::new();
    write(&bed.dir.join(OsStr::from_bytes(b"\xff")), "");
    let root = bed.root;
    let handle = bed.fs.open(root, READ).expect("it can be opened");
    assert_eq!(list(&mut bed.fs, handle, 10), Err(Errno::ILSEQ));
    std::fs::remove_file(bed.dir.join(OsStr::from_bytes(b"\xff"))).expect("it is there");
    assert_eq!(list(&mut bed.fs, handle, 10), Ok(Entries::new()));
    bed.fs.close(handle);
    bed.settled();
}

/// Entries that come and go meanwhile do not hide those that stay.
#[test]
fn while_it_changes() {
    let mut bed = TestBed::new();
    let expected = fill(&bed, 500);
    let root = bed.root;
    let handle = bed.fs.open(root, READ).expect("it can be opened");
    let mut seen = BTreeMap::new();
    let mut cookie = 0;
    for round in 0.. {
        let before = cookie;
        let mut room = 20;
        bed.fs
            .read_dir(
                handle,
                cookie,
                &mut |entry| {
                    room -= 1;
                    cookie = entry.next;
                    *seen.entry(entry.name.to_vec()).or_insert(0) += 1;
                    room > 0
                },
                &mut now,
            )
            .expect("it is there");
        if cookie == before {
            break;
        }
        write(&bed.dir.join(format!("new-{round}")), "");
    }
    for name in expected.keys() {
        assert_eq!(seen.get(name.as_bytes()), Some(&1), "{name}");
    }
    bed.fs.close(handle);
    bed.settled();
}
