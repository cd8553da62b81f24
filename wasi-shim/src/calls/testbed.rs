//! A guest's memory on the bench: every test states all bytes that a call changes, so any other change fails it.
//!
//! Layer: tests.

use alloc::vec::Vec;

use crate::{
    abi::Errno,
    context::{WasiCtx, WasiCtxBuilder},
    error::Error,
    memory::GuestMemory,
    testing::TestSystem,
};

/// Size of the guest's memory.
pub(super) const SIZE: u32 = 1024;

/// The standard streams, and two numbers that are not open.
pub(super) const FDS: [u32; 5] = [0, 1, 2, 3, u32::MAX];

/// What memory holds where nothing was written: neither zero nor a value that a call would write.
const GUARD: u8 = 0xa5;

type Ctx = WasiCtx<TestSystem>;

pub(super) fn le32(value: u32) -> [u8; 4] {
    value.to_le_bytes()
}

/// A context and a memory full of guard bytes.
pub(super) struct Bed {
    pub(super) ctx: Ctx,
    pub(super) memory: Vec<u8>,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self::on(TestSystem::default())
    }

    pub(super) fn on(system: TestSystem) -> Self {
        Self::of(WasiCtxBuilder::new().build(system))
    }

    pub(super) fn of(ctx: Ctx) -> Self {
        Self {
            ctx,
            memory: [GUARD].repeat(at(SIZE)),
        }
    }

    /// Puts bytes where the guest would have put them.
    pub(super) fn put(&mut self, address: u32, bytes: &[u8]) {
        let address = at(address);
        self.memory[address..address + bytes.len()].copy_from_slice(bytes);
    }

    /// Puts a list of iovecs.
    pub(super) fn put_iovecs(&mut self, address: u32, iovecs: &[(u32, u32)]) {
        let bytes: Vec<u8> = iovecs
            .iter()
            .flat_map(|(buf, len)| [le32(*buf), le32(*len)].concat())
            .collect();
        self.put(address, &bytes);
    }

    pub(super) fn run(
        &mut self,
        call: impl FnOnce(&mut Ctx, &mut GuestMemory<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        call(&mut self.ctx, &mut GuestMemory::new(&mut self.memory))
    }

    /// The call succeeds and changes these bytes only.
    #[track_caller]
    pub(super) fn ok(
        &mut self,
        call: impl FnOnce(&mut Ctx, &mut GuestMemory<'_>) -> Result<(), Error>,
        changes: &[(u32, &[u8])],
    ) {
        let mut expected = self.memory.clone();
        for (address, bytes) in changes {
            expected[at(*address)..at(*address) + bytes.len()].copy_from_slice(bytes);
        }
        assert_eq!(self.run(call), Ok(()));
        self.assert_memory(&expected);
    }

    /// The call fails with `errno` and changes no memory.
    #[track_caller]
    pub(super) fn errno(
        &mut self,
        call: impl FnOnce(&mut Ctx, &mut GuestMemory<'_>) -> Result<(), Error>,
        errno: Errno,
    ) {
        let expected = self.memory.clone();
        assert_eq!(self.run(call), Err(Error::Errno(errno)));
        self.assert_memory(&expected);
    }

    /// The call traps, and leaves no trace in memory or on the machine.
    #[track_caller]
    pub(super) fn trap(&mut self, call: impl FnOnce(&mut Ctx, &mut GuestMemory<'_>) -> Result<(), Error>) {
        let (expected, machine) = (self.memory.clone(), self.ctx.system.clone());
        let end = self.run(call);
        assert!(matches!(end, Err(Error::Trap(_))), "expected a trap, got {end:?}");
        self.assert_memory(&expected);
        assert_eq!(self.ctx.system, machine);
    }

    #[track_caller]
    fn assert_memory(&self, expected: &[u8]) {
        let differs = |(index, (found, wanted))| {
            (found != wanted).then(|| alloc::format!("byte {index}: {found:#04x}, expected {wanted:#04x}"))
        };
        let difference = self.memory.iter().zip(expected).enumerate().find_map(differs);
        assert_eq!(difference, None);
    }
}

fn at(address: u32) -> usize {
    usize::try_from(address).expect("an address fits")
}
