//! The guest's connections, and the host's that they are joined to.
//!
//! A connection that the guest opens is opened on the host first: the guest hears that it is connected, or refused,
//! when the host has heard so. What is received from one side is kept nowhere but in the stack's buffers and the
//! kernel's, so that a side which reads slowly is felt by the other.

mod exchange;

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};

use boot_protocol::network::{Host, Protocol, inside};
use net_stack::{ConfigError, Error, ListenerId, Next, Stack};
use rustix::event::epoll::EventFlags;

use exchange::Ended;

use crate::host::{connect, events, reason, reset, settle};
use crate::outside::{Outside, Token};
use crate::packet::{self, Ends, LONGEST, Packet, Segment, Why, flags};
use crate::policy::permits;
use crate::port::{self, FRAMES, LINK, Port, ROUTER_LINK, Random};
use crate::resolve::Found;
use crate::table::{Flow, State, Table};

/// What is moved at once.
const CHUNK: usize = 64 << 10;
/// How often the stack and the connections are served before others have their turn.
const ROUNDS: usize = 8;
/// For so long the host may take to connect, names included. In microseconds, as all times.
const CONNECT: u64 = 60_000_000;
/// For so long the guest may take to finish a handshake.
const HANDSHAKE: u64 = 30_000_000;
/// For so long what closes is remembered after its last segment.
const CLOSING: u64 = 60_000_000;
/// After so long a silent guest is asked whether it is there.
const KEEP_ALIVE: u64 = 120_000_000;

/// Who waits at a port of the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Nobody,
    /// There may be somebody.
    Somebody,
    /// The system is out of descriptors or memory.
    Unknown,
}

/// All connections.
pub(crate) struct Tcp {
    stack: Stack<Port, Random>,
    listener: ListenerId,
    table: Table,
    scratch: Box<[u8]>,
    /// What the stack's buffers have room for whenever it says that it has room.
    quarter: usize,
}

impl Tcp {
    pub(crate) fn new(connections: usize, buffer: usize) -> Result<Self, ConfigError> {
        let connections = connections.clamp(1, port::MOST / 2);
        let config = port::config(connections, buffer);
        let mut stack = Stack::new(Port::default(), Random, &config)?;
        let listener = stack
            .listen(port::listener(), config.backlog)
            .map_err(|_| ConfigError::Buffer)?;
        Ok(Self {
            stack,
            listener,
            table: Table::new(connections),
            scratch: vec![0; CHUNK].into(),
            quarter: (buffer / 4).clamp(1, CHUNK),
        })
    }

