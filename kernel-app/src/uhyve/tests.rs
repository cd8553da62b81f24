//! [`UhyveFs`] on a uhyve of the tests' own, which maps a directory of this machine as uhyve 0.10 does.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use wasi_core::Errno;
use wasi_core::fs::{Access, DirEntry, FileSystem as _, Found, Handle, Node, Stat};
use wasi_core::types::Filetype;

use super::{UhyveFs, read_file};
use fake::Fake;

mod fake;

fn now() -> impl FnMut() -> u64 {
    || 0
}

fn found(fs: &mut UhyveFs<Fake>, dir: Node, name: &str) -> Result<Found, Errno> {
    fs.lookup(dir, name.as_bytes())
}

const WRITE: Access = Access {
    read: true,
    write: true,
};

/// Opens a file at the top.
fn open(fs: &mut UhyveFs<Fake>, name: &str, access: Access) -> Handle {
    let root = fs.root();
    let node = found(fs, root, name).unwrap().node;
    fs.open(node, access).unwrap()
}

fn listing(
    fs: &mut UhyveFs<Fake>,
    dir: Handle,
    cookie: u64,
    most: usize,
) -> Vec<(u64, String, Filetype, u64)> {
    let mut seen = Vec::new();
    let mut sink = |entry: DirEntry<'_>| {
        let name = core::str::from_utf8(entry.name).unwrap().to_string();
        seen.push((entry.next, name, entry.filetype, entry.ino));
        seen.len() < most
    };
    fs.read_dir(dir, cookie, &mut sink, &mut now()).unwrap();
    seen
}

#[test]
fn a_file_is_read_in_any_place() {
    let host = Fake::new("read");
    let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    fs::write(host.directory.join("f"), &bytes).unwrap();
    host.state.borrow_mut().most = 999;
    let mut fs = host.fs();
    let file = open(&mut fs, "f", Access::READ);
    let mut buf = vec![0; 20_000];
    assert_eq!(fs.read(file, 0, &mut buf, &mut now()), Ok(10_000));
    assert_eq!(buf[..10_000], bytes);
    assert_eq!(fs.read(file, 9_990, &mut buf[..100], &mut now()), Ok(10));
    assert_eq!(buf[..10], bytes[9_990..]);
    assert_eq!(fs.read(file, 10_000, &mut buf, &mut now()), Ok(0));
    assert_eq!(fs.read(file, u64::MAX, &mut buf, &mut now()), Ok(0));
    fs.close(file);
    assert_eq!(host.open_count(), 0);
    assert_eq!(fs.read(file, 0, &mut buf, &mut now()), Err(Errno::BADF));
}

#[test]
fn a_file_is_written_where_it_should_be() {
    let host = Fake::new("write");
    let mut fs = host.fs();
    let root = fs.root();
    let node = fs.create(root, b"new", &mut now()).unwrap();
    assert_eq!(fs.create(root, b"new", &mut now()), Err(Errno::EXIST));
    let file = fs.open(node, WRITE).unwrap();
    assert_eq!(fs.write(file, 3, b"abc", &mut now()), Ok(3));
    assert_eq!(fs.append(file, b"de", &mut now()), Ok((2, 8)));
    assert_eq!(fs.write(file, 0, b"X", &mut now()), Ok(1));
    assert_eq!(fs::read(host.directory.join("new")).unwrap(), b"X\0\0abcde");
    for offset in [u64::MAX, 1 << 63, (1 << 63) - 1] {
        assert_eq!(
            fs.write(file, offset, b"a", &mut now()),
            Err(Errno::FBIG),
            "{offset}"
        );
    }
    let stat = fs.stat(node).unwrap();
    assert_eq!(
        (stat.size, stat.filetype, stat.nlink),
        (8, Filetype::RegularFile, 1)
    );
}

#[test]
fn a_file_grows_and_is_emptied_but_not_shortened() {
    let host = Fake::new("size");
    let path = host.directory.join("f");
    fs::write(&path, b"abc").unwrap();
    let mut fs = host.fs();
    let file = open(&mut fs, "f", WRITE);
    assert_eq!(fs.set_size(file, 3, &mut now()), Ok(()));
    assert_eq!(fs.set_size(file, 5, &mut now()), Ok(()));
    assert_eq!(fs::read(&path).unwrap(), b"abc\0\0");
    assert_eq!(fs.set_size(file, 2, &mut now()), Err(Errno::NOTSUP));
    assert_eq!(fs.set_size(file, u64::MAX, &mut now()), Err(Errno::FBIG));
    assert_eq!(fs.set_size(file, 0, &mut now()), Ok(()));
    assert_eq!(fs::read(&path).unwrap(), b"");
    assert_eq!(host.open_count(), 1);
    // Another file has the name now: that one is left alone.
    fs.write(file, 0, b"first", &mut now()).unwrap();
    fs::rename(&path, host.directory.join("g")).unwrap();
    fs::write(&path, b"second").unwrap();
    assert_eq!(fs.set_size(file, 0, &mut now()), Err(Errno::NOTSUP));
    assert_eq!(fs::read(&path).unwrap(), b"second");
    fs::remove_file(&path).unwrap();
    assert_eq!(fs.set_size(file, 0, &mut now()), Err(Errno::NOTSUP));
}

