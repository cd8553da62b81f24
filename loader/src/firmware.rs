//! What the hypervisor says about machine and boot, however it says it.
//!
//! Layer: pure. Each architecture's `firmware` module fills it in.

use firmware_tables::Span;
use hermit_loader_core::ranges::Memory;

/// What the hypervisor says about machine and boot.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// Memory that is free for use.
    pub ram: Memory,
    /// Where the command line lies, without its terminator, if there is one.
    pub command_line: Option<Span>,
    /// Where the boot module lies, if there is one.
    pub module: Option<Span>,
    /// ACPI's root pointer, if it is named.
    pub rsdp: Option<u64>,
    /// Address of the serial port that the kernel is to use.
    pub serial_port: Option<u64>,
    /// The hypervisor's own device tree, where it has one: the kernel is handed what it wants to know of it.
    pub device_tree: Option<DeviceTree>,
}

/// The hypervisor's device tree.
#[derive(Clone, Debug)]
pub struct DeviceTree {
    /// Where it lies.
    pub place: Span,
    /// Memory as the kernel is told of it. It takes out of it what its own tree reserves: the boot module.
    pub memory: Memory,
}

/// Longest command line: what Linux passes to a program in one argument, so no `-append` is longer.
pub const MAX_COMMAND_LINE: u64 = 128 << 10;
