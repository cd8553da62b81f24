//! Tests of the tar reader: archives that crate `tar` wrote, archives made by hand. `broken`: archives that are
//! none; `bounds`: such that cost too much.

#![expect(
    clippy::cast_possible_truncation,
    reason = "tests run on hosts of 64 bits, with numbers that were chosen to fit"
)]

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};

use ::tar::{Builder, EntryType, Header};

use super::*;
use crate::fs::{Access, DirEntry, mem::Limits};

mod bounds;
mod broken;

type Archive = Builder<Vec<u8>>;

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(1_600_000_000);
    header
}

fn add_file(archive: &mut Archive, path: &str, data: &[u8]) {
    let mut header = header(EntryType::Regular, data.len() as u64);
    archive.append_data(&mut header, path, data).expect("memory");
}

fn add_dir(archive: &mut Archive, path: &str) {
    let mut header = header(EntryType::Directory, 0);
    archive.append_data(&mut header, path, &[][..]).expect("memory");
}

fn add_link(archive: &mut Archive, kind: EntryType, path: &str, target: &str) {
    let mut header = header(kind, 0);
    archive.append_link(&mut header, path, target).expect("memory");
}

fn finish(archive: Archive) -> Vec<u8> {
    archive.into_inner().expect("memory")
}

fn load_into(limits: Limits, archive: Vec<u8>) -> Result<MemFs, TarError> {
    let mut fs = MemFs::new(limits, 0);
    load(&mut fs, &Bytes::Shared(Arc::new(archive))).map(|()| fs)
}

fn loaded(archive: Vec<u8>) -> BTreeMap<String, String> {
    let mut fs = load_into(Limits::NONE, archive).expect("a good archive");
    tree(&mut fs)
}

fn error(archive: Vec<u8>) -> TarErrorKind {
    match load_into(Limits::NONE, archive) {
        Ok(mut fs) => panic!("it was taken: {:?}", tree(&mut fs)),
        Err(error) => {
            assert!(!alloc::format!("{error}").is_empty());
            error.kind
        }
    }
}

/// Every path with what is there: a file's data, a link's target, `/` for a directory.
fn tree(fs: &mut MemFs) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let root = fs.root();
    collect(fs, root, "", &mut all);
    all
}

fn collect(fs: &mut MemFs, dir: Node, path: &str, all: &mut BTreeMap<String, String>) {
    let handle = fs.open(dir, Access::READ).expect("a directory");
    let mut names = Vec::new();
    let mut sink = |entry: DirEntry<'_>| {
        names.push(String::from_utf8(entry.name.to_vec()).expect("UTF-8"));
        true
    };
    fs.read_dir(handle, 0, &mut sink, &mut || 0).expect("a directory");
    fs.close(handle);
    for name in names {
        let found = fs.lookup(dir, name.as_bytes()).expect("it was read");
        let path = alloc::format!("{path}{name}");
        let mut data = [0; 300];
        let value = match found.filetype {
            Filetype::Directory => {
                collect(fs, found.node, &alloc::format!("{path}/"), all);
                "/".into()
            }
            Filetype::SymbolicLink => {
                let len = fs.read_link(found.node, &mut data).expect("a link");
                String::from_utf8_lossy(&data[..len]).into_owned()
            }
            _ => {
                let handle = fs.open(found.node, Access::READ).expect("a file");
                let len = fs.read(handle, 0, &mut data, &mut || 0).expect("a file");
                fs.close(handle);
                String::from_utf8_lossy(&data[..len]).into_owned()
            }
        };
        all.insert(path, value);
    }
}

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries
        .iter()
        .map(|(path, value)| ((*path).into(), (*value).into()))
        .collect()
}

