//! What must hold for any input: one module a fuzz target, each with a `run` that panics if it does not hold.
//!
//! Layer: tests. The targets in `fuzz_targets/` hand libFuzzer's bytes to `run`; `tests/seeds.rs` hands it the seeds,
//! so that ordinary `cargo test` replays every input that once found something.

pub mod application;
pub mod archive;
pub mod calls;
pub mod console;
mod declared;
pub mod device_tree;
mod file;
pub mod frames;
mod heap;
pub mod hermitfile;
pub mod machine;
pub mod mem_fs;
pub mod modules;
pub mod oci;
pub mod packed;
pub mod paths;
pub mod recording;
pub mod relay;
pub mod run_spec;
pub mod virtio_device;
mod watched;
