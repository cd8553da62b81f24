//! Flattened device trees: reading one, writing one where the hypervisor has none, and taking out of the
//! hypervisor's what is needed.
//!
//! Layer: pure. Spec: Devicetree Specification 0.4, chapter 5 (flattened format, version 17), and the `/chosen`
//! properties that Linux defined.

mod extract;
mod read;
mod write;

pub use extract::{BootModule, extract, extract_bound};
pub use read::{Blob, Node, Property};
pub use write::{Tree, size_bound, write};

const MAGIC: u32 = 0xd00d_feed;
const VERSION: u32 = 17;
const LAST_COMPATIBLE_VERSION: u32 = 16;
const HEADER: usize = 40;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
