//! A table of fixed size for what must be remembered a while and may be forgotten early: handshakes that peers began,
//! connections that ended.
//!
//! Four places share a hash; a new entry takes the place of the oldest of them. So an entry costs the same however many
//! there were before, and nothing has to be cleaned up.

use alloc::vec::Vec;

use crate::key::{Key, Secret};

const WAYS: usize = 4;

#[derive(Clone, Debug)]
struct Entry<T> {
    key: Key,
    since: u64,
    value: T,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Remembered<T> {
    /// Sets of four places; none until the first entry.
    sets: Vec<[Option<Entry<T>>; WAYS]>,
    /// A power of two.
    set_count: usize,
    lifetime: u64,
}

impl<T: Clone> Remembered<T> {
    /// A table of at least `capacity` places whose entries live for `lifetime`.
    pub(crate) fn new(capacity: usize, lifetime: u64) -> Self {
        let set_count = capacity.clamp(WAYS, 1 << 20).div_ceil(WAYS).next_power_of_two();
        Self {
            sets: Vec::new(),
            set_count,
            lifetime,
        }
    }

    fn set(&mut self, secret: &Secret, key: &Key) -> Option<&mut [Option<Entry<T>>; WAYS]> {
        let last = u64::try_from(self.sets.len()).ok()?.checked_sub(1)?;
        self.sets.get_mut(usize::try_from(secret.hash(key) & last).ok()?)
    }

    /// The entry of a key that is still alive, with the time since when.
    pub(crate) fn get(&mut self, secret: &Secret, key: &Key, now: u64) -> Option<(u64, &T)> {
        let lifetime = self.lifetime;
        self.set(secret, key)?
            .iter()
            .flatten()
            .find(|entry| entry.key == *key && now.saturating_sub(entry.since) < lifetime)
            .map(|entry| (entry.since, &entry.value))
    }

    /// Adds or replaces the entry of a key.
    pub(crate) fn insert(&mut self, secret: &Secret, key: Key, now: u64, value: T) {
        if self.sets.is_empty() {
            self.sets.resize(self.set_count, [const { None }; WAYS]);
        }
        let Some(set) = self.set(secret, &key) else { return };
        let age = |place: &Option<Entry<T>>| match place {
            Some(entry) if entry.key == key => 0,
            None => 1,
            Some(entry) => entry.since.saturating_add(2),
        };
        if let Some(place) = set.iter_mut().min_by_key(|place| age(place)) {
            *place = Some(Entry {
                key,
                since: now,
                value,
            });
        }
    }

    /// Forgets the entry of a key.
    pub(crate) fn remove(&mut self, secret: &Secret, key: &Key) {
        for place in self.set(secret, key).into_iter().flatten() {
            if place.as_ref().is_some_and(|entry| entry.key == *key) {
                *place = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use smoltcp::wire::IpEndpoint;

    use super::*;
    use crate::device::Entropy;

    struct Counter(u64);

    impl Entropy for Counter {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = self.0.to_be_bytes()[0];
            }
        }
    }

    fn key(port: u16) -> Key {
        let address = Ipv4Addr::new(10, 0, 0, 1).into();
        Key {
            local: IpEndpoint::new(address, 80),
            remote: IpEndpoint::new(address, port),
        }
    }

    #[test]
    fn the_newest_are_remembered_for_their_time() {
        let secret = Secret::new(&mut Counter(1));
        let mut table = Remembered::new(64, 1000);
        assert_eq!(table.get(&secret, &key(1), 0), None);
        for port in 1..=10_000 {
            table.insert(&secret, key(port), port.into(), port);
            assert_eq!(
                table.get(&secret, &key(port), port.into()),
                Some((port.into(), &port))
            );
        }
        let alive = (1..=10_000)
            .filter(|port| table.get(&secret, &key(*port), 10_000).is_some())
            .count();
        assert!((32..=64).contains(&alive), "{alive}");
        table.insert(&secret, key(10_000), 10_001, 7);
        assert_eq!(table.get(&secret, &key(10_000), 11_000), Some((10_001, &7)));
        assert_eq!(table.get(&secret, &key(10_000), 11_001), None);
        table.remove(&secret, &key(10_000));
        assert_eq!(table.get(&secret, &key(10_000), 10_001), None);
    }

    #[test]
    fn hashes_spread() {
        let secret = Secret::new(&mut Counter(2));
        for shift in [0, 57] {
            let mut seen = [0u32; 128];
            for port in 0..12_800 {
                let hash = secret.hash(&key(port)) >> shift;
                seen[usize::try_from(hash & 127).unwrap()] += 1;
            }
            assert!(seen.iter().all(|count| (40..200).contains(count)), "{seen:?}");
        }
    }
}
