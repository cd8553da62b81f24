//! How connections begin that peers open, and what remains of connections that ended.
//!
//! A handshake that a peer begins takes no socket. What is kept is its first segment and the seed of our first sequence
//! number: from these, a socket with its buffers is made when the peer's acknowledgement shows that it receives what we
//! send. So a flood of first segments with forged senders fills a table of fixed size, and nothing else.

use alloc::vec::Vec;

use smoltcp::{
    socket::tcp::State,
    wire::{TcpControl, TcpRepr, TcpSeqNumber},
};

use super::{
    Tcp,
    connection::{Connection, Owner, TcpSocket},
};
use crate::{
    device::{Entropy, number},
    frame::Segment,
    key::Key,
    net::Net,
    slab::Id,
};

/// A handshake that a peer began.
#[derive(Clone, Debug)]
pub(super) struct HalfOpen {
    listener: Id,
    /// What our first sequence number is made of, and the number.
    seed: u64,
    sequence: u32,
    first: TcpRepr<'static>,
    /// The frames of a finished handshake that waits for room in the backlog: the peer's acknowledgement and what it
    /// sent after that.
    kept: Vec<Vec<u8>>,
}

/// So many bytes are kept of a peer whose handshake waits: a request, say. It sends again what is not kept, but the
/// later the longer it waits.
const KEPT: usize = 3072;

impl HalfOpen {
    /// Keeps a frame, if there is room for it.
    fn keep(&mut self, frame: &[u8]) {
        let length: usize = self.kept.iter().map(Vec::len).sum();
        if length.saturating_add(frame.len()) <= KEPT {
            self.kept.push(frame.to_vec());
        }
    }
}

/// So many finished handshakes wait for room in a backlog; the peers of others, too, believe that they are connected,
/// and are heard when they send something.
const WAITING: usize = 128;

/// A connection that both sides have ended: the numbers of our last acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    sequence: u32,
    acknowledged: u32,
}

impl Ended {
    /// The connection ended by this segment, which acknowledges all of ours and is the last of the peer's.
    pub(super) fn by(segment: &Segment<'_>) -> Self {
        let length = u32::try_from(segment.length).unwrap_or_default();
        Self {
            sequence: segment.acknowledged,
            acknowledged: segment
                .sequence
                .wrapping_add(length)
                .wrapping_add(segment.fin.into()),
        }
    }
}

impl Tcp {
    /// A segment that is for no connection: one may begin with it, or it is a late one.
    pub(super) fn receive_unknown(
        &mut self,
        net: &mut Net,
        entropy: &mut impl Entropy,
        frame: &[u8],
        segment: &Segment<'_>,
    ) {
        let key = &segment.key;
        let opens = segment.syn && !segment.ack && !segment.rst;
        if let Some((_, ended)) = self.ended.get(&self.secret, key, net.now()) {
            let ended = *ended;
            let after = segment.sequence.wrapping_sub(ended.acknowledged).cast_signed() > 0;
            if !(opens && after) {
                self.answer_late(net, segment, ended);
                return;
            }
        }
        if opens && let Some(listener) = self.listener_for(net, key) {
            self.begin(net, entropy, segment, listener);
        } else if segment.ack
            && !segment.syn
            && let Some((since, half_open)) = self.half_open.get(&self.secret, key, net.now())
            && segment.acknowledged == half_open.sequence.wrapping_add(1)
        {
            let half_open = half_open.clone();
            self.finish(net, frame, segment, since, &half_open);
        } else {
            refuse(net, segment);
        }
    }

    fn listener_for(&self, net: &Net, key: &Key) -> Option<Id> {
        let covers = |(id, listener): (Id, &super::Listener)| listener.bound.covers(&key.local).then_some(id);
        self.listeners
            .iter()
            .find_map(covers)
            .filter(|_| net.has(key.local.addr))
    }

    fn has_waiting(&self, listener: Id) -> bool {
        self.listeners
            .get(listener)
            .is_some_and(|listener| !listener.waiting.is_empty())
    }

    fn has_backlog(&self, listener: Id) -> bool {
        self.listeners
            .get(listener)
            .is_some_and(|listener| listener.ready.len() < listener.backlog)
    }

    /// Answers a segment that begins a handshake. If the application accepts too slowly, it is not answered: the peer
    /// tries again. Without memory for any connection at all it is refused.
    fn begin(&mut self, net: &mut Net, entropy: &mut impl Entropy, segment: &Segment<'_>, listener: Id) {
        let key = &segment.key;
        // Who has finished a handshake comes first: what such a peer sends meanwhile is lost, and sent again ever
        // later.
        self.finish_waiting(net, listener);
        if !self.has_backlog(listener) || self.has_waiting(listener) || !crate::net::is_host(key.remote.addr)
        {
            return;
        }
        let Some(first) = segment
            .verified()
            .filter(|first| first.control == TcpControl::Syn)
        else {
            return;
        };
        if !self.pool.has_one() {
            // No memory. The peer tries again, if what another connection gives back may be for it; an application that
            // has taken all gives nothing back.
            if self.connections.len() == 0 {
                refuse(net, segment);
            }
            return;
        }
        let seed = match self.half_open.get(&self.secret, key, net.now()) {
            // It comes again: our answer was lost.
            Some((_, half_open)) if half_open.first == first => half_open.seed,
            _ => number(entropy),
        };
        let mut lone = self.pool.take();
        let _ = lone.socket_mut().listen(key.local);
        let sequence = net.shake((seed, net.now()), key, &first, segment.sender, lone.set());
        self.pool.give_back(lone);
        if let Some(sequence) = sequence {
            let half_open = HalfOpen {
                listener,
                seed,
                sequence,
                first,
                kept: Vec::new(),
            };
            self.half_open.insert(&self.secret, *key, net.now(), half_open);
        }
    }

