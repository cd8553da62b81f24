//! A file system in the machine's memory, with all that preview1 can express.
//!
//! Layer: file systems. Nodes lie in a table; a [`Node`] and a [`Handle`] are positions in it, so no call searches
//! for an open file. A node goes when its last name and its last handle have gone. Memory is asked for fallibly
//! everywhere, and [`Limits`] hold the guest to what the machine has to spare: NOSPC, never an abort.
//!
//! `data` holds a file's bytes, `dir` a directory's names, `quota` counts, `tree` adds and removes names.

mod data;
mod dir;
mod quota;
mod tree;

use alloc::{boxed::Box, vec::Vec};
use core::ops::Range;

pub use self::{
    data::Bytes,
    quota::{Budget, Limits},
};
use self::{data::Data, dir::Dir, quota::Quota};
use super::{Access, DirEntry, FileSystem, Found, Handle, Node, Now, Stat};
use crate::{
    Errno,
    types::{Filesize, Filetype, Timestamp},
};

/// Position of the root directory in the table of nodes.
const ROOT: usize = 0;

/// A file system in memory.
#[derive(Debug)]
pub struct MemFs {
    slots: Vec<Slot>,
    /// The first free slot; each names the next.
    free: Option<usize>,
    next_ino: u64,
    bytes: Quota,
    entries: Quota,
}

#[derive(Debug)]
enum Slot {
    Free { next: Option<usize> },
    Used(Inode),
}

/// A node.
#[derive(Debug)]
struct Inode {
    ino: u64,
    nlink: u64,
    /// Handles that keep it from going.
    opens: u64,
    atim: Timestamp,
    mtim: Timestamp,
    ctim: Timestamp,
    content: Content,
}

#[derive(Debug)]
enum Content {
    File(Data),
    Directory {
        dir: Dir,
        /// The directory that it is in.
        parent: usize,
    },
    Link(Box<[u8]>),
}

impl Inode {
    const fn filetype(&self) -> Filetype {
        match self.content {
            Content::File(_) => Filetype::RegularFile,
            Content::Directory { .. } => Filetype::Directory,
            Content::Link(_) => Filetype::SymbolicLink,
        }
    }

    /// Records an access: only the first after a change, as Linux does by default, so that reading is not writing.
    fn accessed(&mut self, now: Now<'_>) {
        if self.atim <= self.mtim || self.atim <= self.ctim {
            self.atim = now();
        }
    }
}

impl MemFs {
    /// An empty file system, its root directory made at the time `now`. It has `budget` (or [`Limits`]) for itself,
    /// or shares it with others that are made with a clone.
    pub fn new(budget: impl Into<Budget>, now: Timestamp) -> Self {
        let (bytes, entries) = budget.into().quotas();
        let root = Inode {
            ino: 1,
            nlink: 2,
            // Never closed.
            opens: 1,
            atim: now,
            mtim: now,
            ctim: now,
            content: Content::Directory {
                dir: Dir::default(),
                parent: ROOT,
            },
        };
        Self {
            slots: alloc::vec![Slot::Used(root)],
            free: None,
            next_ino: 2,
            bytes,
            entries,
        }
    }

    /// Creates a file whose data is a part of `bytes`, which is not copied unless it is written to.
    ///
    /// # Errors
    /// As [`FileSystem::create`]; [`Errno::INVAL`] if `bytes` has no such part.
    pub fn create_shared(
        &mut self,
        dir: Node,
        name: &[u8],
        bytes: Bytes,
        range: Range<usize>,
        now: Now<'_>,
    ) -> Result<Node, Errno> {
        let data = Data::shared(bytes, range).ok_or(Errno::INVAL)?;
        let at = self.add(dir, name, Content::File(data), now)?;
        Ok(node_at(at))
    }

    /// How much is used: bytes and entries, as [`Limits`] count them.
    pub fn used(&self) -> Limits {
        Limits {
            bytes: self.bytes.used(),
            entries: self.entries.used(),
        }
    }

    fn get(&self, at: usize) -> Result<&Inode, Errno> {
        match self.slots.get(at) {
            Some(Slot::Used(inode)) => Ok(inode),
            // Only if the caller did not keep to the contract of nodes.
            _ => Err(Errno::BADF),
        }
    }

