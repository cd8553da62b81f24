//! The 46 functions of WASI preview1, and WasmEdge's for sockets: one file or folder a family, one function a call.
//!
//! Layer: calls. Implements wasi_snapshot_preview1.witx. A call is a free function over the context, the
//! guest's memory and typed arguments; it knows no engine. All of them keep this order, so that a call either
//! happens or leaves no trace:
//!
//! 1. arguments without meaning (INVAL; mostly done by [`Param`](crate::abi::types::Param) before the call),
//! 2. the descriptor (BADF and its relatives), its rights (NOTCAPABLE),
//! 3. every range of guest memory that will be used (trap),
//! 4. the effect, 5. the results.

pub mod args;
pub mod clock;
pub mod deterministic;
pub mod environ;
pub mod fd;
pub mod path;
pub mod poll;
pub mod proc;
pub mod random;
pub mod sched;
pub mod snapshot0;
pub mod sock;
#[cfg(test)]
mod testbed;
pub mod wasmedge;
pub mod wasmedge_first;

use wasi_core::{
    context::Strings,
    file::{SetTime, SetTimes},
};

use crate::{
    abi::{
        Errno,
        types::{Fstflags, Size, Timestamp},
    },
    error::Error,
    memory::{GuestMemory, Ptr},
};

/// `args_get` and `environ_get`: the strings to `buf`, a pointer to each to `pointers`.
fn write_strings(
    mem: &mut GuestMemory<'_>,
    strings: &Strings,
    pointers: Ptr<Ptr<u8>>,
    buf: Ptr<u8>,
) -> Result<(), Error> {
    let (count, len) = sizes(strings)?;
    mem.check_array(pointers, count)?;
    mem.bytes_mut(buf, len)?.copy_from_slice(strings.bytes());
    for (index, offset) in (0..count).zip(strings.offsets()) {
        // Within the range just written, so within 32 bits.
        let address = buf.address().saturating_add(*offset);
        mem.write(pointers.element(index)?, Ptr::new(address))?;
    }
    Ok(())
}

/// `args_sizes_get` and `environ_sizes_get`: how many strings, and how many bytes with their ends.
fn write_sizes(
    mem: &mut GuestMemory<'_>,
    strings: &Strings,
    count_ptr: Ptr<Size>,
    size_ptr: Ptr<Size>,
) -> Result<(), Error> {
    let (count, len) = sizes(strings)?;
    mem.check(count_ptr)?;
    mem.check(size_ptr)?;
    mem.write(count_ptr, count)?;
    mem.write(size_ptr, len)
}

fn sizes(strings: &Strings) -> Result<(Size, Size), Error> {
    // The builder accepts no more than fits.
    let count = Size::try_from(strings.offsets().len()).map_err(|_| Errno::OVERFLOW)?;
    let len = Size::try_from(strings.bytes().len()).map_err(|_| Errno::OVERFLOW)?;
    Ok((count, len))
}

/// `fd_filestat_set_times` and `path_filestat_set_times`: what to set the times to. INVAL if one is to be set to a
/// value and to now.
fn set_times(atim: Timestamp, mtim: Timestamp, flags: Fstflags) -> Result<SetTimes, Errno> {
    let choose =
        |value: Timestamp, to_value, to_now| match [to_value, to_now].map(|flag| flags.contains(flag)) {
            [false, false] => Ok(SetTime::Keep),
            [false, true] => Ok(SetTime::Now),
            [true, false] => Ok(SetTime::To(value)),
            [true, true] => Err(Errno::INVAL),
        };
    Ok(SetTimes {
        atim: choose(atim, Fstflags::ATIM, Fstflags::ATIM_NOW)?,
        mtim: choose(mtim, Fstflags::MTIM, Fstflags::MTIM_NOW)?,
    })
}
