//! TCP as the application has it: listeners and streams. Nothing here waits, and nothing is transmitted before the next
//! [`poll`](Stack::poll).

use alloc::collections::VecDeque;
use core::net::SocketAddr;

use smoltcp::{
    socket::tcp::State,
    wire::{IpAddress, IpEndpoint},
};

use super::{
    Listener, Tcp,
    connection::{Connection, Owner},
};
use crate::{
    device::{Entropy, FrameDevice, number},
    error::Error,
    handle::{ListenerId, StreamId},
    key::{Addresses, Bound, Key, inner_address, outer},
    net::NEVER,
    ports,
    slab::Id,
    stack::Stack,
};

/// A side of a connection, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// What is received.
    Receive,
    /// What is sent.
    Send,
    /// Both.
    Both,
}

/// What can be done with a socket without waiting. An operation that readiness promises does not answer
/// [`Error::WouldBlock`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Receiving, accepting or taking a result answers at once: with data, the end of data, or an error.
    pub readable: bool,
    /// Sending answers at once: it takes bytes, or says why it never will. A connection in the making has ended.
    pub writable: bool,
    /// The peer sends nothing more, or there is no connection any more.
    pub hang_up: bool,
    /// Nothing comes and nothing goes any more: both sides have ended, or there is no connection.
    pub ended: bool,
    /// The error that the next operation answers.
    pub error: Option<Error>,
    /// The bytes that can be received at once.
    pub available: usize,
}

impl<D: FrameDevice, E: Entropy> Stack<D, E> {
    /// Listens at an address: one of this machine's, `0.0.0.0` for all of IPv4, or `[::]` for all. Port 0: a free one.
    /// `backlog` connections are kept for [`accept`](Self::accept), at least one and at most as many as configured.
    ///
    /// # Errors
    /// [`AddressInUse`](Error::AddressInUse), [`AddressNotAvailable`](Error::AddressNotAvailable),
    /// [`AddressFamily`](Error::AddressFamily), [`TooMany`](Error::TooMany) listeners.
    pub fn listen(&mut self, local: SocketAddr, backlog: usize) -> Result<ListenerId, Error> {
        let mut bound = Bound::new(local)?;
        if let Addresses::One(address) = bound.address
            && !self.net.has(address)
        {
            return Err(Error::AddressNotAvailable);
        }
        let tcp = &mut self.tcp;
        if bound.port == 0 {
            let start = number(&mut self.entropy);
            let free = |port| tcp.is_free(&Bound { port, ..bound });
            bound.port = ports::find(start, free).ok_or(Error::AddressInUse)?;
        } else if !tcp.is_free(&bound) {
            return Err(Error::AddressInUse);
        }
        let backlog = backlog.clamp(1, tcp.limits.backlog);
        let listener = Listener {
            bound,
            backlog,
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
        };
        tcp.listeners
            .insert(listener)
            .map(ListenerId)
            .ok_or(Error::TooMany)
    }

