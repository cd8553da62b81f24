//! The RAM file system against a model that is as simple as can be: both agree on every answer, the quotas are exact,
//! and when everything is removed nothing is left.

mod files;
mod model;
mod names;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arbitrary::{Arbitrary, Result, Unstructured};
use wasi_core::{
    Errno,
    fs::{
        Access, FileSystem, Handle, Node, Stat,
        mem::{Bytes, Limits, MemFs},
    },
    types::Filetype,
};

use self::model::{Data, Inode, Kind};
use crate::watched::entries;

/// Runs the operations that `data` is a script of.
pub fn run(data: &[u8]) {
    let mut script = Unstructured::new(data);
    let Ok(mut bench) = Bench::new(&mut script) else {
        return;
    };
    for _ in 0..200 {
        if script.is_empty() || bench.step(&mut script).is_err() {
            break;
        }
        bench.check_quotas();
    }
    bench.finish();
}

/// Names: few, so that operations meet. One is of the greatest length.
const NAMES: [&[u8]; 8] = [b"a", b"b", b"c", b"d", b"e", b"f", "é".as_bytes(), &[b'n'; 255]];

/// The largest size of a file.
const MAX_SIZE: u64 = (1 << 44) - 4096;

/// An open node.
#[derive(Clone, Copy, Debug)]
struct Open {
    handle: Handle,
    ino: u64,
}

struct Bench {
    fs: MemFs,
    limits: Limits,
    nodes: BTreeMap<u64, Inode>,
    /// Inode numbers that were given, which are never given again.
    given: BTreeSet<u64>,
    /// The root is always the first, and stays open.
    open: Vec<Open>,
    next_order: u64,
    time: u64,
    archive: Bytes,
    listing: Option<Listing>,
}

/// A directory that is being read.
struct Listing {
    dir: Open,
    cookie: u64,
    /// What was in it at the beginning.
    start: BTreeMap<Vec<u8>, (u64, u64)>,
    /// How often each name was told.
    seen: BTreeMap<Vec<u8>, u32>,
}

impl Bench {
    fn new(script: &mut Unstructured<'_>) -> Result<Self> {
        let limits = match u8::arbitrary(script)? % 6 {
            0 => Limits {
                bytes: 1000,
                entries: 6,
            },
            1 => Limits {
                bytes: 100_000,
                entries: 100,
            },
            2 => Limits {
                bytes: 300_000,
                entries: 10,
            },
            3 => Limits {
                bytes: 0,
                entries: 20,
            },
            4 => Limits {
                bytes: u64::from(script.arbitrary::<u16>()?),
                entries: u64::from(script.arbitrary::<u8>()?),
            },
            _ => Limits {
                bytes: 2_000_000,
                entries: u64::MAX,
            },
        };
        let mut fs = MemFs::new(limits, 1);
        let root = fs.root();
        let handle = fs.open(root, Access::READ).expect("the root");
        let ino = fs.stat(root).expect("the root").ino;
        let archive: Vec<u8> = (0..150_000_u32).map(|at| (at % 251) as u8 + 1).collect();
        Ok(Self {
            fs,
            limits,
            nodes: BTreeMap::from([(
                ino,
                Inode {
                    kind: Kind::Dir(BTreeMap::new()),
                    parent: Some(ino),
                    names: 0,
                    opens: 1,
                    atim: 1,
                    mtim: 1,
                    ctim: 1,
                },
            )]),
            given: BTreeSet::from([ino]),
            open: vec![Open { handle, ino }],
            next_order: 0,
            time: 1,
            archive: Bytes::Shared(Arc::new(archive)),
            listing: None,
        })
    }

    /// A node that is open: all that calls can name without a path.
    fn any_open(
        &self,
        script: &mut Unstructured<'_>,
        wanted: impl Fn(&Kind) -> bool,
    ) -> Result<Option<Open>> {
        let matching: Vec<_> = self
            .open
            .iter()
            .filter(|open| wanted(&self.nodes[&open.ino].kind))
            .collect();
        if matching.is_empty() {
            return Ok(None);
        }
        let index = usize::from(u8::arbitrary(script)?) % matching.len();
        Ok(Some(*matching[index]))
    }

