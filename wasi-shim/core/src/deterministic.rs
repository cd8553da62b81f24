//! A world that is the same on every run: time that passes as the guest executes, random numbers made of a seed, and
//! standard input of which a guest sees what it says, not when it came.
//!
//! Layer: core. Whoever runs the guest tells, before each of its calls, how much fuel is left ([`VirtualTime`]); nothing
//! here asks the machine for anything but the bytes of standard input. Directories: [`crate::fs::fixed`]. What a guest
//! may rely on: `docs/determinism.md`.

use alloc::{rc::Rc, vec::Vec};
use core::cell::Cell;

use crate::{
    Errno,
    random::Generator,
    system::{Clock, Readiness, System},
    types::Timestamp,
};

/// What [`Clock::Realtime`] says at the start: 2026-01-01T00:00:00Z, in nanoseconds since 1970.
pub const START: Timestamp = 1_767_225_600_000_000_000;

/// The smallest step of every clock, in nanoseconds: a unit of fuel takes one.
pub const RESOLUTION: u64 = 1;

/// Time that passes with fuel, a nanosecond a unit, and jumps where the guest sleeps.
#[derive(Debug)]
pub struct VirtualTime {
    /// What there was of fuel at the start.
    fuel: u64,
    /// How much of it is left.
    left: Cell<u64>,
    /// For how long the guest has slept, in nanoseconds.
    slept: Cell<u64>,
}

impl VirtualTime {
    /// The start, with so much fuel.
    #[must_use]
    pub const fn new(fuel: u64) -> Self {
        Self {
            fuel,
            left: Cell::new(fuel),
            slept: Cell::new(0),
        }
    }

    /// What there was of fuel at the start.
    #[must_use]
    pub const fn fuel(&self) -> u64 {
        self.fuel
    }

    /// Tells how much fuel is left.
    pub fn set_left(&self, fuel: u64) {
        self.left.set(fuel);
    }

    /// Fuel that was spent.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.fuel.saturating_sub(self.left.get())
    }

    /// Nanoseconds that the guest has slept.
    #[must_use]
    pub fn slept(&self) -> u64 {
        self.slept.get()
    }

    /// Lets so many nanoseconds pass.
    fn sleep(&self, nanoseconds: u64) {
        self.slept.set(self.slept.get().saturating_add(nanoseconds));
    }

    /// Time of a clock, in nanoseconds. A guest that sleeps uses no time of its processor.
    #[must_use]
    pub fn of(&self, clock: Clock) -> Timestamp {
        let since_start = self.spent().saturating_add(self.slept());
        match clock {
            Clock::Realtime => START.saturating_add(since_start),
            Clock::Monotonic => since_start,
            Clock::ProcessCpuTime | Clock::ThreadCpuTime => self.spent(),
        }
    }
}

/// What a guest has instead of the machine's clocks, entropy and terminal.
#[derive(Debug)]
pub struct Deterministic {
    time: Rc<VirtualTime>,
    random: Generator,
    input: Input,
}

impl Deterministic {
    /// The world of this seed, for a guest that has so much fuel.
    #[must_use]
    pub fn new(seed: u64, fuel: u64) -> Self {
        let mut key = [0; 32];
        if let Some(start) = key.first_chunk_mut() {
            *start = seed.to_le_bytes();
        }
        Self {
            time: Rc::new(VirtualTime::new(fuel)),
            random: Generator::new(key),
            input: Input::default(),
        }
    }

    /// Its time.
    #[must_use]
    pub const fn time(&self) -> &Rc<VirtualTime> {
        &self.time
    }

    /// Fills `buf` with the next bytes of the generator.
    pub fn fill_random(&mut self, buf: &mut [u8]) {
        self.random.fill(buf);
    }

    /// Lets time pass, without waiting.
    pub(crate) fn sleep(&self, nanoseconds: u64) {
        self.time.sleep(nanoseconds);
    }

    /// The next bytes of standard input: up to the end of a line, or as many as `buf` holds; 0 at the end.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(crate) fn read<S: System>(&mut self, system: &mut S, buf: &mut [u8]) -> Result<usize, Errno> {
        self.input.read(system, buf)
    }

    /// The same for a further buffer of one read; `None` if the line has ended.
    pub(crate) fn read_on<S: System>(
        &mut self,
        system: &mut S,
        buf: &mut [u8],
    ) -> Result<Option<usize>, Errno> {
        match self.input.in_line {
            true => self.input.read(system, buf).map(Some),
            false => Ok(None),
        }
    }

    /// How standard input stands, once it is known: this waits for a byte or the end.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(crate) fn readiness<S: System>(&mut self, system: &mut S) -> Result<Readiness, Errno> {
        let hangup = self.input.look(system)?.is_empty();
        Ok(Readiness::Ready {
            bytes: u64::from(!hangup),
            hangup,
        })
    }
}

/// Bytes read at once from the machine.
const PIECE: usize = 4 << 10;

/// Standard input, of which the machine has told more than the guest has read.
#[derive(Debug, Default)]
struct Input {
    ahead: Vec<u8>,
    /// How much of that the guest has read.
    at: usize,
    ended: bool,
    /// Whether what was read last was not the end of a line.
    in_line: bool,
}

