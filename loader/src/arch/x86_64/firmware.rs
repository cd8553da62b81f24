//! Reads what the hypervisor hands over: PVH's start information.
//!
//! Layer: pure; memory is read through a function. Spec: the x86/HVM direct boot ABI, `hvm_start_info` version 1
//! (Xen's `public/arch-x86/hvm/start_info.h`). Addresses and counts are the hypervisor's claims: each is checked.

use super::SERIAL_PORT;
use super::paging::Entries;
use crate::failure::Failure;
use crate::firmware::{Firmware, MAX_COMMAND_LINE};
use crate::paging::Format as _;
use hermit_loader_core::ranges::{Memory, PAGE, Span};

const MAGIC: u32 = 0x336e_c578;
const START_INFO: u64 = 56;
const MODULE: u64 = 32;
const MAP_ENTRY: u64 = 24;
/// A PC's map has about ten entries.
const MAX_MAP_ENTRIES: u64 = 1024;
/// Memory above is not used.
const MAX_ADDRESS: u64 = Entries::MAX_ADDRESS;

const MEMORY_RAM: u32 = 1;

/// Reads the start information at `address`. `read` gives the bytes of a range of physical memory, if there is any.
pub fn read<'a>(address: u64, read: impl Fn(Span) -> Option<&'a [u8]>) -> Result<Firmware, Failure> {
    let bytes = |start, len| Span::from_len(start, len).and_then(&read);
    let info = bytes(address, START_INFO).ok_or(Failure::NoStartInfo)?;
    if u32_at(info, 0) != Some(MAGIC) {
        return Err(Failure::NoStartInfo);
    }
    if u32_at(info, 4).is_none_or(|version| version < 1) {
        return Err(Failure::NoMemoryMap);
    }

    let entries = u64::from(u32_at(info, 48).unwrap_or(0));
    let map = u64_at(info, 40)
        .filter(|&map| map != 0 && entries <= MAX_MAP_ENTRIES)
        .and_then(|map| bytes(map, entries * MAP_ENTRY))
        .ok_or(Failure::NoMemoryMap)?;
    let ram = memory(map);
    if ram.spans().is_empty() {
        return Err(Failure::NoMemoryMap);
    }

    let module = match u32_at(info, 12) {
        None | Some(0) => None,
        Some(1) => {
            let list = u64_at(info, 16)
                .and_then(|list| bytes(list, MODULE))
                .ok_or(Failure::BadModule)?;
            let span = u64_at(list, 0)
                .zip(u64_at(list, 8))
                .and_then(|(start, len)| Span::from_len(start, len));
            // In memory that is mapped and that nobody else uses.
            Some(
                span.filter(|&span| ram.contains(span))
                    .ok_or(Failure::BadModule)?,
            )
        }
        Some(_) => return Err(Failure::ManyModules),
    };

    let command_line = match u64_at(info, 24) {
        None | Some(0) => None,
        Some(start) => Some(terminated(start, MAX_COMMAND_LINE, read).ok_or(Failure::BadCommandLine)?),
    };

    Ok(Firmware {
        ram,
        command_line,
        module,
        rsdp: u64_at(info, 32).filter(|&rsdp| rsdp != 0),
        serial_port: Some(SERIAL_PORT.into()),
        device_tree: None,
    })
}

/// The bytes from `start` to the first zero, which comes before `max` bytes.
///
/// They are read in pieces that lie within a page, as not all that could belong to them need be readable.
fn terminated<'a>(start: u64, max: u64, read: impl Fn(Span) -> Option<&'a [u8]>) -> Option<Span> {
    let limit = start.checked_add(max)?;
    let mut at = start;
    while at < limit {
        let end = (at + 1).checked_next_multiple_of(PAGE)?.min(limit);
        if let Some(len) = read(Span::new(at, end)?)?.iter().position(|&byte| byte == 0) {
            return Span::new(start, at + len as u64);
        }
        at = end;
    }
    None
}

