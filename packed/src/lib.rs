//! Files to ship: a payload put into one of the files that boot, and found in it again.
//!
//! Layer: host, pure: bytes in, bytes out. No compiler and no linker takes part.
//!
//! | function | the payload is | who finds it |
//! |---|---|---|
//! | [`application`] | the last segment of a Hermit application's ELF file | the application, by its [`Slot`] |
//! | [`image`] | behind the application in our loader's file, where QEMU's `-kernel` loads it | the loader, by its slot; it is the application's boot module then |
//!
//! In each it begins a page, so native code in it that is aligned is aligned in memory.
//!
//! [`Slot`]: payload_slot::Slot
#![forbid(unsafe_code)]

mod application;
mod elf;
mod error;
mod find;
mod image;

pub use application::application;
pub use error::PackError;
pub use find::{Found, HEAD, Kind, find, may_boot};
pub use image::image;

#[cfg(test)]
mod tests;

/// What a payload's beginning is aligned to, in files and in memory.
pub const PAGE: usize = 4096;
