//! A bounded table whose entries are known by handles that no later entry answers to.

use alloc::vec::Vec;

/// The handle of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    index: u32,
    generation: u32,
}

impl Id {
    /// The entry's place, which a later entry may have.
    pub(crate) fn index(self) -> usize {
        self.index as usize
    }

    /// The handle as a number.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.index) << 32 | u64::from(self.generation)
    }

    /// The handle that is this number.
    pub(crate) fn from_bits(bits: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        Self {
            index: half(bits >> 32),
            generation: half(bits),
        }
    }
}

/// The most entries of a table: two bits of a handle's number are always free.
const MOST: usize = 1 << 30;

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    limit: usize,
}

impl<T> Slab<T> {
    /// A table for at most `limit` entries.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            limit: limit.min(MOST),
        }
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.places.len().saturating_sub(self.free.len())
    }

    /// Whether there is room for another entry.
    pub(crate) fn has_room(&self) -> bool {
        self.len() < self.limit
    }

    /// The number of places, used or not: every index is below.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// Adds an entry. `None`: the table is full.
    pub(crate) fn insert(&mut self, value: T) -> Option<Id> {
        if !self.has_room() {
            return None;
        }
        if let Some(index) = self.free.pop() {
            let place = self.places.get_mut(index as usize)?;
            place.value = Some(value);
            return Some(Id {
                index,
                generation: place.generation,
            });
        }
        let index = u32::try_from(self.places.len()).ok()?;
        self.places.push(Place {
            generation: 0,
            value: Some(value),
        });
        Some(Id { index, generation: 0 })
    }

    /// Takes an entry out. Its handle means nothing from now on.
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        self.get(id)?;
        let place = self.places.get_mut(id.index())?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        place.value.take()
    }

    /// The entry of a handle.
    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        self.places
            .get(id.index())
            .filter(|place| place.generation == id.generation)
            .and_then(|place| place.value.as_ref())
    }

    /// The entry of a handle.
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.places
            .get_mut(id.index())
            .filter(|place| place.generation == id.generation)
            .and_then(|place| place.value.as_mut())
    }

    /// The handle of the entry at a place.
    pub(crate) fn at(&self, index: usize) -> Option<Id> {
        let place = self.places.get(index)?;
        place.value.as_ref()?;
        Some(Id {
            index: u32::try_from(index).ok()?,
            generation: place.generation,
        })
    }

    /// All entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        (0u32..).zip(&self.places).filter_map(|(index, place)| {
            let id = Id {
                index,
                generation: place.generation,
            };
            place.value.as_ref().map(|value| (id, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_means_its_entry_and_no_later_one() {
        let mut slab = Slab::new(2);
        let (a, b) = (slab.insert('a').unwrap(), slab.insert('b').unwrap());
        assert_eq!(slab.insert('c'), None);
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        let c = slab.insert('c').unwrap();
        assert_eq!(c.index(), a.index());
        for id in [a, b, c] {
            assert_eq!(Id::from_bits(id.to_bits()), id);
            assert!(id.to_bits() < 1 << 62);
        }
        assert_eq!(
            (slab.get(a), slab.get(b), slab.get(c)),
            (None, Some(&'b'), Some(&'c'))
        );
        assert_eq!((slab.len(), slab.places(), slab.at(0)), (2, 2, Some(c)));
        assert_eq!(
            slab.iter().map(|(_, value)| *value).collect::<Vec<_>>(),
            ['c', 'b']
        );
    }
}