    /// The address at which a listener listens, with the port that it was given.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn listener_address(&self, listener: ListenerId) -> Result<SocketAddr, Error> {
        self.tcp
            .listeners
            .get(listener.0)
            .map(|listener| listener.bound.outer())
            .ok_or(Error::BadHandle)
    }

    /// Whether there is a connection to accept.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn listener_readiness(&self, listener: ListenerId) -> Result<Readiness, Error> {
        let listener = self.tcp.listeners.get(listener.0).ok_or(Error::BadHandle)?;
        Ok(Readiness {
            readable: !listener.ready.is_empty(),
            ..Readiness::default()
        })
    }

    /// Accepts the oldest connection that is established, and tells the peer's address. It may have ended since: its
    /// stream says so.
    ///
    /// # Errors
    /// [`WouldBlock`](Error::WouldBlock), [`BadHandle`](Error::BadHandle)
    pub fn accept(&mut self, listener: ListenerId) -> Result<(StreamId, SocketAddr), Error> {
        let ready = &mut self
            .tcp
            .listeners
            .get_mut(listener.0)
            .ok_or(Error::BadHandle)?
            .ready;
        let id = ready.pop_front().ok_or(Error::WouldBlock)?;
        self.tcp.finish_waiting(&mut self.net, listener.0);
        let connection = self.tcp.connections.get_mut(id).ok_or(Error::WouldBlock)?;
        connection.owner = Owner::Application;
        Ok((StreamId(id), outer(connection.key.remote)))
    }

    /// Ends a listener. Connections that were not accepted are reset.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn close_listener(&mut self, listener: ListenerId) -> Result<(), Error> {
        let listener = self.tcp.listeners.remove(listener.0).ok_or(Error::BadHandle)?;
        for id in listener.ready {
            self.tcp.reset(id);
        }
        Ok(())
    }

    /// Begins a connection to `remote`, from `local` if that is said; its port 0 is a free one. The stream is writable
    /// once that has ended, and [`connected`](Self::connected) says how.
    ///
    /// # Errors
    /// [`InvalidAddress`](Error::InvalidAddress), [`NetworkDown`](Error::NetworkDown),
    /// [`NetworkUnreachable`](Error::NetworkUnreachable) (also for addresses of this machine: nothing loops back),
    /// [`AddressNotAvailable`](Error::AddressNotAvailable), [`AddressInUse`](Error::AddressInUse),
    /// [`AddressFamily`](Error::AddressFamily), [`TooMany`](Error::TooMany) connections.
    pub fn connect(&mut self, remote: SocketAddr, local: Option<SocketAddr>) -> Result<StreamId, Error> {
        let remote = IpEndpoint::new(inner_address(remote.ip())?, remote.port());
        if remote.port == 0 {
            return Err(Error::InvalidAddress);
        }
        let bound = local.map(Bound::new).transpose()?;
        let mut address = self.net.source(remote.addr)?;
        if let Some(Bound {
            address: Addresses::One(chosen),
            ..
        }) = bound
        {
            address = self.chosen_source(chosen, remote.addr)?;
        }
        let key = |port| Key {
            local: IpEndpoint::new(address, port),
            remote,
        };
        let (tcp, now) = (&mut self.tcp, self.net.now());
        let port = match bound.map_or(0, |bound| bound.port) {
            0 => ports::find(number(&mut self.entropy), |port| tcp.is_free_for(&key(port), now)),
            port => tcp.is_free_for(&key(port), now).then_some(port),
        };
        let key = key(port.ok_or(Error::AddressInUse)?);
        if !tcp.make_room() {
            return Err(Error::TooMany);
        }
        let mut lone = tcp.pool.take();
        let seed = number(&mut self.entropy);
        let begun = self.net.with_seed(seed, |context| {
            lone.socket_mut().connect(context, key.remote, key.local)
        });
        let connection = Connection::new(lone, key, Owner::Application);
        begun.map_err(|_| Error::InvalidAddress)?;
        tcp.insert(connection).map(StreamId)
    }

    fn chosen_source(&self, local: IpAddress, remote: IpAddress) -> Result<IpAddress, Error> {
        if local.version() != remote.version() {
            return Err(Error::InvalidAddress);
        }
        self.net
            .has(local)
            .then_some(local)
            .ok_or(Error::AddressNotAvailable)
    }

    /// How the connection's making ended. The error is told once, by this or another operation.
    ///
    /// # Errors
    /// [`InProgress`](Error::InProgress), why it failed, [`NotConnected`](Error::NotConnected) once that was told;
    /// [`BadHandle`](Error::BadHandle).
    pub fn connected(&mut self, stream: StreamId) -> Result<(), Error> {
        let connection = self.tcp.stream_mut(stream)?;
        if connection.is_connecting() {
            return Err(Error::InProgress);
        }
        if let Some(error) = connection.error.take() {
            return Err(error);
        }
        if connection.state() == State::Closed {
            Err(Error::NotConnected)
        } else {
            Ok(())
        }
    }

    /// The stream's error that was not told yet, as `SO_ERROR` has it: it is told once.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn take_stream_error(&mut self, stream: StreamId) -> Result<Option<Error>, Error> {
        Ok(self.tcp.stream_mut(stream)?.error.take())
    }

    /// Receives into `buffer` and tells how many bytes. 0: the peer sends nothing more, or `buffer` is empty.
    ///
    /// # Errors
    /// [`WouldBlock`](Error::WouldBlock), why the connection ended, [`BadHandle`](Error::BadHandle).
    pub fn receive(&mut self, stream: StreamId, buffer: &mut [u8]) -> Result<usize, Error> {
        let connection = self.tcp.readable(stream)?;
        let Some(connection) = connection else {
            return Ok(0);
        };
        let length = connection.socket_mut().recv_slice(buffer).unwrap_or(0);
        // The window that the peer knows may have to be opened.
        self.tcp.schedule.touch(stream.0.index());
        Ok(length)
    }

    /// As [`receive`](Self::receive), but leaves what it returns to be received again.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn peek(&mut self, stream: StreamId, buffer: &mut [u8]) -> Result<usize, Error> {
        let connection = self.tcp.readable(stream)?;
        Ok(connection.map_or(0, |connection| {
            connection.socket_mut().peek_slice(buffer).unwrap_or(0)
        }))
    }

    /// Takes as much of `data` to send as there is room for, and tells how much.
    ///
    /// # Errors
    /// [`WouldBlock`](Error::WouldBlock), why the connection ended, [`BrokenPipe`](Error::BrokenPipe) after that and
    /// after [`shutdown`](Self::shutdown), [`BadHandle`](Error::BadHandle).
    pub fn send(&mut self, stream: StreamId, data: &[u8]) -> Result<usize, Error> {
        let connection = self.tcp.stream_mut(stream)?;
        if let Some(error) = connection.error.take() {
            return Err(error);
        }
        if connection.is_connecting() {
            return Err(Error::WouldBlock);
        }
        if connection.send_shut || !connection.socket().may_send() {
            return Err(Error::BrokenPipe);
        }
        connection.expect_progress();
        let length = connection
            .socket_mut()
            .send_slice(data)
            .map_err(|_| Error::BrokenPipe)?;
        self.tcp.schedule.touch(stream.0.index());
        if length == 0 && !data.is_empty() {
            Err(Error::WouldBlock)
        } else {
            Ok(length)
        }
    }

    /// Ends a side of a connection. What was written before is sent, and then that nothing follows; the other side goes
    /// on. What arrives at a receiving side that was ended is acknowledged and dropped.
    ///
    /// # Errors
    /// [`NotConnected`](Error::NotConnected), [`BadHandle`](Error::BadHandle)
    pub fn shutdown(&mut self, stream: StreamId, half: Half) -> Result<(), Error> {
        let connection = self.tcp.stream_mut(stream)?;
        if connection.is_connecting() || connection.state() == State::Closed {
            return Err(Error::NotConnected);
        }
        if matches!(half, Half::Send | Half::Both) {
            connection.expect_progress();
            connection.send_shut = true;
            connection.socket_mut().close();
        }
        if matches!(half, Half::Receive | Half::Both) {
            connection.receive_shut = true;
            connection.drop_unwanted();
        }
        self.tcp.schedule.touch(stream.0.index());
        Ok(())
    }

    /// Gives the handle back. What was written is still sent, for the configured time at most. If received data was not
    /// read, the peer is told by a reset, as elsewhere.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn close_stream(&mut self, stream: StreamId) -> Result<(), Error> {
        self.tcp.stream_mut(stream)?.abandon(false);
        self.tcp.schedule.touch(stream.0.index());
        Ok(())
    }

    /// Gives the handle back and resets the connection: what was written and not yet sent is lost.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn reset_stream(&mut self, stream: StreamId) -> Result<(), Error> {
        self.tcp.stream(stream)?;
        self.tcp.reset(stream.0);
        Ok(())
    }

    /// What can be done with a stream.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn stream_readiness(&self, stream: StreamId) -> Result<Readiness, Error> {
        let connection = self.tcp.stream(stream)?;
        let socket = connection.socket();
        let is_connecting = connection.is_connecting();
        let hang_up = !is_connecting && (!socket.may_recv() || peer_has_ended(connection.state()));
        let available = if connection.receive_shut {
            0
        } else {
            socket.recv_queue()
        };
        let room = socket.send_capacity().saturating_sub(socket.send_queue());
        let sends = connection.socket().may_send() && !connection.send_shut;
        Ok(Readiness {
            readable: available > 0 || hang_up || connection.receive_shut || connection.error.is_some(),
            // Not for each byte that was acknowledged: a quarter of the buffer.
            writable: connection.error.is_some()
                || (!is_connecting && (!sends || room > socket.send_capacity() / 4)),
            hang_up,
            ended: hang_up && !sends,
            error: connection.error,
            available,
        })
    }

    /// Our end of a connection.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn stream_address(&self, stream: StreamId) -> Result<SocketAddr, Error> {
        self.tcp
            .stream(stream)
            .map(|connection| outer(connection.key.local))
    }

    /// The peer's end of a connection.
    ///
    /// # Errors
    /// [`NotConnected`](Error::NotConnected), [`BadHandle`](Error::BadHandle)
    pub fn peer_address(&self, stream: StreamId) -> Result<SocketAddr, Error> {
        let connection = self.tcp.stream(stream)?;
        if connection.is_connecting() || connection.state() == State::Closed {
            return Err(Error::NotConnected);
        }
        Ok(outer(connection.key.remote))
    }

    /// Whether small segments are sent at once, `TCP_NODELAY`: not at first.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn no_delay(&self, stream: StreamId) -> Result<bool, Error> {
        self.tcp
            .stream(stream)
            .map(|connection| !connection.socket().nagle_enabled())
    }

    /// Sets whether small segments are sent at once, `TCP_NODELAY`.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn set_no_delay(&mut self, stream: StreamId, no_delay: bool) -> Result<(), Error> {
        self.tcp
            .stream_mut(stream)?
            .socket_mut()
            .set_nagle_enabled(!no_delay);
        self.tcp.schedule.touch(stream.0.index());
        Ok(())
    }

    /// After how many microseconds of silence the peer is asked whether it is there, `SO_KEEPALIVE` and `TCP_KEEPIDLE`.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn keep_alive(&self, stream: StreamId) -> Result<Option<u64>, Error> {
        self.tcp.stream(stream).map(Connection::keep_alive)
    }

    /// Sets after how many microseconds of silence the peer is asked whether it is there, and so often again; after
    /// nine times of silence the connection ends ([`TimedOut`](Error::TimedOut)). `None`: never, as at first.
    ///
    /// # Errors
    /// [`BadHandle`](Error::BadHandle)
    pub fn set_keep_alive(&mut self, stream: StreamId, interval: Option<u64>) -> Result<(), Error> {
        self.tcp
            .stream_mut(stream)?
            .set_keep_alive(interval.map(|interval| interval.max(1)));
        self.tcp.schedule.touch(stream.0.index());
        Ok(())
    }
}

