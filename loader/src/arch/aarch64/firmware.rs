//! Reads what the hypervisor hands over: a device tree.
//!
//! Layer: pure; memory is read through a function.

use super::paging::Entries;
use crate::device_tree;
use crate::failure::Failure;
use crate::firmware::Firmware;
use crate::paging::Format as _;
use hermit_loader_core::ranges::Span;

/// `compatible` of the serial port that the kernel drives.
pub const UART: &str = "arm,pl011";

/// That of the only interrupt controller that it does.
pub const GIC: &str = "arm,gic-v3";

/// Reads the tree at `address`. `read` gives the bytes of a range of physical memory, if there is any.
pub fn read<'a>(address: u64, read: impl Fn(Span) -> Option<&'a [u8]> + Copy) -> Result<Firmware, Failure> {
    let firmware = device_tree::read(address, UART, Entries::MAX_ADDRESS, read)?;
    let (_, blob) = device_tree::find(address, read).ok_or(Failure::NoDeviceTree)?;
    if blob.compatible(GIC).is_none() {
        return Err(Failure::OldInterruptController);
    }
    Ok(firmware)
}
