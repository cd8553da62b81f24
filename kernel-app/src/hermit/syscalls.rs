//! Hermit's system calls, as the kernel (0.11.0 with `hermit-kernel/patches/`) exports them.
//!
//! Source: `src/syscalls/` of crate hermit-kernel. Failures are negative numbers, the kernel's errno.

use core::ffi::c_char;

/// Seconds and nanoseconds.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Timespec {
    pub(crate) tv_sec: i64,
    pub(crate) tv_nsec: i32,
}

/// Wall-clock time.
pub(crate) const CLOCK_REALTIME: i32 = 1;
/// Time since boot.
pub(crate) const CLOCK_MONOTONIC: i32 = 4;

unsafe extern "C" {
    pub(crate) fn sys_alloc(size: usize, align: usize) -> *mut u8;
    pub(crate) fn sys_alloc_zeroed(size: usize, align: usize) -> *mut u8;
    pub(crate) fn sys_realloc(ptr: *mut u8, size: usize, align: usize, new_size: usize) -> *mut u8;
    pub(crate) fn sys_dealloc(ptr: *mut u8, size: usize, align: usize);

    pub(crate) fn sys_exit(status: i32) -> !;
    pub(crate) fn sys_yield();
    pub(crate) fn sys_usleep(microseconds: u64);
    pub(crate) fn sys_clock_gettime(clock: i32, time: *mut Timespec) -> i32;

    pub(crate) fn sys_open(name: *const c_char, flags: i32, mode: u32) -> i32;
    pub(crate) fn sys_read(fd: i32, buf: *mut u8, len: usize) -> isize;
    pub(crate) fn sys_write(fd: i32, buf: *const u8, len: usize) -> isize;
    pub(crate) fn sys_close(fd: i32) -> i32;

    // Added by `hermit-kernel/patches/`.
    pub(crate) fn sys_boot_module(addr: *mut *const u8, len: *mut usize) -> i32;
    pub(crate) fn sys_physical_address(buf: *const u8, len: usize, physical: *mut u64) -> i32;
    pub(crate) fn sys_console_write(buf: *const u8, len: usize);
    pub(crate) fn sys_console_read(buf: *mut u8, len: usize, timeout: u64) -> isize;
}
