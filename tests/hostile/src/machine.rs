//! Entry, registers, ports, page tables and memory of a machine that nobody else uses.

#![expect(
    unsafe_code,
    reason = "registers, ports, page tables and addresses from the loader"
)]

use core::arch::{asm, global_asm};
use core::panic::PanicInfo;
use core::sync::atomic::{Ordering, fence};
use core::{ptr, slice, str};

use hermit_entry::boot_info::{BootInfo, RawBootInfo};

use crate::console;

hermit_entry::define_entry_version!();

// As the kernel's `_start`: `rsp` is the lowest address of the stack.
global_asm!(
    ".global _start",
    "_start:",
    "add rsp, {top}",
    "call {start}",
    "ud2",
    top = const KERNEL_STACK_SIZE - 16,
    start = sym start,
);

/// As in kernel 0.11.
const KERNEL_STACK_SIZE: u64 = 0x8000;

/// Size of a page.
pub(crate) const PAGE: u64 = 4096;

/// What the loader has said of the machine.
pub(crate) struct Machine {
    /// Free memory, from and to, in whole pages; empty ranges behind.
    memory: [(u64, u64); 8],
    payload: &'static [u8],
}

extern "C" fn start(boot_info: &'static RawBootInfo) -> ! {
    if let Some(machine) = Machine::new(&BootInfo::from(*boot_info)) {
        map_everything(Rights::Supervisor);
        crate::run(&machine);
    }
    power_off()
}

impl Machine {
    fn new(info: &BootInfo) -> Option<Self> {
        let address = info.hardware_info.device_tree?.get();
        // SAFETY: the loader has put its device tree there.
        let tree = unsafe { fdt::Fdt::from_ptr(address as *const u8) }.ok()?;
        let mut memory = [(0, 0); 8];
        for (node, place) in tree.find_all_nodes("/memory").zip(&mut memory) {
            let region = node.reg()?.next()?;
            let start = region.starting_address.addr() as u64;
            *place = (start, start + region.size? as u64);
        }
        let chosen = tree.find_node("/chosen")?;
        let cell = |name| {
            chosen
                .property(name)?
                .value
                .try_into()
                .ok()
                .map(u64::from_be_bytes)
        };
        let payload = match (cell("linux,initrd-start"), cell("linux,initrd-end")) {
            (Some(start), Some(end)) => bytes(start, end - start),
            _ => &[],
        };
        Some(Self { memory, payload })
    }

    /// Free memory, the largest piece first, from and to.
    pub(crate) fn regions(&self) -> [(u64, u64); 8] {
        let mut regions = self.memory;
        regions.sort_unstable_by_key(|(from, to)| u64::MAX - (to - from));
        regions
    }

    /// What the payload orders.
    pub(crate) fn order(&self) -> Option<&'static str> {
        str::from_utf8(self.line()?.0).ok()
    }

    /// What follows the order in the payload.
    pub(crate) fn rest(&self) -> &'static [u8] {
        self.line().map_or(&[], |(_, rest)| rest)
    }

    /// The order, and what follows its line.
    fn line(&self) -> Option<(&'static [u8], &'static [u8])> {
        const MARK: &[u8] = b"attack=";
        let at = self.payload.windows(MARK.len()).position(|part| part == MARK)?;
        let order = self.payload.get(at + MARK.len()..)?;
        let end = order.iter().position(|byte| *byte == b'\n')?;
        Some((order.get(..end)?, order.get(end + 1..)?))
    }
}

/// The bytes at an address.
pub(crate) fn bytes(start: u64, len: u64) -> &'static [u8] {
    let len = usize::try_from(len).unwrap_or(0);
    // SAFETY: the caller names memory that the loader has described. Were it wrong, this machine would die, and nothing else.
    unsafe { slice::from_raw_parts(start as *const u8, len) }
}

/// Writes a word anywhere.
pub(crate) fn poke<T>(address: u64, value: T) {
    // SAFETY: this program owns all of the machine; whoever calls this wants exactly that written.
    unsafe { ptr::write_volatile(address as *mut T, value) };
    fence(Ordering::SeqCst);
}

/// Reads a word from anywhere.
pub(crate) fn peek<T: Copy>(address: u64) -> T {
    fence(Ordering::SeqCst);
    // SAFETY: as in `poke`; `T` is an integer for every caller.
    unsafe { ptr::read_volatile(address as *const T) }
}

/// Calls code at an address; it changes no register but `rax` and returns.
pub(crate) fn call(address: u64) {
    // SAFETY: the caller has written a function there, and `map_everything` made it executable.
    unsafe { asm!("call {}", in(reg) address, out("rax") _) };
}

/// Writes a byte to a port.
pub(crate) fn out8(port: u16, value: u8) {
    // SAFETY: as in `poke`.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nostack)) };
}

/// Writes two bytes to a port.
pub(crate) fn out16(port: u16, value: u16) {
    // SAFETY: as in `poke`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nostack)) };
}

/// Writes four bytes to a port.
pub(crate) fn out32(port: u16, value: u32) {
    // SAFETY: as in `poke`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) };
}

/// Reads a byte from a port.
pub(crate) fn in8(port: u16) -> u8 {
    let value: u8;
    // SAFETY: as in `poke`.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nostack)) };
    value
}

