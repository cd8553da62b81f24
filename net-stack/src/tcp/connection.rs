//! One connection: smoltcp's socket, and what smoltcp does not know of it. The pool of sockets, with their buffers.

use alloc::{vec, vec::Vec};

use smoltcp::{
    iface::SocketSet,
    socket::tcp::{CongestionControl, Socket, SocketBuffer, State},
    time::Duration,
};

use super::{Limits, handshake::Ended};
use crate::{config::Config, error::Error, key::Key, lone::Lone, mend::Highest, net::NEVER, slab::Id};

/// For so long a connection in the making waits for its neighbour's address: three questions.
const NEIGHBOUR_TIMEOUT: u64 = 3_000_000;

/// So many intervals of keep-alive may pass without an answer.
const PROBES: u64 = 9;

/// Makes a socket of smoltcp's.
fn socket(receive_buffer: usize, send_buffer: usize) -> TcpSocket {
    let buffer = |size| SocketBuffer::new(vec![0; size]);
    Lone::new(Socket::new(buffer(receive_buffer), buffer(send_buffer)))
}

/// Forgets a socket's connection without a word to the peer, and what is in its buffers. Does not clear them.
fn discard(lone: &mut TcpSocket) {
    let socket = lone.socket_mut();
    socket.abort();
    // It is `listen` that resets a closed socket, any port will do.
    let _ = socket.listen(1);
    socket.close();
}

/// smoltcp's socket of a connection.
pub(super) type TcpSocket = Lone<Socket<'static>>;

/// Sockets that nobody uses, to be used again with the buffers they have.
pub(crate) struct Pool {
    sockets: Vec<TcpSocket>,
    limit: usize,
    receive_buffer: usize,
    send_buffer: usize,
    /// Bytes that new sockets may take.
    free: usize,
}

/// What a socket takes besides its buffers, amply.
const BESIDES: usize = 4096;

impl Pool {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            sockets: Vec::new(),
            limit: config.pooled,
            receive_buffer: config.receive_buffer,
            send_buffer: config.send_buffer,
            free: usize::MAX,
        }
    }

    /// Says how much memory new sockets may take from now on.
    pub(crate) fn set_free(&mut self, bytes: usize) {
        self.free = bytes;
    }

    /// Takes so much of the memory that is free, if it is there.
    #[cfg(feature = "udp")]
    pub(crate) fn afford(&mut self, bytes: usize) -> bool {
        let left = self.free.checked_sub(bytes.saturating_add(BESIDES));
        self.free = left.unwrap_or(self.free);
        left.is_some()
    }

    /// Bytes of a new socket.
    fn size(&self) -> usize {
        let buffers = self.receive_buffer.saturating_add(self.send_buffer);
        buffers.saturating_add(BESIDES)
    }

    /// Whether there is a socket to take, or memory for one.
    pub(super) fn has_one(&self) -> bool {
        !self.sockets.is_empty() || self.size() <= self.free
    }

    /// A closed socket. The caller has asked whether there [is one](Self::has_one).
    pub(super) fn take(&mut self) -> TcpSocket {
        let mut lone = self.sockets.pop().unwrap_or_else(|| {
            self.free = self.free.saturating_sub(self.size());
            socket(self.receive_buffer, self.send_buffer)
        });
        // What a reset leaves as it was.
        let socket = lone.socket_mut();
        socket.set_nagle_enabled(true);
        socket.set_keep_alive(None);
        socket.set_congestion_control(CongestionControl::Reno);
        lone
    }

    pub(super) fn give_back(&mut self, mut lone: TcpSocket) {
        if self.sockets.len() < self.limit {
            discard(&mut lone);
            self.sockets.push(lone);
        } else {
            self.free = self.free.saturating_add(self.size());
        }
    }
}

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The application has a handle.
    Application,
    /// A listener has it, for the application to accept.
    Listener(Id),
    /// The application has closed it; it sends what was written before, and ends.
    Nobody { since: u64 },
}

/// A connection.
pub(super) struct Connection {
    lone: TcpSocket,
    pub(super) key: Key,
    pub(super) owner: Owner,
    /// Why it ended, until the application was told.
    pub(super) error: Option<Error>,
    /// Whether segments for it are expected.
    pub(super) indexed: bool,
    /// Since when it is there. As all times here, [`NEVER`] until the next poll: between polls nobody knows the time.
    since: u64,
    /// When the peer was heard last, or began to owe us something.
    pub(super) progress: u64,
    /// What it has sent.
    pub(super) highest: Highest,
    /// Whether a packet of it was transmitted.
    pub(super) has_sent: bool,
    keep_alive: Option<u64>,
    /// The application does not want to receive any more.
    pub(super) receive_shut: bool,
    /// The application does not want to send any more.
    pub(super) send_shut: bool,
    /// What to remember once both sides have ended.
    pub(super) ended: Option<Ended>,
}

impl Connection {
    pub(super) fn new(lone: TcpSocket, key: Key, owner: Owner) -> Self {
        Self {
            lone,
            key,
            owner,
            error: None,
            indexed: true,
            since: NEVER,
            progress: NEVER,
            highest: Highest::default(),
            has_sent: false,
            keep_alive: None,
            receive_shut: false,
            send_shut: false,
            ended: None,
        }
    }

    pub(super) fn into_socket(self) -> TcpSocket {
        self.lone
    }

