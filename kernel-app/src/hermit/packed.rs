//! The payload that has been put into the application's own file, as a segment (`packed` in the source tree).
//!
//! Layer: bottom.

use core::{ptr, slice};

use payload_slot::Slot;

/// Where the payload lies, if there is one.
#[used]
static PAYLOAD: Slot = Slot::empty(Slot::APPLICATION);

/// The payload.
pub(super) fn payload() -> Option<&'static [u8]> {
    let slot = &raw const PAYLOAD;
    // SAFETY: a static of this type. Packing has changed its bytes, of which all are valid; the compiler does not know.
    let (distance, len) = unsafe { ptr::read_volatile(slot) }.payload()?;
    let start = slot
        .expose_provenance()
        .checked_add(usize::try_from(distance).ok()?)?;
    // No object is larger than `isize::MAX` bytes.
    let len = usize::try_from(isize::try_from(len).ok()?).ok()?;
    start.checked_add(len)?;
    // SAFETY: who has filled the slot in has added a read-only segment to this program in that place, and loaders refuse
    // a program whose segments are not all in memory. It is no object of the compiler's, and nobody writes to it.
    Some(unsafe { slice::from_raw_parts(ptr::with_exposed_provenance(start), len) })
}
