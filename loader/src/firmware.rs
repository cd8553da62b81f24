//! What the hypervisor says about machine and boot, however it says it.
//!
//! Layer: pure. Each architecture's `firmware` module fills it in.

use hermit_loader_core::ranges::{Memory, Span};

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
    /// The hypervisor's own device tree, where it has one: the kernel is handed that.
    pub device_tree: Option<DeviceTree>,
}

/// The hypervisor's device tree.
#[derive(Clone, Debug)]
pub struct DeviceTree {
    /// Where it lies.
    pub place: Span,
    /// Where in memory it says where the boot module begins and ends, if it does.
    pub module: Option<[Span; 2]>,
    /// Memory as the kernel is told of it, which takes out of it where this tree and the boot module lie.
    pub memory: Memory,
}

/// Longest command line: what Linux passes to a program in one argument, so no `-append` is longer.
pub const MAX_COMMAND_LINE: u64 = 128 << 10;
