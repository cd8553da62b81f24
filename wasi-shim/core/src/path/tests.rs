//! Tests of the sandbox: exhaustive walks in small trees, watched by a file system that knows what must not be
//! seen.

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::ops::{Deref, DerefMut};

use super::*;
use crate::fs::{
    Access, DirEntry, Handle, Now, Stat,
    mem::{Limits, MemFs},
};

/// Checks a path and walks it.
fn walk(fs: &mut dyn FileSystem, base: Node, path: &[u8], mode: FollowMode) -> Result<Resolved, Errno> {
    resolve(fs, base, GuestPath::new(path)?, mode)
}

/// A file system that notes every node that a walk touches.
struct Watched {
    fs: MemFs,
    touched: Vec<Node>,
}

impl Deref for Watched {
    type Target = MemFs;
    fn deref(&self) -> &MemFs {
        &self.fs
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut MemFs {
        &mut self.fs
    }
}

const FORBIDDEN: &str = "a walk looks, it changes nothing";

impl FileSystem for Watched {
    fn root(&mut self) -> Node {
        panic!("a walk starts where it is told")
    }
    fn lookup(&mut self, dir: Node, name: &[u8]) -> Result<Found, Errno> {
        self.touched.push(dir);
        assert!(!name.is_empty() && name.len() <= NAME_MAX && !name.contains(&b'/'));
        assert!(name != b"." && name != b"..");
        let found = self.fs.lookup(dir, name)?;
        self.touched.push(found.node);
        Ok(found)
    }
    fn read_link(&mut self, link: Node, buf: &mut [u8]) -> Result<usize, Errno> {
        self.touched.push(link);
        self.fs.read_link(link, buf)
    }
    fn stat(&mut self, _: Node) -> Result<Stat, Errno> {
        panic!("{FORBIDDEN}")
    }
    fn open(&mut self, _: Node, _: Access) -> Result<Handle, Errno> {
        panic!("{FORBIDDEN}")
    }
    fn close(&mut self, _: Handle) {
        panic!("{FORBIDDEN}")
    }
    fn read(&mut self, _: Handle, _: u64, _: &mut [u8], _: Now<'_>) -> Result<usize, Errno> {
        panic!("{FORBIDDEN}")
    }
    fn write(&mut self, _: Handle, _: u64, _: &[u8], _: Now<'_>) -> Result<usize, Errno> {
        panic!("{FORBIDDEN}")
    }
    fn append(&mut self, _: Handle, _: &[u8], _: Now<'_>) -> Result<(usize, u64), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn set_size(&mut self, _: Handle, _: u64, _: Now<'_>) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn allocate(&mut self, _: Handle, _: u64, _: u64, _: Now<'_>) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn sync(&mut self, _: Handle, _: bool) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn set_times(&mut self, _: Node, _: Option<u64>, _: Option<u64>, _: Now<'_>) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn read_dir(
        &mut self,
        _: Handle,
        _: u64,
        _: &mut dyn FnMut(DirEntry<'_>) -> bool,
        _: Now<'_>,
    ) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn create(&mut self, _: Node, _: &[u8], _: Now<'_>) -> Result<Node, Errno> {
        panic!("{FORBIDDEN}")
    }
    fn create_dir(&mut self, _: Node, _: &[u8], _: Now<'_>) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn create_link(&mut self, _: Node, _: &[u8], _: &[u8], _: Now<'_>) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn hard_link(&mut self, _: Node, _: Node, _: &[u8], _: Now<'_>) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn unlink(&mut self, _: Node, _: &[u8], _: Now<'_>) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn remove_dir(&mut self, _: Node, _: &[u8], _: Now<'_>) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
    fn rename(&mut self, _: Node, _: &[u8], _: Node, _: &[u8], _: Now<'_>) -> Result<(), Errno> {
        panic!("{FORBIDDEN}")
    }
}

/// What lies at a path of the watched file system, by its own names.
fn node(fs: &mut MemFs, path: &str) -> Node {
    let root = fs.root();
    path.split('/')
        .filter(|name| !name.is_empty())
        .fold(root, |dir, name| {
            fs.lookup(dir, name.as_bytes()).expect("it is there").node
        })
}

fn mkdir(fs: &mut MemFs, parent: &str, name: &str) {
    let dir = node(fs, parent);
    fs.create_dir(dir, name.as_bytes(), &mut || 0)
        .expect("there is room");
}

fn mkfile(fs: &mut MemFs, parent: &str, name: &str) {
    let dir = node(fs, parent);
    fs.create(dir, name.as_bytes(), &mut || 0).expect("there is room");
}

fn symlink(fs: &mut MemFs, parent: &str, name: &str, target: &str) {
    let dir = node(fs, parent);
    fs.create_link(dir, name.as_bytes(), target.as_bytes(), &mut || 0)
        .expect("there is room");
}

/// All paths of up to `depth` of the given components, each with and without a slash after it.
fn paths(components: &[&str], depth: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut level = alloc::vec![String::new()];
    for _ in 0..depth {
        let mut next = Vec::new();
        for path in &level {
            for component in components {
                let slash = if path.is_empty() { "" } else { "/" };
                next.push(alloc::format!("{path}{slash}{component}"));
            }
        }
        for path in &next {
            all.push(path.clone());
            all.push(alloc::format!("{path}/"));
        }
        level = next;
    }
    all
}

/// Resolves a path by the textbook, with names only: what is at each step, what `..` is above it. The outcome,
/// as the path of what was found.
fn textbook(fs: &mut MemFs, base: &str, path: &str, follow: bool, links: u32) -> Result<String, Errno> {
    if path.starts_with('/') {
        return Err(Errno::PERM);
    }
    let mut here: Vec<String> = Vec::new();
    let components: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    for (index, component) in components.iter().enumerate() {
        let last = index + 1 == components.len();
        match *component {
            "." => {}
            ".." => drop(here.pop().ok_or(Errno::PERM)?),
            name => {
                let at = alloc::format!("{base}/{}", here.join("/"));
                let dir = node(fs, &at);
                let found = match fs.lookup(dir, name.as_bytes()) {
                    Err(Errno::NOENT) if last => {
                        here.push(name.into());
                        return Ok(here.join("/"));
                    }
                    other => other?,
                };
                let slash = path.ends_with('/');
                match found.filetype {
                    Filetype::SymbolicLink if !last || follow || slash => {
                        if links == 0 {
                            return Err(Errno::LOOP);
                        }
                        let mut target = [0; 100];
                        let len = fs.read_link(found.node, &mut target).expect("a link");
                        let target = core::str::from_utf8(&target[..len]).expect("UTF-8");
                        if target.starts_with('/') {
                            return Err(Errno::PERM);
                        }
                        let rest = components[index + 1..].join("/");
                        let tail = if last && slash { "/" } else { "" };
                        let slash = if rest.is_empty() { "" } else { "/" };
                        let between = if here.is_empty() { "" } else { "/" };
                        let expanded = alloc::format!(
                            "{}{between}{target}{slash}{rest}{}",
                            here.join("/"),
                            if last {
                                tail
                            } else if path.ends_with('/') {
                                "/"
                            } else {
                                ""
                            },
                        );
                        return textbook(fs, base, &expanded, follow, links - 1);
                    }
                    Filetype::Directory => here.push(name.into()),
                    _ if last => here.push(name.into()),
                    _ => return Err(Errno::NOTDIR),
                }
            }
        }
    }
    Ok(here.join("/"))
}

/// In a tree with every kind of link out of it, no path of up to four components touches anything outside; and
/// each leads where the textbook says.
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn nothing_outside_is_ever_touched() {
    let mut fs = MemFs::new(Limits::NONE, 0);
    for (parent, name) in [
        ("", "top"),
        ("", "beside"),
        ("top", "jail"),
        ("top", "other"),
        ("top/jail", "d"),
    ] {
        mkdir(&mut fs, parent, name);
    }
    for (parent, name) in [
        ("", "secret"),
        ("top", "secret"),
        ("top/other", "secret"),
        ("top/jail/d", "f"),
    ] {
        mkfile(&mut fs, parent, name);
    }
    // The names inside are those that the guest tries; targets lead everywhere.
    for (parent, name, target) in [
        ("top/jail", "a", "d/.."),
        ("top/jail", "b", "../other"),
        ("top/jail", "c", "/secret"),
        ("top/jail", "e", "d/../../secret"),
        ("top/jail/d", "a", "../b/secret"),
        ("top/jail/d", "b", ".."),
        ("top/jail/d", "c", "../a/d/f"),
        ("top/jail/d", "e", "../../jail/d"),
    ] {
        symlink(&mut fs, parent, name, target);
    }
    let base = node(&mut fs, "top/jail");
    let mut inside = BTreeSet::new();
    for path in [
        "top/jail",
        "top/jail/a",
        "top/jail/b",
        "top/jail/c",
        "top/jail/d",
        "top/jail/e",
        "top/jail/d/a",
        "top/jail/d/b",
        "top/jail/d/c",
        "top/jail/d/e",
        "top/jail/d/f",
    ] {
        inside.insert(node(&mut fs, path).0);
    }
    let mut watched = Watched {
        fs,
        touched: Vec::new(),
    };
    let (mut led_out, mut found) = (0, 0);
    for path in paths(&["a", "b", "c", "d", "e", "f", "..", ".", "secret"], 4) {
        for (last, follow) in [(FollowMode::Follow, true), (FollowMode::FollowBeforeSlash, false)] {
            watched.touched.clear();
            let place = walk(&mut watched, base, path.as_bytes(), last);
            for node in &watched.touched {
                assert!(inside.contains(&node.0), "{path} touches what is outside");
            }
            let expected = textbook(&mut watched.fs, "top/jail", &path, follow, LINKS_MAX);
            match (&place, &expected) {
                (Err(errno), Err(expected)) => {
                    assert_eq!(errno, expected, "{path} {last:?}");
                    led_out += u32::from(*errno == Errno::PERM);
                }
                (Ok(Resolved::Passed(node)), Ok(at)) => {
                    assert_eq!(
                        *node,
                        self::node(&mut watched.fs, &alloc::format!("top/jail/{at}")),
                        "{path}"
                    );
                }
                (
                    Ok(Resolved::Named {
                        dir, name, found: it, ..
                    }),
                    Ok(at),
                ) => {
                    let (parent, expected) = at.rsplit_once('/').unwrap_or(("", at));
                    let parent = node(&mut watched.fs, &alloc::format!("top/jail/{parent}"));
                    assert_eq!((*dir, name.as_bytes()), (parent, expected.as_bytes()), "{path}");
                    found += u32::from(it.is_some());
                }
                (place, _) => panic!("{path}: ends as {:?}, not {expected:?}", place.as_ref().err()),
            }
        }
    }
    assert!(
        led_out > 1000 && found > 300,
        "too dull: {led_out} led out, {found} found"
    );
}

#[test]
fn what_was_moved_away_is_still_beneath_the_directory_that_it_was_opened_as() {
    // A guest holds `jail/d` open and someone moves it out: `..` from it still leads nowhere.
    let mut fs = MemFs::new(Limits::NONE, 0);
    for (parent, name) in [("", "jail"), ("", "out"), ("jail", "d"), ("jail/d", "x")] {
        mkdir(&mut fs, parent, name);
    }
    let (jail, out, d) = (
        node(&mut fs, "jail"),
        node(&mut fs, "out"),
        node(&mut fs, "jail/d"),
    );
    fs.rename(jail, b"d", out, b"d", &mut || 0)
        .expect("it can be moved");
    for path in ["..", "x/../..", "../../jail"] {
        let place = walk(&mut fs, d, path.as_bytes(), FollowMode::Follow);
        assert_eq!(place.map(|_| ()), Err(Errno::PERM), "{path}");
    }
    assert!(walk(&mut fs, d, b"x/..", FollowMode::Follow).is_ok());
}

#[test]
fn forty_links_and_no_more() {
    let mut fs = MemFs::new(Limits::NONE, 0);
    mkdir(&mut fs, "", "d");
    symlink(&mut fs, "", "l1", "d");
    for index in 2..=41 {
        symlink(
            &mut fs,
            "",
            &alloc::format!("l{index}"),
            &alloc::format!("l{}", index - 1),
        );
    }
    let root = fs.root();
    let mut end = |path: &str, last| walk(&mut fs, root, path.as_bytes(), last).map(|_| ()).err();
    assert_eq!(end("l40", FollowMode::Follow), None);
    assert_eq!(end("l41", FollowMode::Follow), Some(Errno::LOOP));
    assert_eq!(end("l40/x", FollowMode::Follow), None);
    assert_eq!(end("l41/x", FollowMode::Follow), Some(Errno::LOOP));
    assert_eq!(end("l41", FollowMode::FollowBeforeSlash), None);
    assert_eq!(end("l41/", FollowMode::FollowBeforeSlash), Some(Errno::LOOP));
    assert_eq!(end("l41/", FollowMode::Never), None);
    // All of a path's links count.
    assert_eq!(end("l20/../l20/x", FollowMode::Follow), None);
    assert_eq!(end("l20/../l21/x", FollowMode::Follow), Some(Errno::LOOP));
}

#[test]
fn expansions_do_not_grow_without_end() {
    let mut fs = MemFs::new(Limits::NONE, 0);
    let root = fs.root();
    let long = "l/".repeat(2000);
    symlink(&mut fs, "", "l", &long);
    let place = walk(&mut fs, root, b"l/l", FollowMode::Follow);
    assert_eq!(place.map(|_| ()), Err(Errno::NAMETOOLONG));
    // A target that no guest could have made.
    for (name, target, errno) in [("empty", "", Errno::NOENT), ("abs", "/", Errno::PERM)] {
        symlink(&mut fs, "", name, target);
        let place = walk(&mut fs, root, name.as_bytes(), FollowMode::Follow);
        assert_eq!(place.map(|_| ()), Err(errno));
    }
    let dir = fs.root();
    fs.create_link(dir, b"huge", "x".repeat(5000).as_bytes(), &mut || 0)
        .expect("there is room");
    let place = walk(&mut fs, root, b"huge", FollowMode::Follow);
    assert_eq!(place.map(|_| ()), Err(Errno::NAMETOOLONG));
}
