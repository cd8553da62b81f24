//! Random calls on the file system and on a model of it that is as simple as can be; both must agree on
//! everything, with room enough and without.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use super::*;

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    File(Vec<u8>),
    Dir(BTreeMap<String, u64>),
    Link(String),
}

/// Nodes by inode number. What has no name any more stays, as an open node does.
struct Model {
    nodes: BTreeMap<u64, Kind>,
    parents: BTreeMap<u64, u64>,
    removed: Vec<u64>,
}

impl Model {
    fn dir(&mut self, ino: u64) -> &mut BTreeMap<String, u64> {
        match self.nodes.get_mut(&ino) {
            Some(Kind::Dir(entries)) => entries,
            other => panic!("{ino} is no directory but {other:?}"),
        }
    }

    fn is_dir(&self, ino: u64) -> bool {
        matches!(self.nodes[&ino], Kind::Dir(_))
    }

    fn names(&self, ino: u64) -> u64 {
        let entries = self.nodes.values().filter_map(|kind| match kind {
            Kind::Dir(entries) => Some(entries),
            _ => None,
        });
        let own = entries
            .flat_map(BTreeMap::values)
            .filter(|node| **node == ino)
            .count() as u64;
        if self.is_dir(ino) {
            let Kind::Dir(entries) = &self.nodes[&ino] else {
                return 0;
            };
            if self.removed.contains(&ino) {
                return 0;
            }
            return 2 + entries.values().filter(|node| self.is_dir(**node)).count() as u64;
        }
        own
    }

    fn add(&mut self, dir: u64, name: &str, ino: u64, kind: Kind) -> Result<(), Errno> {
        self.check_new(dir, name)?;
        self.nodes.insert(ino, kind);
        self.parents.insert(ino, dir);
        self.dir(dir).insert(name.into(), ino);
        Ok(())
    }

    fn check_new(&mut self, dir: u64, name: &str) -> Result<(), Errno> {
        if self.dir(dir).contains_key(name) {
            return Err(Errno::EXIST);
        }
        if self.removed.contains(&dir) {
            return Err(Errno::NOENT);
        }
        Ok(())
    }

    fn within(&self, mut ino: u64, ancestor: u64) -> bool {
        while ino != ancestor && ino != 1 {
            ino = self.parents[&ino];
        }
        ino == ancestor
    }

    fn rename(&mut self, from: u64, old: &str, to: u64, new: &str) -> Result<(), Errno> {
        if self.removed.contains(&to) {
            return Err(Errno::NOENT);
        }
        let moved = *self.dir(from).get(old).ok_or(Errno::NOENT)?;
        if self.is_dir(moved) && self.within(to, moved) {
            return Err(Errno::INVAL);
        }
        let replaced = self.dir(to).get(new).copied();
        if replaced == Some(moved) {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            let full = matches!(&self.nodes[&replaced], Kind::Dir(entries) if !entries.is_empty());
            let errno = match (self.is_dir(moved), self.is_dir(replaced)) {
                _ if full && self.within(from, replaced) => Some(Errno::NOTEMPTY),
                (false, true) => Some(Errno::ISDIR),
                (true, true) if full => Some(Errno::NOTEMPTY),
                (true, false) => Some(Errno::NOTDIR),
                _ => None,
            };
            if let Some(errno) = errno {
                return Err(errno);
            }
            if self.is_dir(replaced) {
                self.removed.push(replaced);
            }
        }
        self.dir(from).remove(old);
        self.dir(to).insert(new.into(), moved);
        self.parents.insert(moved, to);
        Ok(())
    }
}

/// Names for entries: few, so that calls meet.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

struct Bench {
    fs: MemFs,
    model: Model,
    random: Random,
    /// Open nodes: handle, inode number. All directories are open, so that they can be used when they are gone.
    open: Vec<(Handle, Node, u64)>,
    limited: bool,
}

impl Bench {
    fn new(seed: u64, limits: Limits) -> Self {
        let mut fs = MemFs::new(limits, 0);
        let root = fs.root();
        let handle = fs.open(root, Access::READ).expect("the root");
        Self {
            fs,
            model: Model {
                nodes: BTreeMap::from([(1, Kind::Dir(BTreeMap::new()))]),
                parents: BTreeMap::new(),
                removed: Vec::new(),
            },
            random: Random(seed),
            open: alloc::vec![(handle, root, 1)],
            limited: limits != NONE,
        }
    }

    fn any_dir(&mut self) -> (Node, u64) {
        let dirs: Vec<_> = self
            .open
            .iter()
            .filter(|open| self.model.is_dir(open.2))
            .collect();
        let (_, node, ino) = *dirs[self.random.below(dirs.len() as u64) as usize];
        (node, ino)
    }

    fn any_file(&mut self) -> Option<(Handle, Node, u64)> {
        let files: Vec<_> = self
            .open
            .iter()
            .filter(|open| matches!(self.model.nodes[&open.2], Kind::File(_)))
            .collect();
        let count = files.len() as u64;
        (count > 0).then(|| *files[self.random.below(count) as usize])
    }

