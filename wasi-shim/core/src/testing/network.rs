//! A scripted network for tests on the host: others do what a script says, when it says, and the guest's part is kept.
//!
//! Layer: tests. Deterministic, as the machine that it belongs to.

use alloc::{
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};
use core::net::{IpAddr, SocketAddr};

use crate::{
    Errno,
    network::{Datagram, Direction, Network, SocketId, SocketOption},
    system::{Readiness, Source},
};

/// What others do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// Somebody connects to a port that the guest listens on, or should.
    Connects(SocketAddr, u16),
    /// A connection that the guest makes is made, or is not.
    Answers(SocketAddr, Result<(), Errno>),
    /// A peer sends bytes.
    Sends(SocketAddr, Vec<u8>),
    /// A peer sends no more.
    Ends(SocketAddr),
    /// The connection to a peer breaks.
    Breaks(SocketAddr, Errno),
    /// A peer takes so many bytes more of what the guest sends.
    Takes(SocketAddr, usize),
    /// Somebody sends a datagram to a port of the guest's.
    Datagram(SocketAddr, u16, Vec<u8>),
    /// The addresses of a name are found, or are not.
    Found(&'static str, Result<Vec<IpAddr>, Errno>),
}

/// A network under a test's control.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestNetwork {
    /// What others do, each at a time of the monotonic clock, in order.
    pub script: VecDeque<(u64, Happening)>,
    /// Whom the guest may not reach.
    pub denied: Vec<SocketAddr>,
    /// Bytes that the guest has sent over connections, by peer.
    pub sent: BTreeMap<SocketAddr, Vec<u8>>,
    /// How long each piece of them was.
    pub pieces: Vec<usize>,
    /// Peers that were told that the guest sends no more, in order.
    pub ended: Vec<SocketAddr>,
    /// Datagrams that the guest has sent.
    pub datagrams: Vec<(SocketAddr, Vec<u8>)>,
    /// Options that were set.
    pub options: Vec<(SocketId, SocketOption)>,
    sockets: BTreeMap<SocketId, Socket>,
    opened: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Socket {
    Listener {
        local: SocketAddr,
        backlog: usize,
        queue: VecDeque<(SocketId, SocketAddr)>,
    },
    Stream(Stream),
    Datagrams {
        local: SocketAddr,
        peer: Option<SocketAddr>,
        incoming: VecDeque<(SocketAddr, Vec<u8>)>,
    },
    Lookup {
        name: String,
        answer: Option<Result<Vec<IpAddr>, Errno>>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stream {
    local: SocketAddr,
    peer: SocketAddr,
    /// How the making has ended, if it has.
    made: Option<Result<(), Errno>>,
    incoming: VecDeque<u8>,
    ended: bool,
    broken: Option<Errno>,
    /// How many bytes the peer still takes.
    room: usize,
    shut: [bool; 2],
}

/// What a peer takes without being told.
const ROOM: usize = 64 << 10;

/// The first port that is given to what asks for a free one.
const FREE_PORT: u16 = 49_152;

impl Stream {
    const fn new(local: SocketAddr, peer: SocketAddr, made: Option<Result<(), Errno>>) -> Self {
        Self {
            local,
            peer,
            made,
            incoming: VecDeque::new(),
            ended: false,
            broken: None,
            room: ROOM,
            shut: [false; 2],
        }
    }

    fn is_made(&self) -> Result<(), Errno> {
        match self.made {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(Errno::NOTCONN),
        }
    }

    fn readiness(&self, direction: Direction) -> Readiness {
        let [no_receive, no_send] = self.shut;
        let (bytes, ended) = match (self.made, direction) {
            (None, _) => return Readiness::NotReady,
            (Some(Err(_)), _) => return Readiness::ENDED,
            (_, Direction::Receive) => (self.incoming.len(), self.ended || no_receive),
            (_, Direction::Send) => (self.room, no_send),
        };
        let over = self.broken.is_some() || (self.ended && no_send);
        // The end, too, is something to be received, or told to who sends.
        let bytes = u64::try_from(bytes.max(usize::from(ended))).unwrap_or(u64::MAX);
        match over {
            true if direction == Direction::Send || self.incoming.is_empty() => Readiness::ENDED,
            _ if bytes > 0 => Readiness::Ready { bytes, hangup: false },
            _ => Readiness::NotReady,
        }
    }
}

impl TestNetwork {
    /// A network in which this happens, each so many nanoseconds after the start of a
    /// [`TestSystem`](super::TestSystem), in order.
    #[must_use]
    pub fn new(script: impl IntoIterator<Item = (u64, Happening)>) -> Self {
        let at = |(after, happening)| (super::START.saturating_add(after), happening);
        Self {
            script: script.into_iter().map(at).collect(),
            ..Self::default()
        }
    }

    /// Lets happen what does until `now`.
    pub(super) fn advance(&mut self, now: u64) {
        while let Some((at, _)) = self.script.front()
            && *at <= now
            && let Some((_, happening)) = self.script.pop_front()
        {
            self.happen(happening);
        }
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<u64> {
        self.script.front().map(|(at, _)| *at)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connects(peer, port) => self.connects(peer, port),
            Happening::Answers(peer, answer) => self.with(peer, |stream| stream.made = Some(answer)),
            Happening::Sends(peer, bytes) => self.with(peer, |stream| stream.incoming.extend(bytes)),
            Happening::Ends(peer) => self.with(peer, |stream| stream.ended = true),
            Happening::Breaks(peer, errno) => self.with(peer, |stream| stream.broken = Some(errno)),
            Happening::Takes(peer, count) => {
                self.with(peer, |stream| stream.room = stream.room.saturating_add(count));
            }
            Happening::Datagram(from, port, bytes) => {
                for socket in self.sockets.values_mut() {
                    if let Socket::Datagrams {
                        local,
                        peer,
                        incoming,
                    } = socket
                        && local.port() == port
                        && peer.is_none_or(|peer| peer == from)
                    {
                        incoming.push_back((from, bytes));
                        return;
                    }
                }
            }
            Happening::Found(wanted, found) => {
                for socket in self.sockets.values_mut() {
                    if let Socket::Lookup { name, answer } = socket
                        && name == wanted
                    {
                        *answer = Some(found.clone());
                    }
                }
            }
        }
    }

    /// The stream to a peer, if there is one.
    fn with(&mut self, peer: SocketAddr, change: impl FnOnce(&mut Stream)) {
        let streams = self.sockets.values_mut().filter_map(|socket| match socket {
            Socket::Stream(stream) if stream.peer == peer => Some(stream),
            _ => None,
        });
        if let Some(stream) = streams.last() {
            change(stream);
        }
    }

    fn connects(&mut self, peer: SocketAddr, port: u16) {
        let id = SocketId(self.opened);
        let listener = self.sockets.values_mut().find_map(|socket| match socket {
            Socket::Listener {
                local,
                backlog,
                queue,
            } if local.port() == port && queue.len() < *backlog => Some((*local, queue)),
            _ => None,
        });
        if let Some((local, queue)) = listener {
            queue.push_back((id, peer));
            self.open(Socket::Stream(Stream::new(local, peer, Some(Ok(())))));
        }
    }

    fn open(&mut self, socket: Socket) -> SocketId {
        let id = SocketId(self.opened);
        self.opened = self.opened.saturating_add(1);
        self.sockets.insert(id, socket);
        id
    }

    /// `local` with a port.
    fn named(&self, mut local: SocketAddr) -> SocketAddr {
        if local.port() == 0 {
            let opened = u16::try_from(self.opened).unwrap_or_default();
            local.set_port(FREE_PORT.saturating_add(opened));
        }
        local
    }

    fn reach(&self, remote: SocketAddr) -> Result<(), Errno> {
        match self.denied.contains(&remote) {
            true => Err(Errno::ACCES),
            false => Ok(()),
        }
    }

    fn stream(&mut self, id: SocketId) -> Result<&mut Stream, Errno> {
        match self.sockets.get_mut(&id) {
            Some(Socket::Stream(stream)) => Ok(stream),
            _ => Err(Errno::BADF),
        }
    }

    /// How a socket stands.
    pub(super) fn readiness(&self, source: Source) -> Result<Readiness, Errno> {
        let (id, direction) = match source {
            Source::Stdin => return Err(Errno::BADF),
            Source::Readable(id) => (id, Direction::Receive),
            Source::Writable(id) => (id, Direction::Send),
        };
        let bytes = match (self.sockets.get(&id).ok_or(Errno::BADF)?, direction) {
            (Socket::Stream(stream), _) => return Ok(stream.readiness(direction)),
            (Socket::Listener { queue, .. }, Direction::Receive) => queue.len(),
            (Socket::Datagrams { incoming, .. }, Direction::Receive) => match incoming.front() {
                // An empty datagram is one.
                Some((_, bytes)) => bytes.len().max(1),
                None => 0,
            },
            (Socket::Lookup { answer, .. }, Direction::Receive) => usize::from(answer.is_some()),
            (Socket::Datagrams { .. }, Direction::Send) => ROOM,
            (Socket::Listener { .. } | Socket::Lookup { .. }, Direction::Send) => 0,
        };
        Ok(match u64::try_from(bytes).unwrap_or(u64::MAX) {
            0 => Readiness::NotReady,
            bytes => Readiness::Ready { bytes, hangup: false },
        })
    }
}

impl Network for TestNetwork {
    fn listen(&mut self, local: SocketAddr, backlog: usize) -> Result<SocketId, Errno> {
        let local = self.named(local);
        let is_taken = self.sockets.values().any(
            |socket| matches!(socket, Socket::Listener { local: taken, .. } if taken.port() == local.port()),
        );
        if is_taken {
            return Err(Errno::ADDRINUSE);
        }
        Ok(self.open(Socket::Listener {
            local,
            backlog,
            queue: VecDeque::new(),
        }))
    }

    fn accept(&mut self, listener: SocketId) -> Result<(SocketId, SocketAddr), Errno> {
        match self.sockets.get_mut(&listener) {
            Some(Socket::Listener { queue, .. }) => queue.pop_front().ok_or(Errno::AGAIN),
            _ => Err(Errno::BADF),
        }
    }

    fn connect(&mut self, remote: SocketAddr, local: Option<SocketAddr>) -> Result<SocketId, Errno> {
        self.reach(remote)?;
        let local = self.named(local.unwrap_or(SocketAddr::new([10, 0, 2, 15].into(), 0)));
        Ok(self.open(Socket::Stream(Stream::new(local, remote, None))))
    }

    fn connected(&mut self, stream: SocketId) -> Result<(), Errno> {
        self.stream(stream)?.made.ok_or(Errno::INPROGRESS)?
    }

    fn receive(&mut self, stream: SocketId, buf: &mut [u8], peek: bool) -> Result<usize, Errno> {
        let stream = self.stream(stream)?;
        stream.is_made()?;
        let count = buf.len().min(stream.incoming.len());
        buf.iter_mut()
            .zip(&stream.incoming)
            .for_each(|(to, from)| *to = *from);
        if !peek {
            stream.incoming.drain(..count);
        }
        let [no_receive, _] = stream.shut;
        match count {
            0 if buf.is_empty() => Ok(0),
            0 => match stream.broken {
                Some(errno) => Err(errno),
                None if stream.ended || no_receive => Ok(0),
                None => Err(Errno::AGAIN),
            },
            count => Ok(count),
        }
    }

    fn send(&mut self, stream: SocketId, data: &[u8]) -> Result<usize, Errno> {
        let stream = self.stream(stream)?;
        stream.is_made()?;
        let [_, no_send] = stream.shut;
        if no_send {
            return Err(Errno::PIPE);
        }
        if let Some(errno) = stream.broken {
            return Err(errno);
        }
        let taken = data.get(..stream.room).unwrap_or(data);
        if taken.is_empty() && !data.is_empty() {
            return Err(Errno::AGAIN);
        }
        stream.room = stream.room.saturating_sub(taken.len());
        let peer = stream.peer;
        self.sent.entry(peer).or_default().extend(taken);
        self.pieces.push(taken.len());
        Ok(taken.len())
    }

    fn shutdown(&mut self, stream: SocketId, direction: Direction) -> Result<(), Errno> {
        let stream = self.stream(stream)?;
        stream.is_made()?;
        let [receive, send] = &mut stream.shut;
        match direction {
            Direction::Receive => *receive = true,
            Direction::Send if !*send => {
                *send = true;
                let peer = stream.peer;
                self.ended.push(peer);
            }
            Direction::Send => {}
        }
        Ok(())
    }

    fn bind_datagrams(&mut self, local: SocketAddr) -> Result<SocketId, Errno> {
        let local = self.named(local);
        Ok(self.open(Socket::Datagrams {
            local,
            peer: None,
            incoming: VecDeque::new(),
        }))
    }

    fn connect_datagrams(&mut self, socket: SocketId, to: Option<SocketAddr>) -> Result<(), Errno> {
        to.map_or(Ok(()), |to| self.reach(to))?;
        match self.sockets.get_mut(&socket) {
            Some(Socket::Datagrams { peer, .. }) => *peer = to,
            _ => return Err(Errno::BADF),
        }
        Ok(())
    }

    fn send_to(&mut self, socket: SocketId, data: &[u8], to: Option<SocketAddr>) -> Result<(), Errno> {
        let Some(Socket::Datagrams { peer, .. }) = self.sockets.get(&socket) else {
            return Err(Errno::BADF);
        };
        let to = to.or(*peer).ok_or(Errno::DESTADDRREQ)?;
        self.reach(to)?;
        if data.len() > 65_507 {
            return Err(Errno::MSGSIZE);
        }
        self.datagrams.push((to, data.to_vec()));
        Ok(())
    }

    fn receive_from(&mut self, socket: SocketId, buf: &mut [u8], peek: bool) -> Result<Datagram, Errno> {
        let Some(Socket::Datagrams { incoming, .. }) = self.sockets.get_mut(&socket) else {
            return Err(Errno::BADF);
        };
        let (from, bytes) = incoming.front().ok_or(Errno::AGAIN)?;
        buf.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let datagram = Datagram {
            length: bytes.len().min(buf.len()),
            from: *from,
            truncated: bytes.len() > buf.len(),
        };
        if !peek {
            incoming.pop_front();
        }
        Ok(datagram)
    }

    fn local_address(&mut self, socket: SocketId) -> Result<SocketAddr, Errno> {
        match self.sockets.get(&socket) {
            Some(Socket::Listener { local, .. } | Socket::Datagrams { local, .. }) => Ok(*local),
            Some(Socket::Stream(stream)) => Ok(stream.local),
            Some(Socket::Lookup { .. }) | None => Err(Errno::BADF),
        }
    }

    fn peer_address(&mut self, socket: SocketId) -> Result<SocketAddr, Errno> {
        match self.sockets.get(&socket) {
            Some(Socket::Stream(stream)) => stream.is_made().map(|()| stream.peer),
            Some(Socket::Datagrams { peer, .. }) => peer.ok_or(Errno::NOTCONN),
            Some(Socket::Listener { .. }) => Err(Errno::NOTCONN),
            Some(Socket::Lookup { .. }) | None => Err(Errno::BADF),
        }
    }

    fn take_error(&mut self, socket: SocketId) -> Result<Option<Errno>, Errno> {
        match self.sockets.get(&socket) {
            Some(Socket::Stream(stream)) => Ok(stream.broken),
            Some(_) => Ok(None),
            None => Err(Errno::BADF),
        }
    }

    fn set_option(&mut self, socket: SocketId, option: SocketOption) -> Result<(), Errno> {
        self.stream(socket).map_err(|_| Errno::NOPROTOOPT)?;
        self.options.push((socket, option));
        Ok(())
    }

    fn look_up(&mut self, name: &str) -> Result<SocketId, Errno> {
        Ok(self.open(Socket::Lookup {
            name: name.into(),
            answer: None,
        }))
    }

    fn addresses(&mut self, lookup: SocketId) -> Result<Vec<IpAddr>, Errno> {
        let Some(Socket::Lookup { answer, .. }) = self.sockets.get_mut(&lookup) else {
            return Err(Errno::BADF);
        };
        let found = answer.take().ok_or(Errno::AGAIN)?;
        self.sockets.remove(&lookup);
        found
    }

    fn close(&mut self, socket: SocketId) -> Result<(), Errno> {
        match self.sockets.remove(&socket).ok_or(Errno::BADF)? {
            Socket::Stream(stream) if stream.shut == [false; 2] || stream.shut == [true, false] => {
                self.ended.push(stream.peer);
            }
            _ => {}
        }
        Ok(())
    }
}
