//! Provides the bootable images that the launcher carries, as OUT_DIR/hermit-wasm-<arch>.img, and the application alone,
//! which uhyve loads itself, as OUT_DIR/hermit-wasm-x86_64.elf.
//!
//! Taken from the directory that the variable HERMIT_WASM_IMAGES names (`<dir>/<arch>/hermit-wasm.img`, as
//! `cargo xtask image` lays it out), or else built here by that same command, so that `cargo install --path launcher`
//! alone gives a working program.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const IMAGES: &str = "HERMIT_WASM_IMAGES";

/// The architectures; `src/arch.rs` describes them.
const ARCHES: [&str; 3] = ["x86_64", "aarch64", "riscv64"];

/// What the images are made of: a change there makes a new image.
const SOURCES: [&str; 8] = [
    "kernel-app",
    "wasi-shim",
    "boot-protocol",
    "loader",
    "hermit-kernel",
    "guests",
    "xtask",
    "Cargo.lock",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={IMAGES}");
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo has not set OUT_DIR")?);
    let images = match env::var_os(IMAGES).filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory),
        None => build(&out)?,
    };
    let images_of = |arch: &str| {
        (
            images.join(arch).join("hermit-wasm.img"),
            format!("hermit-wasm-{arch}.img"),
        )
    };
    let application = (
        images.join("x86_64").join("hermit-wasm"),
        "hermit-wasm-x86_64.elf".to_string(),
    );
    for (image, kept) in ARCHES.into_iter().map(images_of).chain([application]) {
        println!("cargo::rerun-if-changed={}", image.display());
        fs::copy(&image, out.join(kept)).map_err(|error| {
            format!(
                "cannot copy the image {}: {error}; `cargo xtask image` makes it",
                image.display()
            )
        })?;
    }
    Ok(())
}

/// Builds the images and returns the directory with the images.
fn build(out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let manifest =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo has not set CARGO_MANIFEST_DIR")?);
    let root = manifest.parent().ok_or("the launcher lies in no workspace")?;
    for source in SOURCES {
        watch(&root.join(source))?;
    }
    let images = out.join("images");
    let mut command = Command::new(env::var_os("CARGO").ok_or("cargo has not set CARGO")?);
    command
        .current_dir(root)
        .args(["run", "--locked", "--package", "xtask", "--", "image", "--out"])
        .arg(&images)
        // The cargo that runs this script holds the lock of its own target directory until the script ends.
        .env("CARGO_TARGET_DIR", root.join("target").join("xtask"));
    // Settings for the crate that is being built here, which are wrong for the ones built there.
    for variable in [
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_RUSTFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
        "RUSTC",
        "RUSTDOC",
    ] {
        command.env_remove(variable);
    }
    let status = command
        .status()
        .map_err(|error| format!("cannot start {command:?}: {error}"))?;
    if !status.success() {
        return Err(format!(
            "building the image failed ({status}): {command:?}\n\
             What went wrong is written above. `scripts/setup` installs what the build needs; \
             with {IMAGES}=DIR an image that is already built is used."
        )
        .into());
    }
    Ok(images)
}

/// Runs this script again when something in `source` changes: all of it, but not what is built there.
fn watch(source: &Path) -> Result<(), Box<dyn Error>> {
    if !source.join("target").exists() {
        println!("cargo::rerun-if-changed={}", source.display());
        return Ok(());
    }
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        if entry.file_name() != "target" {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    Ok(())
}
