//! The machine: Hermit's system calls and processor instructions behind safe functions.
//!
//! Layer: bottom. All unsafe code of the application is in this folder.

#![allow(
    unsafe_code,
    reason = "this is where the machine is touched; each block argues for itself"
)]

mod allocator;
mod buses;
#[cfg(feature = "native")]
mod code;
mod console;
mod counter;
mod deadline;
mod device_tree;
mod devices;
mod end;
mod entropy;
mod entry;
#[cfg(feature = "native")]
mod faults;
mod fuse;
mod log;
mod machine;
#[cfg(feature = "native")]
mod native;
mod network;
mod packed;
mod panic;
mod platform;
#[cfg(feature = "native")]
#[allow(dead_code, reason = "`tests/system-calls` uses the rest of it")]
mod ranges;
mod raw;
mod recording;
mod shared_buffer;
#[cfg(feature = "native")]
mod stack;
mod syscalls;
mod uhyve;

use boot_protocol::file_kind::FileKind;

/// What there is to run: what has been packed into the application, or else the memory image that the loader handed over
/// besides it.
fn payload() -> Option<&'static [u8]> {
    packed::payload().or_else(boot_module)
}

/// The memory image that the loader handed over.
fn boot_module() -> Option<&'static [u8]> {
    // Other loaders take the application as boot module and leave it in the device tree: it is not for itself.
    device_tree::boot_module().filter(|module| FileKind::of(module) != FileKind::Elf)
}

/// Ends the machine. How much of the code the host learns depends on the machine: see `end`.
fn exit(code: u8) -> ! {
    // SAFETY: takes no pointers; never returns.
    unsafe { syscalls::sys_exit(i32::from(code)) }
}