/// The usable memory of a map. Where entries overlap, memory is usable only if all say so.
fn memory(map: &[u8]) -> Memory {
    let entries = || {
        map.chunks_exact(24).filter_map(|entry| {
            let span = Span::from_len(u64_at(entry, 0)?, u64_at(entry, 8)?)?;
            let usable = u32_at(entry, 16)? == MEMORY_RAM;
            Some((usable, Span::new(span.start, span.end.min(MAX_ADDRESS))?))
        })
    };
    let mut ram = Memory::new();
    for (_, span) in entries().filter(|(usable, _)| *usable) {
        ram.insert(span);
    }
    for (_, span) in entries().filter(|(usable, _)| !usable) {
        ram.remove(span);
    }
    ram
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Physical memory of 64 KiB with start information at 0x100.
    struct Machine(Vec<u8>);

    impl Machine {
        fn new() -> Self {
            let mut machine = Self(vec![0; 0x1_0000]);
            machine.put(0x100, &MAGIC.to_le_bytes());
            machine.put(0x104, &1_u32.to_le_bytes());
            machine.put(0x128, &0x400_u64.to_le_bytes());
            machine.map(&[(0, 0x9_fc00, 1), (0x9_fc00, 0x400, 2), (0x10_0000, 0x3ee_0000, 1)]);
            machine
        }

        fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }

        fn map(&mut self, entries: &[(u64, u64, u32)]) {
            self.put(0x130, &u32::try_from(entries.len()).unwrap().to_le_bytes());
            for (index, &(start, len, kind)) in entries.iter().enumerate() {
                let at = 0x400 + index * 24;
                self.put(at, &start.to_le_bytes());
                self.put(at + 8, &len.to_le_bytes());
                self.put(at + 16, &kind.to_le_bytes());
            }
        }

        fn module(&mut self, start: u64, len: u64) {
            self.put(0x10c, &1_u32.to_le_bytes());
            self.put(0x110, &0x200_u64.to_le_bytes());
            self.put(0x200, &start.to_le_bytes());
            self.put(0x208, &len.to_le_bytes());
        }

        fn read(&self) -> Result<Firmware, Failure> {
            read(0x100, |span| {
                self.0
                    .get(usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?)
            })
        }

        fn spans(&self) -> Vec<Span> {
            self.read().unwrap().ram.spans().to_vec()
        }
    }

    fn span(start: u64, end: u64) -> Span {
        Span::new(start, end).unwrap()
    }

    #[test]
    fn nothing_but_memory() {
        let firmware = Machine::new().read().unwrap();
        assert_eq!(
            firmware.ram.spans(),
            [span(0, 0x9_fc00), span(0x10_0000, 0x3fe_0000)]
        );
        assert_eq!(
            (firmware.command_line, firmware.module, firmware.rsdp),
            (None, None, None)
        );
    }

    #[test]
    fn everything() {
        let mut machine = Machine::new();
        machine.module(0x20_0001, 181);
        machine.put(0x118, &0x300_u64.to_le_bytes());
        machine.put(0x300, b"-- x\0y");
        machine.put(0x120, &0xf_5a10_u64.to_le_bytes());
        let firmware = machine.read().unwrap();
        assert_eq!(firmware.module, Some(span(0x20_0001, 0x20_0001 + 181)));
        assert_eq!(firmware.command_line, Some(span(0x300, 0x304)));
        assert_eq!(firmware.rsdp, Some(0xf_5a10));
    }

    #[test]
    fn not_start_information() {
        let mut machine = Machine::new();
        machine.put(0x100, b"\0");
        assert_eq!(machine.read().unwrap_err(), Failure::NoStartInfo);
        let nowhere = read(u64::MAX, |_| None);
        assert_eq!(nowhere.unwrap_err(), Failure::NoStartInfo);
    }

    #[test]
    fn no_memory_map() {
        for (at, value) in [
            (0x104, 0_u32),
            (0x128, 0),
            (0x130, 0),
            (0x130, 1025),
            (0x130, u32::MAX),
            (0x12c, 1),
        ] {
            let mut machine = Machine::new();
            machine.put(at, &value.to_le_bytes());
            assert_eq!(
                machine.read().unwrap_err(),
                Failure::NoMemoryMap,
                "{at:#x} = {value}"
            );
        }
        let mut machine = Machine::new();
        machine.map(&[(0, 0x1000, 2)]);
        assert_eq!(machine.read().unwrap_err(), Failure::NoMemoryMap);
    }

    #[test]
    fn absurd_maps() {
        let mut machine = Machine::new();
        machine.map(&[
            (0x1000, 0x4000, 1),
            (0x2000, 0x1000, 2),
            (u64::MAX, 2, 1),
            (0x1000, 0x800, 1),
        ]);
        assert_eq!(machine.spans(), [span(0x1000, 0x2000), span(0x3000, 0x5000)]);
        machine.map(&[
            (0x1000, u64::MAX - 0x1000, 1),
            (MAX_ADDRESS, 0x1000, 1),
            (5, 0, 1),
        ]);
        assert_eq!(machine.spans(), [span(0x1000, MAX_ADDRESS)]);
    }

    #[test]
    fn bad_modules() {
        for (start, len) in [
            (0x9_fc00, 1),
            (0x3fd_ffff, 2),
            (u64::MAX, 1),
            (0x20_0000, u64::MAX),
            (0, u64::MAX),
        ] {
            let mut machine = Machine::new();
            machine.module(start, len);
            assert_eq!(
                machine.read().unwrap_err(),
                Failure::BadModule,
                "{start:#x} + {len:#x}"
            );
        }
        let mut machine = Machine::new();
        machine.module(0x20_0000, 1);
        machine.put(0x10c, &2_u32.to_le_bytes());
        assert_eq!(machine.read().unwrap_err(), Failure::ManyModules);
        machine.module(0x20_0000, 1);
        machine.put(0x110, &u64::MAX.to_le_bytes());
        assert_eq!(machine.read().unwrap_err(), Failure::BadModule);
        // An empty module is a module: the application says what is wrong with it.
        machine.module(0x20_0000, 0);
        assert_eq!(machine.read().unwrap().module, Some(span(0x20_0000, 0x20_0000)));
    }

    #[test]
    fn command_lines_must_end() {
        let mut machine = Machine::new();
        machine.put(0x118, &0xf000_u64.to_le_bytes());
        machine.put(0xf000, &[b'x'; 0x1000]);
        assert_eq!(machine.read().unwrap_err(), Failure::BadCommandLine);
        machine.put(0xffff, &[0]);
        assert_eq!(machine.read().unwrap().command_line, Some(span(0xf000, 0xffff)));
        for nowhere in [1 << 33, u64::MAX] {
            machine.put(0x118, &u64::to_le_bytes(nowhere));
            assert_eq!(machine.read().unwrap_err(), Failure::BadCommandLine);
        }
    }

    #[test]
    fn command_lines_have_a_limit() {
        let mut machine = Machine::new();
        machine.0.resize(0x10_0000, 0);
        machine.put(0x118, &0x1_0001_u64.to_le_bytes());
        let limit = usize::try_from(MAX_COMMAND_LINE).unwrap();
        machine.put(0x1_0001, &vec![b'x'; limit]);
        assert_eq!(machine.read().unwrap_err(), Failure::BadCommandLine);
        machine.put(0x1_0000 + limit, &[0]);
        assert_eq!(
            machine.read().unwrap().command_line.map(Span::len),
            Some(MAX_COMMAND_LINE - 1)
        );
    }
}
