//! Code that is brought along: pages that are executed and not written to, under no address.
//!
//! Layer: device. The kernel takes what lies in a backed part of a `Range`, or in the boot module, in place.

use super::ranges::Refused;
use super::syscalls::{sys_code_publish, sys_code_unpublish};

/// Lets `len` bytes from `start` on, where a page begins, be executed, and the rest of the last page with them. Whoever
/// writes to them from now on faults, which ends the machine.
pub(crate) fn publish(start: *const u8, len: usize) -> Result<(), Refused> {
    // SAFETY: the kernel does it only to memory that is the application's to lay out. A write is no longer possible,
    // and is found out.
    Refused::check(unsafe { sys_code_publish(start, len) })
}

/// Makes data again of what was published with this beginning and length.
pub(crate) fn unpublish(start: *const u8, len: usize) -> Result<(), Refused> {
    // SAFETY: as above. Code that is executed nevertheless faults.
    Refused::check(unsafe { sys_code_unpublish(start, len) })
}
