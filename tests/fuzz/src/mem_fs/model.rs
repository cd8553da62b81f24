//! The model: nodes by inode number, what they hold, and what follows from that.

use std::collections::BTreeMap;

use wasi_core::Errno;

use super::Bench;

/// Unit in which the model keeps data. Not that of the file system, so that they do not share a mistake.
const PAGE: u64 = 1000;

/// A file's bytes: pages that are not all zero.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    pub(super) size: u64,
    pub(super) pages: BTreeMap<u64, Vec<u8>>,
}

impl Data {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut data = Self::default();
        data.write(0, bytes);
        data
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let page = self.pages.entry(at / PAGE).or_insert_with(|| vec![0; 1000]);
            let room = &mut page[usize::try_from(at % PAGE).expect("below 1000")..];
            let (now, later) = rest.split_at(room.len().min(rest.len()));
            room[..now.len()].copy_from_slice(now);
            at += now.len() as u64;
            rest = later;
        }
        if !bytes.is_empty() {
            self.size = self.size.max(offset + bytes.len() as u64);
        }
    }

    pub(super) fn set_size(&mut self, size: u64) {
        if size < self.size {
            self.pages.retain(|page, _| *page <= size / PAGE);
            if let Some(page) = self.pages.get_mut(&(size / PAGE)) {
                page[usize::try_from(size % PAGE).expect("below 1000")..].fill(0);
            }
        }
        self.size = size;
    }

    pub(super) fn read(&self, offset: u64, len: usize) -> Vec<u8> {
        let len = (self.size.saturating_sub(offset)).min(len as u64);
        let mut bytes = Vec::new();
        let mut at = offset;
        while at < offset + len {
            let start = usize::try_from(at % PAGE).expect("below 1000");
            let count = usize::try_from((PAGE - at % PAGE).min(offset + len - at)).expect("below 1000");
            match self.pages.get(&(at / PAGE)) {
                Some(page) => bytes.extend(&page[start..start + count]),
                None => bytes.resize(bytes.len() + count, 0),
            }
            at += count as u64;
        }
        bytes
    }
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    File(Data),
    /// Names, and the order in which they came.
    Dir(BTreeMap<Vec<u8>, (u64, u64)>),
    Link(Vec<u8>),
}

/// A node of the model.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    /// The directory that a directory is in; `None` if it was removed.
    pub(super) parent: Option<u64>,
    /// Names of what is no directory.
    pub(super) names: u64,
    pub(super) opens: u64,
    pub(super) atim: u64,
    pub(super) mtim: u64,
    pub(super) ctim: u64,
}

impl Bench {
    pub(super) fn dir(&self, ino: u64) -> &BTreeMap<Vec<u8>, (u64, u64)> {
        match &self.nodes[&ino].kind {
            Kind::Dir(entries) => entries,
            other => panic!("{ino} is no directory but {other:?}"),
        }
    }

    pub(super) fn dir_mut(&mut self, ino: u64) -> &mut BTreeMap<Vec<u8>, (u64, u64)> {
        match self.nodes.get_mut(&ino).map(|node| &mut node.kind) {
            Some(Kind::Dir(entries)) => entries,
            other => panic!("{ino} is no directory but {other:?}"),
        }
    }

    pub(super) fn is_dir(&self, ino: u64) -> bool {
        matches!(self.nodes[&ino].kind, Kind::Dir(_))
    }

    pub(super) fn nlink(&self, ino: u64) -> u64 {
        let node = &self.nodes[&ino];
        match &node.kind {
            Kind::Dir(_) if node.parent.is_none() => 0,
            Kind::Dir(entries) => {
                2 + entries.values().filter(|(child, _)| self.is_dir(*child)).count() as u64
            }
            _ => node.names,
        }
    }

    /// Whether `name` can be added to a directory.
    pub(super) fn check_new(&self, dir: u64, name: &[u8]) -> Result<(), Errno> {
        if self.dir(dir).contains_key(name) {
            return Err(Errno::EXIST);
        }
        match self.nodes[&dir].parent {
            Some(_) => Ok(()),
            None => Err(Errno::NOENT),
        }
    }

    /// A change of a directory's names at the present time.
    pub(super) fn touch(&mut self, ino: u64) {
        let time = self.time;
        let node = self.nodes.get_mut(&ino).expect("it is there");
        (node.mtim, node.ctim) = (time, time);
    }

    pub(super) fn insert(&mut self, dir: u64, name: &[u8], ino: u64) {
        let order = self.next_order;
        self.next_order += 1;
        self.dir_mut(dir).insert(name.to_vec(), (ino, order));
        self.touch(dir);
    }

    /// Lets go what has neither name nor handle.
    pub(super) fn collect(&mut self, ino: u64) {
        if self.nlink(ino) == 0 && self.nodes[&ino].opens == 0 {
            self.nodes.remove(&ino);
        }
    }

    pub(super) fn lose_name(&mut self, ino: u64) {
        let (is_dir, time) = (self.is_dir(ino), self.time);
        let node = self.nodes.get_mut(&ino).expect("it is there");
        if is_dir {
            node.parent = None;
        } else {
            node.names -= 1;
            node.ctim = time;
        }
        self.collect(ino);
    }

    /// Entries as the limits count them: names, and what is open without one.
    pub(super) fn entries(&self) -> u64 {
        let names: usize = self
            .nodes
            .values()
            .map(|node| match &node.kind {
                Kind::Dir(entries) => entries.len(),
                _ => 0,
            })
            .sum();
        let nameless = self.nodes.keys().filter(|ino| self.nlink(**ino) == 0).count();
        (names + nameless) as u64
    }

    pub(super) fn rename_errno(
        &self,
        from: u64,
        old: &[u8],
        to: u64,
        new: &[u8],
    ) -> Result<(u64, Option<u64>), Errno> {
        if self.nodes[&to].parent.is_none() {
            return Err(Errno::NOENT);
        }
        let (moved, _) = *self.dir(from).get(old).ok_or(Errno::NOENT)?;
        let is_dir = self.is_dir(moved);
        if is_dir && self.within(to, moved) {
            return Err(Errno::INVAL);
        }
        let replaced = self.dir(to).get(new).map(|(ino, _)| *ino);
        let Some(other) = replaced.filter(|other| *other != moved) else {
            return Ok((moved, replaced));
        };
        let full = self.is_dir(other) && !self.dir(other).is_empty();
        match (is_dir, self.is_dir(other)) {
            _ if full && self.within(from, other) => Err(Errno::NOTEMPTY),
            (false, true) => Err(Errno::ISDIR),
            (true, false) => Err(Errno::NOTDIR),
            (true, true) if full => Err(Errno::NOTEMPTY),
            _ => Ok((moved, replaced)),
        }
    }

    /// Whether a directory is `ancestor` or beneath it.
    pub(super) fn within(&self, mut ino: u64, ancestor: u64) -> bool {
        loop {
            match self.nodes[&ino].parent {
                _ if ino == ancestor => return true,
                Some(parent) if parent != ino => ino = parent,
                _ => return false,
            }
        }
    }
}
