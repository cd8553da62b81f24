//! Who has sent datagrams to a socket at a published port: whom it may answer.

use alloc::vec::Vec;
use core::net::SocketAddr;

/// So many are remembered.
const MOST: usize = 256;

/// The senders, the newest so many.
#[derive(Debug, Default)]
pub(super) struct Senders {
    known: Vec<SocketAddr>,
    /// Where the oldest is, once there are so many.
    oldest: usize,
    /// Where the last that was noted is: the one that is answered, mostly.
    last: usize,
}

impl Senders {
    /// Notes a sender.
    pub(super) fn note(&mut self, from: SocketAddr) {
        if let Some(place) = self.place(&from) {
            self.last = place;
        } else if self.known.len() < MOST {
            self.last = self.known.len();
            self.known.push(from);
        } else if let Some(oldest) = self.known.get_mut(self.oldest) {
            *oldest = from;
            self.last = self.oldest;
            self.oldest = (self.oldest + 1) % MOST;
        }
    }

    fn place(&self, address: &SocketAddr) -> Option<usize> {
        if self.known.get(self.last) == Some(address) {
            return Some(self.last);
        }
        self.known.iter().position(|known| known == address)
    }

    /// Whether this one has sent something.
    pub(super) fn has(&self, address: &SocketAddr) -> bool {
        self.place(address).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let from = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut senders = Senders::default();
        for port in 1..=257 {
            senders.note(from(port));
            senders.note(from(2));
        }
        assert!(!senders.has(&from(1)) && senders.has(&from(2)) && senders.has(&from(257)));
        senders.note(from(258));
        assert!(!senders.has(&from(2)) && senders.has(&from(3)) && senders.has(&from(258)));
        assert_eq!(senders.known.len(), MOST);
    }
}
