//! TCP: the connections and how they are served. The operations that the application asks for are in `sockets`, how
//! connections begin and what remains of them in `handshake`.

mod connection;
mod handshake;
mod sockets;

use alloc::{collections::VecDeque, vec::Vec};

use smoltcp::socket::tcp::State;

pub use sockets::{Half, Readiness};

use crate::{
    config::Config,
    device::{Entropy, FrameDevice},
    error::Error,
    frame::{Segment, Undelivered},
    key::{Bound, Key, Secret},
    net::{NEVER, Net},
    phy::Sent,
    places::Places,
    remembered::Remembered,
    schedule::Schedule,
    slab::{Id, Slab},
};
use connection::{Connection, Owner, Pool};
use handshake::{Ended, HalfOpen};

/// Segments that a connection may send before others have their turn.
const SHARE: usize = 16;

/// How often at most a socket is asked that says it has something to send, and sends nothing.
const RETRY: u64 = 10_000;

/// A socket that connections come to.
#[derive(Debug)]
struct Listener {
    bound: Bound,
    backlog: usize,
    /// Connections that were not accepted yet.
    ready: VecDeque<Id>,
    /// Handshakes that the peers have finished, for which there was no room in the backlog.
    waiting: VecDeque<Key>,
}

/// All of TCP.
pub(crate) struct Tcp {
    connections: Slab<Connection>,
    /// The connections that segments may come for, by their keys.
    index: Places,
    secret: Secret,
    listeners: Slab<Listener>,
    half_open: Remembered<HalfOpen>,
    ended: Remembered<Ended>,
    pub(crate) pool: Pool,
    schedule: Schedule,
    limits: Limits,
}

/// What of the configuration is needed later.
#[derive(Clone, Copy, Debug)]
struct Limits {
    backlog: usize,
    connect: u64,
    peer: u64,
    linger: u64,
}

impl Tcp {
    pub(crate) fn new(config: &Config, entropy: &mut impl Entropy) -> Self {
        Self {
            connections: Slab::new(config.connections),
            index: Places::new(),
            secret: Secret::new(entropy),
            listeners: Slab::new(config.listeners),
            half_open: Remembered::new(config.half_open, config.half_open_timeout),
            ended: Remembered::new(config.time_wait, config.time_wait_timeout),
            pool: Pool::new(config),
            schedule: Schedule::new(),
            limits: Limits {
                backlog: config.backlog.max(1),
                connect: config.connect_timeout,
                peer: config.peer_timeout,
                linger: config.linger,
            },
        }
    }

    fn find(&self, key: &Key) -> Option<Id> {
        self.connections.at(self.index.find(&self.secret, key)?)
    }

    /// Whether there is room for another connection: if need be, in place of one that only ends.
    fn make_room(&mut self) -> bool {
        let has_room = self.connections.has_room() && self.pool.has_one();
        has_room || self.evict() && self.pool.has_one()
    }

    /// Adds a connection.
    fn insert(&mut self, connection: Connection) -> Result<Id, Error> {
        let key = connection.key;
        let id = self.connections.insert(connection).ok_or(Error::TooMany)?;
        self.index.insert(&self.secret, key, id.index());
        self.schedule.touch(id.index());
        Ok(id)
    }

    /// Gives up the connection that the application closed longest ago.
    fn evict(&mut self) -> bool {
        let orphans = self
            .connections
            .iter()
            .filter_map(|(id, connection)| match connection.owner {
                Owner::Nobody { since } => Some((since, id)),
                _ => None,
            });
        let Some((_, id)) = orphans.min() else {
            return false;
        };
        self.release(id);
        true
    }

    /// No segment comes for the connection any more.
    fn forget_key(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if core::mem::take(&mut connection.indexed) {
            self.index.remove(&self.secret, &connection.key);
        }
    }

    /// Takes a connection out, and its buffers back.
    fn release(&mut self, id: Id) {
        self.forget_key(id);
        if let Some(connection) = self.connections.remove(id) {
            self.schedule.set(id.index(), NEVER);
            self.pool.give_back(connection.into_socket());
        }
    }

    /// Hands a segment to whoever it is for. The answer is `net`'s.
    pub(crate) fn receive(
        &mut self,
        net: &mut Net,
        entropy: &mut impl Entropy,
        frame: &[u8],
        segment: &Segment<'_>,
    ) {
        match self.find(&segment.key) {
            Some(id) => self.deliver(net, frame, segment, id),
            None => self.receive_unknown(net, entropy, frame, segment),
        }
    }