/// Whether nothing more comes from the peer.
fn peer_has_ended(state: State) -> bool {
    matches!(
        state,
        State::CloseWait | State::Closing | State::LastAck | State::TimeWait | State::Closed
    )
}

impl Tcp {
    fn stream(&self, stream: StreamId) -> Result<&Connection, Error> {
        let connection = self.connections.get(stream.0);
        connection
            .filter(|connection| connection.is_owned())
            .ok_or(Error::BadHandle)
    }

    fn stream_mut(&mut self, stream: StreamId) -> Result<&mut Connection, Error> {
        let connection = self.connections.get_mut(stream.0);
        connection
            .filter(|connection| connection.is_owned())
            .ok_or(Error::BadHandle)
    }

    /// Resets a connection that nobody wants to have any more.
    fn reset(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.give_up(Error::ConnectionAborted);
        connection.owner = Owner::Nobody { since: NEVER };
        self.schedule.touch(id.index());
    }

    /// The connection, if there are bytes to receive from it. `None`: there will not be any.
    fn readable(&mut self, stream: StreamId) -> Result<Option<&mut Connection>, Error> {
        let connection = self.stream_mut(stream)?;
        if connection.is_connecting() {
            return Err(Error::WouldBlock);
        }
        if connection.receive_shut {
            return Ok(None);
        }
        if connection.socket().can_recv() {
            return Ok(Some(connection));
        }
        if let Some(error) = connection.error.take() {
            return Err(error);
        }
        if connection.socket().may_recv() {
            Err(Error::WouldBlock)
        } else {
            Ok(None)
        }
    }

    /// Whether a listener may have the address.
    fn is_free(&self, bound: &Bound) -> bool {
        !self
            .listeners
            .iter()
            .any(|(_, listener)| listener.bound.overlaps(bound))
    }

    /// Whether a connection may have these ends.
    fn is_free_for(&mut self, key: &Key, now: u64) -> bool {
        self.find(key).is_none()
            && self.ended.get(&self.secret, key, now).is_none()
            && !self
                .listeners
                .iter()
                .any(|(_, listener)| listener.bound.covers(&key.local))
    }
}