#[test]
fn every_kind_of_entry() {
    let mut archive = Archive::new(Vec::new());
    add_dir(&mut archive, "d/");
    add_file(&mut archive, "d/f", b"hello");
    add_file(&mut archive, "empty", b"");
    add_file(&mut archive, "way/down/here", b"deep");
    add_link(&mut archive, EntryType::Symlink, "d/l", "../way/down");
    add_link(&mut archive, EntryType::Symlink, "abs", "/etc/passwd");
    add_link(&mut archive, EntryType::Link, "hard", "d/f");
    let bytes = finish(archive);
    assert_eq!(
        loaded(bytes.clone()),
        map(&[
            ("abs", "/etc/passwd"),
            ("d", "/"),
            ("d/f", "hello"),
            ("d/l", "../way/down"),
            ("empty", ""),
            ("hard", "hello"),
            ("way", "/"),
            ("way/down", "/"),
            ("way/down/here", "deep"),
        ])
    );
    // Two names of one node, with the archive's times, and no data of its own.
    let mut fs = load_into(Limits::NONE, bytes).expect("a good archive");
    let root = fs.root();
    let [hard, d] = [&b"hard"[..], b"d"].map(|name| fs.lookup(root, name).expect("there").node);
    let f = fs.lookup(d, b"f").expect("there").node;
    assert_eq!(hard, f);
    let stat = fs.stat(f).expect("there");
    let time = 1_600_000_000_000_000_000;
    assert_eq!((stat.nlink, stat.mtim, stat.size), (2, time, 5));
    assert_eq!(
        fs.stat(d).map(|stat| stat.mtim),
        Ok(time),
        "though a file was put into it"
    );
    // Only the targets of the links.
    assert_eq!(fs.used().bytes, 22);
}

#[test]
fn long_names_in_every_dialect() {
    let long = alloc::format!("{}/{}", "a".repeat(120), "b".repeat(200));
    let target = "t/".repeat(80) + "end";
    let expected = |file: &str, link: &str| {
        let mut map = BTreeMap::new();
        map.insert("a".repeat(120), "/".into());
        map.insert(String::from(file), String::from("x"));
        map.insert("l".into(), String::from(link));
        map
    };
    // GNU: entries `L` and `K` come before.
    let mut archive = Archive::new(Vec::new());
    let mut file = Header::new_gnu();
    file.set_size(1);
    file.set_mtime(0);
    archive.append_data(&mut file, &long, &b"x"[..]).expect("memory");
    let mut link = Header::new_gnu();
    link.set_entry_type(EntryType::Symlink);
    link.set_size(0);
    link.set_mtime(0);
    archive.append_link(&mut link, "l", &target).expect("memory");
    assert_eq!(loaded(finish(archive)), expected(&long, &target));
    // pax: an extended header comes before.
    let mut archive = Archive::new(Vec::new());
    pax(
        &mut archive,
        EntryType::XHeader,
        &[("path", long.as_bytes()), ("mtime", b"12.5")],
    );
    let mut file = header(EntryType::Regular, 1);
    file.set_path("short").expect("short");
    file.set_cksum();
    archive.append(&file, &b"x"[..]).expect("memory");
    pax(
        &mut archive,
        EntryType::XHeader,
        &[("linkpath", target.as_bytes()), ("comment", b"=\n=")],
    );
    add_link(&mut archive, EntryType::Symlink, "l", "short");
    let bytes = finish(archive);
    assert_eq!(loaded(bytes.clone()), expected(&long, &target));
    let mut fs = load_into(Limits::NONE, bytes).expect("a good archive");
    let root = fs.root();
    let dir = fs.lookup(root, "a".repeat(120).as_bytes()).expect("there").node;
    let file = fs.lookup(dir, "b".repeat(200).as_bytes()).expect("there").node;
    assert_eq!(fs.stat(file).map(|stat| stat.mtim), Ok(12_500_000_000));
    // ustar: the name is in two fields.
    let mut archive = Archive::new(Vec::new());
    let ustar = alloc::format!("{}/{}", "p".repeat(120), "n".repeat(90));
    add_file(&mut archive, &ustar, b"x");
    assert_eq!(loaded(finish(archive)).get(&ustar).map(String::as_str), Some("x"));
}

/// An extended header, made by hand.
fn pax(archive: &mut Archive, kind: EntryType, records: &[(&str, &[u8])]) {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while alloc::format!("{len}").len() + rest != len {
            len += 1;
        }
        data.extend(alloc::format!("{len} {key}=").as_bytes());
        data.extend(*value);
        data.push(b'\n');
    }
    pax_raw(archive, kind, &data);
}

fn pax_raw(archive: &mut Archive, kind: EntryType, data: &[u8]) {
    let mut header = header(kind, data.len() as u64);
    header.set_path("PaxHeaders").expect("short");
    header.set_cksum();
    archive.append(&header, data).expect("memory");
}

