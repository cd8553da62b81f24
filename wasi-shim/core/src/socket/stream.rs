//! Streams: listening, accepting, connecting.
//!
//! Layer: core.

use core::net::SocketAddr;

use super::{Kind, Patience, Shared, Socket, State};
use crate::{
    Errno,
    context::WasiCtx,
    descriptor::Descriptor,
    file::Blocking,
    network::{Direction, SocketId},
    system::{Source, System},
};

impl<S: System> WasiCtx<S> {
    /// Lets connections come to a stream; so many may wait to be accepted. One that has no name gets a free port. On
    /// the port of a listener that the guest was given, it takes connections from that one's queue.
    ///
    /// # Errors
    /// NOTSUP: it is none; INVAL: it is connected, or is going to be; ACCES, ADDRINUSE, ADDRNOTAVAIL, AFNOSUPPORT,
    /// NOBUFS: what [`Network::listen`](crate::Network::listen) says.
    pub fn listen(&mut self, socket: &mut Socket, backlog: usize) -> Result<(), Errno> {
        if socket.kind != Kind::Stream {
            return Err(Errno::NOTSUP);
        }
        let local = match socket.state {
            State::Unbound => socket.family.unspecified(),
            State::Bound(local) => local,
            // As on Linux; the queue stays as long as it was.
            State::Listening(_) => return Ok(()),
            State::Connecting(..) | State::Failed(..) | State::Connected(_) | State::Open(_) => {
                return Err(Errno::INVAL);
            }
        };
        let id = match self.shared(local.port()) {
            Some(shared) => {
                shared.users = shared.users.saturating_add(1);
                shared.id
            }
            None => self.network()?.listen(local, backlog)?,
        };
        socket.state = State::Listening(id);
        Ok(())
    }

    /// The listener on a port that the guest was given.
    fn shared(&mut self, port: u16) -> Option<&mut Shared> {
        // Port 0 is none: whoever listens there gets one of its own.
        let mut shared = self.listeners.iter_mut();
        shared.find(|shared| port != 0 && shared.port == port)
    }

    /// Takes the oldest connection that has come to a listener, and tells who made it.
    ///
    /// # Errors
    /// AGAIN, as `blocking` and the listener's [timeout](super::Options::receive_timeout) say; NOTSUP: it is no stream;
    /// INVAL: it does not listen; NOBUFS; what the network says.
    pub fn accept(
        &mut self,
        listener: &Socket,
        blocking: Blocking,
    ) -> Result<(Descriptor, SocketAddr), Errno> {
        listener.check_listening()?;
        let id = listener.id().ok_or(Errno::INVAL)?;
        let mut patience = Patience::new(blocking, listener.options.receive_timeout);
        loop {
            match self.network()?.accept(id) {
                Err(Errno::AGAIN) => self.wait_for(Source::Readable(id), &mut patience)?,
                Err(errno) => return Err(errno),
                Ok((id, peer)) => return Ok((self.accepted(id, listener), peer)),
            }
        }
    }

    /// A connection that has come to `listener`.
    fn accepted(&mut self, id: SocketId, listener: &Socket) -> Descriptor {
        // Without them it is a connection still.
        let _ = self.apply(id, super::Options::default(), listener.options);
        let state = State::Connected(id);
        Descriptor::Socket(Socket::new(
            listener.family,
            Kind::Stream,
            state,
            listener.options,
        ))
    }

    /// Connects a stream; or says with whom alone a socket for datagrams exchanges them.
    ///
    /// # Errors
    /// AFNOSUPPORT: `remote` is of another family; INPROGRESS: it goes on, and the socket is ready to write when it has
    /// ended, as `blocking` and the [timeout](super::Options::send_timeout) say; ALREADY: so it was before; ISCONN: it
    /// is connected, or listens; ACCES, ADDRINUSE, ADDRNOTAVAIL, CONNREFUSED, CONNRESET, HOSTUNREACH, INVAL,
    /// NETUNREACH, NOBUFS, TIMEDOUT: why it is not connected. It may be tried again then.
    pub fn connect(
        &mut self,
        socket: &mut Socket,
        remote: SocketAddr,
        blocking: Blocking,
    ) -> Result<(), Errno> {
        socket.check_family(remote)?;
        if socket.kind == Kind::Datagram {
            let id = self.opened(socket)?;
            return self.network()?.connect_datagrams(id, Some(remote));
        }
        let local = match socket.state {
            State::Unbound => None,
            State::Bound(local) => Some(local),
            State::Connecting(..) | State::Failed(..) => {
                return self.await_connection(socket, blocking, Errno::ALREADY);
            }
            State::Listening(_) | State::Connected(_) | State::Open(_) => return Err(Errno::ISCONN),
        };
        let id = self.network()?.connect(remote, local)?;
        socket.state = State::Connecting(id, local);
        // Without them it is a connection still.
        let _ = self.apply(id, super::Options::default(), socket.options);
        self.await_connection(socket, blocking, Errno::INPROGRESS)
    }

    fn await_connection(
        &mut self,
        socket: &mut Socket,
        blocking: Blocking,
        unfinished: Errno,
    ) -> Result<(), Errno> {
        let patience = Patience::new(blocking, socket.options.send_timeout);
        match self.settle(socket, patience) {
            Err(Errno::AGAIN) => Err(unfinished),
            settled => settled.map(|_| ()),
        }
    }

    /// The connection of a stream. One that is being made is waited for; one that was not made leaves the socket as it
    /// was before.
    pub(super) fn settle(&mut self, socket: &mut Socket, mut patience: Patience) -> Result<SocketId, Errno> {
        let (id, local) = match socket.state {
            State::Connected(id) => return Ok(id),
            State::Connecting(id, local) => (id, local),
            State::Failed(errno, local) => {
                socket.state = local.map_or(State::Unbound, State::Bound);
                return Err(errno);
            }
            _ => return Err(Errno::NOTCONN),
        };
        loop {
            match self.network()?.connected(id) {
                Ok(()) => {
                    socket.state = State::Connected(id);
                    return Ok(id);
                }
                Err(Errno::INPROGRESS) => self.wait_for(Source::Writable(id), &mut patience)?,
                Err(errno) => {
                    // Nothing is left to close, or it is closed now.
                    let _ = self.network()?.close(id);
                    socket.state = local.map_or(State::Unbound, State::Bound);
                    return Err(errno);
                }
            }
        }
    }

    /// The connection of a stream, if it has one now. Why it was not made is still to be told.
    ///
    /// # Errors
    /// NOTCONN.
    pub(super) fn connection(&mut self, socket: &mut Socket) -> Result<SocketId, Errno> {
        let State::Connecting(_, local) = socket.state else {
            return match socket.state {
                State::Connected(id) => Ok(id),
                _ => Err(Errno::NOTCONN),
            };
        };
        self.settle(socket, Patience::new(Blocking::Fail, None))
            .map_err(|errno| {
                if errno != Errno::AGAIN {
                    socket.state = State::Failed(errno, local);
                }
                Errno::NOTCONN
            })
    }

    /// Ends one direction of a connection.
    ///
    /// # Errors
    /// NOTCONN: it has none; NOTSUP: it is for datagrams; what the network says.
    pub fn shutdown(&mut self, socket: &mut Socket, direction: Direction) -> Result<(), Errno> {
        if socket.kind == Kind::Datagram {
            return Err(Errno::NOTSUP);
        }
        let id = self.connection(socket)?;
        self.network()?.shutdown(id, direction)
    }
}
