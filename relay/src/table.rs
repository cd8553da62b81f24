//! The guest's connections: a table of fixed size, found by their ends and by their places.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};

use net_stack::StreamId;

use crate::packet::Ends;

/// How far a connection is.
#[derive(Debug)]
pub(crate) enum State {
    /// The guest has sent this frame; the name it means is being looked up.
    Resolving(Vec<u8>),
    /// The guest has sent this frame; the host is connecting.
    Connecting(Vec<u8>),
    /// The host is connected; the guest is told so.
    Handshake,
    /// A client of the host's is connected; the guest is told so.
    Opening,
    /// Both are connected.
    Open,
    /// Nothing is left to do but what the guest has to be told.
    Closing,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The guest's end, and what it takes for the other.
    pub(crate) ends: Ends,
    pub(crate) state: State,
    /// The host's socket.
    pub(crate) host: Option<TcpStream>,
    /// The stack's.
    pub(crate) stream: Option<StreamId>,
    /// The stack's port.
    pub(crate) port: u16,
    /// Addresses that were not tried yet, the next one last.
    pub(crate) candidates: Vec<SocketAddr>,
    /// When something happened last.
    pub(crate) active: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The host's socket has an error.
    pub(crate) broken: bool,
    /// The guest sends nothing more, and the host was told.
    pub(crate) guest_ended: bool,
    /// The host sends nothing more, and the guest was told.
    pub(crate) host_ended: bool,
    dirty: bool,
}

impl Flow {
    pub(crate) fn new(ends: Ends, state: State, now: u64) -> Self {
        Self {
            ends,
            state,
            host: None,
            stream: None,
            port: 0,
            candidates: Vec::new(),
            active: now,
            readable: false,
            writable: false,
            broken: false,
            guest_ended: false,
            host_ended: false,
            dirty: false,
        }
    }

    pub(crate) const fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing)
    }
}

#[derive(Debug)]
struct Slot {
    generation: u16,
    flow: Option<Flow>,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    /// Oldest first, so that a place does not come again soon.
    free: std::collections::VecDeque<usize>,
    by_ends: HashMap<Ends, usize>,
    dirty: Vec<usize>,
    /// Those that do not only close.
    open: usize,
    limit: usize,
}

impl Table {
    /// A table for `limit` connections, and as many that only close.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: std::collections::VecDeque::new(),
            by_ends: HashMap::new(),
            dirty: Vec::new(),
            open: 0,
            limit,
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.open < self.limit
    }

    /// Whether a client of a published port may have one more place. An eighth is not for them, of whom there may be any
    /// number: what the guest opens itself is never kept out by them.
    pub(crate) fn has_room_for_clients(&self) -> bool {
        self.open < (self.limit - self.limit.div_ceil(8)).max(1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_ends.is_empty()
    }

    /// Places, used or not.
    pub(crate) fn places(&self) -> usize {
        self.slots.len()
    }

    /// Adds a connection, whose ends no other has. Returns its place.
    pub(crate) fn insert(&mut self, flow: Flow) -> Option<usize> {
        if !self.has_room() {
            return None;
        }
        if self.by_ends.len() >= self.limit.saturating_mul(2) {
            self.forget_oldest();
        }
        let index = match self.free.pop_front() {
            Some(index) => index,
            None => {
                self.slots.push(Slot {
                    generation: 0,
                    flow: None,
                });
                self.slots.len() - 1
            }
        };
        let slot = self.slots.get_mut(index)?;
        slot.generation = slot.generation.wrapping_add(1).max(1);
        self.by_ends.insert(flow.ends, index);
        slot.flow = Some(flow);
        self.open += 1;
        Some(index)
    }

    fn forget_oldest(&mut self) {
        let closing = self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let flow = slot.flow.as_ref().filter(|flow| flow.is_closing())?;
            Some((flow.active, index))
        });
        if let Some((_, index)) = closing.min() {
            self.remove(index);
        }
    }

    pub(crate) fn get(&mut self, index: usize) -> Option<&mut Flow> {
        self.slots.get_mut(index)?.flow.as_mut()
    }

    pub(crate) fn generation(&self, index: usize) -> u16 {
        self.slots.get(index).map_or(0, |slot| slot.generation)
    }

    /// The connection at a place, if it is still that one.
    pub(crate) fn get_exact(&mut self, index: usize, generation: u16) -> Option<&mut Flow> {
        let slot = self.slots.get_mut(index)?;
        slot.flow.as_mut().filter(|_| slot.generation == generation)
    }

    pub(crate) fn find(&self, ends: &Ends) -> Option<usize> {
        self.by_ends.get(ends).copied()
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<Flow> {
        let flow = self.slots.get_mut(index)?.flow.take()?;
        self.by_ends.remove(&flow.ends);
        self.free.push_back(index);
        if !flow.is_closing() {
            self.open -= 1;
        }
        Some(flow)
    }

    /// From now on the connection only closes. Its sockets are the caller's.
    pub(crate) fn close(&mut self, index: usize) -> (Option<TcpStream>, Option<StreamId>) {
        let Some(flow) = self.get(index) else {
            return (None, None);
        };
        let sockets = (flow.host.take(), flow.stream.take());
        if !flow.is_closing() {
            flow.state = State::Closing;
            self.open -= 1;
        }
        sockets
    }

    /// The connection has to be looked at.
    pub(crate) fn mark(&mut self, index: usize) {
        if let Some(flow) = self.get(index)
            && !std::mem::replace(&mut flow.dirty, true)
        {
            self.dirty.push(index);
        }
    }

    /// Takes those that have to be looked at. A place may have got another connection since, which does no harm.
    pub(crate) fn take_marked(&mut self) -> Vec<usize> {
        let marked = std::mem::take(&mut self.dirty);
        for index in &marked {
            if let Some(flow) = self.get(*index) {
                flow.dirty = false;
            }
        }
        marked
    }
}
