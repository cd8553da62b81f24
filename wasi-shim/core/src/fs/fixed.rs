//! A file system of which a guest sees the same on every host: entries by name, inode numbers in the order in which it
//! meets them, times that are those of the run.
//!
//! Layer: file systems. Stands before another one, which has names and data. What hosts differ in is not told: times of
//! files that the guest has not changed, links that it has not made, sizes of directories, the order of entries.

use alloc::{boxed::Box, rc::Rc, vec::Vec};

use hashbrown::HashTable;

use super::{Access, DirEntry, FileSystem, Found, Handle, Node, Now, Stat};
use crate::{
    Errno,
    deterministic::{START, VirtualTime},
    system::Clock,
    types::{Filesize, Filetype, Timestamp},
};

/// A file system as the same on every host.
#[derive(Debug)]
pub struct Fixed {
    inner: Box<dyn FileSystem>,
    time: Rc<VirtualTime>,
    known: HashTable<Known>,
    last_ino: u64,
    open: Vec<Option<Open>>,
    /// Places in `open` that are free; there is room for all of them.
    free: Vec<usize>,
}

/// A node that the guest has met.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The other file system's number of it.
    inner: u64,
    ino: u64,
    /// Its names: one, and what the guest has made of that.
    links: u64,
    atim: Timestamp,
    mtim: Timestamp,
    ctim: Timestamp,
}

/// Which of its times change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changed {
    Data,
    Attributes,
}

#[derive(Debug)]
struct Open {
    handle: Handle,
    node: Node,
    /// The other file system's number.
    inner: u64,
    /// Of a directory: its entries when it was read from its beginning.
    listing: Option<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    name: Box<[u8]>,
    ino: u64,
    filetype: Filetype,
}