#[test]
fn a_directory_is_listed_from_any_cookie() {
    let host = Fake::new("list");
    let names: Vec<String> = (0..20).map(|number| format!("entry-{number}")).collect();
    for name in &names {
        fs::write(host.directory.join(name), b"").unwrap();
    }
    fs::create_dir(host.directory.join("sub")).unwrap();
    std::os::unix::fs::symlink("entry-0", host.directory.join("link")).unwrap();
    let mut fs = host.fs();
    let root = fs.root();
    let dir = fs.open(root, Access::READ).unwrap();
    let all = listing(&mut fs, dir, 0, usize::MAX);
    let mut seen: Vec<&str> = all.iter().map(|(_, name, ..)| name.as_str()).collect();
    seen.sort_unstable();
    let mut expected: Vec<&str> = names.iter().map(String::as_str).chain(["sub", "link"]).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    for (index, (next, name, filetype, ino)) in all.iter().enumerate() {
        assert_eq!(listing(&mut fs, dir, *next, usize::MAX), all[index + 1..]);
        let metadata = fs::symlink_metadata(host.directory.join(name)).unwrap();
        assert_eq!(*ino, metadata.ino());
        let expected = match name.as_str() {
            "sub" => Filetype::Directory,
            "link" => Filetype::SymbolicLink,
            _ => Filetype::RegularFile,
        };
        assert_eq!(*filetype, expected, "{name}");
    }
    assert_eq!(listing(&mut fs, dir, 0, 1), all[..1]);
    let mut sink = |_: DirEntry<'_>| true;
    assert_eq!(
        fs.read_dir(dir, u64::MAX, &mut sink, &mut now()),
        Err(Errno::INVAL)
    );
}

#[test]
fn what_exists_in_the_mapping_only_can_be_listed_and_not_changed() {
    let host = Fake::new("made-up");
    fs::write(host.directory.join("f"), b"data").unwrap();
    let mut fs = UhyveFs::new(host.clone(), "/").unwrap();
    let root = fs.root();
    let dir = fs.open(root, Access::READ).unwrap();
    let listed = listing(&mut fs, dir, 0, usize::MAX);
    assert_eq!(listed.len(), 1);
    let (next, name, filetype, ino) = &listed[0];
    assert_eq!((name.as_str(), *filetype), ("root", Filetype::Directory));
    assert_eq!(listing(&mut fs, dir, *next, usize::MAX), []);
    let inner = found(&mut fs, root, "root").unwrap().node;
    assert_eq!(fs.stat(inner).unwrap().ino, *ino);
    assert_ne!(fs.stat(root).unwrap().ino, *ino);
    for result in [
        fs.create(inner, b"x", &mut now()).map(|_| ()),
        fs.create_dir(inner, b"x", &mut now()),
        fs.unlink(inner, b"d", &mut now()),
    ] {
        assert_eq!(result, Err(Errno::ROFS));
    }
    // Below, the host's directory begins.
    let mapped = found(&mut fs, inner, "d").unwrap().node;
    let file = found(&mut fs, mapped, "f").unwrap();
    assert_eq!(fs.stat(file.node).unwrap().size, 4);
    assert_eq!(fs.create_dir(mapped, b"x", &mut now()), Ok(()));
    assert!(host.directory.join("x").is_dir());
}

#[test]
fn names_are_made_and_removed() {
    let host = Fake::new("names");
    let mut fs = host.fs();
    let root = fs.root();
    assert_eq!(fs.create_dir(root, b"d", &mut now()), Ok(()));
    assert_eq!(fs.create_dir(root, b"d", &mut now()), Err(Errno::EXIST));
    fs::write(host.directory.join("f"), b"x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", host.directory.join("link")).unwrap();
    assert_eq!(fs.unlink(root, b"none", &mut now()), Err(Errno::NOENT));
    assert_eq!(fs.unlink(root, b"d", &mut now()), Err(Errno::ISDIR));
    let node = found(&mut fs, root, "f").unwrap().node;
    let file = fs.open(node, WRITE).unwrap();
    assert_eq!(fs.unlink(root, b"f", &mut now()), Ok(()));
    assert_eq!(found(&mut fs, root, "f"), Err(Errno::NOENT));
    // It lives on without a name.
    assert_eq!(fs.stat(node).unwrap().nlink, 0);
    assert_eq!(fs.write(file, 1, b"y", &mut now()), Ok(1));
    // A symbolic link is one, and leads nowhere.
    let link = found(&mut fs, root, "link").unwrap();
    assert_eq!(link.filetype, Filetype::SymbolicLink);
    assert_eq!(fs.read_link(link.node, &mut [0; 10]), Err(Errno::NOTSUP));
    assert_eq!(fs.unlink(root, b"link", &mut now()), Ok(()));
    assert!(!host.directory.join("link").is_symlink());
}