#[test]
fn extended_headers_count_once_or_for_all() {
    let mut archive = Archive::new(Vec::new());
    pax(
        &mut archive,
        EntryType::XGlobalHeader,
        &[("mtime", b"7"), ("comment", b"")],
    );
    pax(
        &mut archive,
        EntryType::XHeader,
        &[("path", b"one"), ("size", b"3"), ("mtime", b"-5.5")],
    );
    let mut file = header(EntryType::Regular, 0);
    file.set_path("other").expect("short");
    file.set_cksum();
    archive.append(&file, &b"abc"[..]).expect("memory");
    add_file(&mut archive, "two", b"de");
    let bytes = finish(archive);
    let mut fs = load_into(Limits::NONE, bytes).expect("a good archive");
    assert_eq!(tree(&mut fs), map(&[("one", "abc"), ("two", "de")]));
    let root = fs.root();
    let mut time = |name: &[u8]| {
        let node = fs.lookup(root, name).expect("there").node;
        fs.stat(node).expect("there").mtim
    };
    assert_eq!((time(b"one"), time(b"two")), (0, 7_000_000_000));
}

#[test]
fn paths_are_beneath_the_root() {
    let mut archive = Archive::new(Vec::new());
    for path in ["./a", "b//c", "././d/."] {
        raw(&mut archive, b'0', path.as_bytes(), b"", b"x");
    }
    raw(&mut archive, b'0', b"/etc/x", b"", b"x");
    raw(&mut archive, b'5', b"./", b"", b"");
    raw(&mut archive, 0, b"old/", b"", b"");
    raw(&mut archive, b'7', b"seven", b"", b"x");
    assert_eq!(
        loaded(finish(archive)),
        map(&[
            ("a", "x"),
            ("b", "/"),
            ("b/c", "x"),
            ("d", "x"),
            ("etc", "/"),
            ("etc/x", "x"),
            ("old", "/"),
            ("seven", "x"),
        ])
    );
}

/// An entry with anything in it.
fn raw(archive: &mut Archive, flag: u8, path: &[u8], target: &[u8], data: &[u8]) {
    let mut header = header(EntryType::new(flag), data.len() as u64);
    let bytes = header.as_mut_bytes();
    bytes[..path.len()].copy_from_slice(path);
    bytes[157..157 + target.len()].copy_from_slice(target);
    header.set_cksum();
    archive.append(&header, data).expect("memory");
}

fn one(flag: u8, path: &[u8], target: &[u8]) -> Vec<u8> {
    let mut archive = Archive::new(Vec::new());
    raw(&mut archive, flag, path, target, b"");
    finish(archive)
}

#[test]
fn later_entries_replace_earlier_ones() {
    let mut archive = Archive::new(Vec::new());
    add_file(&mut archive, "a", b"old");
    add_link(&mut archive, EntryType::Link, "b", "a");
    add_file(&mut archive, "a", b"new");
    add_link(&mut archive, EntryType::Symlink, "b", "a");
    add_dir(&mut archive, "d");
    add_dir(&mut archive, "d");
    add_link(&mut archive, EntryType::Link, "a", "a");
    assert_eq!(
        loaded(finish(archive)),
        map(&[("a", "new"), ("b", "a"), ("d", "/")])
    );
}

#[test]
fn paths_that_no_guest_could_use() {
    let long = "x".repeat(256);
    let mut too_long = Archive::new(Vec::new());
    pax(&mut too_long, EntryType::XHeader, &[("path", long.as_bytes())]);
    raw(&mut too_long, b'0', b"x", b"", b"");
    let mut zero = Archive::new(Vec::new());
    pax(&mut zero, EntryType::XHeader, &[("path", b"a\0b")]);
    raw(&mut zero, b'0', b"x", b"", b"");
    for archive in [
        one(b'0', b"../x", b""),
        one(b'0', b"a/../x", b""),
        one(b'5', b"..", b""),
        one(b'0', b"", b""),
        one(b'2', b"./", b"x"),
        one(b'0', b"a\xff", b""),
        one(b'2', b"l", b""),
        one(b'2', b"l", b"\xff"),
        finish(too_long),
        finish(zero),
    ] {
        assert_eq!(error(archive), TarErrorKind::Path);
    }
}