impl Input {
    /// What comes next; nothing at the end. Waits for it.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn look<S: System>(&mut self, system: &mut S) -> Result<&[u8], Errno> {
        if self.at >= self.ahead.len() && !self.ended {
            self.at = 0;
            self.ahead.clear();
            self.ahead.try_reserve_exact(PIECE).map_err(|_| Errno::NOMEM)?;
            self.ahead.resize(PIECE, 0);
            let count = system
                .console_read(&mut self.ahead)
                .inspect_err(|_| self.ahead.clear())?;
            self.ahead.truncate(count);
            self.ended = count == 0;
        }
        Ok(self.ahead.get(self.at..).unwrap_or_default())
    }

    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn read<S: System>(&mut self, system: &mut S, buf: &mut [u8]) -> Result<usize, Errno> {
        let mut count = 0_usize;
        self.in_line = true;
        while let Some(room) = buf.get_mut(count..).filter(|room| !room.is_empty()) {
            let next = match self.look(system) {
                Ok([]) => break,
                Ok(next) => next,
                // It comes again with the next read, if it lasts.
                Err(_) if count > 0 => break,
                Err(errno) => return Err(errno),
            };
            let line = next.iter().position(|byte| *byte == b'\n');
            let wanted = line
                .map_or(next.len(), |end| end.saturating_add(1))
                .min(room.len());
            let ends = line.is_some_and(|end| end < wanted);
            for (to, from) in room.iter_mut().zip(next.iter().take(wanted)) {
                *to = *from;
            }
            count = count.saturating_add(wanted);
            self.at = self.at.saturating_add(wanted);
            if ends {
                self.in_line = false;
                break;
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::testing::{Stdin, TestSystem};

    #[test]
    fn time_passes_with_fuel_and_sleep() {
        let time = VirtualTime::new(1_000);
        assert_eq!((time.of(Clock::Realtime), time.of(Clock::Monotonic)), (START, 0));
        time.set_left(990);
        time.sleep(5_000);
        assert_eq!(time.of(Clock::Realtime), START + 5_010);
        assert_eq!(time.of(Clock::Monotonic), 5_010);
        assert_eq!(time.of(Clock::ProcessCpuTime), 10);
        time.sleep(u64::MAX);
        assert_eq!(time.of(Clock::Monotonic), u64::MAX);
        assert_eq!(time.of(Clock::Realtime), u64::MAX);
    }

    #[test]
    fn random_numbers_are_chacha20_with_the_seed_as_its_key() {
        let bytes = |seed| {
            let mut bytes = [0; 8];
            Deterministic::new(seed, 0).fill_random(&mut bytes);
            bytes
        };
        // RFC 7539 and the test vectors of ChaCha20 with a key of zeros begin so.
        assert_eq!(bytes(0), [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
        assert_ne!(bytes(0), bytes(1));
    }

    /// What reads of this length get.
    fn reads(stdin: &[Stdin], length: usize) -> Vec<Vec<u8>> {
        let mut system = TestSystem {
            stdin: stdin.iter().cloned().collect(),
            ..TestSystem::default()
        };
        let mut world = Deterministic::new(0, 0);
        let mut all = Vec::new();
        loop {
            let mut buf = std::vec![0; length];
            let count = world.read(&mut system, &mut buf).unwrap();
            buf.truncate(count);
            if buf.is_empty() {
                return all;
            }
            all.push(buf);
        }
    }

    #[test]
    fn reads_do_not_depend_on_how_input_arrives() {
        let text = b"one\ntwo and more\n\nlast";
        let whole = reads(&[Stdin::Bytes(text.to_vec())], 6);
        assert_eq!(
            whole,
            [&b"one\n"[..], b"two an", b"d more", b"\n", b"\n", b"last"]
        );
        for piece in 1..text.len() {
            let mut pieces = Vec::new();
            for bytes in text.chunks(piece) {
                pieces.push(Stdin::Pause(77));
                pieces.push(Stdin::Bytes(bytes.to_vec()));
            }
            assert_eq!(reads(&pieces, 6), whole, "in pieces of {piece}");
        }
    }

    #[test]
    fn further_buffers_go_on_to_the_end_of_the_line() {
        let mut system = TestSystem::with_stdin(b"abcd\nef");
        let mut world = Deterministic::new(0, 0);
        let mut buf = [0; 2];
        assert_eq!(world.read(&mut system, &mut buf), Ok(2));
        assert_eq!(world.read_on(&mut system, &mut buf), Ok(Some(2)));
        assert_eq!(world.read_on(&mut system, &mut buf), Ok(Some(1)));
        assert_eq!(world.read_on(&mut system, &mut buf), Ok(None));
        assert_eq!(
            world.readiness(&mut system),
            Ok(Readiness::Ready {
                bytes: 1,
                hangup: false
            })
        );
        assert_eq!(world.read(&mut system, &mut buf), Ok(2));
        assert_eq!(
            world.readiness(&mut system),
            Ok(Readiness::Ready {
                bytes: 0,
                hangup: true
            })
        );
        assert_eq!(world.read(&mut system, &mut buf), Ok(0));
    }

    #[test]
    fn what_fails_is_told_and_may_be_tried_again() {
        let mut system = TestSystem {
            stdin: [Stdin::Fail(Errno::IO), Stdin::Bytes(b"x".to_vec())].into(),
            ..TestSystem::default()
        };
        let mut world = Deterministic::new(0, 0);
        assert_eq!(world.readiness(&mut system), Err(Errno::IO));
        assert_eq!(world.read(&mut system, &mut [0; 4]), Ok(1));
    }
}