    fn get_mut(&mut self, at: usize) -> Result<&mut Inode, Errno> {
        match self.slots.get_mut(at) {
            Some(Slot::Used(inode)) => Ok(inode),
            _ => Err(Errno::BADF),
        }
    }

    fn dir(&self, at: usize) -> Result<&Dir, Errno> {
        match &self.get(at)?.content {
            Content::Directory { dir, .. } => Ok(dir),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn dir_mut(&mut self, at: usize) -> Result<&mut Dir, Errno> {
        match &mut self.get_mut(at)?.content {
            Content::Directory { dir, .. } => Ok(dir),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// A file's node, its data, and the quota of bytes.
    fn file(&mut self, file: Handle) -> Result<(&mut Inode, &mut Quota), Errno> {
        match self.slots.get_mut(position(file.0)) {
            Some(Slot::Used(inode)) => Ok((inode, &mut self.bytes)),
            _ => Err(Errno::BADF),
        }
    }

    /// Does `change` to a file's data and records that it has changed.
    fn change<T>(
        &mut self,
        file: Handle,
        now: Now<'_>,
        change: impl FnOnce(&mut Data, &mut Quota) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let (inode, quota) = self.file(file)?;
        let Content::File(data) = &mut inode.content else {
            return Err(Errno::BADF);
        };
        let result = change(data, quota)?;
        inode.mtim = now();
        inode.ctim = inode.mtim;
        Ok(result)
    }

    /// Lets a node go that has neither a name nor a handle any more.
    fn drop_unused(&mut self, at: usize) {
        let Ok(inode) = self.get(at) else { return };
        if inode.nlink > 0 || inode.opens > 0 {
            return;
        }
        let cost = match &inode.content {
            Content::File(data) => data.allocated(),
            Content::Link(target) => u64::try_from(target.len()).unwrap_or(u64::MAX),
            Content::Directory { .. } => 0,
        };
        self.bytes.refund(cost);
        self.entries.refund(1);
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = Slot::Free {
                next: self.free.replace(at),
            };
        }
    }
}

/// The position in the table that a [`Node`] or a [`Handle`] is.
fn position(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn node_at(at: usize) -> Node {
    Node(u64::try_from(at).unwrap_or(u64::MAX))
}

impl FileSystem for MemFs {
    fn root(&mut self) -> Node {
        node_at(ROOT)
    }

    fn lookup(&mut self, dir: Node, name: &[u8]) -> Result<Found, Errno> {
        let at = self.dir(position(dir.0))?.get(name).ok_or(Errno::NOENT)?;
        Ok(Found {
            node: node_at(at),
            filetype: self.get(at)?.filetype(),
            stat: None,
        })
    }

    fn stat(&mut self, node: Node) -> Result<Stat, Errno> {
        let inode = self.get(position(node.0))?;
        let size = match &inode.content {
            Content::File(data) => data.size(),
            Content::Directory { .. } => 0,
            Content::Link(target) => u64::try_from(target.len()).unwrap_or(u64::MAX),
        };
        Ok(Stat {
            ino: inode.ino,
            filetype: inode.filetype(),
            nlink: inode.nlink,
            size,
            atim: inode.atim,
            mtim: inode.mtim,
            ctim: inode.ctim,
        })
    }

    fn read_link(&mut self, link: Node, buf: &mut [u8]) -> Result<usize, Errno> {
        let Content::Link(target) = &self.get(position(link.0))?.content else {
            return Err(Errno::INVAL);
        };
        buf.iter_mut().zip(target).for_each(|(to, from)| *to = *from);
        Ok(target.len())
    }

    fn open(&mut self, node: Node, _access: Access) -> Result<Handle, Errno> {
        let inode = self.get_mut(position(node.0))?;
        inode.opens = inode.opens.saturating_add(1);
        Ok(Handle(node.0))
    }

    fn close(&mut self, handle: Handle) {
        let at = position(handle.0);
        if let Ok(inode) = self.get_mut(at) {
            inode.opens = inode.opens.saturating_sub(1);
            self.drop_unused(at);
        }
    }

    fn read(&mut self, file: Handle, offset: Filesize, buf: &mut [u8], now: Now<'_>) -> Result<usize, Errno> {
        let inode = self.get_mut(position(file.0))?;
        let Content::File(data) = &inode.content else {
            return Err(Errno::ISDIR);
        };
        let count = data.read(offset, buf);
        if count > 0 {
            inode.accessed(now);
        }
        Ok(count)
    }

    fn write(&mut self, file: Handle, offset: Filesize, buf: &[u8], now: Now<'_>) -> Result<usize, Errno> {
        self.change(file, now, |data, quota| data.write(offset, buf, quota))
    }

    fn append(&mut self, file: Handle, buf: &[u8], now: Now<'_>) -> Result<(usize, Filesize), Errno> {
        self.change(file, now, |data, quota| {
            let count = data.write(data.size(), buf, quota)?;
            Ok((count, data.size()))
        })
    }

    fn set_size(&mut self, file: Handle, size: Filesize, now: Now<'_>) -> Result<(), Errno> {
        self.change(file, now, |data, quota| data.set_size(size, quota))
    }

    fn allocate(&mut self, file: Handle, offset: Filesize, len: Filesize, now: Now<'_>) -> Result<(), Errno> {
        self.change(file, now, |data, quota| data.allocate(offset, len, quota))
    }

    /// There is nothing that outlives the machine, so there is nothing to do.
    fn sync(&mut self, _file: Handle, _data_only: bool) -> Result<(), Errno> {
        Ok(())
    }

    fn set_times(
        &mut self,
        node: Node,
        atim: Option<Timestamp>,
        mtim: Option<Timestamp>,
        now: Now<'_>,
    ) -> Result<(), Errno> {
        let inode = self.get_mut(position(node.0))?;
        inode.atim = atim.unwrap_or(inode.atim);
        inode.mtim = mtim.unwrap_or(inode.mtim);
        inode.ctim = now();
        Ok(())
    }

    fn read_dir(
        &mut self,
        dir: Handle,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
        now: Now<'_>,
    ) -> Result<(), Errno> {
        let at = position(dir.0);
        for (cookie, name, node) in self.dir(at)?.iter_from(cookie) {
            let inode = self.get(node)?;
            let entry = DirEntry {
                next: cookie.saturating_add(1),
                ino: inode.ino,
                filetype: inode.filetype(),
                name,
            };
            if !sink(entry) {
                break;
            }
        }
        self.get_mut(at)?.accessed(now);
        Ok(())
    }

    fn create(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<Node, Errno> {
        Ok(node_at(self.add(
            dir,
            name,
            Content::File(Data::default()),
            now,
        )?))
    }

    fn create_dir(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno> {
        let parent = position(dir.0);
        let content = Content::Directory {
            dir: Dir::default(),
            parent,
        };
        self.add(dir, name, content, now)?;
        Ok(())
    }

    fn create_link(&mut self, dir: Node, name: &[u8], target: &[u8], now: Now<'_>) -> Result<(), Errno> {
        self.check_new_name(position(dir.0), name)?;
        let cost = u64::try_from(target.len()).unwrap_or(u64::MAX);
        self.bytes.charge(cost)?;
        let made = dir::copy(target).and_then(|target| self.add(dir, name, Content::Link(target), now));
        if let Err(errno) = made {
            self.bytes.refund(cost);
            return Err(errno);
        }
        Ok(())
    }

    fn hard_link(&mut self, node: Node, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno> {
        self.add_name(position(node.0), position(dir.0), name, now)
    }

    fn unlink(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno> {
        let dir = position(dir.0);
        let at = self.dir(dir)?.get(name).ok_or(Errno::NOENT)?;
        if self.get(at)?.filetype() == Filetype::Directory {
            return Err(Errno::ISDIR);
        }
        self.dir_mut(dir)?.remove(name);
        self.touch(dir, now)?;
        self.lose_name(at, now)
    }

    fn remove_dir(&mut self, dir: Node, name: &[u8], now: Now<'_>) -> Result<(), Errno> {
        let dir = position(dir.0);
        let at = self.dir(dir)?.get(name).ok_or(Errno::NOENT)?;
        if !self.dir(at)?.is_empty() {
            return Err(Errno::NOTEMPTY);
        }
        self.dir_mut(dir)?.remove(name);
        self.touch(dir, now)?;
        self.lose_dir(at, dir)
    }

    fn rename(
        &mut self,
        from: Node,
        from_name: &[u8],
        to: Node,
        to_name: &[u8],
        now: Now<'_>,
    ) -> Result<(), Errno> {
        self.rename_entry(position(from.0), from_name, position(to.0), to_name, now)
    }
}

#[cfg(test)]
mod tests;