    fn any_dir(&self, script: &mut Unstructured<'_>) -> Result<Open> {
        let open = self.any_open(script, |kind| matches!(kind, Kind::Dir(_)))?;
        Ok(open.expect("the root is open"))
    }

    fn check_quotas(&self) {
        let used = self.fs.used();
        assert!(
            used.bytes <= self.limits.bytes && used.entries <= self.limits.entries,
            "{used:?}"
        );
        assert_eq!(used.entries, self.entries());
        let links = self.nodes.values().map(|node| match &node.kind {
            Kind::Link(target) => target.len() as u64,
            _ => 0,
        });
        assert!(used.bytes >= links.sum(), "{used:?}");
    }

    fn open(&mut self, node: Node, ino: u64, access: Access) {
        let handle = self.fs.open(node, access).expect("it can be opened");
        self.nodes.get_mut(&ino).expect("it is there").opens += 1;
        self.open.push(Open { handle, ino });
    }

    /// What was made, or why it was not.
    fn made(&mut self, made: core::result::Result<(), Errno>, dir: Open, name: &[u8], kind: Kind) {
        let expected = self.check_new(dir.ino, name);
        if made == Err(Errno::NOSPC) {
            let cost = match &kind {
                Kind::Link(target) => target.len() as u64,
                _ => 0,
            };
            let used = self.fs.used();
            assert_eq!(expected, Ok(()));
            assert!(
                used.entries == self.limits.entries || used.bytes + cost > self.limits.bytes,
                "{used:?}"
            );
            return;
        }
        assert_eq!(made, expected);
        if made.is_err() {
            return;
        }
        let node = self
            .fs
            .lookup(Node(dir.handle.0), name)
            .expect("it was made")
            .node;
        let stat = self.fs.stat(node).expect("it is there");
        assert!(self.given.insert(stat.ino), "an inode number was given twice");
        let opened = !matches!(kind, Kind::Link(_));
        let is_dir = matches!(kind, Kind::Dir(_));
        let time = self.time;
        self.nodes.insert(
            stat.ino,
            Inode {
                kind,
                parent: is_dir.then_some(dir.ino),
                names: u64::from(!is_dir),
                opens: 0,
                atim: time,
                mtim: time,
                ctim: time,
            },
        );
        self.insert(dir.ino, name, stat.ino);
        if opened {
            self.open(
                node,
                stat.ino,
                Access {
                    read: true,
                    write: !is_dir,
                },
            );
        }
    }

