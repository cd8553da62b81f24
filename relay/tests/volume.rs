//! Much: bytes, compared by hash, and connections, with memory that does not grow.

mod guest;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use guest::{Guest, join, memory, publish, server, skip};
use net_stack::{Error, Half, StreamId};

/// What each side sends: in a debug build an eighth of it, so that a test takes seconds.
const LENGTH: u64 = if cfg!(debug_assertions) {
    32 << 20
} else {
    256 << 20
};

/// These tests measure memory, or take most of a machine: one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that no mistake makes by itself, and their hash.
struct Noise {
    source: blake3::OutputReader,
    hasher: blake3::Hasher,
    chunk: Vec<u8>,
    start: usize,
    left: u64,
}

impl Noise {
    fn new(name: &str) -> Self {
        Self {
            source: blake3::Hasher::new().update(name.as_bytes()).finalize_xof(),
            hasher: blake3::Hasher::new(),
            chunk: Vec::new(),
            start: 0,
            left: LENGTH,
        }
    }

    /// What comes next; nothing at the end.
    fn next(&mut self) -> &[u8] {
        if self.start == self.chunk.len() {
            let length = self.left.min(1 << 16);
            self.left -= length;
            self.chunk.resize(usize::try_from(length).unwrap(), 0);
            self.source.fill(&mut self.chunk);
            self.hasher.update(&self.chunk);
            self.start = 0;
        }
        &self.chunk[self.start..]
    }

    fn sent(&mut self, length: usize) {
        self.start += length;
    }
}

/// The host's side: sends and receives at once.
fn host(stream: &TcpStream) -> (blake3::Hash, (u64, blake3::Hash)) {
    let mut receiver = stream.try_clone().unwrap();
    let receiving = thread::spawn(move || {
        let (mut hasher, mut buffer, mut total) = (blake3::Hasher::new(), vec![0; 1 << 16], 0);
        loop {
            match receiver.read(&mut buffer).unwrap() {
                0 => return (total, hasher.finalize()),
                length => {
                    hasher.update(&buffer[..length]);
                    total += u64::try_from(length).unwrap();
                }
            }
        }
    });
    let mut noise = Noise::new("host");
    let mut sender = stream;
    loop {
        let length = sender.write(noise.next()).unwrap();
        if length == 0 {
            break;
        }
        noise.sent(length);
    }
    stream.shutdown(Shutdown::Write).unwrap();
    (noise.hasher.finalize(), receiving.join().unwrap())
}

