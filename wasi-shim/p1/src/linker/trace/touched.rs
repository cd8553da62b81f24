//! What each function reads of the guest's memory, for the check, and what it writes there.
//!
//! Layer: linker. The fuzz target `replay` compares what this says with what the functions do.

use core::marker::PhantomData;

use wasi_core::context::Strings;

use super::Arguments;
use crate::{
    abi::{
        layout::{Event, Fdstat, Filestat, Iovec, Prestat, Subscription, Wire},
        snapshot0 as old,
    },
    context::WasiP1Ctx,
    linker::table::Function,
    memory::{GuestMemory, Ptr},
};

/// The size of a type in the guest's memory.
const fn size_of<const SIZE: usize, T: Wire<SIZE>>(_: PhantomData<T>) -> u32 {
    // The largest is 64 bytes.
    #[expect(clippy::cast_possible_truncation, reason = "the largest has 64 bytes")]
    let size = SIZE as u32;
    size
}

const FDSTAT: u32 = size_of::<{ Fdstat::SIZE }, Fdstat>(PhantomData);
const FILESTAT: u32 = size_of::<{ Filestat::SIZE }, Filestat>(PhantomData);
const OLD_FILESTAT: u32 = size_of::<{ old::Filestat::SIZE }, old::Filestat>(PhantomData);
const PRESTAT: u32 = size_of::<{ Prestat::SIZE }, Prestat>(PhantomData);
const EVENT: u32 = size_of::<{ Event::SIZE }, Event>(PhantomData);
const SUBSCRIPTION: u32 = size_of::<{ Subscription::SIZE }, Subscription>(PhantomData);
const OLD_SUBSCRIPTION: u32 = size_of::<{ old::Subscription::SIZE }, old::Subscription>(PhantomData);
const IOVEC: u32 = size_of::<{ Iovec::SIZE }, Iovec>(PhantomData);

/// A short check of bytes: whoever reads other bytes is noticed, unless by a chance of one in four thousand millions.
pub(super) struct Check(u64);

impl Check {
    /// Of no bytes.
    const fn new() -> Self {
        Self(0)
    }

    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.word(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (slot, byte) in last.iter_mut().zip(rest) {
            *slot = *byte;
        }
        self.word(u64::from_le_bytes(last));
    }

    fn finish(&self) -> u32 {
        let [a, b, c, d, e, f, g, h] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d]) ^ u32::from_le_bytes([e, f, g, h])
    }
}

/// The check of what a call is about to read of memory, as far as it is there.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn check(mem: &GuestMemory<'_>, function: Function, args: &Arguments) -> u32 {
    use Function as F;
    let mut check = Check::new();
    let mut region = |start: usize, len: u64| {
        let Ok(len) = u32::try_from(len) else { return };
        if let Ok(bytes) = mem.bytes(Ptr::new(args.int(start)), len) {
            check.bytes(bytes);
        }
    };
    let mut path = |start: usize| region(start, args.long(start.saturating_add(1)));
    let elements = |count: usize, size: u32| args.long(count).saturating_mul(u64::from(size));
    match function {
        F::PathCreateDirectory | F::PathRemoveDirectory | F::PathUnlinkFile | F::PathReadlink => path(1),
        F::PathFilestatGet | F::OldPathFilestatGet | F::PathFilestatSetTimes | F::PathOpen => path(2),
        F::PathRename => [1, 4].into_iter().for_each(path),
        F::PathSymlink => [0, 3].into_iter().for_each(path),
        F::PathLink => [2, 5].into_iter().for_each(path),
        F::PollOneoff => region(0, elements(2, SUBSCRIPTION)),
        F::OldPollOneoff => region(0, elements(2, OLD_SUBSCRIPTION)),
        F::FdRead | F::FdPread | F::SockRecv => region(1, elements(2, IOVEC)),
        F::FdWrite | F::FdPwrite | F::SockSend => {
            each_buffer(mem, args, |buf, len| match mem.bytes(Ptr::new(buf), len) {
                Ok(bytes) => {
                    check.bytes(bytes);
                    true
                }
                Err(_) => false,
            });
        }
        _ => {}
    }
    check.finish()
}