/// Ends the machine.
pub(crate) fn power_off() -> ! {
    out8(0xf4, 0);
    loop {
        core::hint::spin_loop();
    }
}

/// The lower and the upper half.
pub(crate) fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// Waits for so many ticks of the processor's clock; under translation, they are nanoseconds.
pub(crate) fn wait(ticks: u64) {
    let start = clock();
    while clock().wrapping_sub(start) < ticks {
        core::hint::spin_loop();
    }
}

fn clock() -> u64 {
    // SAFETY: reads the time stamp counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    console::standard_output("the hostile kernel panicked\n");
    console::exit(3);
    power_off()
}

/// Whose the mapped memory is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    Supervisor,
    User,
}

/// A page of a page table.
#[repr(C, align(4096))]
struct Table([u64; 512]);

/// Top; low 512 GiB; four of 1 GiB each with pages of 2 MiB; and three levels that name one page 2^27 times.
static mut TABLES: [Table; 9] = [const { Table([0; 512]) }; 9];

const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const USER: u64 = 4;
const HUGE: u64 = 1 << 7;

/// Where one page appears again and again.
const ALIASES: u64 = 1 << 39;

/// Maps the low 4 GiB to their own addresses, everything writable and executable, and one page 2^27 times from
/// [`ALIASES`] on. Forgets all translations.
pub(crate) fn map_everything(rights: Rights) {
    let tables = &raw mut TABLES;
    let place = |index: u64| tables as u64 + index * PAGE;
    let entry = |table: u64, index: u64, value: u64| poke(place(table) + index * 8, value);
    let inner = PRESENT | WRITE | USER;
    let outer = match rights {
        Rights::Supervisor => PRESENT | WRITE,
        Rights::User => inner,
    };
    for index in 0..512 {
        for quarter in 0..4 {
            let address = (quarter << 30) + (index << 21);
            entry(2 + quarter, index, address | inner | HUGE);
        }
        // The page is this table's own.
        entry(8, index, place(8) | inner);
        entry(7, index, place(8) | inner);
        entry(6, index, place(7) | inner);
    }
    for quarter in 0..4 {
        entry(1, quarter, place(2 + quarter) | inner);
    }
    entry(0, 0, place(1) | outer);
    entry(0, 1, place(6) | outer);
    // SAFETY: code, stack and data stay where they are.
    unsafe { asm!("mov cr3, {}", in(reg) place(0)) };
}

/// Touches one page under so many addresses, then forgets all translations.
pub(crate) fn touch_aliases(count: u64) {
    touch(count);
    forget_translations();
}

fn touch(count: u64) {
    for index in 0..count {
        // SAFETY: `map_everything` has mapped it.
        unsafe { ptr::read_volatile((ALIASES + index * PAGE) as *const u8) };
    }
}

fn forget_translations() {
    // SAFETY: writes what is there.
    unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _) };
}

/// The same without the right to reach the user's pages (SMAP): QEMU keeps such translations apart.
pub(crate) fn touch_aliases_guarded(count: u64) {
    const SMAP: u64 = 1 << 21;
    map_everything(Rights::Supervisor);
    set_cr4(SMAP, true);
    touch_aliases(count);
    set_cr4(SMAP, false);
}

fn set_cr4(bit: u64, on: bool) {
    let old: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) old) };
    let new = if on { old | bit } else { old & !bit };
    // SAFETY: the caller's bit changes nothing for this program.
    unsafe { asm!("mov cr4, {}", in(reg) new) };
}

/// The same in user mode, whose translations QEMU keeps apart too.
pub(crate) fn touch_aliases_as_user(count: u64) {
    map_everything(Rights::User);
    // `syscall` and `sysret` exist; the segments that they load come from nowhere but here: those of now, and next to
    // them.
    write_msr(0xc000_0080, read_msr(0xc000_0080) | 1);
    write_msr(0xc000_0081, 0x0008_0008 << 32);
    write_msr(0xc000_0084, 0);
    // SAFETY: `sysretq` goes to `2` in user mode, whose `syscall` comes back to `3`. The stack and all of memory are the
    // user's too. Interrupts stay off.
    unsafe {
        asm!(
            "push rbx",
            "push rbp",
            // LSTAR
            "lea rax, [rip + 3f]",
            "mov rdx, rax",
            "shr rdx, 32",
            "mov ecx, 0xc0000082",
            "wrmsr",
            "lea rcx, [rip + 2f]",
            "mov r11d, 2",
            "sysretq",
            "2:",
            "call {touch}",
            "syscall",
            "3:",
            "pop rbp",
            "pop rbx",
            touch = sym touch_from_assembly,
            in("rdi") count,
            clobber_abi("C"),
        );
    }
    map_everything(Rights::Supervisor);
}

extern "C" fn touch_from_assembly(count: u64) {
    touch(count);
}

fn read_msr(register: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the registers that are asked for exist.
    unsafe { asm!("rdmsr", in("ecx") register, out("eax") low, out("edx") high) };
    u64::from(high) << 32 | u64::from(low)
}

fn write_msr(register: u32, value: u64) {
    let [low, high] = [value & 0xffff_ffff, value >> 32];
    // SAFETY: see the callers.
    unsafe { asm!("wrmsr", in("ecx") register, in("rax") low, in("rdx") high) };
}
