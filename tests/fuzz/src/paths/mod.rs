//! Path resolution: in any tree, by any path, a guest gets what a small independent walk says, and nothing outside of
//! its directory is ever touched, changed or found.
//!
//! The walk here works on names and a queue of components. That of the shim works on bytes and positions, and puts the
//! target of a link in front of the rest of the path.

mod reference;

use std::collections::BTreeSet;

use arbitrary::{Arbitrary as _, Result, Unstructured};
use wasi_core::{
    Errno, WasiCtxBuilder,
    fs::{
        FileSystem, Node, Permission,
        mem::{Limits, MemFs},
    },
    testing::TestSystem,
};
use wasi_p1::{
    Error, GuestMemory, WasiP1Ctx,
    abi::{
        layout::Filestat,
        types::{Fd, Fdflags, Filetype, Fstflags, Lookupflags, Oflags, Param, Rights, Size},
    },
    calls::path::*,
    memory::Ptr,
};

use self::reference::{Kind, Last, Place, Tree, existing, learn, walk};
use crate::watched::{Watched, dump, entries};

/// Builds a tree of `data` and calls functions in it.
pub fn run(data: &[u8]) {
    let mut script = Unstructured::new(data);
    let _ = Jail::new(&mut script).and_then(|mut jail| jail.run(&mut script));
}

/// Names of entries, inside and outside.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "jail", "..."];

/// The most bytes that [`path`] makes: with 40 links expanded it stays below 4,096.
const LONGEST: usize = 80;

type Answer<T> = core::result::Result<T, Errno>;

/// A path of a few components, absolute at times.
fn path(script: &mut Unstructured<'_>) -> Result<String> {
    let shape: u8 = script.arbitrary()?;
    let mut path = String::new();
    if shape >= 248 {
        path.push('/');
    }
    for _ in 0..=shape % 6 {
        let component: u8 = script.arbitrary()?;
        match component % 16 {
            0..3 => path.push_str(".."),
            3 => path.push('.'),
            other => path.push_str(NAMES[usize::from(other) % NAMES.len()]),
        }
        if component >= 240 {
            path.push('/');
        }
        path.push('/');
    }
    if !(200..248).contains(&shape) {
        path.pop();
    }
    assert!(path.len() < LONGEST);
    Ok(path)
}