#[test]
fn entries_that_do_not_go_together() {
    let mut through_file = Archive::new(Vec::new());
    add_file(&mut through_file, "f", b"");
    add_file(&mut through_file, "f/x", b"");
    // Not even a link to a directory is gone through: it might lead anywhere.
    let mut through_link = Archive::new(Vec::new());
    add_dir(&mut through_link, "d");
    add_link(&mut through_link, EntryType::Symlink, "l", "d");
    add_file(&mut through_link, "l/x", b"");
    let mut over_dir = Archive::new(Vec::new());
    add_dir(&mut over_dir, "d");
    add_file(&mut over_dir, "d", b"");
    let mut dir_over_file = Archive::new(Vec::new());
    add_file(&mut dir_over_file, "d", b"");
    add_dir(&mut dir_over_file, "d");
    for archive in [through_file, through_link, over_dir, dir_over_file] {
        assert_eq!(error(finish(archive)), TarErrorKind::Conflict);
    }
    for target in ["nowhere", ".", "d", "f/x"] {
        let mut archive = Archive::new(Vec::new());
        add_dir(&mut archive, "d");
        add_file(&mut archive, "f", b"");
        raw(&mut archive, b'1', b"h", target.as_bytes(), b"");
        assert_eq!(error(finish(archive)), TarErrorKind::NoTarget, "{target}");
    }
}

#[test]
fn kinds_that_are_not_supported() {
    for flag in [b'3', b'4', b'6', b'S', b'V', b'Z', 0xff] {
        assert_eq!(error(one(flag, b"x", b"")), TarErrorKind::Unsupported(flag));
    }
    let mut sparse = Archive::new(Vec::new());
    pax(&mut sparse, EntryType::XHeader, &[("GNU.sparse.major", b"1")]);
    raw(&mut sparse, b'0', b"x", b"", b"");
    assert_eq!(error(finish(sparse)), TarErrorKind::Unsupported(b'S'));
}

#[test]
fn limits_hold() {
    let mut archive = Archive::new(Vec::new());
    add_file(&mut archive, "a/b", b"x");
    add_file(&mut archive, "c", b"x");
    let bytes = finish(archive);
    let limits = |entries| Limits { bytes: 0, entries };
    assert!(load_into(limits(3), bytes.clone()).is_ok());
    let error = load_into(limits(2), bytes).map(|_| ()).expect_err("too many");
    assert_eq!(error.kind, TarErrorKind::FileSystem(Errno::NOSPC));
    assert_eq!(error.offset, 1024);
}

fn sample() -> Vec<u8> {
    let mut archive = Archive::new(Vec::new());
    add_dir(&mut archive, "d");
    add_file(&mut archive, "d/f", &[7; 1000]);
    pax(
        &mut archive,
        EntryType::XHeader,
        &[("path", b"p"), ("mtime", b"1.5")],
    );
    add_file(&mut archive, "x", b"y");
    add_link(&mut archive, EntryType::Link, "h", "d/f");
    finish(archive)
}

#[test]
fn one_file_is_found_by_its_path_and_the_last_of_that_name_counts() {
    let mut archive = Archive::new(Vec::new());
    add_dir(&mut archive, "d");
    add_file(&mut archive, "d/f", b"first");
    add_file(&mut archive, "./d//f", b"second");
    add_link(&mut archive, EntryType::Symlink, "link", "d/f");
    let bytes = finish(archive);
    assert!(is_archive(&bytes));
    assert_eq!(find_file(&bytes, "d/f"), Ok(Some(&b"second"[..])));
    assert_eq!(find_file(&bytes, "/d/f"), Ok(Some(&b"second"[..])));
    for other in ["f", "d", "link", "d/f/", ""] {
        let expected = (other == "d/f/").then_some(&b"second"[..]);
        assert_eq!(find_file(&bytes, other), Ok(expected), "{other}");
    }
    assert_eq!(
        find_files(&bytes, ["f", "d/f", "/d/f"]),
        Ok([None, Some(&b"second"[..]), Some(&b"second"[..])])
    );
    let cut = &bytes[..1000];
    assert_eq!(
        find_file(cut, "d/f").map_err(|error| error.kind),
        Err(TarErrorKind::Truncated)
    );
    assert!(!is_archive(b"\0asm\x01\0\0\0") && !is_archive(&[0; 600]));
}
