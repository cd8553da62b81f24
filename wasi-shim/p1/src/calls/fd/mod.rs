//! The `fd_*` calls: what works on an open descriptor.
//!
//! Layer: calls. Split by what they touch: [`mod@read`] and [`mod@write`] move bytes, [`seek`] positions, [`stat`]
//! reads and sets attributes, [`sync`] concerns a file's storage, [`dir`] directories and preopens, [`table`]
//! the numbers.

pub mod dir;
pub(in crate::calls) mod iovec;
pub mod read;
pub mod seek;
pub mod stat;
pub mod sync;
pub mod table;
pub mod write;

pub use self::{dir::*, read::*, seek::*, stat::*, sync::*, table::*, write::*};

#[cfg(test)]
mod tests;