    pub(super) fn set(&mut self) -> &mut SocketSet<'static> {
        self.lone.set()
    }

    /// The socket's set, and what the connection has sent.
    pub(super) fn sender(&mut self) -> (&mut SocketSet<'static>, &mut Highest) {
        (self.lone.set(), &mut self.highest)
    }

    pub(super) fn socket(&self) -> &Socket<'static> {
        self.lone.socket()
    }

    pub(super) fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.lone.socket_mut()
    }

    pub(super) fn state(&self) -> State {
        self.socket().state()
    }

    /// Whether the connection is still in the making.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state(), State::SynSent | State::SynReceived)
    }

    /// Whether the application has a handle.
    pub(super) fn is_owned(&self) -> bool {
        self.owner == Owner::Application
    }

    /// Whether there is nothing left to send, not even a reset.
    pub(super) fn is_silent(&self) -> bool {
        self.socket().remote_endpoint().is_none()
    }

    /// Whether the peer has acknowledged all that it is to be told.
    pub(super) fn is_drained(&self) -> bool {
        match self.state() {
            State::Closed => self.is_silent(),
            State::FinWait2 | State::TimeWait => true,
            _ => false,
        }
    }

    /// Whether the peer owes us an acknowledgement.
    fn is_owed(&self) -> bool {
        match self.state() {
            State::FinWait1 | State::Closing | State::LastAck => true,
            State::Established | State::CloseWait => self.socket().send_queue() > 0,
            _ => false,
        }
    }

    /// The peer is about to owe us something: if it did not before, its time begins.
    pub(super) fn expect_progress(&mut self) {
        if !self.is_owed() {
            self.progress = NEVER;
        }
    }

    /// What began since the last poll began now.
    pub(super) fn begin(&mut self, now: u64) {
        let begin = |time: &mut u64| *time = now.min(*time);
        begin(&mut self.since);
        begin(&mut self.progress);
        if let Owner::Nobody { since } = &mut self.owner {
            begin(since);
        }
    }

    /// When the connection is given up, and why, if nothing happens before.
    pub(super) fn limit(&self, limits: &Limits) -> Option<(u64, Error)> {
        let mut limit = None;
        let mut at_most = |since: u64, duration: u64, error| {
            let time = since.saturating_add(duration);
            if limit.is_none_or(|(earliest, _)| time < earliest) {
                limit = Some((time, error));
            }
        };
        if let Owner::Nobody { since } = self.owner {
            at_most(since, limits.linger, Error::TimedOut);
        }
        if self.is_connecting() {
            at_most(self.since, limits.connect, Error::TimedOut);
            if !self.has_sent {
                at_most(self.since, NEIGHBOUR_TIMEOUT, Error::HostUnreachable);
            }
        } else if self.is_owed() {
            at_most(self.progress, limits.peer, Error::TimedOut);
        } else if let Some(interval) = self.keep_alive
            && !matches!(self.state(), State::Closed | State::TimeWait)
        {
            at_most(self.progress, interval.saturating_mul(PROBES), Error::TimedOut);
        }
        limit
    }

    /// Ends the connection. A peer that knows of it is told by a reset; what it sent before can still be read.
    pub(super) fn give_up(&mut self, error: Error) {
        // A connection that nobody owns and that cannot even send its reset.
        if self.is_connecting() || self.state() == State::Closed {
            discard(&mut self.lone);
        } else {
            self.socket_mut().abort();
        }
        if self.error.is_none() && !matches!(self.owner, Owner::Nobody { .. }) {
            self.error = Some(error);
        }
    }

    /// Ends the connection without a word: its local address is not ours any more.
    pub(super) fn lose_address(&mut self) {
        if !self.is_silent() {
            discard(&mut self.lone);
            self.error = Some(Error::ConnectionAborted);
        }
    }

    /// Drops what was received and nobody wants to have. If the application has closed the connection, the peer is told
    /// by a reset that it talks to nobody.
    pub(super) fn drop_unwanted(&mut self) {
        if self.receive_shut {
            while self
                .socket_mut()
                .recv(|bytes| (bytes.len(), bytes.len()))
                .is_ok_and(|length| length > 0)
            {}
        } else if matches!(self.owner, Owner::Nobody { .. }) && self.socket().can_recv() {
            self.socket_mut().abort();
        }
    }

    /// The application has no handle any more. What was written is sent, and that nothing follows. What was received
    /// and not read makes it a reset, as the peer must not think that it was read; unless `gently`.
    pub(super) fn abandon(&mut self, gently: bool) {
        if self.is_connecting() {
            discard(&mut self.lone);
        }
        if !self.socket().can_recv() || gently {
            self.expect_progress();
            self.socket_mut().close();
        } else {
            self.socket_mut().abort();
        }
        if !matches!(self.owner, Owner::Nobody { .. }) {
            self.owner = Owner::Nobody { since: NEVER };
        }
        self.receive_shut |= gently;
        if gently {
            self.drop_unwanted();
        }
    }

    pub(super) fn keep_alive(&self) -> Option<u64> {
        self.keep_alive
    }

    pub(super) fn set_keep_alive(&mut self, interval: Option<u64>) {
        // A connection that was silent for long is not dead for that.
        self.progress = NEVER;
        self.keep_alive = interval;
        self.socket_mut()
            .set_keep_alive(interval.map(Duration::from_micros));
    }
}
