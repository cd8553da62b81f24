//! What compiler, launcher and machine agree on about native code.
//!
//! Layer: pure; the lowest of all that knows of native code. [`cpu`]: which instructions code may use. [`trailer`]:
//! what stands behind wasmtime's ELF file in a `.cwasm` file of ours. `settings` (feature `wasmtime`): what the
//! compiler and the runtime must set alike, or the runtime refuses the code. [`compatibility`]: one number for all that
//! decides about code. [`protocol`]: what the compiler tells the launcher.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod compatibility;
pub mod cpu;
pub mod protocol;
#[cfg(feature = "wasmtime")]
pub mod settings;
pub mod trailer;

pub use cpu::{Arch, CpuLevel};
pub use trailer::{Options, Trailer};

/// The version of wasmtime that compiles and runs the code. Code of another version is refused.
pub const WASMTIME_VERSION: &str = "48.0.8";

#[cfg(test)]
mod tests {
    #[test]
    fn wasmtime_is_of_the_version_that_trailers_name() {
        let version = super::WASMTIME_VERSION;
        let locked = include_str!("../../Cargo.lock")
            .contains(&std::format!("name = \"wasmtime\"\nversion = \"{version}\"\n"));
        assert!(
            locked,
            "WASMTIME_VERSION is {version}, and Cargo.lock has another"
        );
    }
}