/// Goes through the list of buffers of a call, all of which have it as their second and third argument, as long as it
/// can be read and `each` wants to.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn each_buffer(mem: &GuestMemory<'_>, args: &Arguments, mut each: impl FnMut(u32, u32) -> bool) {
    let list: Ptr<Iovec> = Ptr::new(args.int(1));
    for index in 0..args.int(2) {
        let element = list.element(index).and_then(|element| mem.read(element));
        match element {
            Ok(Iovec { buf, buf_len }) if each(buf, buf_len) => {}
            _ => break,
        }
    }
}

/// The number that a call has written to an address.
#[cfg_attr(target_os = "hermit", optimize(size))]
pub(super) fn number(mem: &GuestMemory<'_>, address: u32) -> u32 {
    let bytes = mem.bytes(Ptr::new(address), 4).unwrap_or_default();
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// Bytes from an address on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Region {
    const fn new(start: u32, len: u32) -> Self {
        Self { start, len }
    }

    fn end(self) -> u64 {
        u64::from(self.start).saturating_add(u64::from(self.len))
    }

    fn overlaps(self, other: Self) -> bool {
        u64::from(self.start) < other.end() && u64::from(other.start) < self.end()
    }

    /// The smallest one that holds both; of nothing and one, that one.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn hull(self, other: Self) -> Self {
        if self.len == 0 || other.len == 0 {
            return if self.len == 0 { other } else { self };
        }
        let start = self.start.min(other.start);
        let end = self.end().max(other.end());
        let len = end.saturating_sub(u64::from(start));
        Self::new(start, u32::try_from(len).unwrap_or(u32::MAX))
    }
}

/// What a call may write to memory, known before it is made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Writes {
    /// Results.
    results: [Region; 2],
    data: Data,
    /// Whether the data may be written though the call fails.
    though_failed: bool,
}

/// What a call may write besides its results.
#[derive(Clone, Copy, Debug, Default)]
enum Data {
    #[default]
    None,
    All(Region),
    /// The beginning: as many units as the number at an address says, once the call has written it.
    Counted {
        region: Region,
        count: u32,
        unit: u32,
    },
    /// The buffers of the list that the arguments name, up to as many bytes as the number at an address says.
    Buffers {
        count: u32,
    },
}

impl Writes {
    /// What a call may write.
    pub(super) fn new<S>(
        ctx: &WasiP1Ctx<S>,
        mem: &GuestMemory<'_>,
        function: Function,
        args: &Arguments,
    ) -> Self {
        use Function as F;
        let at = |index: usize, len: u32| Region::new(args.int(index), len);
        let mut this = Self::default();
        let [first, second] = &mut this.results;
        match function {
            F::ArgsGet => [*first, *second] = strings(args, ctx.core.args()),
            F::EnvironGet => [*first, *second] = strings(args, ctx.core.env()),
            F::ArgsSizesGet | F::EnvironSizesGet => (*first, *second) = (at(0, 4), at(1, 4)),
            F::ClockResGet | F::FixedClockResGet => *first = at(1, 8),
            F::ClockTimeGet | F::FixedClockTimeGet => *first = at(2, 8),
            F::FdFdstatGet => *first = at(1, FDSTAT),
            F::FdFilestatGet => *first = at(1, FILESTAT),
            F::OldFdFilestatGet => *first = at(1, OLD_FILESTAT),
            F::FdPrestatGet => *first = at(1, PRESTAT),
            F::FdPrestatDirName => this.data = Data::All(at(1, args.int(2))),
            F::FdSeek | F::OldFdSeek => *first = at(3, 8),
            F::FdTell => *first = at(1, 8),
            F::FdWrite => *first = at(3, 4),
            F::FdPwrite | F::SockSend => *first = at(4, 4),
            F::PathFilestatGet => *first = at(4, FILESTAT),
            F::OldPathFilestatGet => *first = at(4, OLD_FILESTAT),
            F::PathOpen => *first = at(8, 4),
            F::SockAccept => *first = at(2, 4),
            F::FdReaddir => {
                *first = at(4, 4);
                this.data = Data::counted(at(1, args.int(2)), *first, 1);
            }
            F::PathReadlink => {
                *first = at(5, 4);
                this.data = Data::counted(at(3, args.int(4)), *first, 1);
            }
            F::PollOneoff | F::OldPollOneoff => {
                *first = at(3, 4);
                let len = args.int(2).saturating_mul(EVENT);
                this.data = Data::counted(at(1, len), *first, EVENT);
            }
            F::RandomGet | F::FixedRandomGet => {
                this.data = Data::All(at(0, args.int(1)));
                // The source may fail half-way.
                this.though_failed = true;
            }
            F::FdRead => {
                *first = at(3, 4);
                this.data = Data::buffers(mem, args, this.results);
            }
            F::FdPread => {
                *first = at(4, 4);
                this.data = Data::buffers(mem, args, this.results);
            }
            F::SockRecv => {
                (*first, *second) = (at(4, 4), at(5, 2));
                this.data = Data::buffers(mem, args, this.results);
            }
            // Each by its name, so that a further row of the table is not forgotten here.
            F::FdAdvise
            | F::FdAllocate
            | F::FdClose
            | F::FdDatasync
            | F::FdFdstatSetFlags
            | F::FdFdstatSetRights
            | F::FdFilestatSetSize
            | F::FdFilestatSetTimes
            | F::FdRenumber
            | F::FdSync
            | F::PathCreateDirectory
            | F::PathFilestatSetTimes
            | F::PathLink
            | F::PathRemoveDirectory
            | F::PathRename
            | F::PathSymlink
            | F::PathUnlinkFile
            | F::ProcExit
            | F::ProcRaise
            | F::SchedYield
            | F::SockShutdown => {}
            // A recorded run has no network: these fail.
            F::SockOpen
            | F::SockBind
            | F::SockListen
            | F::SockConnect
            | F::SockRecvFrom
            | F::SockSendTo
            | F::SockGetlocaladdr
            | F::SockGetpeeraddr
            | F::SockGetsockopt
            | F::SockSetsockopt
            | F::SockGetaddrinfo
            | F::FirstSockAccept
            | F::FirstSockRecvFrom
            | F::FirstSockGetlocaladdr
            | F::FirstSockGetpeeraddr => {}
        }
        this
    }

