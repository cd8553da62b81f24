//! Hands the kernel object to the linker.

fn main() {
    println!("cargo::rerun-if-env-changed=HERMIT_WASM_KERNEL");
    if let Ok(kernel) = std::env::var("HERMIT_WASM_KERNEL") {
        println!("cargo::rerun-if-changed={kernel}");
        println!("cargo::rustc-link-arg-bins={kernel}");
    }
}