/// A multiplication spreads numbers over the upper bits, which the table uses.
const fn hash(ino: u64) -> u64 {
    ino.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

impl Known {
    fn hash(&self) -> u64 {
        hash(self.inner)
    }
}

impl Fixed {
    /// Stands before `inner`, in a run of this time.
    #[must_use]
    pub fn new(inner: Box<dyn FileSystem>, time: Rc<VirtualTime>) -> Self {
        Self {
            inner,
            time,
            known: HashTable::new(),
            last_ino: 0,
            open: Vec::new(),
            free: Vec::new(),
        }
    }

    fn now(&self) -> Timestamp {
        self.time.of(Clock::Realtime)
    }

    /// What is known of a node; it is met now, if it was not before.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn known(&mut self, inner: u64) -> Result<&mut Known, Errno> {
        // Twice: what is found could not be handed out and the table changed otherwise.
        if self
            .known
            .find(hash(inner), |known| known.inner == inner)
            .is_none()
        {
            self.meet(inner, START)?;
        }
        self.known
            .find_mut(hash(inner), |known| known.inner == inner)
            .ok_or(Errno::NOENT)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn meet(&mut self, inner: u64, time: Timestamp) -> Result<(), Errno> {
        self.known.try_reserve(1, Known::hash).map_err(|_| Errno::NOMEM)?;
        self.last_ino = self.last_ino.saturating_add(1);
        let known = Known {
            inner,
            ino: self.last_ino,
            links: 1,
            atim: time,
            mtim: time,
            ctim: time,
        };
        self.known.insert_unique(hash(inner), known, Known::hash);
        Ok(())
    }

    /// A node is new, whatever had its number before.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn create_known(&mut self, inner: u64) -> Result<(), Errno> {
        if let Ok(old) = self.known.find_entry(hash(inner), |known| known.inner == inner) {
            old.remove();
        }
        self.meet(inner, self.now())
    }

    /// Attributes as the guest sees them.
    fn fix(&mut self, stat: Stat) -> Result<Stat, Errno> {
        let known = *self.known(stat.ino)?;
        let (nlink, size) = match stat.filetype {
            Filetype::Directory => (1, 0),
            _ => (known.links, stat.size),
        };
        Ok(Stat {
            ino: known.ino,
            filetype: stat.filetype,
            nlink,
            size,
            atim: known.atim,
            mtim: known.mtim,
            ctim: known.ctim,
        })
    }

    fn touch(&mut self, inner: u64, changed: Changed) -> Result<(), Errno> {
        let now = self.now();
        let known = self.known(inner)?;
        known.ctim = now;
        if changed == Changed::Data {
            known.mtim = now;
        }
        Ok(())
    }

    fn touch_node(&mut self, node: Node, changed: Changed) -> Result<(), Errno> {
        let inner = self.inner.stat(node)?.ino;
        self.touch(inner, changed)
    }

    /// The other file system's number of what a name leads to, if it leads to something.
    fn named(&mut self, dir: Node, name: &[u8]) -> Option<u64> {
        let found = self.inner.lookup(dir, name).ok()?;
        Some(self.inner.stat(found.node).ok()?.ino)
    }

    /// A name of a node is gone.
    fn unlinked(&mut self, inner: u64) -> Result<(), Errno> {
        let known = self.known(inner)?;
        known.links = known.links.saturating_sub(1);
        self.touch(inner, Changed::Attributes)
    }

    /// What was just created under a name is new, and the directory has changed.
    fn created(&mut self, dir: Node, name: &[u8]) -> Result<Node, Errno> {
        let node = self.inner.lookup(dir, name)?.node;
        let inner = self.inner.stat(node)?.ino;
        self.create_known(inner)?;
        self.touch_node(dir, Changed::Data)?;
        Ok(node)
    }

    fn opened(&mut self, handle: Handle) -> Result<&mut Open, Errno> {
        let at = usize::try_from(handle.0).map_err(|_| Errno::BADF)?;
        self.open.get_mut(at).and_then(Option::as_mut).ok_or(Errno::BADF)
    }

    /// The other file system's handle and number.
    fn inner_of(&mut self, handle: Handle) -> Result<(Handle, u64), Errno> {
        self.opened(handle).map(|open| (open.handle, open.inner))
    }

    /// All entries of an open directory, by name.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn list(&mut self, handle: Handle, dir: Node) -> Result<Vec<Entry>, Errno> {
        let now = self.now();
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut full = false;
        let mut sink = |entry: DirEntry<'_>| {
            let mut name = Vec::new();
            full = names.try_reserve(1).is_err() || name.try_reserve_exact(entry.name.len()).is_err();
            if !full {
                name.extend_from_slice(entry.name);
                names.push(name.into_boxed_slice());
            }
            !full
        };
        self.inner.read_dir(handle, 0, &mut sink, &mut || now)?;
        if full {
            return Err(Errno::NOMEM);
        }
        names.sort_unstable();
        let mut entries = Vec::new();
        entries.try_reserve_exact(names.len()).map_err(|_| Errno::NOMEM)?;
        for name in names {
            // What a directory says of its entries' numbers and types depends on the host's file system.
            let Ok(found) = self.inner.lookup(dir, &name) else {
                continue;
            };
            let stat = match found.stat {
                Some(stat) => stat,
                None => self.inner.stat(found.node)?,
            };
            entries.push(Entry {
                name,
                ino: self.known(stat.ino)?.ino,
                filetype: stat.filetype,
            });
        }
        Ok(entries)
    }
}

impl FileSystem for Fixed {
    fn begin_call(&mut self) {
        self.inner.begin_call();
    }

    fn root(&mut self) -> Node {
        self.inner.root()
    }

    fn lookup(&mut self, dir: Node, name: &[u8]) -> Result<Found, Errno> {
        let found = self.inner.lookup(dir, name)?;
        let stat = match found.stat {
            Some(stat) => stat,
            None => self.inner.stat(found.node)?,
        };
        // The host may have more names of it than the guest knew.
        let known = self.known(stat.ino)?;
        known.links = known.links.max(1);
        let stat = Some(self.fix(stat)?);
        Ok(Found { stat, ..found })
    }

