//! The calls on sockets, of preview1 and of WasmEdge, with any arguments on a network that answers anything: none
//! panics, and a call that fails leaves memory as it was.
//!
//! Layer: tests.

use std::error::Error as StdError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wasi_core::{
    Clock, Errno, Network, Readiness, SocketId, Stream, System, Wait, WasiCtxBuilder,
    network::{Datagram, Direction, SocketOption},
};
use wasi_p1::linker::{
    Stop,
    wasmi::{Host, resolve, stop},
};
use wasmi::{Engine, FuncType, Memory, MemoryType, Store, Val, ValType};

use super::{EXTENSIONS, TestResult, garbage};

/// Preview1's functions that do something with a socket.
const ON_SOCKETS: [(&str, &str); 8] = [
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
    ("fd_read", "iiii"),
    ("fd_write", "iiii"),
    ("fd_close", "i"),
    ("fd_renumber", "ii"),
    ("fd_fdstat_set_flags", "ii"),
];

/// A number below `bound`.
fn roll(random: &mut u64, bound: u64) -> u64 {
    // xorshift64
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    (*random >> 20) % bound
}

/// A machine whose network answers anything that the trait allows, and whose waits end at once.
struct Chaos {
    random: u64,
    now: u64,
    opened: u64,
}

impl Chaos {
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        usize::try_from(roll(&mut self.random, bound)).unwrap_or(0)
    }

    /// Success, or any error.
    fn luck(&mut self) -> Result<(), Errno> {
        match self.below(3) {
            0 => {
                let (errno, _) = Errno::ALL[self.below(Errno::ALL.len())];
                Err(errno)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self) -> Result<SocketId, Errno> {
        self.luck()?;
        self.opened += 1;
        Ok(SocketId(self.opened))
    }

    fn address(&mut self) -> SocketAddr {
        let ip: IpAddr = match self.below(2) {
            0 => Ipv4Addr::new(10, 0, 2, 100).into(),
            _ => Ipv6Addr::LOCALHOST.into(),
        };
        SocketAddr::new(ip, 80)
    }

    fn fill(&mut self, buf: &mut [u8]) -> usize {
        let length = self.below(buf.len() + 1);
        buf[..length].fill(1);
        length
    }
}

impl Network for Chaos {
    fn listen(&mut self, _: SocketAddr, _: usize) -> Result<SocketId, Errno> {
        self.open()
    }

    fn accept(&mut self, _: SocketId) -> Result<(SocketId, SocketAddr), Errno> {
        Ok((self.open()?, self.address()))
    }

    fn connect(&mut self, _: SocketAddr, _: Option<SocketAddr>) -> Result<SocketId, Errno> {
        self.open()
    }

    fn connected(&mut self, _: SocketId) -> Result<(), Errno> {
        self.luck()
    }

    fn receive(&mut self, _: SocketId, buf: &mut [u8], _: bool) -> Result<usize, Errno> {
        self.luck()?;
        Ok(self.fill(buf))
    }

    fn send(&mut self, _: SocketId, data: &[u8]) -> Result<usize, Errno> {
        self.luck()?;
        Ok(self.below(data.len()) + usize::from(!data.is_empty()))
    }

    fn shutdown(&mut self, _: SocketId, _: Direction) -> Result<(), Errno> {
        self.luck()
    }

    fn bind_datagrams(&mut self, _: SocketAddr) -> Result<SocketId, Errno> {
        self.open()
    }

    fn connect_datagrams(&mut self, _: SocketId, _: Option<SocketAddr>) -> Result<(), Errno> {
        self.luck()
    }

    fn send_to(&mut self, _: SocketId, _: &[u8], _: Option<SocketAddr>) -> Result<(), Errno> {
        self.luck()
    }

    fn receive_from(&mut self, _: SocketId, buf: &mut [u8], _: bool) -> Result<Datagram, Errno> {
        self.luck()?;
        Ok(Datagram {
            length: self.fill(buf),
            from: self.address(),
            truncated: self.below(2) == 0,
        })
    }

    fn local_address(&mut self, _: SocketId) -> Result<SocketAddr, Errno> {
        self.luck()?;
        Ok(self.address())
    }

    fn peer_address(&mut self, _: SocketId) -> Result<SocketAddr, Errno> {
        self.luck()?;
        Ok(self.address())
    }

    fn take_error(&mut self, _: SocketId) -> Result<Option<Errno>, Errno> {
        Ok(self.luck().err())
    }

    fn set_option(&mut self, _: SocketId, _: SocketOption) -> Result<(), Errno> {
        self.luck()
    }

    fn look_up(&mut self, _: &str) -> Result<SocketId, Errno> {
        self.open()
    }

    fn addresses(&mut self, _: SocketId) -> Result<Vec<IpAddr>, Errno> {
        self.luck()?;
        Ok((0..self.below(9)).map(|_| self.address().ip()).collect())
    }

    fn close(&mut self, _: SocketId) -> Result<(), Errno> {
        self.luck()
    }
}

impl System for Chaos {
    fn clock_time(&mut self, _: Clock) -> Result<u64, Errno> {
        self.now += 1_000_000_000;
        Ok(self.now)
    }

    fn clock_resolution(&mut self, _: Clock) -> Result<u64, Errno> {
        Ok(1)
    }

    fn fill_random(&mut self, _: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::NOSYS)
    }

    fn console_write(&mut self, _: Stream, buf: &[u8]) -> Result<usize, Errno> {
        Ok(buf.len())
    }

    fn console_read(&mut self, _: &mut [u8]) -> Result<usize, Errno> {
        Ok(0)
    }

    fn wait(&mut self, on: &mut [Wait], _: Option<u64>) {
        for wait in on {
            let bytes = 1;
            let hangup = self.below(2) == 0;
            wait.answer = self.luck().map(|()| Readiness::Ready { bytes, hangup });
        }
    }

    fn network(&mut self) -> Option<&mut dyn Network> {
        Some(self)
    }

    fn yield_now(&mut self) {}

    fn record(&mut self, _: &[u8]) {}

    fn recorded(&mut self, _: bool) {}
}

