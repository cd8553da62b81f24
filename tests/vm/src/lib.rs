//! The boot tests: every run that `guests/tests/*.toml` describes, made with `hermit-wasm run` and compared byte by
//! byte. The test program itself is `tests/boot.rs`; how to write a row is said in `guests/README.md`.
//!
//! Layer: host tests, above the launcher. `xtask` uses [`manifest`] to see that every guest it built is run.

pub mod bytes;
pub mod compare;
pub mod download;
pub mod environment;
pub mod fixture;
pub mod gdb;
pub mod machine;
pub mod manifest;
pub mod memory;
pub mod namespace;
pub mod pages;
mod process;
pub mod program;
pub mod run;
pub mod server;
pub mod virtiofsd;
pub mod wire;

/// The root of the checkout, two directories above this crate.
#[must_use]
pub fn root() -> &'static std::path::Path {
    let crate_ = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_.ancestors().nth(2).unwrap_or(crate_)
}