    /// What was made: opens it, and tells the model, unless there was no room.
    fn made(&mut self, made: Result<(), Errno>, dir: (Node, u64), name: &str, kind: Kind) {
        if made == Err(Errno::NOSPC) {
            assert!(self.limited);
            assert_eq!(self.model.check_new(dir.1, name), Ok(()), "{name}");
            return;
        }
        let ino = match made {
            Ok(()) => {
                let node = self.fs.lookup(dir.0, name.as_bytes()).expect("it was made").node;
                let ino = self.fs.stat(node).expect("it is there").ino;
                if !matches!(kind, Kind::Link(_)) {
                    let handle = self.fs.open(node, WRITE).expect("it can be opened");
                    self.open.push((handle, node, ino));
                }
                ino
            }
            Err(_) => 0,
        };
        assert_eq!(made, self.model.add(dir.1, name, ino, kind), "{name}");
    }

    fn step(&mut self) {
        let dir = self.any_dir();
        let name = self.random.of(&NAMES);
        let bytes = name.as_bytes();
        let now = &mut at(0);
        match self.random.below(16) {
            0 | 1 => {
                let made = self.fs.create(dir.0, bytes, now).map(|_| ());
                self.made(made, dir, name, Kind::File(Vec::new()));
            }
            2 => {
                let made = self.fs.create_dir(dir.0, bytes, now);
                self.made(made, dir, name, Kind::Dir(BTreeMap::new()));
            }
            3 => {
                let target = self.random.of(&["a", "../b", "a/long/target/that/takes/room"]);
                let made = self.fs.create_link(dir.0, bytes, target.as_bytes(), now);
                self.made(made, dir, name, Kind::Link(target.into()));
            }
            4 => {
                let (_, node, ino) = self.open[self.random.below(self.open.len() as u64) as usize];
                // What has lost its last name gets no other: no call can name it.
                if self.model.names(ino) == 0 {
                    return;
                }
                let linked = self.fs.hard_link(node, dir.0, bytes, now);
                if linked == Err(Errno::NOSPC) {
                    assert!(self.limited);
                    return;
                }
                let expected = self.model.check_new(dir.1, name).and_then(|()| {
                    if self.model.is_dir(ino) {
                        return Err(Errno::PERM);
                    }
                    self.model.dir(dir.1).insert(name.into(), ino);
                    Ok(())
                });
                assert_eq!(linked, expected);
            }
            5 => {
                let expected = match self.model.dir(dir.1).get(name).copied() {
                    None => Err(Errno::NOENT),
                    Some(ino) if self.model.is_dir(ino) => Err(Errno::ISDIR),
                    Some(_) => {
                        self.model.dir(dir.1).remove(name);
                        Ok(())
                    }
                };
                assert_eq!(self.fs.unlink(dir.0, bytes, now), expected);
            }
            6 => {
                let expected = match self.model.dir(dir.1).get(name).copied() {
                    None => Err(Errno::NOENT),
                    Some(ino) => match &self.model.nodes[&ino] {
                        Kind::Dir(entries) if entries.is_empty() => {
                            self.model.dir(dir.1).remove(name);
                            self.model.removed.push(ino);
                            Ok(())
                        }
                        Kind::Dir(_) => Err(Errno::NOTEMPTY),
                        _ => Err(Errno::NOTDIR),
                    },
                };
                assert_eq!(self.fs.remove_dir(dir.0, bytes, now), expected);
            }
            7 | 8 => {
                let to = self.any_dir();
                let new = self.random.of(&NAMES);
                let renamed = self.fs.rename(dir.0, bytes, to.0, new.as_bytes(), now);
                assert_eq!(
                    renamed,
                    self.model.rename(dir.1, name, to.1, new),
                    "{name} to {new}"
                );
            }
            9 => {
                if self.open.len() > 8 {
                    let index = 1 + self.random.below(self.open.len() as u64 - 1) as usize;
                    // Directories stay open, see `open`.
                    if !self.model.is_dir(self.open[index].2) {
                        let (handle, _, _) = self.open.swap_remove(index);
                        self.fs.close(handle);
                    }
                }
            }
            10 => self.check_dir(dir.1),
            _ => self.file_step(),
        }
    }

