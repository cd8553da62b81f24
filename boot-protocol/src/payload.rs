//! The payload: the tar archive that the hypervisor hands to the machine (QEMU's `-initrd`), by its members' names.
//!
//! Layer: names and nothing else. `kernel-app/src/payload.rs` reads it, the launcher writes it, and so can `tar`:
//!
//! ```text
//! run.spec        what to run and with what: see [`crate::run_spec`]
//! module.wasm     the module
//! dir-N.tar       the content of the directory N, for a mount that copies it
//! ```

use alloc::format;
use alloc::string::String;

/// The member that describes the run.
pub const RUN_SPEC: &str = "run.spec";

/// The member that is the module.
pub const MODULE: &str = "module.wasm";

/// The member that holds the content of the directory `index`, counted from 0.
#[must_use]
pub fn directory(index: usize) -> String {
    format!("dir-{index}.tar")
}
