//! What ends a PC: writes to its devices, to be tried in this order until it has ended.
//!
//! 1. [`debug_exit`], QEMU's device for an exit status;
//! 2. what ACPI's tables say ([`crate::acpi::power_off`]), which switches a machine off;
//! 3. [`RESET`], the end that Firecracker knows, and a reboot elsewhere.
//!
//! What is left to a machine that has none of them is a triple fault, a reboot mostly.

/// A write to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A byte to a port.
    PortByte(u16, u8),
    /// Two bytes to a port.
    PortWord(u16, u16),
    /// A byte to a place in memory.
    Memory(u64, u8),
}

/// To QEMU's isa-debug-exit, where it has been put (`iobase=0xf4`): a byte `v` ends QEMU with status `2v + 1`.
pub const fn debug_exit(success: bool) -> Write {
    Write::PortByte(0xf4, success as u8)
}

/// To the keyboard controller (8042): the command that pulses the processor's reset line.
pub const RESET: Write = Write::PortByte(0x64, 0xfe);

/// Hypervisors end a machine when they come to it: the processor's cycles that one should get for it after each write,
/// some tenth of a second.
pub const PATIENCE: u64 = 300_000_000;