#[test]
fn what_uhyve_cannot_do_is_said() {
    let host = Fake::new("not-supported");
    fs::write(host.directory.join("f"), b"x").unwrap();
    fs::create_dir(host.directory.join("d")).unwrap();
    let mut fs = host.fs();
    let root = fs.root();
    let node = found(&mut fs, root, "f").unwrap().node;
    let file = fs.open(node, WRITE).unwrap();
    for result in [
        fs.allocate(file, 0, 1, &mut now()),
        fs.sync(file, true),
        fs.set_times(node, Some(0), None, &mut now()),
        fs.create_link(root, b"l", b"f", &mut now()),
        fs.hard_link(node, root, b"l", &mut now()),
        fs.rename(root, b"f", root, b"g", &mut now()),
        fs.remove_dir(root, b"d", &mut now()),
    ] {
        assert_eq!(result, Err(Errno::NOTSUP));
    }
    assert_eq!(
        fs.rename(root, b"none", root, b"g", &mut now()),
        Err(Errno::NOENT)
    );
    assert_eq!(fs.remove_dir(root, b"none", &mut now()), Err(Errno::NOENT));
    assert_eq!(fs.remove_dir(root, b"f", &mut now()), Err(Errno::NOTDIR));
}

#[test]
fn nodes_are_forgotten_unless_open() {
    let host = Fake::new("nodes");
    for name in ["a", "b"] {
        fs::write(host.directory.join(name), name).unwrap();
    }
    let mut fs = host.fs();
    let root = fs.root();
    let kept = found(&mut fs, root, "a").unwrap().node;
    let file = fs.open(kept, Access::READ).unwrap();
    let again = fs.open(kept, Access::READ).unwrap();
    let lost = found(&mut fs, root, "b").unwrap().node;
    fs.begin_call();
    assert_eq!(fs.stat(kept).map(|stat: Stat| stat.size), Ok(1));
    assert_eq!(fs.stat(lost), Err(Errno::BADF));
    fs.close(again);
    fs.begin_call();
    assert_eq!(fs.stat(kept).map(|stat| stat.size), Ok(1));
    fs.close(file);
    fs.begin_call();
    assert_eq!(fs.stat(kept), Err(Errno::BADF));
    assert_eq!(fs.stat(root).map(|stat| stat.filetype), Ok(Filetype::Directory));
    assert_eq!(host.open_count(), 0);
}

#[test]
fn a_path_that_is_no_directory_is_refused() {
    let host = Fake::new("refused");
    fs::write(host.directory.join("f"), b"x").unwrap();
    let refused = |path: &str| UhyveFs::new(host.clone(), path).err();
    assert_eq!(refused("/elsewhere"), Some(Errno::NOENT));
    assert_eq!(refused("/root/d/f"), Some(Errno::NOTDIR));
    assert_eq!(refused("relative"), Some(Errno::INVAL));
    assert_eq!(refused("/nul\0"), Some(Errno::INVAL));
    assert_eq!(refused(&"/x".repeat(3000)), Some(Errno::NAMETOOLONG));
    assert_eq!(refused("/root/d/"), None);
}

#[test]
fn a_path_beyond_the_longest_is_too_long() {
    let host = Fake::new("long");
    let mut fs = host.fs();
    let mut dir = fs.root();
    // Long names in the host's directory are its affair; here only the sum is too much.
    let result = (0..20).find_map(|_| {
        let name = "n".repeat(250);
        let created = fs.create_dir(dir, name.as_bytes(), &mut now());
        if created == Err(Errno::NAMETOOLONG) {
            return Some(Errno::NAMETOOLONG);
        }
        dir = found(&mut fs, dir, &name).ok()?.node;
        None
    });
    assert_eq!(result, Some(Errno::NAMETOOLONG));
}

#[test]
fn a_whole_file_is_read_with_its_reason_if_not() {
    let host = Fake::new("whole");
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(host.directory.join("m.wasm"), &bytes).unwrap();
    host.state.borrow_mut().most = 100_000;
    assert_eq!(
        read_file(&mut host.clone(), "/root/d/m.wasm").as_deref(),
        Ok(&bytes[..])
    );
    for (path, words) in [
        ("/root/d/none", "--file-mapping HOST:/root/d/none"),
        ("/root", "it is a directory"),
        ("m.wasm", "must begin with a slash"),
        ("/a\0", "NUL"),
    ] {
        let reason = read_file(&mut host.clone(), path).unwrap_err();
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!(host.open_count(), 0);
}
