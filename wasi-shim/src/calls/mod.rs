//! The 46 functions of WASI preview1: one file or folder a family, one function a call.
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

use crate::{
    abi::{
        Errno,
        layout::Filestat,
        types::{Fstflags, Size, Timestamp},
    },
    context::Strings,
    error::Error,
    fs::{Node, Now, Stat},
    memory::{GuestMemory, Ptr},
    mounts::{MountId, Mounts},
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

/// `fd_filestat_set_times` and `path_filestat_set_times`: a time is set to a value or to now, not to both.
fn check_times(flags: Fstflags) -> Result<(), Errno> {
    let contradicts = |value, now| flags.contains(Fstflags::union(value, now));
    if contradicts(Fstflags::ATIM, Fstflags::ATIM_NOW) || contradicts(Fstflags::MTIM, Fstflags::MTIM_NOW) {
        return Err(Errno::INVAL);
    }
    Ok(())
}

/// The times to set, after [`check_times`]: both to the same now if both are to be now.
fn new_times(
    atim: Timestamp,
    mtim: Timestamp,
    flags: Fstflags,
    now: Now<'_>,
) -> (Option<Timestamp>, Option<Timestamp>) {
    let [atim_now, mtim_now] = [Fstflags::ATIM_NOW, Fstflags::MTIM_NOW].map(|flag| flags.contains(flag));
    let time = if atim_now || mtim_now { now() } else { 0 };
    let choose = |is_now: bool, value, flag| {
        if is_now {
            Some(time)
        } else {
            flags.contains(flag).then_some(value)
        }
    };
    (
        choose(atim_now, atim, Fstflags::ATIM),
        choose(mtim_now, mtim, Fstflags::MTIM),
    )
}

/// `fd_filestat_get` and `path_filestat_get`: the attributes of a node, if they are not known yet.
fn filestat(mounts: &mut Mounts, mount: MountId, node: Node, known: Option<Stat>) -> Result<Filestat, Errno> {
    let stat = match known {
        Some(stat) => stat,
        None => mounts.get(mount)?.stat(node)?,
    };
    Ok(Filestat {
        dev: mount.dev(),
        ino: stat.ino,
        filetype: stat.filetype,
        nlink: stat.nlink,
        size: stat.size,
        atim: stat.atim,
        mtim: stat.mtim,
        ctim: stat.ctim,
    })
}
