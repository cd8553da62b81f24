//! Passes the linker script to the bare-metal build, and prelinks the application to embed, if one is named.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use hermit_loader_core::elf;

/// Path of the application that goes into the image; without it the plain loader is built.
const APPLICATION: &str = "HERMIT_WASM_APP";

/// Where the embedded application lies: behind the loader, at a multiple of 2 MiB.
const fn application_base(target: &elf::Target) -> u64 {
    match target.machine {
        machine if machine == elf::Target::AARCH64.machine => 0x4020_0000,
        machine if machine == elf::Target::RISCV64.machine => 0x8040_0000,
        _ => 0x20_0000,
    }
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={APPLICATION}");
    println!("cargo:rustc-check-cfg=cfg(embedded_application)");

    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo names the target's architecture");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder"));
    let target = match arch.as_str() {
        "x86_64" => elf::Target::X86_64,
        "aarch64" => elf::Target::AARCH64,
        "riscv64" => elf::Target::RISCV64,
        other => panic!("there is no loader for {other}"),
    };
    let folder = root.join("src/arch");
    let script = folder.join(&arch).join("linker.ld");
    println!("cargo:rerun-if-changed={}", script.display());
    println!("cargo:rerun-if-changed={}", folder.join("common.ld").display());
    // Where the script finds the part that all share.
    println!("cargo:rustc-link-arg-bins=-L{}", folder.display());
    println!("cargo:rustc-link-arg-bins=--script={}", script.display());
    println!(
        "cargo:rustc-link-arg-bins=--defsym=APPLICATION_BASE={:#x}",
        application_base(&target)
    );
    for argument in [
        // The target's default is a position-independent executable: nobody would relocate it.
        "--no-pie",
        // No segments and headers that nobody reads.
        "--build-id=none",
        "-znorelro",
        "-znognustack",
        "--no-eh-frame-hdr",
        // Pages in the file need not be larger than those in memory.
        "-zmax-page-size=4096",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }

    if let Some(path) = env::var_os(APPLICATION).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        println!("cargo:rerun-if-changed={}", path.display());
        let prelinked = prelink(&path, target)
            .unwrap_or_else(|error| panic!("cannot embed {APPLICATION}={}: {error}", path.display()));
        println!("cargo:rustc-cfg=embedded_application");
        println!("cargo:rustc-env=PRELINKED_APPLICATION={}", prelinked.display());
    }
}

/// Prelinks the application and returns where the result is.
fn prelink(path: &Path, target: elf::Target) -> Result<PathBuf, String> {
    let file = fs::read(path).map_err(|error| error.to_string())?;
    let size = elf::memory_size(&file, target).map_err(|error| error.to_string())?;
    let mut memory = vec![0; size];
    // What relocating uses up need not travel along: the rest lies where the image has it.
    let dispensable = elf::dispensable(&file, target).map_err(|error| error.to_string())?;
    let base = application_base(&target) - dispensable as u64;
    let len = elf::prelink(&file, &mut memory, target, base).map_err(|error| error.to_string())?;
    memory.truncate(len);
    elf::cut(&mut memory, dispensable).map_err(|error| error.to_string())?;
    memory.drain(..dispensable);
    let out =
        PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo names no output folder")?).join("application");
    fs::write(&out, memory).map_err(|error| error.to_string())?;
    Ok(out)
}