/// The guest's side.
fn both_ways(guest: &mut Guest, stream: StreamId) -> (blake3::Hash, (u64, blake3::Hash)) {
    let (mut noise, mut hasher, mut received) = (Noise::new("guest"), blake3::Hasher::new(), 0);
    let (mut buffer, mut ended) = (vec![0; 1 << 16], false);
    guest.until(|stack| {
        while !ended {
            let data = noise.next();
            if data.is_empty() {
                stack.shutdown(stream, Half::Send).unwrap();
                ended = true;
            } else {
                match stack.send(stream, data) {
                    Ok(length) => noise.sent(length),
                    Err(Error::WouldBlock) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        loop {
            match stack.receive(stream, &mut buffer) {
                Ok(0) => return ended.then_some(()),
                Ok(length) => {
                    hasher.update(&buffer[..length]);
                    received += u64::try_from(length).unwrap();
                }
                Err(Error::WouldBlock) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    });
    (noise.hasher.finalize(), (received, hasher.finalize()))
}

fn compare(guest: &mut Guest, stream: StreamId, other: JoinHandle<(blake3::Hash, (u64, blake3::Hash))>) {
    let begun = std::time::Instant::now();
    let ours = both_ways(guest, stream);
    let theirs = join(guest, other);
    println!("{} MiB each way in {:?}", LENGTH >> 20, begun.elapsed());
    assert_eq!(ours.1, (LENGTH, theirs.0));
    assert_eq!(theirs.1, (LENGTH, ours.0));
}

#[test]
fn a_large_exchange_with_a_granted_server() {
    let _alone = alone();
    let (listener, grant) = server("a");
    let other = thread::spawn(move || host(&listener.accept().unwrap().0));
    let mut guest = Guest::new(&[&grant]);
    let stream = guest.connect("10.0.2.100:80").unwrap();
    compare(&mut guest, stream, other);
    guest.switch_off();
}

#[test]
fn a_large_exchange_with_a_client() {
    let _alone = alone();
    let (published, address) = publish("0:8080");
    let mut guest = Guest::with(&[], vec![published], |_| {});
    let listener = guest.stack.listen("0.0.0.0:8080".parse().unwrap(), 16).unwrap();
    let other = thread::spawn(move || host(&TcpStream::connect(address).unwrap()));
    let (stream, _) = guest.until(|stack| stack.accept(listener).ok());
    compare(&mut guest, stream, other);
    guest.switch_off();
}

/// Each of `count` connections says its number, and is answered with it.
fn many(guest: &mut Guest, listener: &TcpListener, count: usize) {
    let to: SocketAddr = "10.0.2.100:80".parse().unwrap();
    let streams: Vec<_> = (0..count)
        .map(|_| guest.stack.connect(to, None).unwrap())
        .collect();
    let mut hosts = Vec::new();
    let mut accept = || {
        while let Ok((host, _)) = listener.accept() {
            host.set_nonblocking(true).unwrap();
            hosts.push((host, Vec::new()));
        }
        hosts.len()
    };
    guest.until(|stack| {
        accept();
        let are_connected = streams.iter().all(|stream| match stack.connected(*stream) {
            Err(Error::InProgress) => false,
            result => result.is_ok() || panic!("{result:?}"),
        });
        are_connected.then_some(())
    });
    for (number, stream) in streams.iter().enumerate() {
        guest.stack.send(*stream, &number.to_be_bytes()).unwrap();
        guest.stack.shutdown(*stream, Half::Send).unwrap();
    }
    guest.until(|_| (accept() == count).then_some(()));
    // The hosts answer in whatever order they are.
    guest.until(|_| {
        hosts.retain_mut(|(host, question)| match host.read_to_end(question) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            result => {
                result.unwrap();
                host.write_all(question).unwrap();
                false
            }
        });
        hosts.is_empty().then_some(())
    });
    for (number, stream) in streams.iter().enumerate() {
        assert_eq!(guest.receive_all(*stream).unwrap(), number.to_be_bytes());
        guest.stack.close_stream(*stream).unwrap();
    }
    guest.run_for(20);
}

#[test]
fn thousands_of_connections_at_once() {
    let _alone = alone();
    // Each takes two descriptors here: the relay's, and the server's.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let count = limit.map_or(2000, |limit| {
        usize::try_from(limit / 2)
            .unwrap_or(2000)
            .saturating_sub(100)
            .min(2000)
    });
    if count < 2000 {
        skip(&format!(
            "more than {count} connections: a process may not have more descriptors here"
        ));
    }
    let (listener, grant) = server("a");
    listener.set_nonblocking(true).unwrap();
    // Whom it has no room for, the system takes for connected, and forgets.
    rustix::net::listen(&listener, 4096).unwrap();
    let mut guest = Guest::configured(
        &[&grant],
        Vec::new(),
        |setup| setup.buffer = 16 << 10,
        |config| {
            config.connections = 2048;
            (config.receive_buffer, config.send_buffer) = (4096, 4096);
        },
    );
    // Memory is as the allocator likes it by then.
    (0..2).for_each(|_| many(&mut guest, &listener, count));
    let before = memory();
    (0..2).for_each(|_| many(&mut guest, &listener, count));
    let grown = memory().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes");
    guest.switch_off();
}

#[test]
fn one_connection_after_the_other() {
    let _alone = alone();
    let (listener, grant) = server("a");
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            client.write_all(&all).unwrap();
        }
    });
    let mut guest = Guest::new(&[&grant]);
    let mut exchange = |count: u32| {
        for number in 0..count {
            let stream = guest.connect("10.0.2.100:80").unwrap();
            guest.send(stream, &number.to_be_bytes()).unwrap();
            guest.stack.shutdown(stream, Half::Send).unwrap();
            assert_eq!(guest.receive_all(stream).unwrap(), number.to_be_bytes());
            guest.stack.close_stream(stream).unwrap();
        }
    };
    // What is remembered of closed connections has its bound by then.
    exchange(5000);
    let before = memory();
    exchange(5000);
    let grown = memory().saturating_sub(before);
    assert!(grown < 2 << 20, "{grown} bytes");
}

#[test]
fn two_hundred_clients_at_once() {
    const CLIENTS: usize = 200;
    let _alone = alone();
    let (published, address) = publish("0:8080");
    let mut guest = Guest::with(&[], vec![published], |_| {});
    let listener = guest.stack.listen("0.0.0.0:8080".parse().unwrap(), 128).unwrap();
    let mut round = || {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                thread::spawn(move || {
                    let mut client = TcpStream::connect(address).unwrap();
                    client.write_all(&number.to_be_bytes()).unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                    let mut answer = Vec::new();
                    client.read_to_end(&mut answer).unwrap();
                    assert_eq!(answer, number.to_be_bytes());
                })
            })
            .collect();
        let streams: Vec<_> = (0..CLIENTS)
            .map(|_| guest.until(|stack| stack.accept(listener).ok()).0)
            .collect();
        for stream in streams {
            let question = guest.receive_all(stream).unwrap();
            guest.send(stream, &question).unwrap();
            guest.stack.close_stream(stream).unwrap();
        }
        for client in clients {
            join(&mut guest, client);
        }
    };
    // Memory is as the allocator likes it by then.
    (0..4).for_each(|_| round());
    let before = memory();
    (0..4).for_each(|_| round());
    let grown = memory().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes");
}
