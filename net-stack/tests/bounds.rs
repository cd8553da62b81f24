//! Whatever the wire and the application do, the stack holds no more than configured: counted in bytes of memory.

mod wire;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::Ipv4Addr,
};

use net_stack::{Config, Error, Half, ListenerId, Stack, StreamId};
use smoltcp::wire::TcpControl;
use wire::{CLIENT, Dice, SERVER, TestStack, World, address, at, config, segment, wait};

/// Counts the bytes that a test's thread has allocated.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

fn allocated() -> usize {
    ALLOCATED.get()
}

// SAFETY: every call is `System`'s, with the arguments that the caller vouches for; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get().wrapping_add(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get().wrapping_add(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.set(ALLOCATED.get().wrapping_sub(layout.size()));
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_million_handshakes_that_nobody_finishes() {
    let count = if cfg!(debug_assertions) {
        100_000
    } else {
        1_000_000
    };
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let mut dice = Dice(3);
    // The flood's own frames and answers, the first allocation of everything.
    world.connect(listener);
    let mut before = 0;
    for number in 0..count {
        let from = Ipv4Addr::new(10, 0, 2, 3 + dice.roll().to_le_bytes()[0] % 200);
        let port = u16::try_from(1 + dice.below(65535)).unwrap();
        let first = segment((from, port), 80, TcpControl::Syn, (7, None));
        world.server().device().inject(first);
        if number % 16 == 0 {
            world.poll();
            world.wire.borrow_mut().forget(CLIENT);
        }
        if number == 10_000 {
            before = allocated();
        }
    }
    world.poll();
    world.wire.borrow_mut().forget(CLIENT);
    let after = allocated();
    println!("{before} bytes after 10,000 segments, {after} after {count}");
    assert!(after <= before + 4096);
    assert_eq!(world.server().accept(listener), Err(Error::WouldBlock));
    // Whoever is in earnest gets in.
    world.connect(listener);
}

#[test]
fn a_flood_does_not_lock_others_out() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let mut dice = Dice(4);
    for _ in 0..100 {
        let client = world.client().connect(at(SERVER, 80), None).unwrap();
        let accepted = (0..20).find_map(|_| {
            // Between the segments of the handshake.
            for _ in 0..20 {
                let from: [u8; 4] = dice.roll().to_le_bytes()[..4].try_into().unwrap();
                world
                    .server()
                    .device()
                    .inject(segment((from.into(), 99), 80, TcpControl::Syn, (7, None)));
            }
            world.run(50);
            wait(world.server().accept(listener))
        });
        let (server, _) = accepted.expect("the handshake is finished within a millisecond");
        world.client().reset_stream(client).unwrap();
        world.server().reset_stream(server).unwrap();
    }
}

/// What a server of one listener does: it answers each request with its length and closes.
struct Server {
    listener: ListenerId,
    streams: Vec<(StreamId, usize)>,
    answered: usize,
}

impl Server {
    fn work(&mut self, stack: &mut TestStack) {
        while let Ok((stream, _)) = stack.accept(self.listener) {
            self.streams.push((stream, 0));
        }
        let mut buffer = [0; 1000];
        let answered = &mut self.answered;
        self.streams.retain_mut(|(stream, length)| {
            loop {
                match stack.receive(*stream, &mut buffer) {
                    Ok(0) => break,
                    Ok(received) => *length += received,
                    Err(Error::WouldBlock) => return true,
                    Err(error) => panic!("{error}"),
                }
            }
            stack.send(*stream, &length.to_le_bytes()).unwrap();
            stack.close_stream(*stream).unwrap();
            *answered += 1;
            false
        });
    }
}

/// What a client does: it sends a request, ends its side, and receives the answer.
struct Client {
    stream: StreamId,
    left: usize,
    length: usize,
    answer: Vec<u8>,
}

impl Client {
    fn new(stack: &mut TestStack, length: usize) -> Self {
        let stream = stack.connect(at(SERVER, 80), None).unwrap();
        Self {
            stream,
            left: length,
            length,
            answer: Vec::new(),
        }
    }

