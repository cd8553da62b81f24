//! The payload: the tar archive that the hypervisor hands to the machine (QEMU's `-initrd`), by its members' names.
//!
//! Layer: names and nothing else. `kernel-app/src/payload.rs` reads it, the launcher writes it, and so can `tar`:
//!
//! ```text
//! run.spec        what to run and with what: see [`crate::run_spec`]
//! module.wasm     the module, for the interpreter
//! padding         zeros, so that what follows is aligned
//! module.cwasm    instead of the module: its native code, aligned to [`ALIGNMENT`]
//! dir-N.tar       the content of the directory N, for a mount that copies it
//! preload-N.wasm  the module N that others import from; its native code: preload-N.cwasm
//! recording       what the calls of an earlier run answered
//! ```
//!
//! The machine finds the payload at the start of a page, so that native code which is aligned in the payload is made
//! executable where it lies. Code that is not is copied.

use alloc::format;
use alloc::string::String;

/// The member that describes the run.
pub const RUN_SPEC: &str = "run.spec";

/// The member that is the module.
pub const MODULE: &str = "module.wasm";

/// The member that is native code.
pub const CODE: &str = "module.cwasm";

/// What the data of [`CODE`] is aligned to, from the start of the payload, by a member called [`PADDING`].
pub const ALIGNMENT: u64 = 4096;

/// The member that aligns the next one's data: zeros, for nobody to read.
pub const PADDING: &str = "padding";

/// The member that holds the content of the directory `index`, counted from 0.
#[must_use]
pub fn directory(index: usize) -> String {
    format!("dir-{index}.tar")
}

/// The member that holds what the calls of an earlier run answered.
pub const RECORDING: &str = "recording";

/// The member that is the module `index` of those that others import from, counted from 0.
#[must_use]
pub fn preload(index: usize, is_native: bool) -> String {
    format!("preload-{index}.{}", if is_native { "cwasm" } else { "wasm" })
}