    /// Goes through what a call that has ended wrote, or may have.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    pub(super) fn each(
        &self,
        mem: &GuestMemory<'_>,
        args: &Arguments,
        succeeded: bool,
        mut each: impl FnMut(Region),
    ) {
        let mut each = |region: Region| {
            if region.len > 0 {
                each(region);
            }
        };
        if !succeeded && !self.though_failed {
            return;
        }
        if succeeded {
            self.results.into_iter().for_each(&mut each);
        }
        let count = |at: u32| number(mem, at);
        match self.data {
            Data::None => {}
            Data::All(region) => each(region),
            Data::Counted {
                region,
                count: at,
                unit,
            } => {
                let len = count(at).saturating_mul(unit).min(region.len);
                each(Region { len, ..region });
            }
            Data::Buffers { count: at } => {
                let mut left = count(at);
                each_buffer(mem, args, |buf, len| {
                    let len = len.min(left);
                    left = left.saturating_sub(len);
                    each(Region::new(buf, len));
                    left > 0
                });
            }
        }
    }
}

impl Data {
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn counted(region: Region, count: Region, unit: u32) -> Self {
        match region.overlaps(count) {
            true => Self::All(region),
            false => Self::Counted {
                region,
                count: count.start,
                unit,
            },
        }
    }

    /// The buffers of a list, which can be read as well when they are filled, unless list, buffers and results overlap.
    #[cfg_attr(target_os = "hermit", optimize(size))]
    fn buffers(mem: &GuestMemory<'_>, args: &Arguments, results: [Region; 2]) -> Self {
        let list = Region::new(args.int(1), args.int(2).saturating_mul(IOVEC));
        let [count, more] = results;
        let mut overlap = count.overlaps(list) || more.overlaps(list) || count.overlaps(more);
        let mut hull = Region::default();
        each_buffer(mem, args, |buf, len| {
            let buffer = Region::new(buf, len);
            if len > 0 {
                overlap |= [list, count, more]
                    .into_iter()
                    .any(|other| buffer.overlaps(other));
                hull = hull.hull(buffer);
            }
            true
        });
        match overlap {
            true => Self::All(hull),
            false => Self::Buffers { count: count.start },
        }
    }
}

/// What `args_get` and `environ_get` write.
#[cfg_attr(target_os = "hermit", optimize(size))]
fn strings(args: &Arguments, strings: &Strings) -> [Region; 2] {
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    [
        Region::new(args.int(0), length(strings.offsets().len()).saturating_mul(4)),
        Region::new(args.int(1), length(strings.bytes().len())),
    ]
}
