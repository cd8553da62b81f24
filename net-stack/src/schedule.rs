//! Which sockets have to be served now, and when the next one has to be: by their places in a table.

use alloc::{collections::VecDeque, vec::Vec};

use crate::net::NEVER;

#[derive(Clone, Copy, Debug)]
struct Place {
    deadline: u64,
    queued: bool,
}

/// The schedule.
#[derive(Debug)]
pub(crate) struct Schedule {
    places: Vec<Place>,
    /// No place twice.
    queue: VecDeque<usize>,
    /// No deadline is before it.
    next: u64,
    /// The place that had the next deadline has another now.
    stale: bool,
}

impl Schedule {
    pub(crate) const fn new() -> Self {
        Self {
            places: Vec::new(),
            queue: VecDeque::new(),
            next: NEVER,
            stale: false,
        }
    }

    fn place(&mut self, index: usize) -> Option<&mut Place> {
        if index >= self.places.len() {
            self.places.resize(
                index.checked_add(1)?,
                Place {
                    deadline: NEVER,
                    queued: false,
                },
            );
        }
        self.places.get_mut(index)
    }

    /// The socket has to be served in this poll, or in the next one.
    pub(crate) fn touch(&mut self, index: usize) {
        let Some(place) = self.place(index) else { return };
        if !core::mem::replace(&mut place.queued, true) {
            self.queue.push_back(index);
        }
    }

    /// As [`touch`](Self::touch), before all others.
    pub(crate) fn touch_first(&mut self, index: usize) {
        let Some(place) = self.place(index) else { return };
        if !core::mem::replace(&mut place.queued, true) {
            self.queue.push_front(index);
        }
    }

    /// Takes the socket that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<usize> {
        let index = self.queue.pop_front()?;
        if let Some(place) = self.places.get_mut(index) {
            place.queued = false;
        }
        Some(index)
    }

    /// Sets when the socket has to be served if nothing happens before.
    pub(crate) fn set(&mut self, index: usize, deadline: u64) {
        let next = self.next;
        let Some(place) = self.place(index) else { return };
        let old = core::mem::replace(&mut place.deadline, deadline);
        if deadline < next {
            self.next = deadline;
        } else if old == next && old != deadline {
            self.stale = true;
        }
    }

    /// Touches the sockets whose time has come.
    pub(crate) fn advance(&mut self, now: u64) {
        if self.next > now {
            return;
        }
        for index in 0..self.places.len() {
            if self.places.get(index).is_some_and(|place| place.deadline <= now) {
                self.set(index, NEVER);
                self.touch(index);
            }
        }
        self.stale = true;
    }

    /// The next deadline.
    pub(crate) fn next(&mut self) -> u64 {
        if core::mem::take(&mut self.stale) {
            self.next = self
                .places
                .iter()
                .map(|place| place.deadline)
                .min()
                .unwrap_or(NEVER);
        }
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_and_turns() {
        let mut schedule = Schedule::new();
        schedule.set(3, 30);
        schedule.set(1, 10);
        schedule.set(2, 20);
        assert_eq!(schedule.next(), 10);
        schedule.advance(9);
        assert_eq!(schedule.pop(), None);
        schedule.advance(20);
        assert_eq!(schedule.next(), 30);
        schedule.touch(2);
        assert_eq!(
            [schedule.pop(), schedule.pop(), schedule.pop()],
            [Some(1), Some(2), None]
        );
        schedule.set(3, 40);
        assert_eq!(schedule.next(), 40);
        schedule.touch(1);
        schedule.touch_first(3);
        assert_eq!(
            [schedule.pop(), schedule.pop(), schedule.pop()],
            [Some(3), Some(1), None]
        );
        schedule.set(3, NEVER);
        assert_eq!(schedule.next(), NEVER);
    }
}
