//! Which place in a table a key has: the index of connections and of what is remembered.

use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::key::{Key, Secret};

/// The index.
#[derive(Debug)]
pub(crate) struct Places {
    table: HashTable<u32>,
    /// By place.
    keys: Vec<Option<Key>>,
}

impl Places {
    pub(crate) const fn new() -> Self {
        Self {
            table: HashTable::new(),
            keys: Vec::new(),
        }
    }

    fn key(&self, place: u32) -> Option<&Key> {
        self.keys.get(place as usize)?.as_ref()
    }

    /// The key that has a place.
    pub(crate) fn key_at(&self, place: usize) -> Option<&Key> {
        self.keys.get(place)?.as_ref()
    }

    /// The place of a key.
    pub(crate) fn find(&self, secret: &Secret, key: &Key) -> Option<usize> {
        let place = self
            .table
            .find(secret.hash(key), |place| self.key(*place) == Some(key))?;
        Some(*place as usize)
    }

    /// Gives a key a place that no other key has.
    pub(crate) fn insert(&mut self, secret: &Secret, key: Key, place: usize) {
        let Ok(number) = u32::try_from(place) else { return };
        if place >= self.keys.len() {
            self.keys.resize(place.saturating_add(1), None);
        }
        if let Some(slot) = self.keys.get_mut(place) {
            *slot = Some(key);
        }
        let Self { table, keys } = self;
        table.insert_unique(secret.hash(&key), number, |place| {
            keys.get(*place as usize)
                .and_then(Option::as_ref)
                .map_or(0, |key| secret.hash(key))
        });
    }

    /// Takes a key's place away.
    pub(crate) fn remove(&mut self, secret: &Secret, key: &Key) {
        let Self { table, keys } = self;
        let is_it = |place: &u32| keys.get(*place as usize).and_then(Option::as_ref) == Some(key);
        let Ok(entry) = table.find_entry(secret.hash(key), is_it) else {
            return;
        };
        let (place, _) = entry.remove();
        if let Some(slot) = keys.get_mut(place as usize) {
            *slot = None;
        }
    }
}