fn name(script: &mut Unstructured<'_>) -> Result<&'static str> {
    Ok(NAMES[usize::from(u8::arbitrary(script)?) % NAMES.len()])
}

struct Jail {
    context: WasiP1Ctx<TestSystem>,
    files: Watched,
    /// The preopened directory.
    jail: Node,
    /// Nodes that the guest must never touch, and what they were.
    outside: BTreeSet<u64>,
    dumped: Vec<u8>,
    /// Descriptors of directories, and which they are.
    fds: Vec<(Fd, Node, u64)>,
}

/// Where the guest's memory has what.
const OLD: u32 = 0;
const NEW: u32 = 128;
const RESULT: u32 = 256;
const TEXT: u32 = 512;

impl Jail {
    /// `top` holds the jail, other directories, files and links; so does the jail.
    fn new(script: &mut Unstructured<'_>) -> Result<Self> {
        let mut fs = MemFs::new(
            Limits {
                bytes: 1 << 20,
                entries: 200,
            },
            1,
        );
        let root = fs.root();
        let now = &mut || 1;
        let mut make = |fs: &mut MemFs, dir: Node, name: &str| {
            fs.create_dir(dir, name.as_bytes(), now).expect("it is new");
            fs.lookup(dir, name.as_bytes()).expect("it was made").node
        };
        let top = make(&mut fs, root, "top");
        let jail = make(&mut fs, top, "jail");
        let mut outer = vec![root, top];
        let mut inner = vec![jail];
        for _ in 0..u8::arbitrary(script)? % 24 {
            let (what, inside): (u8, bool) = script.arbitrary()?;
            let dirs = if inside { &mut inner } else { &mut outer };
            let dir = dirs[usize::from(u8::arbitrary(script)?) % dirs.len()];
            let name = name(script)?;
            if fs.lookup(dir, name.as_bytes()).is_ok() {
                continue;
            }
            match what % 4 {
                0 => dirs.push(make(&mut fs, dir, name)),
                1 => drop(fs.create(dir, name.as_bytes(), &mut || 1)),
                _ => {
                    let target = path(script)?;
                    fs.create_link(dir, name.as_bytes(), target.as_bytes(), &mut || 1)
                        .expect("there is room");
                }
            }
        }
        let mut dumped = Vec::new();
        dump(&mut fs, root, Some(jail), &mut dumped);
        let [mut all, mut own] = [Tree::new(), Tree::new()];
        learn(&mut fs, root, &mut all);
        learn(&mut fs, jail, &mut own);
        let outside = all.keys().filter(|ino| !own.contains_key(ino)).copied().collect();
        let ino = fs.stat(jail).expect("it was made").ino;
        let files = Watched::new(fs, jail);
        let context = WasiCtxBuilder::new()
            .preopen(files.clone(), "/", Permission::ReadWrite)
            .expect("it can be opened")
            .build(TestSystem::default());
        Ok(Self {
            context: WasiP1Ctx::new(context),
            files,
            jail,
            outside,
            dumped,
            fds: vec![(3, jail, ino)],
        })
    }

    fn run(&mut self, script: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..40 {
            if script.is_empty() {
                break;
            }
            self.files.touched();
            self.step(script)?;
            let touched = self.files.touched();
            assert!(
                touched.is_disjoint(&self.outside),
                "{touched:?} of {:?}",
                self.outside
            );
        }
        // The jail's own attributes may change; it is not in the dump.
        let mut fs = self.files.fs();
        let root = fs.root();
        let mut dumped = Vec::new();
        dump(&mut fs, root, Some(self.jail), &mut dumped);
        assert!(dumped == self.dumped, "something outside has changed");
        Ok(())
    }

    /// What there is, from a descriptor's directory down: it may have been removed, or moved within the jail.
    fn tree(&self, dir: Node) -> Tree {
        let mut tree = Tree::new();
        learn(&mut self.files.fs(), dir, &mut tree);
        tree
    }

    fn step(&mut self, script: &mut Unstructured<'_>) -> Result<()> {
        let (what, which, flags): (u8, u8, u8) = script.arbitrary()?;
        let (fd, dir, ino) = self.fds[usize::from(which) % self.fds.len()];
        let tree = self.tree(dir);
        let follow = flags & 1 != 0;
        let lookup = Lookupflags::from_raw(u32::from(follow)).expect("it is known");
        let last = if follow {
            Last::Follow
        } else {
            Last::FollowBeforeSlash
        };
        let old = path(script)?;
        let mut bytes = [0xee; 1024];
        bytes[..old.len()].copy_from_slice(old.as_bytes());
        let old_len = Size::try_from(old.len()).expect("short");
        let at = |last| walk(&tree, ino, &old, last);
        let ctx = &mut self.context;
        let mem = &mut GuestMemory::new(&mut bytes);
        let ptr = Ptr::new(OLD);
        match what % 12 {
            0..3 => {
                let result = errno(path_filestat_get(
                    ctx,
                    mem,
                    fd,
                    lookup,
                    ptr,
                    old_len,
                    Ptr::<Filestat>::new(RESULT),
                ));
                let expected = at(last).and_then(|place| existing(&tree, &place));
                // The inode number lies at 8.
                let found = result.map(|()| number(&bytes, RESULT + 8));
                assert_eq!(found, expected, "filestat {old} {last:?}");
            }
            3 | 4 => self.open(fd, &tree, ino, &old, follow, flags),
            5 => {
                let result = errno(path_readlink(
                    ctx,
                    mem,
                    fd,
                    ptr,
                    old_len,
                    Ptr::new(TEXT),
                    128,
                    Ptr::new(RESULT),
                ));
                let expected = at(Last::FollowBeforeSlash).and_then(|place| existing(&tree, &place));
                let expected = expected.and_then(|ino| match &tree[&ino] {
                    Kind::Link(target) if target.starts_with('/') => Err(Errno::PERM),
                    Kind::Link(target) => Ok(target.as_bytes()),
                    _ => Err(Errno::INVAL),
                });
                let text = result.map(|()| {
                    let len = usize::try_from(number(&bytes, RESULT) & 0xffff).expect("short");
                    &bytes[TEXT as usize..TEXT as usize + len]
                });
                assert_eq!(text, expected, "readlink {old}");
            }
            6 => {
                let result = errno(path_create_directory(ctx, mem, fd, ptr, old_len));
                let expected = at(Last::Keep).and_then(|place| match place {
                    Place::Named { found: None, dir, .. } => self.vacant(dir),
                    _ => Err(Errno::EXIST),
                });
                assert_eq!(result, expected, "mkdir {old}");
            }
            7 => {
                let result = errno(path_unlink_file(ctx, mem, fd, ptr, old_len));
                let expected = at(Last::FollowBeforeSlash).and_then(|place| match place {
                    Place::Passed(_) => Err(Errno::ISDIR),
                    place => match tree[&existing(&tree, &place)?] {
                        Kind::Dir(_) => Err(Errno::ISDIR),
                        _ => Ok(()),
                    },
                });
                assert_eq!(result, expected, "unlink {old}");
            }
            8 => {
                let result = errno(path_remove_directory(ctx, mem, fd, ptr, old_len));
                let expected = at(Last::Keep).and_then(|place| match place {
                    Place::Passed(_) => Err(Errno::INVAL),
                    place => match &tree[&existing(&tree, &place)?] {
                        Kind::Dir(names) if names.is_empty() => Ok(()),
                        Kind::Dir(_) => Err(Errno::NOTEMPTY),
                        _ => Err(Errno::NOTDIR),
                    },
                });
                assert_eq!(result, expected, "rmdir {old}");
            }
            9 => {
                let (set, time) = (Fstflags::MTIM, 7);
                let result = errno(path_filestat_set_times(
                    ctx, mem, fd, lookup, ptr, old_len, 0, time, set,
                ));
                let expected = at(last).and_then(|place| existing(&tree, &place));
                assert_eq!(result, expected.map(|_| ()), "set_times {old} {last:?}");
            }
            _ => self.two_paths(script, what, fd, &tree, ino, &old)?,
        }
        Ok(())
    }

    /// Nothing can be made in a directory that was removed.
    fn vacant(&self, dir: u64) -> Answer<()> {
        match self.fds.iter().find(|(_, _, ino)| *ino == dir) {
            Some((_, node, _)) if self.files.fs().stat(*node).is_ok_and(|stat| stat.nlink == 0) => {
                Err(Errno::NOENT)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, fd: Fd, tree: &Tree, ino: u64, old: &str, follow: bool, flags: u8) {
        let mut bytes = [0xee; 1024];
        bytes[..old.len()].copy_from_slice(old.as_bytes());
        let mem = &mut GuestMemory::new(&mut bytes);
        let [creat, directory, excl] = [2, 4, 8].map(|bit| flags & bit != 0);
        // `directory` goes with neither of the others: INVAL, whatever the path, which is not this target's to show.
        let directory = directory && !creat;
        let raw = u32::from(creat) | u32::from(directory) << 1 | u32::from(excl && !directory) << 2;
        let excl = creat && excl;
        let result = errno(path_open(
            &mut self.context,
            mem,
            fd,
            Lookupflags::from_raw(u32::from(follow)).expect("it is known"),
            Ptr::new(OLD),
            Size::try_from(old.len()).expect("short"),
            Oflags::from_raw(raw).expect("they are known"),
            Rights::FD_READ,
            Rights::NONE,
            Fdflags::NONE,
            Ptr::new(RESULT),
        ));
        let last = if excl || (creat && old.ends_with('/')) {
            Last::Keep
        } else if follow {
            Last::Follow
        } else {
            Last::FollowBeforeSlash
        };
        let expected = walk(tree, ino, old, last).and_then(|place| match place {
            Place::Named { slash: true, .. } if creat => Err(Errno::ISDIR),
            Place::Named { found: None, dir, .. } if creat => self.vacant(dir).map(|()| None),
            place => {
                let ino = existing(tree, &place)?;
                match &tree[&ino] {
                    _ if excl => Err(Errno::EXIST),
                    Kind::Link(_) => Err(Errno::LOOP),
                    Kind::Dir(_) if creat => Err(Errno::ISDIR),
                    Kind::File if directory => Err(Errno::NOTDIR),
                    Kind::File => Ok(None),
                    Kind::Dir(_) => Ok(Some(ino)),
                }
            }
        });
        assert_eq!(result, expected.map(|_| ()), "open {old} {follow} {raw}");
        if let Ok(opened) = expected {
            let fd = Fd::try_from(number(&bytes, RESULT) & 0xffff_ffff).expect("32 bits");
            match opened {
                // The root of what was walked is no entry of anything: its node is known.
                Some(ino) => {
                    let node = self.node(ino);
                    self.fds.push((fd, node, ino));
                }
                None => {
                    let closed =
                        wasi_p1::calls::fd::fd_close(&mut self.context, &mut GuestMemory::new(&mut []), fd);
                    assert_eq!(errno(closed), Ok(()));
                }
            }
        }
    }

    /// The node of a directory that is open or in the jail.
    fn node(&self, ino: u64) -> Node {
        if let Some((_, node, _)) = self.fds.iter().find(|(_, _, open)| *open == ino) {
            return *node;
        }
        let mut fs = self.files.fs();
        let mut rest: Vec<_> = self.fds.iter().map(|(_, node, _)| *node).collect();
        while let Some(dir) = rest.pop() {
            for (_, node, filetype) in entries(&mut fs, dir) {
                if fs.stat(node).expect("it is there").ino == ino {
                    return node;
                }
                if filetype == Filetype::Directory {
                    rest.push(node);
                }
            }
        }
        panic!("{ino} is not there")
    }

    /// Rename, link and symlink. Their outcome has many rules, which `mem_fs` and unit tests hold; here only where
    /// their paths lead matters: if one of them leads nowhere, so says the call.
    fn two_paths(
        &mut self,
        script: &mut Unstructured<'_>,
        what: u8,
        fd: Fd,
        tree: &Tree,
        ino: u64,
        old: &str,
    ) -> Result<()> {
        let new = path(script)?;
        let (new_fd, new_dir, new_ino) = self.fds[usize::from(u8::arbitrary(script)?) % self.fds.len()];
        let new_tree = self.tree(new_dir);
        let mut bytes = [0xee; 1024];
        bytes[..old.len()].copy_from_slice(old.as_bytes());
        let at = NEW as usize;
        bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
        let [old_len, new_len] = [old, &new].map(|path| Size::try_from(path.len()).expect("short"));
        let [old_ptr, new_ptr] = [OLD, NEW].map(Ptr::new);
        let ctx = &mut self.context;
        let mem = &mut GuestMemory::new(&mut bytes);
        let none = Lookupflags::NONE;
        let (result, last, walked) = match what {
            0..100 => (
                errno(path_rename(
                    ctx, mem, fd, old_ptr, old_len, new_fd, new_ptr, new_len,
                )),
                Last::Keep,
                walk(tree, ino, old, Last::Keep).map(|_| ()),
            ),
            100..160 => (
                errno(path_link(
                    ctx, mem, fd, none, old_ptr, old_len, new_fd, new_ptr, new_len,
                )),
                Last::FollowBeforeSlash,
                walk(tree, ino, old, Last::FollowBeforeSlash).map(|_| ()),
            ),
            _ => (
                errno(path_symlink(ctx, mem, old_ptr, old_len, new_fd, new_ptr, new_len)),
                Last::FollowBeforeSlash,
                if old.starts_with('/') {
                    Err(Errno::PERM)
                } else {
                    Ok(())
                },
            ),
        };
        let walked = walked.and_then(|()| walk(&new_tree, new_ino, &new, last).map(|_| ()));
        if let Err(errno) = walked {
            assert_eq!(result, Err(errno), "{old} {new}");
        }
        Ok(())
    }
}

fn errno(result: core::result::Result<(), Error>) -> Answer<()> {
    result.map_err(|error| match error {
        Error::Errno(errno) => errno,
        other => panic!("{other:?}"),
    })
}

/// The number at an address.
fn number(bytes: &[u8], at: u32) -> u64 {
    let at = at as usize;
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
