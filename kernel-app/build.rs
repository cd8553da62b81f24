//! Hands the kernel object to the linker and the embedded module to the compiler (both built by xtask).

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-env-changed=HERMIT_WASM_KERNEL");
    println!("cargo::rerun-if-env-changed=HERMIT_WASM_EMBEDDED");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("hermit") {
        return;
    }
    let path = |variable: &str| -> PathBuf {
        let Some(path) = env::var_os(variable) else {
            panic!("{variable} is not set: build the application with `cargo xtask image`");
        };
        println!("cargo::rerun-if-changed={}", path.display());
        path.into()
    };
    let kernel = path("HERMIT_WASM_KERNEL");
    println!("cargo::rustc-link-arg-bins={}", kernel.display());

    let embedded = path("HERMIT_WASM_EMBEDDED");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("embedded.wasm");
    if let Err(error) = fs::copy(&embedded, &out) {
        panic!("cannot copy {} to {}: {error}", embedded.display(), out.display());
    }
}