    fn stat(&mut self, node: Node) -> Result<Stat, Errno> {
        let stat = self.inner.stat(node)?;
        self.fix(stat)
    }

    fn read_link(&mut self, link: Node, buf: &mut [u8]) -> Result<usize, Errno> {
        self.inner.read_link(link, buf)
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn open(&mut self, node: Node, access: Access) -> Result<Handle, Errno> {
        let inner = self.inner.stat(node)?.ino;
        self.known(inner)?;
        if self.free.is_empty() {
            self.open.try_reserve(1).map_err(|_| Errno::NOMEM)?;
            let all = self.open.len().saturating_add(1);
            self.free.try_reserve(all).map_err(|_| Errno::NOMEM)?;
        }
        let handle = self.inner.open(node, access)?;
        let free = self.free.pop().unwrap_or_else(|| {
            self.open.push(None);
            self.open.len().saturating_sub(1)
        });
        let open = Open {
            handle,
            node,
            inner,
            listing: None,
        };
        if let Some(place) = self.open.get_mut(free) {
            *place = Some(open);
        }
        Ok(Handle(u64::try_from(free).unwrap_or(u64::MAX)))
    }

    fn flush(&mut self, handle: Handle) -> Result<(), Errno> {
        let (handle, _) = self.inner_of(handle)?;
        self.inner.flush(handle)
    }

    fn close(&mut self, handle: Handle) {
        let at = usize::try_from(handle.0).unwrap_or(usize::MAX);
        if let Some(open) = self.open.get_mut(at).and_then(Option::take) {
            self.inner.close(open.handle);
            self.free.push(at);
        }
    }

    fn read(&mut self, file: Handle, offset: Filesize, buf: &mut [u8], _: Now<'_>) -> Result<usize, Errno> {
        let now = self.now();
        let (handle, _) = self.inner_of(file)?;
        self.inner.read(handle, offset, buf, &mut || now)
    }

    fn write(&mut self, file: Handle, offset: Filesize, buf: &[u8], _: Now<'_>) -> Result<usize, Errno> {
        let now = self.now();
        let (handle, inner) = self.inner_of(file)?;
        let count = self.inner.write(handle, offset, buf, &mut || now)?;
        self.touch(inner, Changed::Data)?;
        Ok(count)
    }

    fn append(&mut self, file: Handle, buf: &[u8], _: Now<'_>) -> Result<(usize, Filesize), Errno> {
        let now = self.now();
        let (handle, inner) = self.inner_of(file)?;
        let written = self.inner.append(handle, buf, &mut || now)?;
        self.touch(inner, Changed::Data)?;
        Ok(written)
    }

    fn set_size(&mut self, file: Handle, size: Filesize, _: Now<'_>) -> Result<(), Errno> {
        let now = self.now();
        let (handle, inner) = self.inner_of(file)?;
        self.inner.set_size(handle, size, &mut || now)?;
        self.touch(inner, Changed::Data)
    }

    fn allocate(&mut self, file: Handle, offset: Filesize, len: Filesize, _: Now<'_>) -> Result<(), Errno> {
        let now = self.now();
        let (handle, inner) = self.inner_of(file)?;
        self.inner.allocate(handle, offset, len, &mut || now)?;
        self.touch(inner, Changed::Data)
    }

    fn sync(&mut self, file: Handle, data_only: bool) -> Result<(), Errno> {
        let (handle, _) = self.inner_of(file)?;
        self.inner.sync(handle, data_only)
    }

    fn set_times(
        &mut self,
        node: Node,
        atim: Option<Timestamp>,
        mtim: Option<Timestamp>,
        _: Now<'_>,
    ) -> Result<(), Errno> {
        let now = self.now();
        let inner = self.inner.stat(node)?.ino;
        self.inner.set_times(node, atim, mtim, &mut || now)?;
        let known = self.known(inner)?;
        known.atim = atim.unwrap_or(known.atim);
        known.mtim = mtim.unwrap_or(known.mtim);
        known.ctim = now;
        Ok(())
    }

    /// A cookie is a place in the listing, which is made anew where a directory is read from its beginning.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn read_dir(
        &mut self,
        dir: Handle,
        cookie: u64,
        sink: &mut dyn FnMut(DirEntry<'_>) -> bool,
        _: Now<'_>,
    ) -> Result<(), Errno> {
        let Open {
            handle,
            node,
            listing,
            ..
        } = self.opened(dir)?;
        if cookie == 0 || listing.is_none() {
            let (handle, node) = (*handle, *node);
            let entries = self.list(handle, node)?;
            self.opened(dir)?.listing = Some(entries);
        }
        let entries = self.opened(dir)?.listing.as_deref().unwrap_or_default();
        let first = usize::try_from(cookie).unwrap_or(usize::MAX);
        for (place, entry) in entries.iter().enumerate().skip(first) {
            let goes_on = sink(DirEntry {
                next: u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1),
                ino: entry.ino,
                filetype: entry.filetype,
                name: &entry.name,
            });
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn create(&mut self, dir: Node, name: &[u8], _: Now<'_>) -> Result<Node, Errno> {
        let now = self.now();
        let node = self.inner.create(dir, name, &mut || now)?;
        let inner = self.inner.stat(node)?.ino;
        self.create_known(inner)?;
        self.touch_node(dir, Changed::Data)?;
        Ok(node)
    }

    fn create_dir(&mut self, dir: Node, name: &[u8], _: Now<'_>) -> Result<(), Errno> {
        let now = self.now();
        self.inner.create_dir(dir, name, &mut || now)?;
        self.created(dir, name).map(|_| ())
    }

    fn create_link(&mut self, dir: Node, name: &[u8], target: &[u8], _: Now<'_>) -> Result<(), Errno> {
        let now = self.now();
        self.inner.create_link(dir, name, target, &mut || now)?;
        self.created(dir, name).map(|_| ())
    }

    fn hard_link(&mut self, node: Node, dir: Node, name: &[u8], _: Now<'_>) -> Result<(), Errno> {
        let now = self.now();
        self.inner.hard_link(node, dir, name, &mut || now)?;
        let inner = self.inner.stat(node)?.ino;
        let known = self.known(inner)?;
        known.links = known.links.saturating_add(1);
        self.touch(inner, Changed::Attributes)?;
        self.touch_node(dir, Changed::Data)
    }

    fn unlink(&mut self, dir: Node, name: &[u8], _: Now<'_>) -> Result<(), Errno> {
        let now = self.now();
        let inner = self.named(dir, name);
        self.inner.unlink(dir, name, &mut || now)?;
        if let Some(inner) = inner {
            self.unlinked(inner)?;
        }
        self.touch_node(dir, Changed::Data)
    }

    fn remove_dir(&mut self, dir: Node, name: &[u8], _: Now<'_>) -> Result<(), Errno> {
        let now = self.now();
        self.inner.remove_dir(dir, name, &mut || now)?;
        self.touch_node(dir, Changed::Data)
    }

    fn rename(
        &mut self,
        from: Node,
        from_name: &[u8],
        to: Node,
        to_name: &[u8],
        _: Now<'_>,
    ) -> Result<(), Errno> {
        let now = self.now();
        let replaced = self.named(to, to_name);
        self.inner.rename(from, from_name, to, to_name, &mut || now)?;
        let moved = self.named(to, to_name);
        if let Some(inner) = moved {
            self.touch(inner, Changed::Attributes)?;
        }
        // Of two names of one file, both stay.
        if let Some(inner) = replaced.filter(|replaced| moved != Some(*replaced)) {
            self.unlinked(inner)?;
        }
        self.touch_node(from, Changed::Data)?;
        self.touch_node(to, Changed::Data)
    }
}

#[cfg(test)]
mod tests;