    /// The peer has received our answer: the socket is made and handed the segment.
    fn finish(
        &mut self,
        net: &mut Net,
        frame: &[u8],
        segment: &Segment<'_>,
        since: u64,
        half_open: &HalfOpen,
    ) {
        let key = &segment.key;
        let listener = half_open.listener;
        if segment.rst || self.listeners.get(listener).is_none() {
            self.half_open.remove(&self.secret, key);
            refuse(net, segment);
        } else if self.has_backlog(listener) && self.make_room() {
            let mut lone = self.repeat(net, key, since, half_open);
            net.receive(frame, Some(lone.set()));
            self.admit(key, lone, listener);
        } else if segment.verified().is_some() {
            let is_first = half_open.kept.is_empty();
            if let Some(listener) = self.listeners.get_mut(listener).filter(|_| is_first) {
                if listener.waiting.len() >= WAITING {
                    return;
                }
                listener.waiting.push_back(*key);
            }
            // The peer is still there, so its time begins anew.
            let mut half_open = half_open.clone();
            half_open.keep(frame);
            self.half_open.insert(&self.secret, *key, net.now(), half_open);
        }
    }

    /// Finishes the handshakes that waited for room in a listener's backlog.
    pub(super) fn finish_waiting(&mut self, net: &mut Net, listener: Id) {
        while self.has_waiting(listener)
            && self.has_backlog(listener)
            && self.make_room()
            && let Some(key) = self
                .listeners
                .get_mut(listener)
                .and_then(|listener| listener.waiting.pop_front())
        {
            // It may have been finished by a segment, forgotten, or begun anew.
            let Some((since, half_open)) = self.half_open.get(&self.secret, &key, net.now()) else {
                continue;
            };
            if half_open.listener != listener || half_open.kept.is_empty() {
                continue;
            }
            let half_open = half_open.clone();
            let mut lone = self.repeat(net, &key, since, &half_open);
            for frame in &half_open.kept {
                net.receive(frame, Some(lone.set()));
            }
            net.no_answer();
            self.admit(&key, lone, listener);
        }
    }

    /// Makes the socket of a handshake, by repeating what happened.
    fn repeat(&mut self, net: &mut Net, key: &Key, since: u64, half_open: &HalfOpen) -> TcpSocket {
        let mut lone = self.pool.take();
        let _ = lone.socket_mut().listen(key.local);
        let us = net.us();
        let _ = net.shake((half_open.seed, since), key, &half_open.first, us, lone.set());
        net.no_answer();
        lone
    }

    /// Gives a listener the socket of a handshake, if it is finished: the segment's checksum may have been wrong.
    fn admit(&mut self, key: &Key, lone: TcpSocket, listener: Id) {
        if !matches!(lone.socket().state(), State::Established | State::CloseWait) {
            self.pool.give_back(lone);
            return;
        }
        self.half_open.remove(&self.secret, key);
        let mut connection = Connection::new(lone, *key, Owner::Listener(listener));
        connection.has_sent = true;
        let Ok(id) = self.insert(connection) else { return };
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.ready.push_back(id);
        }
    }

    /// Answers a segment of a connection that ended: the peer has not received our last acknowledgement.
    fn answer_late(&mut self, net: &mut Net, segment: &Segment<'_>, ended: Ended) {
        let expected = segment.sequence == ended.acknowledged && segment.length == 0 && !segment.fin;
        // Resets are ignored as well: RFC 1337.
        if segment.rst || (expected && !segment.syn) || segment.verified().is_none() {
            return;
        }
        let answer = TcpRepr {
            window_len: 1024,
            ..answer_to(
                segment,
                TcpControl::None,
                ended.sequence,
                Some(ended.acknowledged),
            )
        };
        net.reply_with(&segment.key, &answer, segment.sender);
        if segment.fin {
            self.ended.insert(&self.secret, segment.key, net.now(), ended);
        }
    }
}

/// Answers a segment of no connection with a reset: RFC 9293, 3.10.7.1. smoltcp's would be lost if the sender's address
/// on the link had to be found first; here it is the frame's.
fn refuse(net: &mut Net, segment: &Segment<'_>) {
    let Key { local, remote } = segment.key;
    let is_between_hosts = net.has(local.addr) && crate::net::is_host(remote.addr);
    if segment.rst || !is_between_hosts || segment.verified().is_none() {
        return;
    }
    let answer = if segment.ack {
        answer_to(segment, TcpControl::Rst, segment.acknowledged, None)
    } else {
        let next = Ended::by(segment).acknowledged.wrapping_add(segment.syn.into());
        answer_to(segment, TcpControl::Rst, 0, Some(next))
    };
    net.reply_with(&segment.key, &answer, segment.sender);
}

/// A segment without data or options that answers another.
fn answer_to(
    segment: &Segment<'_>,
    control: TcpControl,
    sequence: u32,
    acknowledged: Option<u32>,
) -> TcpRepr<'static> {
    TcpRepr {
        src_port: segment.key.local.port,
        dst_port: segment.key.remote.port,
        control,
        seq_number: TcpSeqNumber(sequence.cast_signed()),
        ack_number: acknowledged.map(|number| TcpSeqNumber(number.cast_signed())),
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}