    /// Whether [`accept_host`](Self::accept_host) would accept somebody.
    pub(crate) fn has_room_for_clients(&self) -> bool {
        self.table.has_room_for_clients()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// A segment of the guest's, in `frame`.
    pub(crate) fn receive(&mut self, out: &mut Outside, frame: &[u8], segment: &Segment<'_>) {
        let ends = segment.ends;
        let Some(index) = self.table.find(&ends) else {
            return self.begin(out, frame, segment);
        };
        let identity = port::identity(index, self.table.generation(index));
        let Some(flow) = self.table.get(index) else { return };
        match flow.state {
            // It has begun anew with a port of an old one.
            State::Closing if segment.opens() => {
                self.table.remove(index);
                return self.begin(out, frame, segment);
            }
            // It is told when the host knows. If it has lost its patience, so do we.
            State::Resolving(_) | State::Connecting(_) => {
                if segment.flags & flags::RST != 0 {
                    self.table.remove(index);
                }
                return;
            }
            _ => {}
        }
        flow.active = out.now;
        let new = Ends {
            from: identity,
            to: port::at(flow.port),
        };
        let links = [ROUTER_LINK, LINK];
        let inbox = &mut self.stack.device().inbox;
        inbox.push(|bytes| packet::translate(bytes, links, segment.bytes, ends, new));
        self.table.mark(index);
    }

    /// A segment of no connection: one may begin with it.
    fn begin(&mut self, out: &mut Outside, frame: &[u8], segment: &Segment<'_>) {
        let guest = out.guest;
        if !segment.opens() {
            out.wire.send(|bytes| segment.reset(bytes, guest));
            return;
        }
        let Some(destination) = out.policy.destination(Protocol::Tcp, segment.ends.to) else {
            out.wire
                .send(|bytes| segment.reject(bytes, guest, Why::Prohibited));
            return;
        };
        // Without room, it comes again.
        let flow = Flow::new(segment.ends, State::Resolving(frame.to_vec()), out.now);
        let Some(index) = self.table.insert(flow) else {
            return;
        };
        match destination.host {
            Host::Address(address) => {
                let permitted = destination.exact || permits(address);
                if let Some(flow) = self.table.get(index)
                    && permitted
                {
                    flow.candidates = vec![SocketAddr::new(address, destination.port)];
                }
                self.try_next(out, index, Why::Prohibited);
            }
            Host::Name(name) => {
                let token = Token::Tcp(index, self.table.generation(index));
                if !out.ask(token, &name) {
                    self.table.remove(index);
                }
            }
        }
    }

    /// A name's addresses were found.
    pub(crate) fn resolved(&mut self, out: &mut Outside, at: (usize, u16), found: &Found) {
        let Found { name, addresses, .. } = found;
        let Some(flow) = self.table.get_exact(at.0, at.1) else {
            return;
        };
        if !matches!(flow.state, State::Resolving(_)) {
            return;
        }
        // The guest can begin so many that the answer for one arrives as that for another.
        let Some(port) = out.policy.port_of(Protocol::Tcp, flow.ends.to, name) else {
            return;
        };
        let permitted = addresses.iter().rev().filter(|address| permits(**address));
        flow.candidates = permitted.map(|address| SocketAddr::new(*address, port)).collect();
        let why = if flow.candidates.is_empty() && !addresses.is_empty() {
            Why::Prohibited
        } else {
            Why::Unreachable
        };
        self.try_next(out, at.0, why);
    }

    /// Connects to the next address; `why` the one before could not be.
    fn try_next(&mut self, out: &mut Outside, index: usize, mut why: Why) {
        let token = Token::Tcp(index, self.table.generation(index));
        let Some(flow) = self.table.get(index) else { return };
        flow.host = None;
        (flow.readable, flow.writable, flow.broken) = (false, false, false);
        while let Some(address) = flow.candidates.pop() {
            let begun = connect(address).and_then(|socket| {
                out.watch(&socket, token, events())?;
                Ok(socket)
            });
            match begun {
                Ok(socket) => {
                    flow.host = Some(socket);
                    if let State::Resolving(frame) = &mut flow.state {
                        flow.state = State::Connecting(std::mem::take(frame));
                    }
                    return;
                }
                Err(error) => why = reason(&error),
            }
        }
        self.fail(out, index, why);
    }

    /// Tells the guest why it is not connected.
    fn fail(&mut self, out: &mut Outside, index: usize, why: Why) {
        let Some(flow) = self.table.remove(index) else {
            return;
        };
        if let State::Resolving(frame) | State::Connecting(frame) = &flow.state
            && let Some(Packet::Tcp(segment)) = Packet::read(frame, out.guest)
        {
            let guest = out.guest;
            out.wire.send(|bytes| segment.reject(bytes, guest, why));
        }
    }

    /// The host's socket of a connection has something to say.
    pub(crate) fn host_event(&mut self, at: (usize, u16), event: EventFlags) {
        if let Some(flow) = self.table.get_exact(at.0, at.1) {
            let any = |flags| event.intersects(flags);
            flow.readable |= any(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
            flow.writable |= any(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR);
            flow.broken |= any(EventFlags::ERR);
            self.table.mark(at.0);
        }
    }

    /// Accepts clients of the host's, for the guest's port `to`, as far as there is room. Says who waits after that.
    pub(crate) fn accept_host(&mut self, out: &mut Outside, listener: &TcpListener, to: u16) -> Waiting {
        while self.table.has_room_for_clients() {
            match listener.accept() {
                // Whoever cannot be served is reset.
                Ok((socket, client)) => {
                    if let Err(socket) = self.offer(out, socket, client, to) {
                        reset(socket);
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Waiting::Nobody,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset => {}
                    _ => return Waiting::Unknown,
                },
            }
        }
        Waiting::Somebody
    }

    /// Begins a client's connection to the guest.
    fn offer(
        &mut self,
        out: &Outside,
        socket: TcpStream,
        client: SocketAddr,
        to: u16,
    ) -> Result<(), TcpStream> {
        let mut ends = out.ends_for(client, to);
        if let Some(old) = self.table.find(&ends)
            && self.table.get(old).is_some_and(|flow| flow.is_closing())
        {
            self.table.remove(old);
        }
        if self.table.find(&ends).is_some() {
            match Outside::other_ends(ends, |ends| self.table.find(ends).is_none()) {
                Some(other) => ends = other,
                None => return Err(socket),
            }
        }
        let Some(index) = self.table.insert(Flow::new(ends, State::Opening, out.now)) else {
            return Err(socket);
        };
        let generation = self.table.generation(index);
        let begun = socket.set_nonblocking(true).and_then(|()| {
            settle(&socket);
            out.watch(&socket, Token::Tcp(index, generation), events())
        });
        let connect = |()| self.stack.connect(port::identity(index, generation), None).ok();
        let Some(stream) = begun.ok().and_then(connect) else {
            self.table.remove(index);
            return Err(socket);
        };
        let port = self
            .stack
            .stream_address(stream)
            .map_or(0, |address| address.port());
        if let Some(flow) = self.table.get(index) {
            flow.host = Some(socket);
            flow.stream = Some(stream);
            flow.port = port;
        }
        self.table.mark(index);
        Ok(())
    }

    /// Does what can be done now, and says when the stack wants to be served again.
    pub(crate) fn work(&mut self, out: &mut Outside) -> Next {
        let mut next = Next {
            at: Some(out.now),
            blocked: false,
        };
        for _ in 0..ROUNDS {
            self.stack.device().room = out.wire.room(LONGEST).min(FRAMES);
            next = self.stack.poll(out.now);
            self.transmit(out);
            self.accept_guest();
            let marked = self.table.take_marked();
            if marked.is_empty() && self.stack.device().inbox.len() == 0 {
                return next;
            }
            for index in marked {
                self.serve(out, index);
            }
        }
        next.at = Some(out.now);
        next
    }

    /// Sends the guest what the stack has for it.
    fn transmit(&mut self, out: &mut Outside) {
        let mut asked = Vec::new();
        while let Some(frame) = self.stack.device().outbox.pop() {
            if let Some(question) = packet::arp_question(frame) {
                asked.push(question);
                continue;
            }
            let Some((ends, flags, segment)) = packet::inner(frame) else {
                continue;
            };
            let Some((index, generation)) = port::identified(ends.to) else {
                continue;
            };
            let Some(flow) = self.table.get_exact(index, generation) else {
                continue;
            };
            flow.active = out.now;
            let (new, links) = (flow.ends.reversed(), [inside::GATEWAY_LINK, out.guest]);
            out.wire
                .send(|bytes| packet::translate(bytes, links, segment, ends, new));
            // It may have been given up.
            if flags & flags::RST != 0 {
                self.table.mark(index);
            }
        }
        for (asks, target) in asked {
            let inbox = &mut self.stack.device().inbox;
            inbox.push(|bytes| packet::arp_answer(bytes, ROUTER_LINK, target, LINK, asks));
        }
    }

    /// Takes the connections of which the guest knows now that they are there.
    fn accept_guest(&mut self) {
        while let Ok((stream, identity)) = self.stack.accept(self.listener) {
            let at = port::identified(identity);
            let flow = at.and_then(|(index, generation)| self.table.get_exact(index, generation));
            match (at, flow) {
                (Some((index, _)), Some(flow)) if matches!(flow.state, State::Handshake) => {
                    flow.stream = Some(stream);
                    flow.state = State::Open;
                    let _ = self.stack.set_no_delay(stream, true);
                    let _ = self.stack.set_keep_alive(stream, Some(KEEP_ALIVE));
                    self.table.mark(index);
                }
                _ => {
                    let _ = self.stack.reset_stream(stream);
                }
            }
        }
    }

    /// Looks after connections that nothing happens on. To be called every few seconds.
    pub(crate) fn sweep(&mut self, out: &mut Outside) {
        for index in 0..self.table.places() {
            let Some(flow) = self.table.get(index) else {
                continue;
            };
            let silent = out.now.saturating_sub(flow.active);
            match flow.state {
                State::Resolving(_) | State::Connecting(_) if silent > CONNECT => {
                    self.fail(out, index, Why::Unreachable);
                }
                State::Handshake if silent > HANDSHAKE => self.abort(index),
                State::Closing if silent > CLOSING => {
                    self.table.remove(index);
                }
                // The stack may have given it up.
                State::Open | State::Opening => self.table.mark(index),
                _ => {}
            }
        }
    }

    /// Whether anything that the guest has sent was not written to the host yet, or that nothing follows.
    pub(crate) fn has_unwritten(&mut self) -> bool {
        let Self { stack, table, .. } = self;
        (0..table.places()).any(|index| {
            let stream = table
                .get(index)
                .filter(|flow| matches!(flow.state, State::Open) && !flow.guest_ended)
                .and_then(|flow| flow.stream);
            let readiness = stream.and_then(|stream| stack.stream_readiness(stream).ok());
            readiness.is_some_and(|readiness| readiness.readable && readiness.error.is_none())
        })
    }

    /// The guest is gone: whoever was not told that nothing follows is told that something went wrong.
    pub(crate) fn end(&mut self) {
        for index in 0..self.table.places() {
            if self.table.get(index).is_some_and(|flow| !flow.guest_ended) {
                self.abort(index);
            }
        }
    }

    /// Ends a connection on both sides by a reset.
    fn abort(&mut self, index: usize) {
        let (host, stream) = self.table.close(index);
        if let Some(host) = host {
            reset(host);
        }
        if let Some(stream) = stream {
            let _ = self.stack.reset_stream(stream);
        }
    }

    /// Goes on with a connection.
    fn serve(&mut self, out: &mut Outside, index: usize) {
        let Some(flow) = self.table.get(index) else { return };
        match (&flow.state, flow.stream) {
            (State::Connecting(_), _) if flow.readable || flow.writable => self.connected(out, index),
            (State::Opening, Some(stream)) => match self.stack.connected(stream) {
                Err(Error::InProgress) => {}
                Ok(()) => {
                    flow.state = State::Open;
                    let _ = self.stack.set_no_delay(stream, true);
                    let _ = self.stack.set_keep_alive(stream, Some(KEEP_ALIVE));
                    self.table.mark(index);
                }
                Err(_) => self.abort(index),
            },
            (State::Open, Some(_)) => match self.exchange(index) {
                Ok(true) => self.table.mark(index),
                Ok(false) => {}
                Err(Ended) => self.abort(index),
            },
            _ => {}
        }
    }

    /// The host's connecting has ended.
    fn connected(&mut self, out: &mut Outside, index: usize) {
        let generation = self.table.generation(index);
        let Some(flow) = self.table.get(index) else { return };
        let Some(host) = &flow.host else { return };
        let result = match host.take_error() {
            Ok(None) => host.peer_addr().map(drop),
            Ok(Some(error)) | Err(error) => Err(error),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::NotConnected => flow.writable = false,
            Err(error) => self.try_next(out, index, reason(&error)),
            Ok(()) => {
                settle(host);
                flow.active = out.now;
                flow.port = port::listener().port();
                let State::Connecting(frame) = std::mem::replace(&mut flow.state, State::Handshake) else {
                    return;
                };
                if let Some(Packet::Tcp(segment)) = Packet::read(&frame, out.guest) {
                    let new = Ends {
                        from: port::identity(index, generation),
                        to: port::listener(),
                    };
                    let (links, old) = ([ROUTER_LINK, LINK], segment.ends);
                    let inbox = &mut self.stack.device().inbox;
                    inbox.push(|bytes| packet::translate(bytes, links, segment.bytes, old, new));
                }
            }
        }
    }
}
