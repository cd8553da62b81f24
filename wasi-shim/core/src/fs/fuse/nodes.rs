//! The server's nodes that this client knows, and the look-ups that it owes back.
//!
//! Layer: file systems. A server counts how often it has told of a node, and keeps it (mostly an open file of the
//! host) until as many look-ups were taken back. Here a node is kept while it is open, and until the next call.

use alloc::vec::Vec;

use fuse_abi::linux::{FUSE_ROOT_ID, fuse_forget_one};
use hashbrown::HashTable;

use crate::{Errno, types::Filetype};

/// Look-ups taken back with one request. As many nodes stay open in the server although nobody needs them.
const BATCH: usize = 64;

#[derive(Debug)]
struct Known {
    nodeid: u64,
    filetype: Filetype,
    /// Look-ups to take back.
    lookups: u64,
    /// Handles.
    opens: u64,
}

/// What is known. The root is not in it: nobody looks it up, and it never goes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    known: HashTable<Known>,
    /// Nodes that may have become needless since the last call.
    recent: Vec<u64>,
    owed: Vec<fuse_forget_one>,
}

/// Servers count from 1, or use addresses; a multiplication spreads both over the upper bits, which the table uses.
fn hash(nodeid: u64) -> u64 {
    nodeid.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

/// For the table, whose code there is once for each function that hashes.
fn hash_of(known: &Known) -> u64 {
    hash(known.nodeid)
}

impl Nodes {
    /// Makes room for one more node, so that a look-up that has succeeded is never lost.
    pub(super) fn reserve(&mut self) -> Result<(), Errno> {
        self.known.try_reserve(1, hash_of).map_err(|_| Errno::NOMEM)?;
        self.recent.try_reserve(1).map_err(|_| Errno::NOMEM)?;
        self.reserve_owed()
    }

    fn reserve_owed(&mut self) -> Result<(), Errno> {
        let missing = BATCH.saturating_sub(self.owed.len());
        self.owed.try_reserve_exact(missing).map_err(|_| Errno::NOMEM)
    }

    /// Counts a look-up; there is room.
    pub(super) fn looked_up(&mut self, nodeid: u64, filetype: Filetype) {
        match self.find(nodeid) {
            Some(known) => {
                known.lookups = known.lookups.saturating_add(1);
                known.filetype = filetype;
            }
            None => {
                let known = Known {
                    nodeid,
                    filetype,
                    lookups: 1,
                    opens: 0,
                };
                self.known.insert_unique(hash(nodeid), known, hash_of);
            }
        }
        self.recent.push(nodeid);
    }

    /// What a node that is kept is. BADF if the node is not kept, which says that the caller has not kept to the
    /// contract of nodes.
    pub(super) fn filetype(&mut self, nodeid: u64) -> Result<Filetype, Errno> {
        match self.find(nodeid) {
            Some(known) => Ok(known.filetype),
            None if nodeid == FUSE_ROOT_ID => Ok(Filetype::Directory),
            None => Err(Errno::BADF),
        }
    }

    /// How many nodes are kept, and how many look-ups are owed.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.known.len(), self.owed.len())
    }

    /// Counts a handle.
    pub(super) fn opened(&mut self, nodeid: u64) {
        if let Some(known) = self.find(nodeid) {
            known.opens = known.opens.saturating_add(1);
        }
    }

    /// Counts a handle back. The node goes with the next call.
    pub(super) fn closed(&mut self, nodeid: u64, forget: &mut dyn FnMut(&[fuse_forget_one])) {
        let Some(known) = self.find(nodeid) else { return };
        known.opens = known.opens.saturating_sub(1);
        if known.opens == 0 {
            if self.recent.try_reserve(1).is_ok() {
                self.recent.push(nodeid);
            } else {
                self.let_go(nodeid, forget);
            }
        }
    }

    /// Lets all nodes go that are not open; full batches are taken back by `forget`.
    pub(super) fn settle(&mut self, forget: &mut dyn FnMut(&[fuse_forget_one])) {
        while let Some(nodeid) = self.recent.pop() {
            self.let_go(nodeid, forget);
        }
    }

    /// Takes back a look-up of a node that nobody needs.
    pub(super) fn owe(&mut self, nodeid: u64, lookups: u64, forget: &mut dyn FnMut(&[fuse_forget_one])) {
        if self.owed.len() >= BATCH || self.reserve_owed().is_err() {
            self.flush(forget);
        }
        let one = fuse_forget_one {
            nodeid,
            nlookup: lookups,
        };
        if self.owed.len() < self.owed.capacity() {
            self.owed.push(one);
        } else {
            // No memory for a batch: one by one.
            forget(&[one]);
        }
    }

    /// Takes back all that is owed.
    pub(super) fn flush(&mut self, forget: &mut dyn FnMut(&[fuse_forget_one])) {
        if !self.owed.is_empty() {
            forget(&self.owed);
            self.owed.clear();
        }
    }

    fn let_go(&mut self, nodeid: u64, forget: &mut dyn FnMut(&[fuse_forget_one])) {
        let found = self
            .known
            .find_entry(hash(nodeid), |known| known.nodeid == nodeid);
        if let Ok(entry) = found
            && entry.get().opens == 0
        {
            let (known, _) = entry.remove();
            self.owe(known.nodeid, known.lookups, forget);
        }
    }

    fn find(&mut self, nodeid: u64) -> Option<&mut Known> {
        self.known.find_mut(hash(nodeid), |known| known.nodeid == nodeid)
    }
}