    /// Says whether the answer is there, and right.
    fn work(&mut self, stack: &mut TestStack) -> bool {
        while self.left > 0 {
            match stack.send(self.stream, &[1; 4096][..self.left.min(4096)]) {
                Ok(sent) => self.left -= sent,
                Err(Error::WouldBlock) => return false,
                Err(error) => panic!("{error}"),
            }
            if self.left == 0 {
                stack.shutdown(self.stream, Half::Send).unwrap();
            }
        }
        let mut buffer = [0; 16];
        loop {
            match stack.receive(self.stream, &mut buffer) {
                Ok(0) => break,
                Ok(length) => self.answer.extend_from_slice(&buffer[..length]),
                Err(Error::WouldBlock) => return false,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(self.answer, self.length.to_le_bytes());
        stack.close_stream(self.stream).unwrap();
        true
    }
}

fn serve(world: &mut World, server: &mut Server, clients: usize, length: usize) {
    let mut clients: Vec<Client> = (0..clients)
        .map(|_| Client::new(world.client(), length))
        .collect();
    world.until(|[client, stack]| {
        server.work(stack);
        clients.retain_mut(|each| !each.work(client));
        clients.is_empty().then_some(())
    });
}

fn server(world: &mut World) -> Server {
    let listener = world.server().listen(at(SERVER, 80), 128).unwrap();
    Server {
        listener,
        streams: Vec::new(),
        answered: 0,
    }
}

#[test]
fn a_thousand_connections_one_after_the_other() {
    let mut world = World::new();
    let mut server = server(&mut world);
    let mut after = Vec::new();
    // The first thousand fill the table of those that are remembered.
    for _ in 0..10 {
        for _ in 0..220 {
            serve(&mut world, &mut server, 1, 5000);
        }
        after.push(allocated());
    }
    println!("{after:?} bytes after each 220");
    assert_eq!(server.answered, 2200);
    assert!(after[9] <= after[4] + 4096, "{after:?}");
}

#[test]
fn two_hundred_connections_at_once() {
    let mut world = World::new();
    let mut server = server(&mut world);
    let mut after = Vec::new();
    for _ in 0..5 {
        serve(&mut world, &mut server, 200, 100_000);
        world.run(100_000_000);
        after.push(allocated());
    }
    println!("{after:?} bytes after each two hundred");
    assert_eq!(server.answered, 1000);
    assert!(after[4] <= after[1] + 65_536, "{after:?}");
    // With 16 pairs of buffers in each stack's pool.
    assert!(after[4] < 2 * 16 * (128 << 10) + (1 << 20), "{after:?}");
}

#[test]
fn a_bad_wire_wears_no_socket_out() {
    let mut world = World::new();
    let mut server = server(&mut world);
    world.wire.borrow_mut().faults.loss = 100;
    world.wire.borrow_mut().faults.reordering = 100;
    for _ in 0..20 {
        serve(&mut world, &mut server, 10, 50_000);
    }
    world.wire.borrow_mut().faults = wire::Faults::default();
    // As fast as ever: nothing is left of it.
    let since = world.now();
    serve(&mut world, &mut server, 1, 50_000);
    assert!(world.now() - since < 100_000, "{}", world.now() - since);
}

#[test]
fn sockets_are_limited() {
    let configs = [CLIENT, SERVER].map(|end| Config {
        connections: 5,
        listeners: 3,
        ..config(end)
    });
    let mut world = World::with(configs);
    for port in 1..=3 {
        world.server().listen(at(SERVER, port), 1).unwrap();
    }
    assert_eq!(world.server().listen(at(SERVER, 4), 1), Err(Error::TooMany));
    let streams: Vec<_> = (0..5)
        .map(|_| world.client().connect(at(SERVER, 80), None).unwrap())
        .collect();
    for _ in 0..100_000 {
        assert_eq!(world.client().connect(at(SERVER, 80), None), Err(Error::TooMany));
    }
    // What only ends makes room.
    world.client().close_stream(streams[0]).unwrap();
    world.client().connect(at(SERVER, 80), None).unwrap();
}

#[test]
fn sockets_take_no_more_memory_than_is_free() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    // Two pairs of buffers, and not one of a socket for datagrams besides.
    world.server().set_free_memory(300_000);
    let (first, accepted) = world.connect(listener);
    world.connect(listener);
    let third = world.client().connect(at(SERVER, 80), None).unwrap();
    world.run(2_000_000);
    assert_eq!(world.client().connected(third), Err(Error::InProgress));
    assert_eq!(world.server().udp_bind(at(SERVER, 53)), Err(Error::TooMany));
    assert_eq!(world.server().connect(at(CLIENT, 1), None), Err(Error::TooMany));
    // What one gives back, the next one gets.
    world.client().close_stream(first).unwrap();
    world.server().close_stream(accepted).unwrap();
    world.until(|[client, _]| wait(client.connected(third)));
    world.server().set_free_memory(usize::MAX);
    assert!(world.server().udp_bind(at(SERVER, 53)).is_ok());
}

#[test]
fn without_memory_for_any_connection_the_first_is_refused() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    world.server().set_free_memory(0);
    let refused = world.client().connect(at(SERVER, 80), None).unwrap();
    let ended = world.until(|[client, _]| match client.connected(refused) {
        Err(Error::InProgress) => None,
        ended => Some(ended),
    });
    assert_eq!(ended, Err(Error::ConnectionRefused));
    world.server().set_free_memory(usize::MAX);
    world.connect(listener);
}

