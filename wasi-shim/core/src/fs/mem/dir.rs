//! A directory of the RAM file system: names in the order they came, and an index by name.
//!
//! Layer: file systems. Each entry has a number that never changes and is never given again; it is the entry's
//! cookie. So reading a directory goes on where it was whatever comes and goes in between. Finding, adding and
//! removing a name takes the same time in a directory of 100,000 as in one of ten. All memory is asked for
//! fallibly.

use alloc::{boxed::Box, vec::Vec};

use hashbrown::HashTable;

use crate::Errno;

/// An entry; `name` is empty where one was removed.
#[derive(Debug)]
struct Entry {
    cookie: u64,
    name: Box<[u8]>,
    node: usize,
}

/// A directory.
#[derive(Debug, Default)]
pub(super) struct Dir {
    /// In the order of their cookies, with gaps.
    entries: Vec<Entry>,
    /// Positions in `entries` by the hash of the name.
    index: HashTable<usize>,
    next_cookie: u64,
}

/// FNV-1a. A guest that makes names collide slows itself down, nobody else.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The hash of the name at a position. One function for all of the table's operations, whose code there is once for
/// each that hashes.
fn hasher(entries: &[Entry]) -> impl Fn(&usize) -> u64 + '_ {
    |at| entries.get(*at).map_or(0, |entry| hash(&entry.name))
}

/// A copy, fallibly.
pub(super) fn copy(bytes: &[u8]) -> Result<Box<[u8]>, Errno> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).map_err(|_| Errno::NOSPC)?;
    copy.extend_from_slice(bytes);
    // As long as its capacity, so nothing is allocated.
    Ok(copy.into_boxed_slice())
}

impl Dir {
    pub(super) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.index
            .find(hash(name), |at| {
                self.entries.get(*at).is_some_and(|e| *e.name == *name)
            })
            .copied()
    }

    /// The node that has this name.
    pub(super) fn get(&self, name: &[u8]) -> Option<usize> {
        self.position(name)
            .and_then(|at| self.entries.get(at))
            .map(|entry| entry.node)
    }

    /// Sees to it that the next `insert` has room.
    pub(super) fn reserve(&mut self) -> Result<(), Errno> {
        self.entries.try_reserve(1).map_err(|_| Errno::NOSPC)?;
        self.index
            .try_reserve(1, hasher(&self.entries))
            .map_err(|_| Errno::NOSPC)
    }

    /// Adds a name that is not there, after `reserve`.
    pub(super) fn insert(&mut self, name: Box<[u8]>, node: usize) {
        let at = self.entries.len();
        let hash_of_name = hash(&name);
        self.entries.push(Entry {
            cookie: self.next_cookie,
            name,
            node,
        });
        self.next_cookie = self.next_cookie.saturating_add(1);
        self.index.insert_unique(hash_of_name, at, hasher(&self.entries));
    }

    /// Gives a name that is there to another node; its cookie stays. Returns the node that had it.
    pub(super) fn replace(&mut self, name: &[u8], node: usize) -> Option<usize> {
        let at = self.position(name)?;
        let entry = self.entries.get_mut(at)?;
        Some(core::mem::replace(&mut entry.node, node))
    }

    /// Removes a name; returns the node that had it.
    pub(super) fn remove(&mut self, name: &[u8]) -> Option<usize> {
        let entries = &self.entries;
        let found = self.index.find_entry(hash(name), |at| {
            entries.get(*at).is_some_and(|e| *e.name == *name)
        });
        let (at, _) = found.ok()?.remove();
        let entry = self.entries.get_mut(at)?;
        entry.name = Box::default();
        let node = entry.node;
        self.close_gaps();
        Some(node)
    }

    /// Removes gaps when most of `entries` is gaps, so that each costs its share of the work once.
    fn close_gaps(&mut self) {
        let live = self.index.len();
        if live == 0 {
            self.entries = Vec::new();
            self.index = HashTable::new();
            return;
        }
        if self.entries.len().saturating_sub(live) <= live.max(16) {
            return;
        }
        self.entries.retain(|entry| !entry.name.is_empty());
        self.index.clear();
        let entries = &self.entries;
        for (at, entry) in entries.iter().enumerate() {
            // There are fewer than before, so the index has room.
            self.index.insert_unique(hash(&entry.name), at, hasher(entries));
        }
    }

    /// The entries from `cookie` on: their cookies, names and nodes.
    pub(super) fn iter_from(&self, cookie: u64) -> impl Iterator<Item = (u64, &[u8], usize)> {
        let start = self.entries.partition_point(|entry| entry.cookie < cookie);
        let rest = self.entries.get(start..).unwrap_or_default();
        rest.iter()
            .filter(|entry| !entry.name.is_empty())
            .map(|entry| (entry.cookie, &*entry.name, entry.node))
    }
}