struct Guest {
    store: Store<Host<Chaos>>,
    memory: Memory,
}

impl Guest {
    fn new(seed: u64) -> Result<Self, Box<dyn StdError>> {
        let chaos = Chaos {
            random: seed,
            now: 0,
            opened: 0,
        };
        let listener = (SocketId(0), SocketAddr::from(([0, 0, 0, 0], 80)));
        let context = WasiCtxBuilder::new()
            .max_descriptors(14)
            .listener(listener.0, listener.1)
            .build(chaos);
        let mut store = Store::new(&Engine::default(), Host::new(context));
        let memory = Memory::new(&mut store, MemoryType::new(1, Some(1)))?;
        store.data_mut().attach_memory(memory);
        Ok(Self { store, memory })
    }

    /// Calls a function; `None` if it trapped.
    fn call(&mut self, name: &str, args: &[i32]) -> Result<Option<i32>, Box<dyn StdError>> {
        let ty = FuncType::new(vec![ValType::I32; args.len()], [ValType::I32]);
        let module = "wasi_snapshot_preview1";
        let func = resolve(&mut self.store, module, name, &ty)?.ok_or("no such function")?;
        let args: Vec<_> = args.iter().copied().map(Val::I32).collect();
        let mut results = [Val::I32(0)];
        match func.call(&mut self.store, &args, &mut results) {
            Ok(()) => match results {
                [Val::I32(errno)] => Ok(Some(errno)),
                _ => Err("all results are i32".into()),
            },
            Err(error) => match stop(&error) {
                Some(Stop::Trap(_)) => Ok(None),
                _ => panic!("{name}{args:?}: {error}"),
            },
        }
    }
}

/// Small numbers mostly: descriptors, flags, places of what means something.
fn argument(random: &mut u64) -> i32 {
    match roll(random, 16) {
        0 => i32::try_from(garbage(random)).unwrap_or(-1),
        1..3 => 0,
        3..7 => i32::try_from(roll(random, 8)).unwrap_or(0),
        // Multiples of 8 within what `put` writes.
        _ => i32::try_from(roll(random, 64) * 8).unwrap_or(0),
    }
}

