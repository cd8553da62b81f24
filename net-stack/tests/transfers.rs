//! Much data over a bad wire, compared by digest. In release mode 256 MiB each way; what takes long elsewhere is less.

mod wire;

use std::{collections::hash_map::DefaultHasher, hash::Hasher};

use net_stack::{Error, Half, StreamId};
use wire::{CLIENT, Dice, Faults, SERVER, TestStack, World, at, config};

/// What a run sends in each direction.
const AMOUNT: usize = if cfg!(debug_assertions) {
    4 << 20
} else {
    256 << 20
};

/// One end's work: it sends bytes that follow from a number, and digests what it receives.
struct Peer {
    stream: StreamId,
    dice: Dice,
    pending: Vec<u8>,
    left: usize,
    sent: DefaultHasher,
    received: DefaultHasher,
    received_length: usize,
    ended: bool,
}

impl Peer {
    fn new(stream: StreamId, seed: u64) -> Self {
        Self {
            stream,
            dice: Dice(seed),
            pending: Vec::new(),
            left: AMOUNT,
            sent: DefaultHasher::new(),
            received: DefaultHasher::new(),
            received_length: 0,
            ended: false,
        }
    }

    /// Sends and receives what can be. Says whether both is done.
    fn work(&mut self, stack: &mut TestStack) -> bool {
        loop {
            if self.pending.is_empty() && self.left > 0 {
                let length = (1 + self.dice.below(40_000)).min(self.left);
                self.pending = (0..length / 8 + 1)
                    .flat_map(|_| self.dice.roll().to_le_bytes())
                    .take(length)
                    .collect();
                self.left -= length;
            }
            match stack.send(self.stream, &self.pending) {
                Ok(length) => {
                    self.sent.write(&self.pending[..length]);
                    self.pending.drain(..length);
                    if self.pending.is_empty() && self.left == 0 {
                        stack.shutdown(self.stream, Half::Send).unwrap();
                    }
                }
                Err(Error::WouldBlock) => break,
                Err(Error::BrokenPipe) if self.left == 0 => break,
                Err(error) => panic!("{error}"),
            }
        }
        let mut buffer = [0; 30_000];
        while !self.ended {
            match stack.receive(self.stream, &mut buffer) {
                Ok(0) => self.ended = true,
                Ok(length) => {
                    self.received.write(&buffer[..length]);
                    self.received_length += length;
                }
                Err(Error::WouldBlock) => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.ended && self.left == 0 && self.pending.is_empty()
    }
}

fn transfer(faults: Faults) {
    let mut configs = [config(CLIENT), config(SERVER)];
    // Sizes that are no powers of two, and differ.
    (configs[CLIENT].receive_buffer, configs[CLIENT].send_buffer) = (50_000, 200_001);
    let mut world = World::with(configs);
    let listener = world.server().listen(at(SERVER, 80), 8).unwrap();
    world.wire.borrow_mut().faults = faults;
    let (client, server) = world.connect(listener);
    let mut peers = [Peer::new(client, 1), Peer::new(server, 2)];
    world.until(|stacks| {
        let done: Vec<bool> = peers
            .iter_mut()
            .zip(stacks)
            .map(|(peer, stack)| peer.work(stack))
            .collect();
        (done == [true, true]).then_some(())
    });
    for (from, to) in [(0, 1), (1, 0)] {
        assert_eq!(peers[to].received_length, AMOUNT);
        assert_eq!(peers[from].sent.finish(), peers[to].received.finish());
    }
    eprintln!("{faults:?}: {} s on the wire", world.now() / 1_000_000);
}

#[test]
fn a_good_wire() {
    transfer(Faults::default());
}

#[test]
fn one_frame_in_twenty_is_lost() {
    transfer(Faults {
        loss: 50,
        ..Faults::default()
    });
}

#[test]
fn one_frame_in_twenty_is_corrupt() {
    transfer(Faults {
        corruption: 50,
        ..Faults::default()
    });
}

#[test]
fn frames_come_late_and_twice() {
    transfer(Faults {
        reordering: 50,
        duplication: 50,
        ..Faults::default()
    });
}

#[test]
fn everything_goes_wrong() {
    transfer(Faults {
        loss: 50,
        corruption: 20,
        duplication: 20,
        reordering: 50,
    });
}
