//! Frames that a hostile machine says on the wire of its network: what it may try to reach more of the host than it was
//! granted. Those who have a wire say them, and look whether anybody heard.
//!
//! - [`raw`]: frames by their bytes, right or wrong.
//! - [`attempts`]: all ways to a port of the host's; [`scan`]: each port of an address; [`names`]: questions for names.
//!
//! Layer: pure.

#![forbid(unsafe_code)]

mod attempts;
pub mod raw;

pub use attempts::{attempts, connection, names, scan};
