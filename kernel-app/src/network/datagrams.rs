//! Who has sent datagrams to a socket at a published port: whom it may answer.

use alloc::collections::{BTreeSet, VecDeque};
use core::net::SocketAddr;

/// So many are remembered.
const MOST: usize = 1024;

/// The senders, the newest so many.
#[derive(Debug, Default)]
pub(super) struct Senders {
    known: BTreeSet<SocketAddr>,
    /// In the order in which they came.
    order: VecDeque<SocketAddr>,
}

impl Senders {
    /// Notes a sender.
    pub(super) fn note(&mut self, from: SocketAddr) {
        if !self.known.insert(from) {
            return;
        }
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(from);
    }

    /// Whether this one has sent something.
    pub(super) fn has(&self, address: &SocketAddr) -> bool {
        self.known.contains(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let from = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut senders = Senders::default();
        for port in 1..=1025 {
            senders.note(from(port));
            senders.note(from(2));
        }
        assert!(!senders.has(&from(1)) && senders.has(&from(3)) && senders.has(&from(1025)));
        assert_eq!((senders.known.len(), senders.order.len()), (MOST, MOST));
    }
}
