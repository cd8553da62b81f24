//! Entry of the unikernel application: raw `argc`, `argv`, `envp` become strings, then safe code takes over.
//!
//! Built for `*-unknown-hermit` by `cargo xtask image`. On any other system this is a program that says so.

#![cfg_attr(
    target_os = "hermit",
    no_std,
    no_main,
    feature(alloc_error_handler, optimize_attribute)
)]
#![deny(unsafe_code)]

#[cfg(target_os = "hermit")]
extern crate alloc;

#[cfg(target_os = "hermit")]
mod hermit;

#[cfg(not(target_os = "hermit"))]
fn main() -> std::process::ExitCode {
    eprintln!("kernel-app is the program inside the virtual machine: build it with `cargo xtask image`");
    std::process::ExitCode::FAILURE
}
