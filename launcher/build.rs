//! Provides the bootable images that the launcher carries, and the applications alone, which uhyve loads itself and
//! 'hermit-wasm pack --format app' puts payloads into: copies in OUT_DIR, and `images.rs` there, which has a constant for each ([`CARRIED`]), with its fingerprint.
//!
//! It builds none: checking or linting the workspace must not compile kernels. It takes those that are there, in the
//! directory that the variable HERMIT_WASM_IMAGES names, or else in the checkout's `target/images`, where `scripts/run`
//! and `cargo xtask image` leave them. An image that is missing is an empty file: the launcher says so when it needs
//! it. In release builds so is an image that other sources made; debug builds, which are for work on the launcher, take
//! it.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

// Shared with what makes the images.
#[path = "../xtask/src/inputs.rs"]
mod inputs;
// Read here once, so that no run of the launcher must: it takes milliseconds.
#[path = "../boot-protocol/src/fingerprint.rs"]
#[allow(unreachable_pub, reason = "the file is a module of the crate boot-protocol")]
mod fingerprint;

const IMAGES: &str = "HERMIT_WASM_IMAGES";

/// The architectures.
const ARCHES: [&str; 3] = ["x86_64", "aarch64", "riscv64"];

/// What is taken of an architecture's directory, and the constant that it becomes.
const CARRIED: [(&str, &str); 4] = [
    ("hermit-wasm.img", "INTERP"),
    ("hermit-wasm-native.img", "NATIVE"),
    ("hermit-wasm", "INTERP_APPLICATION"),
    ("hermit-wasm-native", "NATIVE_APPLICATION"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={IMAGES}");
    println!("cargo::rerun-if-env-changed={}", inputs::LOG_LEVEL);
    println!("cargo::rerun-if-changed=build.rs");
    let out = path("OUT_DIR")?;
    let manifest = path("CARGO_MANIFEST_DIR")?;
    let root = manifest.parent().ok_or("the launcher lies in no workspace")?;
    let named = env::var_os(IMAGES).filter(|value| !value.is_empty());
    let images = named
        .clone()
        .map_or_else(|| root.join("target/images"), PathBuf::from);
    if named.is_some() && !images.is_dir() {
        return Err(format!("{IMAGES} names {}, which is no directory", images.display()).into());
    }
    // Made here, if it can be, so that it can be watched: what does not exist counts as changed in every build.
    if fs::create_dir_all(&images).is_ok() {
        println!("cargo::rerun-if-changed={}", images.display());
    }
    // Images in a directory that was named are meant, whatever they were made of.
    let wanted = if named.is_none() && env::var("PROFILE").as_deref() == Ok("release") {
        for source in inputs::SOURCES {
            watch(&root.join(source));
        }
        Some(inputs::fingerprint(root).map_err(|error| format!("cannot read the images' sources: {error}"))?)
    } else {
        None
    };
    // Where `cargo xtask compiler` leaves the program that compiles to native code, for launchers that run where they
    // were built. It need not be there yet.
    println!(
        "cargo::rustc-env=HERMIT_WASM_COMPILER_BUILT={}",
        root.join("target/compiler/release/hermit-wasm-compiler")
            .display()
    );
    let mut taken = 0;
    let mut constants = String::new();
    for arch in ARCHES {
        taken += usize::from(take(
            arch,
            &images.join(arch),
            wanted.as_deref(),
            &out,
            &mut constants,
        )?);
    }
    fs::write(out.join("images.rs"), constants)?;
    if taken == 0 {
        println!(
            "cargo::warning=hermit-wasm is built WITHOUT an image and will run nothing: none lies in {}. \
             Run `cargo xtask image --arch {}` (or `scripts/run`) first, then build or install again.",
            images.display(),
            env::var("CARGO_CFG_TARGET_ARCH")?
        );
    }
    Ok(())
}

/// Takes the images of an architecture, and what else is of use, from the directory `from`, and appends the constants
/// for them; whether it could. A native image may be missing where an interpreter's is there.
fn take(
    arch: &str,
    from: &Path,
    wanted: Option<&str>,
    out: &Path,
    constants: &mut String,
) -> Result<bool, Box<dyn Error>> {
    let there = from.join("hermit-wasm.img").is_file();
    let made_from = fs::read_to_string(from.join(inputs::MADE_FROM)).unwrap_or_default();
    let fresh = wanted.is_none_or(|wanted| wanted == made_from);
    if there && !fresh {
        println!(
            "cargo::warning=hermit-wasm is built WITHOUT an image for {arch}: the one in {} was made of other sources. \
             Run `cargo xtask image --arch {arch}` first, then build or install again.",
            from.display()
        );
    }
    for (file, name) in CARRIED {
        let path = from.join(file);
        let bytes = match there && fresh && path.is_file() {
            true => fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?,
            false => Vec::new(),
        };
        let kept = format!("{arch}-{file}");
        fs::write(out.join(&kept), &bytes)?;
        writeln!(
            constants,
            "const {}_{name}: Image = Image {{\n    bytes: include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{kept}\")),\n    \
             fingerprint: {:#x},\n}};",
            arch.to_uppercase(),
            fingerprint::fingerprint(&bytes)
        )?;
    }
    Ok(there && fresh)
}

/// A path that cargo hands over.
fn path(variable: &str) -> Result<PathBuf, Box<dyn Error>> {
    Ok(env::var_os(variable)
        .ok_or_else(|| format!("cargo has not set {variable}"))?
        .into())
}

/// Runs this script again when something in `source` changes: all of it, but not what is built there.
fn watch(source: &Path) {
    if !source.join("target").exists() {
        if source.exists() {
            println!("cargo::rerun-if-changed={}", source.display());
        }
        return;
    }
    for entry in fs::read_dir(source).into_iter().flatten().flatten() {
        if entry.file_name() != "target" {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
}
