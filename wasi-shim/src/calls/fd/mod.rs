//! The `fd_*` calls: what works on an open descriptor.
//!
//! Layer: calls. Split by what they touch: [`io`] moves bytes, [`stat`] reads and sets attributes, [`sync`]
//! concerns a file's storage, [`dir`] directories and preopens, [`table`] the numbers themselves.

pub mod dir;
pub mod io;
mod iovec;
pub mod stat;
pub mod sync;
pub mod table;

use core::convert::Infallible;

pub use self::{dir::*, io::*, stat::*, sync::*, table::*};
use crate::{
    abi::{Errno, types::Fd},
    fd_table::{Descriptor, FdTable},
};

/// The regular file that `fd` names; no kind of descriptor is one. BADF on a stream is wasmtime's choice, where
/// POSIX has several.
fn file(fds: &FdTable, fd: Fd) -> Result<Infallible, Errno> {
    match fds.get(fd)?.descriptor {
        Descriptor::Stdin | Descriptor::Output(_) => Err(Errno::BADF),
    }
}

#[cfg(test)]
mod tests;
