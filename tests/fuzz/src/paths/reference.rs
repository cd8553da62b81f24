//! The reference: a walk by the text of POSIX, on names and a queue of components.

use std::collections::{BTreeMap, VecDeque};

use wasi_core::{
    Errno,
    fs::{FileSystem as _, Node, mem::MemFs},
    types::Filetype,
};

use super::{Answer, LONGEST};
use crate::watched::entries;

/// What the walk knows of a node.
#[derive(Debug)]
pub(super) enum Kind {
    Dir(BTreeMap<String, u64>),
    File,
    Link(String),
}

/// A tree by inode number, as it is at one moment.
pub(super) type Tree = BTreeMap<u64, Kind>;

/// Where a path leads: a node that was passed by `.` or `..`, or a name in a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Passed(u64),
    Named {
        dir: u64,
        found: Option<u64>,
        slash: bool,
    },
}

/// What to do about a link at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Follow,
    FollowBeforeSlash,
    Keep,
}

pub(super) fn split(path: &str) -> impl DoubleEndedIterator<Item = String> {
    path.split('/').filter(|name| !name.is_empty()).map(str::to_owned)
}

/// The reference: by the text of POSIX, without any cleverness.
pub(super) fn walk(tree: &Tree, base: u64, path: &str, last: Last) -> Answer<Place> {
    if path.starts_with('/') {
        return Err(Errno::PERM);
    }
    let mut rest: VecDeque<String> = split(path).collect();
    let mut slash = path.ends_with('/');
    let mut stack = vec![base];
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        let here = *stack.last().expect("the base stays");
        let at_end = rest.is_empty();
        match name.as_str() {
            "." if at_end => return Ok(Place::Passed(here)),
            "." => continue,
            ".." => {
                stack.pop();
                match stack.last() {
                    None => return Err(Errno::PERM),
                    Some(above) if at_end => return Ok(Place::Passed(*above)),
                    Some(_) => continue,
                }
            }
            _ => {}
        }
        let Kind::Dir(names) = &tree[&here] else {
            panic!("the stack holds directories");
        };
        let found = names.get(&name).copied();
        let follow = !at_end || last == Last::Follow || (last == Last::FollowBeforeSlash && slash);
        match found.map(|ino| (ino, &tree[&ino])) {
            None if at_end => {
                return Ok(Place::Named {
                    dir: here,
                    found,
                    slash,
                });
            }
            None => return Err(Errno::NOENT),
            Some((_, Kind::Link(target))) if follow => {
                links += 1;
                if links > 40 {
                    return Err(Errno::LOOP);
                }
                if target.starts_with('/') {
                    return Err(Errno::PERM);
                }
                slash |= at_end && target.ends_with('/');
                split(target).rev().for_each(|name| rest.push_front(name));
            }
            Some(_) if at_end => {
                return Ok(Place::Named {
                    dir: here,
                    found,
                    slash,
                });
            }
            Some((ino, Kind::Dir(_))) => stack.push(ino),
            Some(_) => return Err(Errno::NOTDIR),
        }
    }
    panic!("a path or a target has at least one component")
}

/// What is at a place; slashes ask for a directory.
pub(super) fn existing(tree: &Tree, place: &Place) -> Answer<u64> {
    match *place {
        Place::Passed(ino) => Ok(ino),
        Place::Named { found: None, .. } => Err(Errno::NOENT),
        Place::Named {
            found: Some(ino),
            slash,
            ..
        } if slash && !matches!(tree[&ino], Kind::Dir(_)) => Err(Errno::NOTDIR),
        Place::Named { found: Some(ino), .. } => Ok(ino),
    }
}

/// Adds all beneath a directory to the tree.
pub(super) fn learn(fs: &mut MemFs, dir: Node, tree: &mut Tree) {
    let mut names = BTreeMap::new();
    for (name, node, filetype) in entries(fs, dir) {
        let ino = fs.stat(node).expect("it is there").ino;
        names.insert(String::from_utf8(name).expect("made of text"), ino);
        match filetype {
            Filetype::Directory => learn(fs, node, tree),
            Filetype::SymbolicLink => {
                let mut target = [0; LONGEST];
                let len = fs.read_link(node, &mut target).expect("it is a link");
                let target = core::str::from_utf8(&target[..len]).expect("made of text");
                tree.insert(ino, Kind::Link(target.to_owned()));
            }
            _ => {
                tree.insert(ino, Kind::File);
            }
        }
    }
    let ino = fs.stat(dir).expect("it is there").ino;
    tree.insert(ino, Kind::Dir(names));
}
