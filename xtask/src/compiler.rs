//! The program that compiles modules to native code: the workspace `compiler/`, built into `target/compiler`.

use std::path::PathBuf;

use anyhow::Result;

use crate::toolchain::{cargo, root, run};

/// Where cargo builds it: Cranelift takes minutes, so everybody finds it here.
pub(crate) fn target() -> PathBuf {
    root().join("target/compiler")
}

/// Builds it, if it is not up to date; its path. `launcher/build.rs` notes the same one.
pub(crate) fn build() -> Result<PathBuf> {
    run(cargo()
        .current_dir(root().join("compiler"))
        .args(["build", "--release", "--locked"])
        .env("CARGO_TARGET_DIR", target()))?;
    Ok(target().join("release/hermit-wasm-compiler"))
}
