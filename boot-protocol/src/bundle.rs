//! The boot file, when it carries more than the module: a tar archive of the module and of directories.
//!
//! Layer: names and nothing else. `kernel-app/src/boot_file.rs` reads it, `launcher/src/bundle.rs` writes it, and so can
//! `tar`:
//!
//! ```text
//! module.wasm     the module; without it the machine runs -f MODULE, or the embedded one
//! NAME.tar        a directory's content, for --copy-dir NAME.tar::GUEST
//! ```

use alloc::format;
use alloc::string::String;

/// The module's name in the boot file.
pub const MODULE: &str = "module.wasm";

/// The name that the launcher gives to the archive of the directory `index`, counted from 0.
#[must_use]
pub fn directory(index: usize) -> String {
    format!("dir-{index}.tar")
}
