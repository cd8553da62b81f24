//! Builds what a virtual machine boots: the application (kernel and interpreter linked), the loader, the image.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::arch::Arch;
use crate::toolchain::{BUILD_STD, cargo, compile, root, run, tool};
use crate::{guests, kernel};

/// Builds everything for `arch` into `out`/<arch>/: `hermit-wasm` (the application), `hermit-loader`, and
/// `hermit-wasm.img` (both in one file).
pub(crate) fn build(arch: Arch, out: &Path) -> Result<()> {
    let directory = out.join(arch.name());
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;

    let embedded = guests::build_embedded(&root())?;
    let object = kernel::build(arch)?;
    let app = strip(&build_app(arch, &object, &embedded)?)?;
    let app_copy = directory.join("hermit-wasm");
    copy_if_changed(&app, &app_copy)?;

    copy_if_changed(&build_loader(arch, None)?, &directory.join("hermit-loader"))?;
    copy_if_changed(
        &build_loader(arch, Some(&app_copy))?,
        &directory.join("hermit-wasm.img"),
    )
}

/// Builds the launcher with an image of each architecture inside; returns its path.
pub(crate) fn build_launcher() -> Result<PathBuf> {
    let out = default_out();
    for arch in Arch::ALL {
        build(arch, &out)?;
    }
    compile(
        cargo()
            .args(["build", "--locked", "--release", "--package", "hermit-wasm"])
            .env("CARGO_TARGET_DIR", root().join("target"))
            .env("HERMIT_WASM_IMAGES", &out),
    )?;
    Ok(root().join("target/release/hermit-wasm"))
}

/// The directory in which images lie unless another is named.
pub(crate) fn default_out() -> PathBuf {
    root().join("target/images")
}

/// The application of `arch` with the names of its functions, as it was built last.
pub(crate) fn app_with_symbols(arch: Arch) -> PathBuf {
    root()
        .join("target/app")
        .join(arch.app_target())
        .join("release/kernel-app")
}

/// Makes a copy of the application without symbols.
fn strip(app: &Path) -> Result<PathBuf> {
    let stripped = app.with_extension("stripped");
    if !kernel::is_newer(&stripped, app) {
        run(tool("rust-objcopy")?.arg("--strip-all").arg(app).arg(&stripped))?;
    }
    Ok(stripped)
}

/// Builds the application with the kernel `object` and the module `embedded` inside.
fn build_app(arch: Arch, object: &Path, embedded: &Path) -> Result<PathBuf> {
    let target_dir = root().join("target/app");
    compile(
        cargo()
            .args([
                "build",
                "--locked",
                "--release",
                "--package",
                "kernel-app",
                "--bin",
                "kernel-app",
            ])
            .args(["--target", arch.app_target()])
            .args(BUILD_STD)
            .env("CARGO_TARGET_DIR", &target_dir)
            .env("RUSTFLAGS", arch.app_flags())
            // For `tail_calls`; the image gets a copy without.
            .env("CARGO_PROFILE_RELEASE_STRIP", "none")
            .env("HERMIT_WASM_KERNEL", object)
            .env("HERMIT_WASM_EMBEDDED", embedded),
    )?;
    Ok(app_with_symbols(arch))
}

/// Builds the loader; with `app`, one that carries the application.
fn build_loader(arch: Arch, app: Option<&Path>) -> Result<PathBuf> {
    let target_dir = root().join(if app.is_some() {
        "target/loader-with-app"
    } else {
        "target/loader"
    });
    let mut loader = cargo();
    loader
        .current_dir(root().join("loader"))
        .args(["build", "--locked", "--release", "--bin", "hermit-loader"])
        .args(["--target", arch.kernel_target()])
        .args(BUILD_STD)
        .env("CARGO_TARGET_DIR", &target_dir)
        .env_remove("HERMIT_WASM_APP");
    if let Some(app) = app {
        loader.env("HERMIT_WASM_APP", app);
    }
    compile(&mut loader)?;
    let elf = target_dir
        .join(arch.kernel_target())
        .join("release/hermit-loader");
    if !arch.boots_flat_image() {
        return Ok(elf);
    }
    let flat = elf.with_extension("flat");
    if !kernel::is_newer(&flat, &elf) {
        run(tool("rust-objcopy")?.args(["-O", "binary"]).arg(&elf).arg(&flat))?;
    }
    Ok(flat)
}

/// Copies `from` to `to` unless that would change nothing, so that what depends on `to` stays up to date.
fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("cannot write {}", to.display()))
}