#[test]
fn a_connection_that_only_ends_makes_room() {
    let mut world = World::with([
        config(CLIENT),
        Config {
            connections: 2,
            ..config(SERVER)
        },
    ]);
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    let (_first, server) = world.connect(listener);
    world.connect(listener);
    // The client does not end its side.
    world.server().close_stream(server).unwrap();
    world.run(1_000_000);
    world.connect(listener);
    // A fourth one waits, for the others are in use.
    world.client().connect(at(SERVER, 80), None).unwrap();
    world.run(5_000_000);
    assert_eq!(world.server().accept(listener), Err(Error::WouldBlock));
}

#[test]
fn a_backlog_holds_what_it_may() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 3).unwrap();
    for _ in 0..10 {
        world.client().connect(at(SERVER, 80), None).unwrap();
    }
    world.run(100_000);
    // Handshakes that were finished before there was room are not lost.
    for _ in 0..10 {
        world.server().accept(listener).unwrap();
    }
    assert_eq!(world.server().accept(listener), Err(Error::WouldBlock));
    // Too many for that are heard when they send something.
    let mut clients: Vec<_> = (0..200).map(|_| Client::new(world.client(), 1)).collect();
    let mut server = Server {
        listener,
        streams: Vec::new(),
        answered: 0,
    };
    world.run(5_000_000);
    world.until(|[client, stack]| {
        server.work(stack);
        clients.retain_mut(|each| !each.work(client));
        clients.is_empty().then_some(())
    });
}

/// The application is busy with one at a time: the others' requests are there when it comes to them.
#[test]
fn who_waits_for_the_backlog_is_served_at_once_and_not_forgotten() {
    const CLIENTS: usize = 100;
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 3).unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| world.client().connect(at(SERVER, 80), None).unwrap())
        .collect();
    world.until(|[client, _]| {
        let connected = clients.iter().all(|stream| client.connected(*stream).is_ok());
        connected.then_some(())
    });
    for (client, number) in clients.iter().zip(0u8..) {
        world.client().send(*client, &[number; 1000]).unwrap();
        world.client().shutdown(*client, Half::Send).unwrap();
    }
    // Longer than a handshake may take.
    world.run(45_000_000);
    let begun = world.now();
    let mut served = Vec::new();
    for _ in 0..CLIENTS {
        let (stream, _) = world.until(|[_, stack]| wait(stack.accept(listener)));
        let (mut buffer, mut length) = ([0; 2000], 0);
        world.until(|[_, stack]| {
            loop {
                match wait(stack.receive(stream, &mut buffer[length..]))? {
                    0 => return Some(()),
                    more => length += more,
                }
            }
        });
        assert!(length == 1000 && buffer[..1000] == [buffer[0]; 1000]);
        served.push(buffer[0]);
        world.server().close_stream(stream).unwrap();
    }
    assert!(world.now() - begun < 100_000, "{}", world.now() - begun);
    served.sort_unstable();
    assert_eq!(served, (0..100).collect::<Vec<u8>>());
}