#[test]
fn no_network_makes_a_call_panic() -> TestResult {
    const ROUNDS: usize = 60_000;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let newer = EXTENSIONS.iter().map(|(name, newer, _)| (*name, newer.len()));
    let first = EXTENSIONS
        .iter()
        .filter_map(|(name, _, first)| Some((*name, (*first)?.len())));
    let others = ON_SOCKETS.iter().map(|(name, params)| (*name, params.len()));
    let functions: Vec<_> = newer.chain(first).chain(others).collect();

    let mut guest = Guest::new(7)?;
    let mut succeeded = vec![0_u32; functions.len()];
    let (mut failed, mut trapped) = (0, 0);
    for round in 0..ROUNDS {
        if round % 100 == 0 {
            guest = Guest::new(u64::try_from(round)? + 1)?;
            for socket in 0..4 {
                guest.call("sock_open", &[1 + socket / 2, 1 + socket % 2, 0])?;
            }
        }
        let index = usize::try_from(roll(&mut random, u64::try_from(functions.len())?))?;
        let (name, count) = functions[index];
        // Few sockets live long otherwise.
        if ["fd_close", "fd_renumber"].contains(&name) && round % 3 != 0 {
            continue;
        }
        let mut args: Vec<_> = (0..count).map(|_| argument(&mut random)).collect();
        // Mostly a descriptor that is open, where a call has one.
        if let (Some(fd), false) = (args.first_mut(), roll(&mut random, 8) == 0) {
            let choice = i32::try_from(roll(&mut random, 8))?;
            *fd = if name == "sock_open" {
                1 + choice % 2
            } else {
                3 + choice
            };
        }
        put(&mut guest, &mut random)?;
        if name == "sock_getaddrinfo" && roll(&mut random, 2) == 0 {
            args = put_question(&mut guest);
        }
        let before = guest.memory.data(&guest.store)[..1024].to_vec();
        let end = guest.call(name, &args)?;
        let after = &guest.memory.data(&guest.store)[..1024];
        match end {
            Some(0) => succeeded[index] += 1,
            Some(errno) => {
                failed += 1;
                assert!((1..=86).contains(&errno), "{name}{args:?}: {errno}");
                assert_eq!(before, after, "{name}{args:?}: {errno}");
            }
            None => {
                trapped += 1;
                assert_eq!(before, after, "{name}{args:?}");
            }
        }
    }
    for ((name, count), succeeded) in functions.iter().zip(succeeded) {
        assert!(succeeded > 0, "{name} of {count} parameters never succeeded");
    }
    assert!(
        failed > 1000 && trapped > 1000,
        "{failed} failed, {trapped} trapped"
    );
    Ok(())
}

/// Fills the beginning of memory with what may mean something: lists of buffers and of addresses, small numbers, text.
fn put(guest: &mut Guest, random: &mut u64) -> TestResult {
    let bytes = guest.memory.data_mut(&mut guest.store);
    for word in bytes[..512].chunks_exact_mut(8) {
        let place = u32::try_from(512 + roll(random, 64) * 4)?;
        let length: u32 = match roll(random, 5) {
            0 => 4,
            1 => 16,
            2 => 128,
            3 => 26,
            _ => u32::try_from(roll(random, 40))?,
        };
        let pair = match roll(random, 16) {
            0 => [length, place],
            _ => [place, length],
        };
        word[..4].copy_from_slice(&pair[0].to_le_bytes());
        word[4..].copy_from_slice(&pair[1].to_le_bytes());
    }
    for byte in &mut bytes[512..1024] {
        *byte = b"\x00\x01\x02\x0012:a"[usize::try_from(roll(random, 8))?];
    }
    Ok(())
}

/// Puts a question for the addresses of a name, and a list of one element; the arguments.
fn put_question(guest: &mut Guest) -> Vec<i32> {
    let bytes = guest.memory.data_mut(&mut guest.store);
    bytes[..128].fill(0);
    bytes[600] = b'a';
    // The list, its element's address, room for that one's bytes and where it is.
    for (place, value) in [(32, 64_u32), (64 + 12, 100), (104, 26), (108, 200)] {
        bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
    }
    vec![600, 1, 601, 0, 0, 32, 1, 40]
}
