//! Against another's stack: QEMU's user network, by a hub, without a machine.
//!
//! Where QEMU is not there, or is one without user network, the test is skipped and says so.

use std::{
    cell::Cell,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use net_stack::{Config, Entropy, Error, FrameDevice, Half, Ipv4, Stack};

/// The stream that QEMU has the other end of: each frame with its length before it.
struct Stream {
    stream: UnixStream,
    received: Vec<u8>,
    /// What of a frame the stream did not take yet.
    pending: Vec<u8>,
    active: Cell<bool>,
}

impl Stream {
    fn flush(&mut self) {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn fill(&mut self) {
        let mut buffer = [0; 65536];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("QEMU ended"),
            Ok(length) => self.received.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn frame(&self) -> Option<usize> {
        let length = u32::from_be_bytes(*self.received.first_chunk()?);
        let end = 4 + usize::try_from(length).unwrap();
        (self.received.len() >= end).then_some(end)
    }
}

impl FrameDevice for Stream {
    fn address(&self) -> [u8; 6] {
        [0x52, 0x54, 0, 0x12, 0x34, 0x56]
    }

    fn receive<R>(&mut self, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        if self.frame().is_none() {
            self.fill();
        }
        let end = self.frame()?;
        self.active.set(true);
        let result = read(&self.received[4..end]);
        self.received.drain(..end);
        Some(result)
    }

    fn can_transmit(&mut self) -> bool {
        self.flush();
        self.pending.is_empty()
    }

    fn transmit<R>(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> R) -> R {
        self.active.set(true);
        self.pending.extend(u32::try_from(length).unwrap().to_be_bytes());
        let start = self.pending.len();
        self.pending.resize(start + length, 0xa5);
        let result = write(&mut self.pending[start..]);
        self.flush();
        result
    }
}

struct Random;

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        std::fs::File::open("/dev/urandom")
            .unwrap()
            .read_exact(bytes)
            .unwrap();
    }
}

/// QEMU, and the stack on its network.
struct Guest {
    qemu: Child,
    socket: PathBuf,
    stack: Stack<Stream, Random>,
    since: Instant,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Guest {
    /// Starts QEMU. `None`, and a word about it: it is not here.
    fn new(name: &str, user: &str, config: &Config) -> Option<Self> {
        let socket = std::env::temp_dir().join(format!("net-stack-{}-{name}", std::process::id()));
        let listener = UnixListener::bind(&socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let spawned = Command::new("qemu-system-x86_64")
            .args([
                "-machine",
                "none",
                "-nodefaults",
                "-display",
                "none",
                "-monitor",
                "none",
            ])
            .args(["-netdev", &format!("user,id=user,{user}")])
            .args(["-netdev", "hubport,id=hub0,hubid=0,netdev=user"])
            .args([
                "-netdev",
                &format!(
                    "stream,id=stream,server=off,addr.type=unix,addr.path={}",
                    socket.display()
                ),
            ])
            .args(["-netdev", "hubport,id=hub1,hubid=0,netdev=stream"])
            .stdin(Stdio::null())
            .spawn();
        let skip = |why: &str| {
            // Past the test harness, which keeps what a test that passes has printed.
            let line = format!("SKIPPED: slirp, {name}: {why}\n");
            std::io::stdout().write_all(line.as_bytes()).unwrap();
            let _ = std::fs::remove_file(&socket);
            None
        };
        let Ok(mut qemu) = spawned else {
            return skip("qemu-system-x86_64 is not here");
        };
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            if qemu.try_wait().unwrap().is_some() {
                return skip("qemu-system-x86_64 has no user network or no stream");
            }
            thread::sleep(Duration::from_millis(5));
        };
        stream.set_nonblocking(true).unwrap();
        let device = Stream {
            stream,
            received: Vec::new(),
            pending: Vec::new(),
            active: Cell::new(false),
        };
        let stack = Stack::new(device, Random, config).unwrap();
        Some(Self {
            qemu,
            socket,
            stack,
            since: Instant::now(),
        })
    }

    /// Polls until `act` returns something.
    fn until<T>(&mut self, mut act: impl FnMut(&mut Stack<Stream, Random>) -> Option<T>) -> T {
        loop {
            let now = u64::try_from(self.since.elapsed().as_micros()).unwrap();
            self.stack.poll(now);
            if let Some(result) = act(&mut self.stack) {
                return result;
            }
            assert!(
                self.since.elapsed() < Duration::from_secs(120),
                "nothing comes of it"
            );
            if !self.stack.device().active.take() {
                thread::sleep(Duration::from_micros(200));
            }
        }
    }
}

/// What an operation answered, or that it has to wait.
#[track_caller]
fn wait<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::WouldBlock | Error::InProgress) => None,
        Err(error) => panic!("{error}"),
    }
}