#[test]
fn what_nobody_asked_for_is_refused() {
    let mut world = World::new();
    let listener = world.server().listen(at(SERVER, 80), 3).unwrap();
    // The neighbour is known.
    world.connect(listener);
    let mut answers = |frame: Vec<u8>| {
        world.wire.borrow_mut().log = Some(Vec::new());
        world.server().device().inject(frame);
        world.poll();
        let log = world.wire.borrow_mut().log.take().unwrap();
        log.iter().map(|(_, frame)| frame[47]).collect::<Vec<u8>>()
    };
    let from = (address(CLIENT), 999);
    const RST: u8 = 4;
    const ACK: u8 = 16;
    // An acknowledgement of nothing; a port where nobody listens; a reset.
    assert_eq!(answers(segment(from, 80, TcpControl::None, (1, Some(1)))), [RST]);
    assert_eq!(
        answers(segment(from, 81, TcpControl::Syn, (1, None))),
        [RST | ACK]
    );
    assert_eq!(answers(segment(from, 80, TcpControl::Rst, (1, Some(1)))), []);
    // A handshake, and an acknowledgement of another number than ours.
    assert_eq!(answers(segment(from, 80, TcpControl::Syn, (1, None))), [2 | ACK]);
    assert_eq!(answers(segment(from, 80, TcpControl::None, (2, Some(1)))), [RST]);
    // A wrong checksum; another's address on the link; a group as sender.
    let mut corrupt = segment((address(CLIENT), 998), 80, TcpControl::Syn, (1, None));
    corrupt[40] ^= 1;
    assert_eq!(answers(corrupt), []);
    let mut anothers = segment((address(CLIENT), 998), 80, TcpControl::Syn, (1, None));
    anothers[5] = 9;
    assert_eq!(answers(anothers), []);
    let group = (Ipv4Addr::new(224, 0, 0, 1), 998);
    assert_eq!(answers(segment(group, 80, TcpControl::Syn, (1, None))), []);
    assert_eq!(world.server().accept(listener), Err(Error::WouldBlock));
}

#[test]
fn configurations_that_cannot_be() {
    let world = World::new();
    let try_config = |change: fn(&mut Config)| {
        let mut config = config(CLIENT);
        change(&mut config);
        Stack::new(world.port(CLIENT), Dice(1), &config)
            .err()
            .map(|error| error.to_string())
    };
    use net_stack::Ipv4;
    assert_eq!(try_config(|_| {}), None);
    for (change, message) in [
        (
            (|config| {
                config.ipv4 = Ipv4::Static {
                    address: Ipv4Addr::BROADCAST,
                    prefix: 24,
                    gateway: None,
                };
            }) as fn(&mut Config),
            "255.255.255.255 cannot be the address of a machine",
        ),
        (
            |config| {
                config.ipv4 = Ipv4::Static {
                    address: address(0),
                    prefix: 33,
                    gateway: None,
                }
            },
            "a prefix of 33 bits is longer than its address",
        ),
        (
            |config| {
                config.ipv4 = Ipv4::Static {
                    address: address(0),
                    prefix: 24,
                    gateway: Some([0; 4].into()),
                };
            },
            "0.0.0.0 cannot be the address of a machine",
        ),
        (
            |config| config.send_buffer = 0,
            "a connection's buffers hold 1 byte to 64 MiB each",
        ),
    ] {
        assert_eq!(try_config(change).as_deref(), Some(message));
    }
}
