//! Flattened device trees: writing one where the hypervisor has none, reading the one it hands over.
//!
//! Layer: pure. Spec: Devicetree Specification 0.4, chapter 5 (flattened format, version 17), and the `/chosen`
//! properties that Linux defined.

mod read;
mod write;

pub use read::{Blob, Property};
pub use write::{Tree, size_bound, write};

const MAGIC: u32 = 0xd00d_feed;
const HEADER: usize = 40;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