    fn file_step(&mut self) {
        let Some((handle, node, ino)) = self.any_file() else {
            return;
        };
        let chunk = CHUNK as u64;
        let offset = self
            .random
            .of(&[0, 1, 10, 100, chunk - 1, chunk, chunk + 1, 2 * chunk + 7]);
        let len = self.random.of(&[0, 1, 5, 64, 100, 1000, CHUNK, CHUNK + 3]);
        let byte = self.random.below(255) as u8 + 1;
        let now = &mut at(0);
        let Some(Kind::File(data)) = self.model.nodes.get_mut(&ino) else {
            return;
        };
        let buf = alloc::vec![byte; len];
        match self.random.below(6) {
            0 | 1 => {
                let append = self.random.below(2) == 0;
                let offset = if append { data.len() as u64 } else { offset };
                let written = if append {
                    self.fs.append(handle, &buf, now).map(|(count, end)| {
                        assert_eq!(end, (offset + count as u64).max(data.len() as u64));
                        count
                    })
                } else {
                    self.fs.write(handle, offset, &buf, now)
                };
                let count = match written {
                    Ok(count) => {
                        assert!(count == len || (self.limited && count > 0), "{count} of {len}");
                        count
                    }
                    Err(Errno::NOSPC) if self.limited => return,
                    Err(errno) => panic!("{errno}"),
                };
                let start = offset as usize;
                if count > 0 {
                    data.resize(data.len().max(start + count), 0);
                    data[start..start + count].fill(byte);
                }
            }
            2 => {
                self.fs.set_size(handle, offset, now).expect("any size will do");
                data.resize(offset as usize, 0);
            }
            3 if len > 0 => match self.fs.allocate(handle, offset, len as u64, now) {
                Ok(()) => data.resize(data.len().max(offset as usize + len), 0),
                Err(errno) => assert!(self.limited && errno == Errno::NOSPC),
            },
            _ => {
                let read = read(&mut self.fs, handle, offset, len);
                let from = (offset as usize).min(data.len());
                let to = (from + len).min(data.len());
                assert_eq!(read, data[from..to]);
                let size = data.len() as u64;
                let stat = self.fs.stat(node).expect("it is open");
                assert_eq!((stat.size, stat.nlink), (size, self.model.names(ino)));
            }
        }
    }

    /// A directory's entries, as read and as looked up.
    fn check_dir(&mut self, ino: u64) {
        let (handle, node, _) = *self.open.iter().find(|open| open.2 == ino).expect("it is open");
        let mut entries = BTreeMap::new();
        let mut sink = |entry: DirEntry<'_>| {
            let name = String::from_utf8(entry.name.to_vec()).expect("UTF-8");
            assert_eq!(
                entries.insert(name, (entry.ino, entry.filetype)),
                None,
                "told twice"
            );
            true
        };
        self.fs
            .read_dir(handle, 0, &mut sink, &mut at(0))
            .expect("a directory");
        let Kind::Dir(expected) = &self.model.nodes[&ino] else {
            return;
        };
        assert!(entries.keys().eq(expected.keys()), "{entries:?} {expected:?}");
        for (name, child) in expected {
            let found = self.fs.lookup(node, name.as_bytes()).expect("it is there");
            let stat = self.fs.stat(found.node).expect("it is there");
            let filetype = match self.model.nodes[child] {
                Kind::File(_) => Filetype::RegularFile,
                Kind::Dir(_) => Filetype::Directory,
                Kind::Link(_) => Filetype::SymbolicLink,
            };
            assert_eq!((entries[name], found.filetype), ((*child, filetype), filetype));
            assert_eq!((stat.ino, stat.nlink), (*child, self.model.names(*child)));
        }
    }

    /// Closes everything, removes everything: nothing is left.
    fn finish(mut self) {
        let dirs: Vec<_> = self
            .open
            .iter()
            .filter(|open| self.model.is_dir(open.2))
            .copied()
            .collect();
        for (_, _, ino) in &dirs {
            self.check_dir(*ino);
        }
        for (handle, _, ino) in core::mem::take(&mut self.open) {
            if !self.model.is_dir(ino) {
                self.fs.close(handle);
            }
        }
        let now = &mut at(0);
        loop {
            let mut removed = false;
            for (_, node, ino) in &dirs {
                for (name, child) in self.model.dir(*ino).clone() {
                    let gone = if self.model.is_dir(child) {
                        self.fs.remove_dir(*node, name.as_bytes(), now)
                    } else {
                        self.fs.unlink(*node, name.as_bytes(), now)
                    };
                    if gone == Ok(()) {
                        self.model.dir(*ino).remove(&name);
                        removed = true;
                    }
                }
            }
            if !removed {
                break;
            }
        }
        for (handle, _, _) in dirs {
            self.fs.close(handle);
        }
        assert_eq!(self.fs.used(), Limits { bytes: 0, entries: 0 });
    }
}

fn run(seeds: u64, steps: u32, limits: Limits) -> Limits {
    let mut most = Limits { bytes: 0, entries: 0 };
    for seed in 1..=seeds {
        let mut bench = Bench::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), limits);
        for _ in 0..steps {
            bench.step();
            let used = bench.fs.used();
            assert!(used.bytes <= limits.bytes && used.entries <= limits.entries);
            most.bytes = most.bytes.max(used.bytes);
            most.entries = most.entries.max(used.entries);
        }
        bench.finish();
    }
    most
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn agrees_with_the_model() {
    let most = run(30, 1500, NONE);
    assert!(most.bytes > 500_000 && most.entries > 20, "too dull: {most:?}");
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn agrees_with_the_model_when_room_is_scarce() {
    for (bytes, entries) in [(1000, 6), (100_000, 1000), (300_000, 10), (0, 20)] {
        let limits = Limits { bytes, entries };
        let most = run(10, 1500, limits);
        assert!(
            most.bytes == bytes || most.entries == entries,
            "never full: {most:?} of {limits:?}"
        );
    }
}
