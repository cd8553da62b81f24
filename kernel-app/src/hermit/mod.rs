//! The machine: Hermit's system calls and processor instructions behind safe functions.
//!
//! Layer: bottom. All unsafe code of the application is in this folder.

#![allow(
    unsafe_code,
    reason = "this is where the machine is touched; each block argues for itself"
)]

mod allocator;
mod console;
mod entropy;
mod entry;
mod fuse;
mod log;
mod machine;
mod panic;
mod plain;
mod platform;
mod syscalls;
mod uhyve;
mod window;

use core::ptr;

/// The memory image that the loader handed over besides the application.
fn payload() -> Option<&'static [u8]> {
    let mut start = ptr::null();
    let mut len = 0;
    // SAFETY: both pointers are valid for a write.
    let result = unsafe { syscalls::sys_boot_module(&raw mut start, &raw mut len) };
    if result != 0 || start.is_null() {
        return None;
    }
    // SAFETY: the kernel promises `len` readable bytes at `start` that nothing else uses until shutdown, and
    // nothing here writes to them.
    let module = unsafe { core::slice::from_raw_parts(start, len) };
    // Other loaders take the application as boot module and leave it in the device tree: it is not for itself.
    (!module.starts_with(b"\x7fELF")).then_some(module)
}

/// Ends the machine. The code reaches uhyve whole; QEMU only learns whether it is zero.
fn exit(code: u8) -> ! {
    // SAFETY: takes no pointers; never returns.
    unsafe { syscalls::sys_exit(i32::from(code)) }
}
