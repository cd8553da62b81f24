//! Bytes and datagrams through a socket.
//!
//! Layer: core.

use core::net::SocketAddr;

use super::{Kind, Patience, Socket, State};
use crate::{
    Errno,
    context::WasiCtx,
    file::Blocking,
    network::{Datagram, SocketId},
    system::{Source, System},
};

/// What a receive got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes; of a stream 0 at its end.
    pub length: usize,
    /// Who sent the datagram; `None` on a stream.
    pub from: Option<SocketAddr>,
    /// Whether the datagram was longer than the room for it. The rest is lost, unless it stays.
    pub truncated: bool,
}

impl From<Datagram> for Received {
    fn from(datagram: Datagram) -> Self {
        Self {
            length: datagram.length,
            from: Some(datagram.from),
            truncated: datagram.truncated,
        }
    }
}

impl<S: System> WasiCtx<S> {
    /// Receives what is there of a stream, at least one byte unless it has ended, or one datagram. With `peek` it
    /// stays.
    ///
    /// # Errors
    /// AGAIN, as `blocking` and the socket's [timeout](super::Options::receive_timeout) say; NOTCONN: a stream without
    /// a connection; CONNREFUSED and others of [`settle`](WasiCtx::connect); CONNRESET, TIMEDOUT; what the network
    /// says.
    pub fn receive(
        &mut self,
        socket: &mut Socket,
        buf: &mut [u8],
        peek: bool,
        blocking: Blocking,
    ) -> Result<Received, Errno> {
        let patience = Patience::new(blocking, socket.options.receive_timeout);
        match socket.kind {
            Kind::Stream => {
                let length = self.receive_bytes(socket, buf, peek, patience)?;
                Ok(Received {
                    length,
                    from: None,
                    truncated: false,
                })
            }
            Kind::Datagram => self.receive_datagram(socket, buf, peek, patience).map(Into::into),
        }
    }

    fn receive_bytes(
        &mut self,
        socket: &mut Socket,
        buf: &mut [u8],
        peek: bool,
        mut patience: Patience,
    ) -> Result<usize, Errno> {
        let id = match socket.state {
            State::Connected(id) => id,
            _ => self.settle(socket, Patience::new(patience.blocking, patience.limit))?,
        };
        loop {
            match self.network()?.receive(id, buf, peek) {
                Err(Errno::AGAIN) => self.wait_for(Source::Readable(id), &mut patience)?,
                received => return received,
            }
        }
    }

    fn receive_datagram(
        &mut self,
        socket: &mut Socket,
        buf: &mut [u8],
        peek: bool,
        mut patience: Patience,
    ) -> Result<Datagram, Errno> {
        let id = self.opened(socket)?;
        loop {
            match self.network()?.receive_from(id, buf, peek) {
                Err(Errno::AGAIN) => self.wait_for(Source::Readable(id), &mut patience)?,
                received => return received,
            }
        }
    }

    /// Sends bytes over a stream, or a datagram `to` somebody; how many bytes. If it waits, it waits until a stream has
    /// taken all.
    ///
    /// # Errors
    /// AGAIN, as `blocking` and the socket's [timeout](super::Options::send_timeout) say; AFNOSUPPORT: `to` is of
    /// another family; ISCONN: a stream is told `to`; NOTCONN: a stream without a connection; PIPE: it is shut down;
    /// DESTADDRREQ: a datagram to nobody; ACCES, CONNREFUSED, CONNRESET, HOSTUNREACH, INVAL, MSGSIZE, TIMEDOUT: what
    /// the network says.
    pub fn send(
        &mut self,
        socket: &mut Socket,
        data: &[u8],
        to: Option<SocketAddr>,
        blocking: Blocking,
    ) -> Result<usize, Errno> {
        let patience = Patience::new(blocking, socket.options.send_timeout);
        match (socket.kind, to) {
            (Kind::Stream, None) => self.send_bytes(socket, data, patience),
            (Kind::Stream, Some(_)) => Err(Errno::ISCONN),
            (Kind::Datagram, _) => {
                self.send_datagram(socket, data, to, patience)?;
                Ok(data.len())
            }
        }
    }

    fn send_bytes(
        &mut self,
        socket: &mut Socket,
        data: &[u8],
        mut patience: Patience,
    ) -> Result<usize, Errno> {
        let id = match socket.state {
            State::Connected(id) => id,
            _ => self.settle(socket, Patience::new(patience.blocking, patience.limit))?,
        };
        let mut sent = 0_usize;
        loop {
            let rest = data.get(sent..).unwrap_or_default();
            let step = match self.network()?.send(id, rest) {
                Ok(count) => {
                    sent = sent.saturating_add(count);
                    if sent >= data.len() {
                        return Ok(sent);
                    }
                    // What did not fit now has to wait, if anything does.
                    Ok(())
                }
                Err(Errno::AGAIN) => self.wait_for(Source::Writable(id), &mut patience),
                Err(errno) => Err(errno),
            };
            match step {
                Ok(()) if patience.blocking == Blocking::Wait => {}
                // What was sent before is told; the error comes again if it lasts.
                _ if sent > 0 => return Ok(sent),
                step => step?,
            }
        }
    }

    fn send_datagram(
        &mut self,
        socket: &mut Socket,
        data: &[u8],
        to: Option<SocketAddr>,
        mut patience: Patience,
    ) -> Result<(), Errno> {
        match to {
            Some(to) => socket.check_family(to)?,
            None if socket.id().is_none() => return Err(Errno::DESTADDRREQ),
            None => {}
        }
        let id = self.opened(socket)?;
        loop {
            match self.network()?.send_to(id, data, to) {
                Err(Errno::AGAIN) => self.wait_for(Source::Writable(id), &mut patience)?,
                sent => return sent,
            }
        }
    }

    /// The socket for datagrams; one that has no name yet gets a free port.
    pub(super) fn opened(&mut self, socket: &mut Socket) -> Result<SocketId, Errno> {
        if let Some(id) = socket.id() {
            return Ok(id);
        }
        let id = self.network()?.bind_datagrams(socket.family.unspecified())?;
        socket.state = State::Open(id);
        Ok(id)
    }
}
