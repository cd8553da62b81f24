//! Hermit's system calls, as the kernel (0.11.0 with `hermit-kernel/patches/`) exports them.
//!
//! Source: `src/syscalls/` of crate hermit-kernel. Failures are negative numbers, the kernel's errno.

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
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn sys_get_processor_frequency() -> u16;
    pub(crate) fn sys_clock_gettime(clock: i32, time: *mut Timespec) -> i32;

    // Added by `hermit-kernel/patches/`.
    pub(crate) fn sys_device_tree() -> usize;
    pub(crate) fn sys_physical_address(buf: *const u8, len: usize, physical: *mut u64) -> isize;
    pub(crate) fn sys_map_device(physical: u64, len: usize) -> *mut u8;
    pub(crate) fn sys_wait_interrupt(irq: u32, input: i32, timeout: u64) -> i32;
    pub(crate) fn sys_console_write(buf: *const u8, len: usize);
    pub(crate) fn sys_console_write_both(head: *const u8, head_len: usize, body: *const u8, body_len: usize);
    pub(crate) fn sys_deadline(microseconds: u64, handler: extern "C" fn() -> i32);
    pub(crate) fn sys_console_read(buf: *mut u8, len: usize, timeout: u64) -> isize;
    pub(crate) fn sys_reserve(len: usize, align: usize) -> *mut u8;
    pub(crate) fn sys_commit(ptr: *mut u8, len: usize) -> i32;
    pub(crate) fn sys_release(ptr: *mut u8, len: usize) -> i32;
    pub(crate) fn sys_free_memory() -> usize;
}

#[cfg(feature = "native")]
pub(crate) use native::*;

#[cfg(feature = "native")]
mod native {
    //! What native code needs of the kernel. Added by `hermit-kernel/patches/` too.

    /// A page fault. Other kinds of faults, of which [`sys_fault_handler`]'s is told, have other numbers.
    pub(crate) const FAULT_ACCESS: u32 = 0;

    /// Where the kernel goes on after a fault of published code: with its program counter, frame pointer, kind and
    /// address.
    pub(crate) type FaultHandler = extern "C" fn(usize, usize, u32, usize);

    unsafe extern "C" {
        pub(crate) fn sys_commit_as_it_is(ptr: *mut u8, len: usize) -> i32;
        pub(crate) fn sys_decommit(ptr: *mut u8, len: usize) -> i32;
        pub(crate) fn sys_code_publish(ptr: *const u8, len: usize) -> i32;
        pub(crate) fn sys_code_unpublish(ptr: *const u8, len: usize) -> i32;
        pub(crate) fn sys_fault_handler(handler: Option<FaultHandler>);
    }
}