    fn step(&mut self, script: &mut Unstructured<'_>) -> Result<()> {
        let what: u8 = script.arbitrary()?;
        let dir = self.any_dir(script)?;
        let base = Node(dir.handle.0);
        let name = NAMES[usize::from(u8::arbitrary(script)?) % NAMES.len()];
        self.time += 1;
        let time = self.time;
        let now = &mut || time;
        match what % 20 {
            0 | 1 => {
                let made = self.fs.create(base, name, now).map(|_| ());
                self.made(made, dir, name, Kind::File(Data::default()));
            }
            2 => {
                let (start, len) = (script.arbitrary::<u16>()?, script.arbitrary::<u32>()? % 140_000);
                let (start, end) = (usize::from(start), usize::from(start) + len as usize);
                let whole = self.archive.as_slice().get(start..end).map(Data::of);
                let bytes = self.archive.clone();
                let made = self
                    .fs
                    .create_shared(base, name, bytes, start..end, now)
                    .map(|_| ());
                match whole {
                    Some(data) => self.made(made, dir, name, Kind::File(data)),
                    None => assert_eq!(made, Err(Errno::INVAL)),
                }
            }
            3 | 4 => {
                let made = self.fs.create_dir(base, name, now);
                self.made(made, dir, name, Kind::Dir(BTreeMap::new()));
            }
            5 => {
                let target = vec![b't'; usize::from(u8::arbitrary(script)?)];
                let made = self.fs.create_link(base, name, &target, now);
                self.made(made, dir, name, Kind::Link(target));
            }
            6 => self.hard_link(script, dir, name)?,
            7 => {
                let expected = match self.dir(dir.ino).get(name).copied() {
                    None => Err(Errno::NOENT),
                    Some((ino, _)) if self.is_dir(ino) => Err(Errno::ISDIR),
                    Some((ino, _)) => Ok(ino),
                };
                assert_eq!(self.fs.unlink(base, name, now), expected.map(|_| ()));
                if let Ok(ino) = expected {
                    self.dir_mut(dir.ino).remove(name);
                    self.touch(dir.ino);
                    self.lose_name(ino);
                }
            }
            8 => {
                let expected = match self.dir(dir.ino).get(name).copied() {
                    None => Err(Errno::NOENT),
                    Some((ino, _)) if !self.is_dir(ino) => Err(Errno::NOTDIR),
                    Some((ino, _)) if !self.dir(ino).is_empty() => Err(Errno::NOTEMPTY),
                    Some((ino, _)) => Ok(ino),
                };
                assert_eq!(self.fs.remove_dir(base, name, now), expected.map(|_| ()));
                if let Ok(ino) = expected {
                    self.dir_mut(dir.ino).remove(name);
                    self.touch(dir.ino);
                    self.lose_name(ino);
                }
            }
            9 | 10 => {
                let to = self.any_dir(script)?;
                let new = NAMES[usize::from(u8::arbitrary(script)?) % NAMES.len()];
                self.rename(dir, name, to, new);
            }
            11 => self.open_or_close(script, dir, name)?,
            12 => self.list(script, dir)?,
            13 => self.check_stat(dir, name),
            14 => {
                let (atim, mtim): (Option<u64>, Option<u64>) = (script.arbitrary()?, script.arbitrary()?);
                let open = self.open[usize::from(u8::arbitrary(script)?) % self.open.len()];
                assert_eq!(self.fs.set_times(Node(open.handle.0), atim, mtim, now), Ok(()));
                let node = self.nodes.get_mut(&open.ino).expect("it is open");
                node.atim = atim.unwrap_or(node.atim);
                node.mtim = mtim.unwrap_or(node.mtim);
                node.ctim = time;
            }
            _ => self.file_step(script, what)?,
        }
        Ok(())
    }

    fn check_attributes(&self, stat: &Stat, ino: u64) {
        let node = &self.nodes[&ino];
        let (filetype, size) = match &node.kind {
            Kind::File(data) => (Filetype::RegularFile, data.size),
            Kind::Dir(_) => (Filetype::Directory, 0),
            Kind::Link(target) => (Filetype::SymbolicLink, target.len() as u64),
        };
        let expected = Stat {
            ino,
            filetype,
            nlink: self.nlink(ino),
            size,
            atim: node.atim,
            mtim: node.mtim,
            ctim: node.ctim,
        };
        assert_eq!(*stat, expected);
    }

    fn check_stat(&mut self, dir: Open, name: &[u8]) {
        let found = self.fs.lookup(Node(dir.handle.0), name);
        let Some((ino, _)) = self.dir(dir.ino).get(name).copied() else {
            assert_eq!(found, Err(Errno::NOENT));
            return;
        };
        let found = found.expect("it is there");
        let stat = self.fs.stat(found.node).expect("it is there");
        assert_eq!(stat.filetype, found.filetype);
        self.check_attributes(&stat, ino);
        let mut target = [0; 300];
        let read = self.fs.read_link(found.node, &mut target);
        match &self.nodes[&ino].kind {
            Kind::Link(expected) => {
                assert_eq!(read, Ok(expected.len()));
                assert_eq!(&target[..expected.len()], expected);
            }
            _ => assert_eq!(read, Err(Errno::INVAL)),
        }
    }

    /// Closes everything and removes everything.
    fn finish(mut self) {
        for Open { handle, .. } in core::mem::take(&mut self.open) {
            self.fs.close(handle);
        }
        let root = self.fs.root();
        clear(&mut self.fs, root);
        assert_eq!(self.fs.used(), Limits { bytes: 0, entries: 0 });
        let stat = self.fs.stat(root).expect("the root stays");
        assert_eq!((stat.nlink, stat.size), (2, 0));
    }
}

/// Removes all that is beneath `dir`.
fn clear(fs: &mut MemFs, dir: Node) {
    for (name, node, filetype) in entries(fs, dir) {
        if filetype == Filetype::Directory {
            clear(fs, node);
            fs.remove_dir(dir, &name, &mut || 0).expect("it is empty");
        } else {
            fs.unlink(dir, &name, &mut || 0).expect("it was read");
        }
    }
}