    /// Hands a segment to a connection.
    fn deliver(&mut self, net: &mut Net, frame: &[u8], segment: &Segment<'_>, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let before = connection.state();
        // Both ends connect to each other at once: nobody does, and smoltcp 0.14.0 panics (`last_scaled_window` of a
        // window that was never told). The seed `simultaneous-open` of fuzz target `frames` shows it.
        if before == State::SynSent && segment.syn && !segment.ack {
            return;
        }
        connection.highest.peer_is_full = segment.is_full;
        net.receive(frame, Some(connection.set()));
        net.mend_answer(&mut connection.highest);
        connection.progress = net.now();
        let after = connection.state();
        if after == State::Closed && before != State::Closed && segment.rst {
            connection.error = Some(match before {
                State::SynSent => Error::ConnectionRefused,
                _ => Error::ConnectionReset,
            });
        }
        if after == State::TimeWait && before != State::TimeWait {
            connection.ended = Some(Ended::by(segment));
        }
        connection.drop_unwanted();
        self.schedule.touch(id.index());
    }

    /// A router or the peer says that a packet did not arrive. It is believed only of a connection in the making: later
    /// it may be a lie, or pass.
    pub(crate) fn undelivered(&mut self, undelivered: &Undelivered) {
        let Some(id) = self.find(&undelivered.key) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.state() == State::SynSent {
            connection.give_up(undelivered.error);
            self.schedule.touch(id.index());
        }
    }

    /// All connections have to be served: an address was found or lost.
    pub(crate) fn touch_all(&mut self) {
        for (id, _) in self.connections.iter() {
            self.schedule.touch(id.index());
        }
    }

    /// Serves the connections that may have something to send. Says whether the device has no room for it.
    pub(crate) fn transmit(&mut self, net: &mut Net, device: &mut impl FrameDevice) -> bool {
        self.schedule.advance(net.now());
        while let Some(index) = self.schedule.pop() {
            match self.serve(net, device, index) {
                Served::Done => {}
                Served::More => self.schedule.touch(index),
                Served::Blocked => {
                    self.schedule.touch_first(index);
                    return true;
                }
            }
        }
        false
    }

    fn serve(&mut self, net: &mut Net, device: &mut impl FrameDevice, index: usize) -> Served {
        let Some(id) = self.connections.at(index) else {
            return Served::Done;
        };
        let Some(connection) = self.connections.get_mut(id) else {
            return Served::Done;
        };
        let now = net.now();
        connection.begin(now);
        if let Some((_, error)) = connection.limit(&self.limits).filter(|(time, _)| *time <= now) {
            connection.give_up(error);
        }
        if !net.has(connection.key.local.addr) {
            connection.lose_address();
        }
        let mut deadline = net.deadline(connection.set());
        let mut sent = Sent::Packet;
        for _ in 0..SHARE {
            if deadline > now {
                break;
            }
            let remote = connection.key.remote.addr;
            let (set, highest) = connection.sender();
            sent = net.transmit(device, set, Some(remote), Some(highest));
            match sent {
                Sent::Blocked => return Served::Blocked,
                Sent::Packet => connection.has_sent = true,
                Sent::Question | Sent::Nothing => {}
            }
            deadline = net.deadline(connection.set());
            if sent != Sent::Packet {
                break;
            }
        }
        if deadline <= now && sent == Sent::Packet {
            return Served::More;
        }
        if deadline <= now {
            deadline = now.saturating_add(RETRY);
        }
        let limit = connection.limit(&self.limits).map_or(NEVER, |(time, _)| time);
        self.schedule.set(index, deadline.min(limit));
        self.settle(net, id, deadline);
        Served::Done
    }

    /// Draws the conclusions from a connection's state, once it has sent what it had to.
    fn settle(&mut self, net: &Net, id: Id, deadline: u64) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let orphan = matches!(connection.owner, Owner::Nobody { .. });
        match connection.state() {
            State::Closed => {
                let over = orphan && connection.is_silent();
                self.forget_key(id);
                if over {
                    self.release(id);
                }
            }
            // Not while our last acknowledgement is delayed.
            State::TimeWait if orphan && deadline > net.now().saturating_add(ACK_DELAY) => {
                let (key, ended) = (connection.key, connection.ended);
                if let Some(ended) = ended {
                    self.ended.insert(&self.secret, key, net.now(), ended);
                }
                self.release(id);
            }
            _ => {}
        }
    }

    /// When a connection has to be served next.
    pub(crate) fn next(&mut self) -> u64 {
        self.schedule.next()
    }

    /// Whether all that was written has arrived, and that nothing follows, as far as the peers can be reached.
    pub(crate) fn is_drained(&self) -> bool {
        self.connections
            .iter()
            .all(|(_, connection)| connection.is_drained())
    }

    /// Closes everything, but sends what was written before.
    pub(crate) fn close_all(&mut self) {
        let listeners: Vec<Id> = self.listeners.iter().map(|(id, _)| id).collect();
        for id in listeners {
            self.listeners.remove(id);
        }
        for index in 0..self.connections.places() {
            let Some(id) = self.connections.at(index) else {
                continue;
            };
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            connection.abandon(true);
            self.schedule.touch(index);
        }
    }
}

/// For so long smoltcp delays an acknowledgement.
const ACK_DELAY: u64 = 10_000;

/// What serving a connection came to.
enum Served {
    /// It has nothing more to send now.
    Done,
    /// It had its share.
    More,
    /// The device has no room.
    Blocked,
}