fn fixed() -> Config {
    let ipv4 = Ipv4::Static {
        address: Ipv4Addr::new(10, 0, 2, 15),
        prefix: 24,
        gateway: Some(Ipv4Addr::new(10, 0, 2, 2)),
    };
    Config {
        ipv4,
        ..Config::default()
    }
}

/// The host's loopback, as slirp shows it.
fn host(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 0, 2, 2).into(), port)
}

/// What a test sends.
fn message(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

#[test]
fn a_client_with_a_lease() {
    let config = Config {
        ipv4: Ipv4::Dhcp,
        ..Config::default()
    };
    let Some(mut guest) = Guest::new("client", "net=10.0.2.0/24", &config) else {
        return;
    };
    let is_leased = |stack: &Stack<Stream, Random>| {
        stack
            .addresses()
            .any(|network| network.address == Ipv4Addr::new(10, 0, 2, 15))
            .then_some(())
    };
    guest.until(|stack| is_leased(stack));

    // The host's end receives all, and only then answers with the same: we have ended our side.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        stream.write_all(&received).unwrap();
    });
    let sent = message(3_000_000);
    let stream = guest.stack.connect(host(port), None).unwrap();
    guest.until(|stack| wait(stack.connected(stream)));
    let mut left = &sent[..];
    guest.until(|stack| {
        left = &left[wait(stack.send(stream, left))?..];
        left.is_empty().then_some(())
    });
    guest.stack.shutdown(stream, Half::Send).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 20_000];
    guest.until(|stack| match wait(stack.receive(stream, &mut buffer))? {
        0 => Some(()),
        length => {
            received.extend_from_slice(&buffer[..length]);
            None
        }
    });
    assert!(received == sent);
    server.join().unwrap();

    // Nobody listens there any more.
    let stream = guest.stack.connect(host(port), None).unwrap();
    let error = guest.until(|stack| match stack.connected(stream) {
        Err(Error::InProgress) => None,
        result => Some(result),
    });
    assert_eq!(error, Err(Error::ConnectionRefused));
}

#[test]
fn datagrams() {
    let Some(mut guest) = Guest::new("datagrams", "net=10.0.2.0/24", &fixed()) else {
        return;
    };
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let server = thread::spawn(move || {
        let mut buffer = [0; 2000];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        server.send_to(&buffer[..length], from).unwrap();
    });
    let socket = guest.stack.udp_bind("0.0.0.0:0".parse().unwrap()).unwrap();
    guest
        .stack
        .send_to(socket, &message(1400), Some(host(port)))
        .unwrap();
    let mut buffer = [0; 2000];
    let answer = guest.until(|stack| wait(stack.receive_from(socket, &mut buffer)));
    assert_eq!(answer.from, host(port));
    assert_eq!(&buffer[..answer.length], message(1400));
    server.join().unwrap();
}

/// Connects to a port of the host's, once QEMU listens there: it may be slow to begin.
fn reach(port: u16) -> TcpStream {
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result.unwrap(),
        }
    }
}

/// A port of the host's that nobody has.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn a_server_that_exits_after_its_last_write() {
    let port = free_port();
    let user = format!("net=10.0.2.0/24,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:80");
    let Some(mut guest) = Guest::new("server", &user, &fixed()) else {
        return;
    };
    let listener = guest.stack.listen("0.0.0.0:80".parse().unwrap(), 128).unwrap();
    let answer = message(60_000);
    let mut clients = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..20 {
        clients.push(thread::spawn(move || {
            let mut stream = reach(port);
            stream.write_all(b"request").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        }));
        // One after the other: slirp listens with a backlog of 1, and the host resets those that wait too long.
        let (stream, peer) = guest.until(|stack| wait(stack.accept(listener)));
        assert_eq!(peer.ip(), Ipv4Addr::new(10, 0, 2, 2));
        streams.push(stream);
    }
    let mut buffer = [0; 16];
    guest.until(|stack| {
        streams.retain(|stream| {
            loop {
                match wait(stack.receive(*stream, &mut buffer)) {
                    Some(0) => {
                        assert_eq!(stack.send(*stream, &answer), Ok(answer.len()));
                        return false;
                    }
                    Some(length) => assert_eq!(&buffer[..length], b"request"),
                    None => return true,
                }
            }
        });
        streams.is_empty().then_some(())
    });
    // Right after the last write.
    guest.stack.close_all();
    guest.until(|stack| stack.is_drained().then_some(()));
    drop(guest);
    for client in clients {
        assert!(client.join().unwrap() == answer);
    }
}

#[test]
fn what_is_restricted_cannot_be_reached() {
    let Some(mut guest) = Guest::new("restricted", "net=10.0.2.0/24,restrict=on", &fixed()) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stream = guest.stack.connect(host(port), None).unwrap();
    let result = guest.until(|stack| match stack.connected(stream) {
        Err(Error::InProgress) => None,
        result => Some(result),
    });
    println!("slirp answers {result:?}");
    assert!(result.is_err());
}
