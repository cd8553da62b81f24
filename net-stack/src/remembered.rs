//! A table of fixed size for what must be remembered a while and may be forgotten early: handshakes that peers began,
//! connections that ended.
//!
//! A new entry takes the place of the oldest. So an entry costs the same however many there were before, and nothing
//! has to be cleaned up.

use alloc::vec::Vec;

use crate::{
    key::{Key, Secret},
    places::Places,
};

/// The table.
#[derive(Debug)]
pub(crate) struct Remembered<T> {
    /// A ring, of the time since when and the value: the oldest is the next to be replaced. It grows to its capacity.
    entries: Vec<(u64, T)>,
    /// Where in the ring a key is.
    places: Places,
    next: usize,
    capacity: usize,
    lifetime: u64,
}

impl<T> Remembered<T> {
    /// A table of at most `capacity` entries, at least one, that live for `lifetime`.
    pub(crate) fn new(capacity: usize, lifetime: u64) -> Self {
        Self {
            entries: Vec::new(),
            places: Places::new(),
            next: 0,
            capacity: capacity.max(1),
            lifetime,
        }
    }

    /// The entry of a key that is still alive, with the time since when.
    pub(crate) fn get(&self, secret: &Secret, key: &Key, now: u64) -> Option<(u64, &T)> {
        let (since, value) = self.entries.get(self.places.find(secret, key)?)?;
        (now.saturating_sub(*since) < self.lifetime).then_some((*since, value))
    }

    /// Adds or replaces the entry of a key.
    pub(crate) fn insert(&mut self, secret: &Secret, key: Key, now: u64, value: T) {
        self.places.remove(secret, &key);
        if let Some(oldest) = self.places.key_at(self.next).copied() {
            self.places.remove(secret, &oldest);
        }
        match self.entries.get_mut(self.next) {
            Some(entry) => *entry = (now, value),
            None => self.entries.push((now, value)),
        }
        self.places.insert(secret, key, self.next);
        let next = self.next.saturating_add(1);
        self.next = if next < self.capacity { next } else { 0 };
    }

    /// Forgets the entry of a key.
    pub(crate) fn remove(&mut self, secret: &Secret, key: &Key) {
        self.places.remove(secret, key);
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
        let alive = |port: &u16| table.get(&secret, &key(*port), 10_000).is_some();
        assert_eq!(
            (1..=10_000).filter(alive).collect::<Vec<_>>(),
            (9937..=10_000).collect::<Vec<_>>()
        );
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
