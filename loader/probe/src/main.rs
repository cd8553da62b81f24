//! A Hermit application that stands in for a kernel: it checks what the loader hands over and says what it was given.

#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod checks;
#[cfg(target_os = "none")]
mod machine;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the probe runs in a VM: see loader/tests/boot.rs");
    std::process::exit(2);
}
