//! Reads what the firmware hands over: a device tree.
//!
//! Layer: pure; memory is read through a function.

use super::paging::Entries;
use crate::device_tree;
use crate::failure::Failure;
use crate::firmware::Firmware;
use crate::paging::Format as _;
use hermit_loader_core::ranges::Span;

/// `compatible` of the serial port that the kernel drives.
pub const UART: &str = "ns16550a";

/// That of the device which ends QEMU with a status.
pub const TEST_DEVICE: &str = "sifive,test0";

/// Reads the tree at `address`. `read` gives the bytes of a range of physical memory, if there is any.
pub fn read<'a>(address: u64, read: impl Fn(Span) -> Option<&'a [u8]> + Copy) -> Result<Firmware, Failure> {
    device_tree::read(address, UART, Entries::MAX_ADDRESS, read)
}
