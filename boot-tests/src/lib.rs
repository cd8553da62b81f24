//! The boot tests: every run that `guests/tests/*.toml` describes, made with `hermit-wasm run` and compared byte by
//! byte. The test program itself is `tests/boot.rs`; how to write a row is said in `guests/README.md`.
//!
//! Layer: host tests, above the launcher. `xtask` uses [`manifest`] to see that every guest it built is run.

pub mod bytes;
pub mod compare;
pub mod download;
pub mod fixture;
pub mod manifest;
mod process;
pub mod run;
pub mod virtiofsd;
